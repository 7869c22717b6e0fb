//! Waiting without burning the processor.

use guest_hal::{Nanos, platform};

use crate::process::current;
use crate::{Errno, Result};

/// Waits until `ready` gives something, a signal wants the program's attention, or
/// `deadline` (monotonic clock) has passed: then `Ok(None)`.
///
/// # Errors
/// `Errno::RESTART` when a signal is to be delivered.
pub fn until<T>(
    deadline: Option<Nanos>,
    ready: &mut dyn FnMut() -> Option<T>,
) -> Result<Option<T>> {
    loop {
        let ticket = platform().ticket();
        if let Some(value) = ready() {
            return Ok(Some(value));
        }
        crate::signal::collect();
        if current().signals.lock().is_deliverable() {
            return Err(Errno::RESTART);
        }
        if deadline.is_some_and(|at| guest_hal::time::monotonic() >= at) {
            return Ok(None);
        }
        let timer = current().timers.lock().next_deadline();
        let start = guest_hal::time::monotonic();
        platform().idle(ticket, earlier(deadline, timer));
        crate::time::note_idle(guest_hal::time::monotonic().saturating_sub(start));
    }
}

fn earlier(one: Option<Nanos>, other: Option<Nanos>) -> Option<Nanos> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
