//! Two runs side by side: the first thing in which they differ, in words.

use crate::case::Compares;
use crate::process::Run;
use crate::tree::{self, Tree};

/// A run and what it left in its scratch folder.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) run: Run,
    pub(crate) tree: Tree,
}

/// The first difference that counts, or nothing.
pub(crate) fn difference(native: &Side, machine: &Side, compares: Compares) -> Option<String> {
    let streams = |name, native: &[u8], machine: &[u8]| {
        stream_difference(native, machine).map(|text| format!("{name} {text}"))
    };
    let (a, b) = (&native.run, &machine.run);
    None.or_else(|| {
        compares
            .stdout
            .then(|| streams("stdout", &a.stdout, &b.stdout))
            .flatten()
    })
    .or_else(|| status_difference(a, b))
    .or_else(|| {
        compares
            .stderr
            .then(|| streams("stderr", &a.stderr, &b.stderr))
            .flatten()
    })
    .or_else(|| {
        compares
            .files
            .then(|| tree::difference(&native.tree, &machine.tree))
            .flatten()
    })
    .map(|text| with_complaint(text, b))
}

fn status_difference(native: &Run, machine: &Run) -> Option<String> {
    if machine.timed_out {
        return Some(format!("no end after {:.0?}", machine.elapsed));
    }
    let (a, b) = (native.status, machine.status);
    (a != b).then(|| format!("status: native {a}, husk {b}"))
}

fn stream_difference(native: &[u8], machine: &[u8]) -> Option<String> {
    if native == machine {
        return None;
    }
    let same = native
        .iter()
        .zip(machine)
        .take_while(|(a, b)| a == b)
        .count();
    let line = native[..same].iter().filter(|byte| **byte == b'\n').count() + 1;
    let (a, b) = (excerpt(native, same), excerpt(machine, same));
    Some(format!(
        "differs in line {line}, byte {same}: native {a}, husk {b}"
    ))
}

/// Some bytes from `at` on, as a literal.
fn excerpt(bytes: &[u8], at: usize) -> String {
    let start = bytes[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |line| line + 1);
    let start = start.max(at.saturating_sub(40));
    let end = bytes.len().min(at + 40);
    match bytes.get(start..end) {
        Some([]) | None => "ends".to_string(),
        Some(part) => format!("\"{}\"", part.escape_ascii()),
    }
}

/// Adds the last line that the machine said on standard error.
fn with_complaint(text: String, machine: &Run) -> String {
    let said = String::from_utf8_lossy(&machine.stderr);
    match said.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{text}; husk says: {}", line.trim()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn side(status: i32, stdout: &str, stderr: &str) -> Side {
        let run = Run {
            status,
            stdout: stdout.into(),
            stderr: stderr.into(),
            elapsed: Duration::ZERO,
            timed_out: false,
        };
        Side {
            run,
            tree: Tree::new(),
        }
    }

    const ALL: Compares = Compares {
        stdout: true,
        stderr: true,
        files: true,
    };
    const STATUS: Compares = Compares {
        stdout: false,
        stderr: false,
        files: false,
    };

    #[test]
    fn equal_runs_have_no_difference() {
        assert_eq!(
            difference(&side(0, "a", "b"), &side(0, "a", "b"), ALL),
            None
        );
    }

    #[test]
    fn each_difference_is_seen_only_when_it_counts() {
        let native = side(0, "a\nb\n", "x");
        for (machine, word) in [
            (side(1, "a\nb\n", "x"), "status: native 0, husk 1"),
            (side(0, "a\nc\n", "x"), "stdout differs in line 2, byte 2"),
            (side(0, "a\nb\n", "y"), "stderr differs in line 1"),
        ] {
            let found = difference(&native, &machine, ALL).expect("a difference");
            assert!(found.starts_with(word), "{found}");
        }
        assert_eq!(difference(&native, &side(0, "c", "y"), STATUS), None);
    }

    #[test]
    fn a_left_file_is_seen() {
        let mut machine = side(0, "", "");
        machine.tree.insert("a".into(), "a folder".into());
        assert!(difference(&side(0, "", ""), &machine, ALL).is_some());
    }

    #[test]
    fn output_that_ends_early_is_shown_as_such() {
        let found = stream_difference(b"abc\n", b"").expect("a difference");
        assert!(found.ends_with("husk ends"), "{found}");
    }
}
