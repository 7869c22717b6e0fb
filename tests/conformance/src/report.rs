//! Runs the checks, a few at a time, and prints one line for each and the sum.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::check::{Check, Outcome};
use crate::harness::Harness;

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
    /// Those of the skipped that are known not to work.
    gaps: Vec<String>,
}

/// Whether nothing failed.
pub(crate) fn run_all(harness: &Harness, checks: &[Check], jobs: usize) -> bool {
    let tally = tally(checks, jobs, |check| check.run(harness));
    tally.print();
    tally.failed.is_empty()
}

/// Keeps the native runs; whether nothing failed.
pub(crate) fn record_all(harness: &Harness, checks: &[Check], jobs: usize) -> bool {
    let tally = tally(checks, jobs, |check| check.record(harness));
    for name in &tally.failed {
        println!("failed: {name}");
    }
    println!("conformance: {} native runs recorded", tally.passed);
    tally.failed.is_empty()
}

fn tally(checks: &[Check], jobs: usize, act: impl Fn(&Check) -> Outcome + Sync) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = act(check);
                    tally
                        .lock()
                        .expect("no worker panics")
                        .add(check.name(), &outcome);
                }
            });
        }
    });
    tally.into_inner().expect("no worker panics")
}

impl Tally {
    fn add(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Passed(remark) => {
                self.passed += 1;
                println!("ok    {name}  ({remark})");
            }
            Outcome::Failed(reason) => {
                self.failed.push(name.to_string());
                println!("FAIL  {name}: {reason}");
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                println!("skip  {name}: {reason}");
            }
            Outcome::Gap(reason) => {
                self.skipped += 1;
                self.gaps.push(name.to_string());
                println!("gap   {name}: {reason}");
            }
        }
    }

    fn print(&self) {
        for name in &self.gaps {
            println!("KNOWN GAP, skipped: {name}");
        }
        for name in &self.failed {
            println!("failed: {name}");
        }
        let (passed, failed, skipped) = (self.passed, self.failed.len(), self.skipped);
        println!("conformance: {passed} passed, {failed} failed, {skipped} skipped");
    }
}
