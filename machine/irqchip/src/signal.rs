//! How a virtual CPU hears that something came for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Set by whoever brings something, taken by the virtual CPU that looks.
#[derive(Debug, Default)]
pub struct Signal {
    is_set: AtomicBool,
    /// Held between setting and waking, so that nobody goes to sleep in between.
    asleep: Mutex<()>,
    woken: Condvar,
}

impl Signal {
    /// Sets it, and wakes who sleeps.
    pub fn set(&self) {
        if !self.is_set.swap(true, Ordering::SeqCst) {
            drop(self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.woken.notify_all();
        }
    }

    /// Whether it is set; it is not any more.
    pub fn take(&self) -> bool {
        self.is_set.load(Ordering::Relaxed) && self.is_set.swap(false, Ordering::SeqCst)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// Sleeps until it is set, or so long.
    pub fn sleep(&self, longest: Option<Duration>) {
        let guard = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_set.load(Ordering::SeqCst) {
            return;
        }
        match longest {
            Some(longest) => {
                let is_not = |_: &mut ()| !self.is_set.load(Ordering::SeqCst);
                // Whether time is over is for the caller to see.
                drop(self.woken.wait_timeout_while(guard, longest, is_not));
            }
            None => {
                let is_not = |_: &mut ()| !self.is_set.load(Ordering::SeqCst);
                drop(self.woken.wait_while(guard, is_not));
            }
        }
    }
}
