//! Nothing unfinished and no test that is never run.

use super::Finding;

const FORBIDDEN: &[(&str, &str)] = &[
    (
        "todo!",
        "finish it, or return an error that says what is missing",
    ),
    (
        "unimplemented!",
        "finish it, or return an error that says what is missing",
    ),
    (
        "#[ignore",
        "a test that is never run proves nothing: skip loudly with a count",
    ),
];

/// Reports the marks of unfinished work. `code` has no comments or literals.
pub(crate) fn check(path: &str, code: &str) -> Vec<Finding> {
    code.lines()
        .enumerate()
        .flat_map(|(at, line)| check_line(path, at + 1, line))
        .collect()
}

fn check_line(path: &str, number: usize, line: &str) -> Vec<Finding> {
    let found = FORBIDDEN.iter().filter(|(mark, _)| line.contains(mark));
    found
        .map(|(mark, advice)| Finding::new(format!("{path}:{number}"), format!("{mark}: {advice}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_found() {
        for line in [
            "todo!()",
            "unimplemented!(\"\")",
            "#[ignore = \"\"]",
            "#[ignore]",
        ] {
            assert_eq!(check("a.rs", line).len(), 1, "{line}");
        }
        assert_eq!(check("a.rs", "fn todo() {}"), []);
    }
}
