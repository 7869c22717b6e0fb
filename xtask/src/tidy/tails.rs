//! No long files and no long functions, save those with a reason in this table.

use super::Finding;
use crate::workspace::SourceFile;

const LONGEST_FILE: usize = 700;
const LONGEST_FUNCTION: usize = 100;

/// Something long that reads better whole.
struct Allowance {
    path: &'static str,
    /// Empty for the file itself.
    function: &'static str,
    #[expect(dead_code, reason = "the reason is for the reader of this table")]
    reason: &'static str,
}

const ALLOWED: &[Allowance] = &[
    Allowance {
        path: "guest/abi/src/fuse.rs",
        function: "",
        reason: "a table: every message of the FUSE protocol with its round-trip test",
    },
    Allowance {
        path: "backends/fs/tests/directory.rs",
        function: "",
        reason: "a list of small tests, one for each request that the server answers",
    },
    Allowance {
        path: "guest/hal/src/vdso.rs",
        function: "code",
        reason: "assembly: three entry points and what they share, in one section",
    },
];

/// Reports a long file and each long function of it. `code` has no comments or literals.
pub(crate) fn check(path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = code.lines().count();
    if lines > LONGEST_FILE && !is_allowed(path, "") {
        findings.push(Finding::new(
            path,
            format!("{lines} lines; more than {LONGEST_FILE}"),
        ));
    }
    for function in functions(code) {
        if function.lines > LONGEST_FUNCTION && !is_allowed(path, &function.name) {
            let place = format!("{path}:{}", function.line);
            let message = format!("fn {} has {} lines", function.name, function.lines);
            findings.push(Finding::new(place, message));
        }
    }
    findings
}

/// Reports allowances for files that are gone.
pub(crate) fn stale_allowances(sources: &[SourceFile]) -> Vec<Finding> {
    let exists = |path: &str| sources.iter().any(|source| source.path == path);
    let stale = ALLOWED.iter().filter(|allowance| !exists(allowance.path));
    stale
        .map(|allowance| Finding::new(allowance.path, "gone: remove its allowance"))
        .collect()
}

fn is_allowed(path: &str, function: &str) -> bool {
    ALLOWED
        .iter()
        .any(|allowance| allowance.path == path && allowance.function == function)
}

/// A function with a body: its name, first line (from 1) and number of lines.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions(code: &str) -> Vec<Function> {
    let starts = code.match_indices("fn ").map(|(at, _)| at);
    let is_word_start =
        |at: &usize| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    starts
        .filter(is_word_start)
        .filter_map(|at| function_at(code, at))
        .collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let rest = &code[at..];
    let name: String = rest[3..]
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let open = body_start(rest)?;
    let length = open + matching_brace(&rest[open..])?;
    let line = code[..at].matches('\n').count() + 1;
    let lines = rest[..length].matches('\n').count() + 1;
    (!name.is_empty()).then_some(Function { name, line, lines })
}

/// Where the body's brace is; `None` for a declaration, which ends in a semicolon.
fn body_start(rest: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in rest.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(at),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

fn matching_brace(body: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_by_their_braces() {
        let code =
            "fn one() {}\npub fn two<T>(x: [u8; 3]) -> T\nwhere T: Copy\n{\n { }\n}\nfn three();\n";
        let found: Vec<_> = functions(code)
            .into_iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(found, [("one".into(), 1, 1), ("two".into(), 2, 5)]);
    }

    #[test]
    fn function_types_are_no_functions() {
        assert_eq!(
            functions("type F = fn (u8) -> u8;\nstruct S { call: fn (u8) }\n"),
            []
        );
    }

    #[test]
    fn a_long_function_and_a_long_file_are_found() {
        let long = format!("fn long() {{\n{}}}\n", "x;\n".repeat(LONGEST_FUNCTION));
        assert_eq!(check("a.rs", &long).len(), 1);
        assert_eq!(check("a.rs", &"x;\n".repeat(LONGEST_FILE + 1)).len(), 1);
        assert_eq!(check("a.rs", "fn short() {}\n"), []);
    }
}
