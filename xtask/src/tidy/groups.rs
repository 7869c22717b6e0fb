//! Every group folder has a short README that says what its packages may depend on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Finding;

const LONGEST: usize = 15;

/// A folder that holds more than one package, and the text of its README.
#[derive(Debug)]
pub(crate) struct Group {
    folder: String,
    readme: Option<String>,
}

/// Finds the groups: the first folder of every package that does not sit at the root.
pub(crate) fn read(root: &Path, packages: &[String]) -> Vec<Group> {
    let folders: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package.split_once('/'))
        .map(|(top, _)| top)
        .collect();
    let group = |folder: &str| Group {
        folder: folder.to_string(),
        readme: fs::read_to_string(root.join(folder).join("README.md")).ok(),
    };
    folders.into_iter().map(group).collect()
}

/// Reports the groups whose README is missing, empty or long.
pub(crate) fn check(groups: &[Group]) -> Vec<Finding> {
    groups.iter().filter_map(check_group).collect()
}

fn check_group(group: &Group) -> Option<Finding> {
    let lines = group.readme.as_ref().map_or(0, |text| text.lines().count());
    let message = match lines {
        0 => "missing or empty: say what the group is and what it may depend on".to_string(),
        lines if lines > LONGEST => format!("{lines} lines; at most {LONGEST} are read"),
        _ => return None,
    };
    Some(Finding::new(format!("{}/README.md", group.folder), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(readme: Option<String>) -> usize {
        check(&[Group {
            folder: "engines".into(),
            readme,
        }])
        .len()
    }

    #[test]
    fn a_short_readme_passes_and_a_missing_or_long_one_is_found() {
        assert_eq!(findings(Some("one\n".repeat(15))), 0);
        assert_eq!(findings(Some("one\n".repeat(16))), 1);
        assert_eq!(findings(Some(String::new())), 1);
        assert_eq!(findings(None), 1);
    }

    #[test]
    fn a_group_is_the_first_folder_of_a_nested_package() {
        let packages: Vec<String> = [
            "cli",
            "engines/kvm",
            "engines/paravirt/cell",
            "host",
            "host/freestanding",
        ]
        .map(String::from)
        .to_vec();
        let names: Vec<String> = read(Path::new("/nonexistent"), &packages)
            .into_iter()
            .map(|group| group.folder)
            .collect();
        assert_eq!(names, ["engines", "host"]);
    }
}
