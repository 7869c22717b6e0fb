//! The machine's time.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use engine_contract::{Timed, VirtualTime};
use machine_bus::Nanos;

/// A clock that never goes back.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the machine was made.
    fn now(&self) -> Nanos;

    /// Calls somebody at its deadlines; `false` when a thread has to wait for them.
    fn attend(&self, _: Arc<dyn Timed>) -> bool {
        false
    }
}

/// The host's clock, from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct HostClock(Instant);

impl HostClock {
    /// Time begins.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for HostClock {
    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The clock of a machine that does the same in every run.
#[derive(Clone)]
pub struct VirtualClock(pub Arc<dyn VirtualTime>);

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VirtualClock").field(&self.0.now()).finish()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        self.0.now()
    }

    fn attend(&self, timed: Arc<dyn Timed>) -> bool {
        self.0.attend(timed);
        true
    }
}
