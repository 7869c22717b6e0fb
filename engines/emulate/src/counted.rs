//! Time that passes with instructions, and random numbers that follow from a seed: what machines have that do the
//! same in every run.
//!
//! An instruction takes a nanosecond, whoever executes it, and the time stamp counter counts nanoseconds. While no virtual CPU
//! runs, time is skipped to the next moment that somebody waits for ([`Rounds`](crate::rounds::Rounds)).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use engine_contract::{Timed, VirtualTime};
use machine_bus::Nanos;
use machine_entropy::{Consumer, Source};

/// Frequency of the time stamp counter.
pub(crate) const KILOHERTZ: u64 = 1_000_000;
/// When time begins, in nanoseconds since 1970: 2026.
const BEGINNING: u64 = 1_767_225_600 * 1_000_000_000;

/// Such a time. Only the virtual CPU whose turn it is changes it.
pub(crate) struct Counted {
    /// Instructions executed so far.
    instructions: AtomicU64,
    /// Nanoseconds that were skipped.
    skipped: AtomicU64,
    timed: OnceLock<Arc<dyn Timed>>,
    source: Mutex<Source>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counted").field(&self.instructions).finish()
    }
}

impl Counted {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            instructions: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            timed: OnceLock::new(),
            source: Mutex::new(Source::new(seed, Consumer::Instructions)),
        }
    }

    /// So many instructions have been executed.
    pub(crate) fn set(&self, instructions: u64) {
        self.instructions.store(instructions, Ordering::Relaxed);
    }

    /// Goes on to a later time.
    pub(crate) fn skip_to(&self, at: Nanos) {
        let left = at.0.saturating_sub(self.now().0);
        self.skipped.fetch_add(left, Ordering::Relaxed);
    }

    /// The next moment that somebody outside waits for.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.timed.get()?.next()
    }

    /// Calls those outside whose time has come.
    pub(crate) fn run_due(&self) {
        if let Some(timed) = self.timed.get()
            && timed.next().is_some_and(|next| next <= self.now())
        {
            timed.run_due();
        }
    }

    /// Instructions until then; at least one.
    pub(crate) fn until(&self, at: Nanos) -> i64 {
        let left = at.0.saturating_sub(self.now().0);
        i64::try_from(left).unwrap_or(i64::MAX).max(1)
    }

    pub(crate) fn random(&self) -> u64 {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.number()
    }
}

impl VirtualTime for Counted {
    fn now(&self) -> Nanos {
        let skipped = self.skipped.load(Ordering::Relaxed);
        Nanos(self.instructions().saturating_add(skipped))
    }

    fn beginning(&self) -> u64 {
        BEGINNING
    }

    fn instructions(&self) -> u64 {
        self.instructions.load(Ordering::Relaxed)
    }

    fn attend(&self, timed: Arc<dyn Timed>) {
        // There is one board.
        let _ = self.timed.set(timed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_what_was_executed_and_what_was_skipped() {
        let counted = Counted::new(0);
        counted.set(100);
        assert_eq!(counted.now(), Nanos(100));
        counted.skip_to(Nanos(1000));
        assert_eq!((counted.now(), counted.instructions()), (Nanos(1000), 100));
        counted.skip_to(Nanos(1));
        counted.set(150);
        assert_eq!(counted.now(), Nanos(1050));
        assert_eq!(counted.until(Nanos(1060)), 10);
        assert_eq!(counted.until(Nanos(0)), 1);
    }
}
