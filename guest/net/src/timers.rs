//! Who wants to be called when.

use alloc::collections::BTreeSet;

use crate::interface::InterfaceId;
use crate::socket::Handle;
use crate::time::Nanos;

/// Whom to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Socket(Handle),
    TimeWait,
    Neighbours,
    Reassembly,
    Dhcp(InterfaceId),
    Router(InterfaceId),
}

/// Times in order.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Nanos, Timer)>,
}

impl Timers {
    /// Calls `timer` at `wanted` or earlier; `scheduled` is when it is called so far. That a call
    /// comes too early costs less than moving it each time a segment is acknowledged.
    pub(crate) fn schedule(&mut self, timer: Timer, scheduled: &mut Nanos, wanted: Nanos) {
        if wanted < *scheduled {
            self.cancel(timer, *scheduled);
            self.set.insert((wanted, timer));
            *scheduled = wanted;
        }
    }

    /// Does not call it.
    pub(crate) fn cancel(&mut self, timer: Timer, scheduled: Nanos) {
        if scheduled < Nanos::MAX {
            self.set.remove(&(scheduled, timer));
        }
    }

    /// The first one that is due, taken out.
    pub(crate) fn due(&mut self, now: Nanos) -> Option<Timer> {
        let (at, timer) = *self.set.first()?;
        if at > now {
            return None;
        }
        self.set.pop_first();
        Some(timer)
    }

    /// When the first one is due.
    pub(crate) fn first(&self) -> Option<Nanos> {
        self.set.first().map(|(at, _)| *at)
    }
}
