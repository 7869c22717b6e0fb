//! What was compared and what was not, in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use iced_x86::Code;

/// Counts by name, and the encodings that were compared.
#[derive(Debug)]
struct Tally {
    counts: BTreeMap<&'static str, u64>,
    codes: BTreeSet<u16>,
}

static TALLY: Mutex<Tally> = Mutex::new(Tally {
    counts: BTreeMap::new(),
    codes: BTreeSet::new(),
});

/// Counts something.
pub(super) fn count(what: &'static str) {
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    *tally.counts.entry(what).or_default() += 1;
}

/// Remembers that an encoding was compared.
pub(super) fn compared(code: Code) {
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    tally.codes.insert(code as u16);
}

/// What the target [`instructions`](super::instructions) has compared so far, and what not: a line each.
#[must_use]
pub fn instructions_tally() -> String {
    let tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for (what, count) in &tally.counts {
        // It grows.
        let _ = writeln!(text, "{count:>12} {what}");
    }
    if !tally.codes.is_empty() {
        let _ = writeln!(text, "{:>12} encodings", tally.codes.len());
    }
    text
}
