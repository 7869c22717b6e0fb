//! Whether a guest did what it should.

use crate::runner::Ended;

/// How a case went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// What must be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) status: i32,
    pub(crate) says: &'static [&'static str],
    /// Its kernel must not complain.
    pub(crate) is_linux: bool,
    /// Save about this, which is done to it.
    pub(crate) expected: &'static [&'static str],
}

/// Words of a kernel that is not content with its machine.
const COMPLAINTS: [&str; 12] = [
    "warning",
    "fail",
    "error",
    "bug",
    "spurious",
    "unable",
    "invalid",
    "call trace",
    "not responding",
    "inconsistent",
    "timed out",
    "nobody cared",
];

/// What has such a word and is no complaint about the machine.
const HARMLESS: [&str; 10] = [
    // Firmware's tables about the machine's maker, of which there are none.
    "DMI not present or invalid",
    // The processor that the host has, or is emulated.
    "AMD Zen1",
    "Speculative Return Stack Overflow",
    "spectre",
    "This is not a bug",
    // Measured by 32-bit kernels in 50 ms, in which the host may have something else to do.
    "PM-Timer running at invalid rate",
    // Part of a word.
    "invalidation policy",
    // Advice.
    "pci=nocrs",
    // A line of /proc/interrupts.
    "Spurious interrupts",
    "ERR:",
];

/// Judges it.
pub(crate) fn judge(wanted: &Wanted, ended: &Ended) -> Outcome {
    let fail = |why: String| Outcome::Failed(format!("{why}\n{}", tail(&ended.said)));
    if ended.status != Some(wanted.status) {
        let because = ended.said.lines().rev().find_map(reason);
        return fail(format!(
            "status {:?} instead of {}{}",
            ended.status,
            wanted.status,
            because.unwrap_or_default()
        ));
    }
    let mut says = wanted.says.iter();
    if let Some(missing) = says.find(|says| !ended.said.contains(**says)) {
        return fail(format!("it does not say {missing:?}"));
    }
    let complaints: Vec<&str> = complaints(&ended.said, wanted.expected).collect();
    if wanted.is_linux && !complaints.is_empty() {
        return Outcome::Failed(format!("it complains:\n{}", complaints.join("\n")));
    }
    Outcome::Passed
}

/// What a script says of its own end.
fn reason(line: &str) -> Option<String> {
    line.strip_prefix("FAILED: ").map(|why| format!(": {why}"))
}

/// Lines of the kernel with a word of complaint.
fn complaints<'s>(said: &'s str, expected: &'s [&str]) -> impl Iterator<Item = &'s str> {
    let of_kernel = said.lines().filter(|line| line.starts_with('['));
    of_kernel.filter(move |line| {
        let lower = line.to_lowercase();
        let complains = COMPLAINTS.iter().any(|word| lower.contains(word));
        let mut harmless = HARMLESS.iter().chain(expected);
        complains && !harmless.any(|part| line.contains(part))
    })
}

fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.len().saturating_sub(25);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_why_it_failed() {
        let wanted = Wanted {
            status: 0,
            says: &[],
            is_linux: false,
            expected: &[],
        };
        let ended = Ended {
            status: Some(1),
            said: "one\nFAILED: it is red\n".to_owned(),
        };
        let Outcome::Failed(why) = judge(&wanted, &ended) else {
            panic!("it has not failed");
        };
        assert!(why.starts_with("status Some(1) instead of 0: it is red\n"));
    }

    #[test]
    fn complaints_are_found_in_the_kernels_lines_only() {
        let said = "[    0.1] ACPI Error: x\n[    0.2] DMI not present or invalid.\nerror\n[1] ok";
        let found: Vec<_> = complaints(said, &[]).collect();
        assert_eq!(found, ["[    0.1] ACPI Error: x"]);
        assert_eq!(complaints(said, &["Error: x"]).count(), 0);
    }
}
