//! Ends runs that do not come where they should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use engine_contract::Kick;

/// How often it looks, and how many looks a run may last.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 40;

/// Kicks a virtual CPU whose run lasts too long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchdog(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_watching: AtomicBool,
    looks: AtomicU32,
}

impl Watchdog {
    /// For as long as this process lives.
    pub(crate) fn start(kick: Arc<dyn Kick>) -> Self {
        let watchdog = Self::default();
        let own = watchdog.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(LOOK);
                if own.is_over() {
                    kick.kick();
                }
            }
        });
        watchdog
    }

    fn is_over(&self) -> bool {
        let inner = &self.0;
        inner.is_watching.load(Ordering::SeqCst)
            && inner.looks.fetch_add(1, Ordering::SeqCst) == LOOKS
    }

    /// A run begins.
    pub(crate) fn watch(&self) {
        self.0.looks.store(0, Ordering::SeqCst);
        self.0.is_watching.store(true, Ordering::SeqCst);
    }

    /// It has ended.
    pub(crate) fn rest(&self) {
        self.0.is_watching.store(false, Ordering::SeqCst);
    }
}
