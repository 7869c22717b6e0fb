//! How a machine ends.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine_contract::Kick;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest powered it off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest ended it with this status, by the debug port.
    Exit(u8),
    /// The guest told the hypervisor below it that it crashed; what is known of it.
    Crash(String),
    /// A virtual CPU met an exception while it delivered a double fault; what is known of it.
    TripleFault(String),
    /// A virtual CPU waits for an interrupt that nothing can bring.
    Halted,
    /// Somebody outside of the machine ended it, with this exit status.
    Stopped(u8),
    /// The engine cannot go on, for this reason.
    Failed(String),
}

#[derive(Default)]
struct Inner {
    ending: Option<Ending>,
    kicks: Vec<Arc<dyn Kick>>,
}

/// Where the ending is noted: the first one stands, and every virtual CPU is kicked.
#[derive(Default)]
pub struct Ends {
    inner: Mutex<Inner>,
    ended: Condvar,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ends").field(&self.ending()).finish()
    }
}

impl Ends {
    /// A machine that has not ended.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Kicks this virtual CPU as well when the machine ends.
    pub fn kick_too(&self, kick: Arc<dyn Kick>) {
        let mut inner = self.inner();
        if inner.ending.is_some() {
            kick.kick();
        }
        inner.kicks.push(kick);
    }

    /// The machine ends so, if it has not ended otherwise.
    pub fn note(&self, ending: Ending) {
        let mut inner = self.inner();
        if inner.ending.is_none() {
            inner.ending = Some(ending);
            for kick in &inner.kicks {
                kick.kick();
            }
            self.ended.notify_all();
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.inner().ending.clone()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inner().ending.is_some()
    }

    /// Waits until it ends.
    pub fn wait(&self) -> Ending {
        let mut inner = self.inner();
        loop {
            if let Some(ending) = &inner.ending {
                return ending.clone();
            }
            let woken = self.ended.wait(inner);
            inner = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Kick for Count {
        fn kick(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_first_ending_stands_and_kicks_once() {
        let (ends, kick) = (Ends::new(), Arc::new(Count::default()));
        ends.kick_too(kick.clone());
        assert!(!ends.is_over());
        ends.note(Ending::PowerOff);
        ends.note(Ending::Reset);
        assert_eq!(ends.wait(), Ending::PowerOff);
        assert_eq!(kick.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_comes_after_the_end_is_kicked_at_once() {
        let (ends, kick) = (Ends::new(), Arc::new(Count::default()));
        ends.note(Ending::Exit(3));
        ends.kick_too(kick.clone());
        assert_eq!(kick.0.load(Ordering::SeqCst), 1);
    }
}
