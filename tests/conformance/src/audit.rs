//! Looks at the table itself, without Husk: does each case repeat itself natively, does it fork?

use std::fs;

use anyhow::Result;

use crate::case::Case;
use crate::check::{Check, broken_oracle};
use crate::compare;
use crate::harness::{Harness, How};

/// Prints each case that is no good, and whether there were none.
pub(crate) fn run(harness: &Harness, checks: &[Check]) -> Result<bool> {
    let (mut good, mut bad, mut absent) = (0, 0, 0);
    for check in checks {
        let Check::Case(case) = check else { continue };
        match complaint(harness, case) {
            Ok(None) => good += 1,
            Ok(Some(complaint)) if complaint.is_empty() => absent += 1,
            Ok(Some(complaint)) => {
                bad += 1;
                println!("FAIL  {}: {complaint}", case.name);
            }
            Err(error) => {
                bad += 1;
                println!("FAIL  {}: {error:#}", case.name);
            }
        }
    }
    println!("audit: {good} passed, {bad} failed, {absent} skipped");
    Ok(bad == 0)
}

/// What is wrong with the case; an empty text when its program is not installed.
fn complaint(harness: &Harness, case: &Case) -> Result<Option<String>> {
    let Some(program) = harness.locate(&case.program)? else {
        return Ok(Some(String::new()));
    };
    let path = harness.fresh_path();
    let log = path.with_extension("strace");
    let first = harness.run(case, &path, How::Native(&program))?;
    if let Some(broken) = broken_oracle(case, &first.run) {
        return Ok(Some(broken));
    }
    let second = harness.run(case, &path, How::Native(&program))?;
    if let Some(difference) = compare::difference(&first, &second, case.compares) {
        return Ok(Some(format!("does not repeat itself: {difference}")));
    }
    if case.slow {
        return Ok(None);
    }
    harness.run(case, &path, How::Traced(&program, &log))?;
    let calls = fs::read_to_string(&log)?;
    let is_thread = |line: &str| line.contains("CLONE_THREAD");
    let forks =
        |line: &&str| (line.contains("clone") || line.contains("fork(")) && !is_thread(line);
    Ok(calls
        .lines()
        .find(forks)
        .map(|line| format!("forks: {line}")))
}
