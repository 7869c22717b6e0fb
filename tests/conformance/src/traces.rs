//! `--trace` against strace itself: the same program, the same lines, but for what a run decides.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use vocabulary::find_program;

use crate::check::Outcome;
use crate::harness::Harness;
use crate::process;
use crate::scenarios::{PATIENCE, husk};

/// Programs whose calls do not depend on where they run.
const PROGRAMS: [&[&str]; 5] = [
    &["/bin/cat", "/etc/hostname"],
    &["/bin/true"],
    &["/usr/bin/printf", "%s\\n", "tab\there \"quoted\" \u{e4}"],
    &["/usr/bin/test", "-d", "/not/there"],
    &["/bin/sleep", "0.01"],
];
/// Calls of which the two hosts rightly think differently.
const PASSED_OVER: [&str; 4] = ["rseq(", "getrandom(", "execve(", "set_tid_address("];

pub(crate) fn as_strace(harness: &Harness) -> Result<Outcome> {
    let Some(strace) = find_program("strace") else {
        return Ok(Outcome::Skipped(
            "no strace here (Debian package strace)".into(),
        ));
    };
    let mut lines = 0;
    for program in PROGRAMS {
        let mut command = harness.command(&strace);
        command.arg("--").args(program);
        let native = process::run(&mut command, None, harness.stretched(PATIENCE))?;
        let ours = husk(harness, |command| command.arg("--trace").args(program))?;
        let (expected, found) = (normal(&native.stderr), normal(&ours.stderr));
        let first = expected.iter().zip(&found).find(|(a, b)| a != b);
        if let Some((expected, found)) = first {
            return Ok(Outcome::Failed(format!(
                "{}: strace says `{expected}`, husk `{found}`",
                program.join(" ")
            )));
        }
        ensure!(
            expected.len() == found.len(),
            "{}: strace writes {} lines, husk {}",
            program.join(" "),
            expected.len(),
            found.len()
        );
        let last = found.last().context("an empty trace")?;
        ensure!(last.starts_with("+++ exited with "), "it ends with {last}");
        lines += found.len();
    }
    Ok(Outcome::Passed(format!(
        "{lines} lines as strace writes them"
    )))
}

/// The lines without addresses and other things of one run.
fn normal(trace: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(trace);
    let kept = text
        .lines()
        // What the program itself says on its standard error.
        .filter(|line| line.contains(") ") || line.starts_with("+++"))
        .filter(|line| !PASSED_OVER.iter().any(|call| line.starts_with(call)));
    kept.map(|line| without_addresses(&without_padding(line)))
        .collect()
}

/// One space before the result.
fn without_padding(line: &str) -> String {
    match line.rsplit_once(" = ") {
        Some((call, result)) => format!("{} = {result}", call.trim_end()),
        None => line.to_owned(),
    }
}

/// Hexadecimal numbers of more than eight digits are addresses.
fn without_addresses(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("0x") {
        let (before, number) = rest.split_at(at);
        let digits = &number[2..];
        let end = digits
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(digits.len());
        out.push_str(before);
        // Writing to a string cannot fail.
        let _ = if end > 8 {
            write!(out, "ADDRESS")
        } else {
            write!(out, "0x{}", &digits[..end])
        };
        rest = &digits[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_decides_is_left_out() {
        let trace = b"brk(NULL)      = 0x56457917a000\nrseq(0x1) = 0\nsaid by the program\n\
            mmap(NULL, 8, 0x26000) = 0x6fffb0ec2000\n+++ exited with 0 +++\n";
        assert_eq!(
            normal(trace),
            [
                "brk(NULL) = ADDRESS",
                "mmap(NULL, 8, 0x26000) = ADDRESS",
                "+++ exited with 0 +++"
            ]
        );
    }
}
