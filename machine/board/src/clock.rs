//! The machine's time.

use std::time::Instant;

use machine_bus::Nanos;

/// A clock that never goes back.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the machine was made.
    fn now(&self) -> Nanos;
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
