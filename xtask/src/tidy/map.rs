//! The map in ARCHITECTURE.md names exactly the package folders that exist.
//!
//! The map is every section whose heading contains the word "map". In it, a line that starts with
//! a list mark or a table bar and then a name in backquotes describes the folder of that name.

use std::collections::BTreeSet;

use super::Finding;

const PLACE: &str = "ARCHITECTURE.md";
const LONGEST: usize = 400;

/// Compares the map with the folders that hold a package.
pub(crate) fn check(document: Option<&str>, packages: &[String]) -> Vec<Finding> {
    let Some(document) = document else {
        return vec![Finding::new(
            PLACE,
            "missing: the map of the code belongs in it",
        )];
    };
    let existing: BTreeSet<&str> = packages.iter().map(String::as_str).collect();
    let named = named_folders(document);
    let missing = existing
        .difference(&named)
        .map(|folder| format!("the map lacks `{folder}`"));
    let stale = named
        .difference(&existing)
        .map(|folder| format!("the map names `{folder}`, no package"));
    let mut findings: Vec<Finding> = missing
        .chain(stale)
        .map(|message| Finding::new(PLACE, message))
        .collect();
    if document.lines().count() > LONGEST {
        findings.push(Finding::new(PLACE, format!("longer than {LONGEST} lines")));
    }
    findings
}

fn named_folders(document: &str) -> BTreeSet<&str> {
    let mut in_map = false;
    let mut named = BTreeSet::new();
    for line in document.lines() {
        if line.starts_with('#') {
            in_map = is_map_heading(line);
        } else if in_map && let Some(folder) = entry(line) {
            named.insert(folder);
        }
    }
    named
}

fn is_map_heading(line: &str) -> bool {
    line.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word == "map")
}

fn entry(line: &str) -> Option<&str> {
    let rest = line
        .trim_start()
        .strip_prefix(['-', '*', '|'])?
        .trim_start()
        .strip_prefix('`')?;
    let (name, _) = rest.split_once('`')?;
    Some(name.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Husk\n- `other`: not in the map\n## A map of the code\n\
        - `host`: every system call\n| `x86/state/` | registers |\ntext `cli`\n## Invariants\n- `boot`\n";

    fn folders(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_true_map_has_no_findings() {
        assert_eq!(check(Some(DOCUMENT), &folders(&["host", "x86/state"])), []);
    }

    #[test]
    fn a_missing_and_a_stale_entry_are_found() {
        let findings = check(Some(DOCUMENT), &folders(&["host", "cli"]));
        assert_eq!(findings.len(), 2);
        assert!(findings[0].message.contains("lacks `cli`"));
        assert!(findings[1].message.contains("names `x86/state`"));
    }

    #[test]
    fn a_missing_document_and_a_long_one_are_found() {
        assert_eq!(check(None, &[]).len(), 1);
        assert_eq!(check(Some(&"line\n".repeat(401)), &[]).len(), 1);
    }
}
