//! Unsafe code is opted into only where the house allows it, and no package leaves the lints.

use super::Finding;
use crate::workspace::SourceFile;

/// Folders whose code may opt into unsafe.
const ALLOWED: &[&str] = &[
    "host/",
    "machine/memory/",
    "engines/",
    "guest/hal/",
    "guest/apps/",
    // What guests run is assembled, and reached by its symbols.
    "tests/machines/",
];

/// Never, though the folder lies in an allowed one.
const NEVER: &[&str] = &["engines/contract/", "engines/emulate/"];

/// Reports unsafe opt-ins outside the allowed folders. `code` has no comments or literals.
pub(crate) fn check(path: &str, code: &str) -> Vec<Finding> {
    if may_opt_in(path) {
        return Vec::new();
    }
    let opts_in = |line: &str| line.contains("unsafe_code") && !line.contains("deny(");
    code.lines()
        .enumerate()
        .filter(|(_, line)| opts_in(line) && !line.contains("forbid("))
        .map(|(at, _)| {
            Finding::new(
                format!("{path}:{}", at + 1),
                "unsafe code has no place here",
            )
        })
        .collect()
}

/// Reports a package that does not take the workspace's lints.
pub(crate) fn check_manifest(manifest: &SourceFile) -> Option<Finding> {
    let mut lines = manifest.text.lines().map(str::trim);
    let inherits = lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true");
    let message = "lacks `[lints]` with `workspace = true`";
    (!inherits).then(|| Finding::new(&manifest.path, message))
}

fn may_opt_in(path: &str) -> bool {
    let lies_in = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    lies_in(ALLOWED) && !lies_in(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPT_IN: &str = "#![expect(unsafe_code, reason = \"\")]\n";

    #[test]
    fn the_lower_halves_may_opt_in() {
        for path in [
            "host/src/mmap.rs",
            "engines/paravirt/cell/src/main.rs",
            "guest/hal/src/a.rs",
        ] {
            assert_eq!(check(path, OPT_IN), [], "{path}");
        }
    }

    #[test]
    fn others_may_not() {
        for path in [
            "cli/src/main.rs",
            "guest/kernel/src/lib.rs",
            "engines/contract/src/lib.rs",
        ] {
            assert_eq!(check(path, OPT_IN).len(), 1, "{path}");
            assert_eq!(check(path, "#![allow(unsafe_code)]").len(), 1, "{path}");
        }
        assert_eq!(
            check("guest/kernel/src/lib.rs", "#![forbid(unsafe_code)]"),
            []
        );
    }

    #[test]
    fn a_package_must_take_the_lints() {
        let manifest = |text: &str| SourceFile {
            path: "x/Cargo.toml".into(),
            text: text.into(),
        };
        assert_eq!(
            check_manifest(&manifest("[package]\n[lints]\nworkspace = true\n")),
            None
        );
        assert!(check_manifest(&manifest("[package]\n")).is_some());
        assert!(check_manifest(&manifest("[lints]\n\n[lints.rust]\n")).is_some());
    }
}
