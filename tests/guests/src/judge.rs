//! Whether a guest did what it should.

use crate::cases::Case;
use crate::runner::Ended;

/// How a case went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
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
const HARMLESS: [&str; 9] = [
    // Firmware's tables about the machine's maker, of which there are none.
    "DMI not present or invalid",
    // The processor that the host has, or is emulated.
    "AMD Zen1",
    "Speculative Return Stack Overflow",
    "spectre",
    "This is not a bug",
    // Part of a word.
    "invalidation policy",
    // Advice.
    "pci=nocrs",
    // A line of /proc/interrupts.
    "Spurious interrupts",
    "ERR:",
];

/// Judges it.
pub(crate) fn judge(case: &Case, ended: &Ended) -> Outcome {
    let fail = |why: String| Outcome::Failed(format!("{why}\n{}", tail(&ended.said)));
    if ended.status != Some(case.status) {
        return fail(format!(
            "status {:?} instead of {}",
            ended.status, case.status
        ));
    }
    let mut says = case.says.iter();
    if let Some(missing) = says.find(|wanted| !ended.said.contains(*wanted)) {
        return fail(format!("it does not say {missing:?}"));
    }
    let complaints: Vec<&str> = complaints(&ended.said).collect();
    if case.is_linux() && !complaints.is_empty() {
        return Outcome::Failed(format!("it complains:\n{}", complaints.join("\n")));
    }
    Outcome::Passed
}

/// Lines of the kernel with a word of complaint.
fn complaints(said: &str) -> impl Iterator<Item = &str> {
    let of_kernel = said.lines().filter(|line| line.starts_with('['));
    of_kernel.filter(|line| {
        let lower = line.to_lowercase();
        let complains = COMPLAINTS.iter().any(|word| lower.contains(word));
        let is_harmless = HARMLESS.iter().any(|part| line.contains(part));
        complains && !is_harmless
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
    fn complaints_are_found_in_the_kernels_lines_only() {
        let said = "[    0.1] ACPI Error: x\n[    0.2] DMI not present or invalid.\nerror\n[1] ok";
        let found: Vec<_> = complaints(said).collect();
        assert_eq!(found, ["[    0.1] ACPI Error: x"]);
    }
}
