//! Machines that run the image, watched.
//!
//! * `machine`: how each is started. `watch`: a process that must go on printing.

mod machine;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use privileged::{Cases, Deviations, Lines, differences, expected_lines};

pub(crate) use machine::Machine;

/// How a run is compared.
pub(crate) struct Judge {
    pub(crate) deviations: Deviations,
    /// Flags that the machine does not keep as the manuals say.
    pub(crate) unknown_flags: u32,
}

/// What became of the cases.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// Runs the cases, as often as it takes to get past those that do not end.
pub(crate) fn run(
    machine: &Machine,
    cases: &Cases,
    patience: Duration,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut rest = cases.clone();
    loop {
        let output = machine
            .run(&rest, patience)
            .context("the machine could not be run")?;
        let lines = Lines::parse(&output);
        for name in rest.names() {
            if let Some(line) = lines.of(name) {
                found.insert(name.to_owned(), line.to_owned());
            }
        }
        // What a machine prints may lag behind what it does.
        let stuck = rest.names().find(|name| lines.of(name).is_none());
        let Some(stuck) = stuck.filter(|_| !lines.ended()).map(str::to_owned) else {
            return Ok(found);
        };
        eprintln!("{stuck}: did not end; the machine is started again behind it");
        rest = rest.after(&stuck);
        if rest.names().next().is_none() {
            return Ok(found);
        }
    }
}

/// Compares what was found with what is expected, and prints what differs.
pub(crate) fn judge(cases: &Cases, found: &BTreeMap<String, String>, judge: &Judge) -> Counts {
    let expected = expected_lines();
    let mut counts = Counts::default();
    for name in cases.names() {
        let expected = expected.get(name).copied().unwrap_or_default();
        let texts = match found.get(name) {
            Some(found) => differences(expected, found, judge.unknown_flags)
                .iter()
                .map(ToString::to_string)
                .collect(),
            None => vec!["it did not end".to_owned()],
        };
        count(&mut counts, name, &texts, judge.deviations.reason(name));
    }
    counts
}

fn count(counts: &mut Counts, name: &str, differences: &[String], reason: Option<&str>) {
    match (differences, reason) {
        ([], None) => counts.passed += 1,
        ([], Some(reason)) => {
            println!("{name}: no longer deviates ({reason})");
            counts.failed += 1;
        }
        (_, Some(reason)) => {
            println!("SKIPPED {name}: {reason}");
            counts.skipped += 1;
        }
        (texts, None) => {
            for text in texts {
                println!("{name}: {text}");
            }
            counts.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_deviation_is_skipped_until_it_is_gone() {
        let mut counts = Counts::default();
        let texts = ["v: expected 1, found 2".to_owned()];
        count(&mut counts, "a", &[], None);
        count(&mut counts, "a", &texts, Some("why"));
        count(&mut counts, "a", &texts, None);
        count(&mut counts, "a", &[], Some("why"));
        let expected = Counts {
            passed: 1,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(counts, expected);
    }
}
