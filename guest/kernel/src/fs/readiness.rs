//! Waiting for one of several files to become ready.
//!
//! What becomes ready by this kernel's own doing, or by an event of a device, is seen at
//! once. The standard streams become ready on the host without a word: they are asked again
//! and again, at growing intervals.

use guest_hal::{Nanos, time};
use linux_raw_sys::general as raw;

use super::file::Events;
use super::open::OpenFile;
use crate::wait::{self, WaitQueue};
use crate::{Result, sched};

/// The first and the longest interval at which the host is asked.
const ASK_FIRST: u64 = 200_000;
const ASK_LAST: u64 = 10_000_000;

/// What is always reported.
pub const ALWAYS: Events = raw::POLLERR | raw::POLLHUP;

/// How to wait for a file beyond looking at it at each event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Whether it must be asked again and again.
    pub asks: bool,
    /// When it becomes ready by itself.
    pub deadline: Option<Nanos>,
}

impl Patience {
    /// That of a file.
    #[must_use]
    pub fn of(file: &OpenFile) -> Self {
        match file.file() {
            Ok(file) => Self {
                asks: file.must_be_asked(),
                deadline: file.deadline(),
            },
            Err(_) => Self::default(),
        }
    }

    /// Enough for both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            asks: self.asks || other.asks,
            deadline: earlier(self.deadline, other.deadline),
        }
    }
}

/// The earlier of two points in time, where no point is never.
#[must_use]
pub fn earlier(one: Option<Nanos>, other: Option<Nanos>) -> Option<Nanos> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What of `wanted` a file is ready for now, and what is always reported.
#[must_use]
pub fn ready(file: &OpenFile, wanted: Events) -> Events {
    match file.file() {
        Ok(object) => object.poll() & (wanted | ALWAYS),
        Err(_) => raw::POLLNVAL,
    }
}

/// Waits until `check` gives something or `deadline` has passed; `patience` is that of all
/// files concerned, `queues` are theirs.
///
/// # Errors
/// `RESTART` when a signal is to be delivered.
pub fn wait_for<T>(
    queues: &[&WaitQueue],
    deadline: Option<Nanos>,
    patience: &dyn Fn() -> Patience,
    check: &mut dyn FnMut() -> Option<T>,
) -> Result<Option<T>> {
    let mut interval = ASK_FIRST;
    let mut queues = queues.to_vec();
    if patience().asks {
        queues.push(sched::devices());
    }
    loop {
        let Patience {
            asks,
            deadline: own,
        } = patience();
        let ask = asks.then(|| time::monotonic().saturating_add(Nanos(interval)));
        let until = earlier(deadline, earlier(ask, own));
        if let Some(value) = wait::until(&queues, until, check)? {
            return Ok(Some(value));
        }
        if deadline.is_some_and(|at| time::monotonic() >= at) {
            return Ok(None);
        }
        interval = (interval * 2).min(ASK_LAST);
    }
}
