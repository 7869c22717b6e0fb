//! The timer (SDM vol. 3, 11.5.4): counts down from an initial count, once or again and again,
//! or waits for a deadline of the time stamp counter.

use super::registers::LVT_TIMER;
use super::{LocalApic, LocalApicState};
use crate::time::Elapsing;
use crate::{Nanos, StateError, require};

const MODE_SHIFT: u32 = 17;
const MODE_PERIODIC: u32 = 1;
const MODE_DEADLINE: u32 = 2;
/// Bits of the divide configuration.
const DIVIDE: u32 = 0xb;

/// A deadline of the time stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time stamp.
    pub tsc: u64,
    /// When the counter will have reached it.
    pub at: Nanos,
}

impl LocalApic {
    /// Lets time pass until `now`. However often a periodic timer would have fired since, it
    /// requests one interrupt.
    pub fn advance(&mut self, now: Nanos) {
        if now <= self.state.clock {
            return;
        }
        self.state.clock = now;
        let Some(due) = self.state.due.filter(|&due| due <= now) else {
            return;
        };
        self.state.due = self.next_period(due);
        self.state.deadline = 0;
        self.interrupt_locally(LVT_TIMER);
    }

    /// When the timer will fire.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        self.state.due.map(|due| due.max(now))
    }

    /// Writes the deadline (IA32_TSC_DEADLINE); `None`, a write of zero, disarms the timer.
    /// In the other modes nothing happens.
    pub fn write_deadline(&mut self, deadline: Option<Deadline>, now: Nanos) {
        self.advance(now);
        if self.mode() != MODE_DEADLINE {
            return;
        }
        let deadline = deadline.filter(|deadline| deadline.tsc != 0);
        self.state.deadline = deadline.map_or(0, |deadline| deadline.tsc);
        self.state.due = deadline.map(|deadline| deadline.at);
        if self.state.due.is_some_and(|due| due <= self.state.clock) {
            self.state.due = None;
            self.state.deadline = 0;
            self.interrupt_locally(LVT_TIMER);
        }
    }

    /// The deadline as it is read: zero once it is reached, and in the other modes.
    pub fn deadline(&self) -> u64 {
        self.state.deadline
    }

    /// The count as of the latest time seen.
    pub(super) fn current_count(&self) -> u32 {
        if self.mode() == MODE_DEADLINE {
            return 0;
        }
        let left = self.state.due.map_or(0, |due| due.since(self.state.clock));
        let count = left.div_ceil(divisor(self.state.divide));
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn write_initial_count(&mut self, value: u32) {
        if self.mode() == MODE_DEADLINE {
            return;
        }
        self.state.initial_count = value;
        self.start(value);
    }

    /// The count goes on from where it is at the new pace.
    pub(super) fn write_divide(&mut self, value: u32) {
        let count = self.current_count();
        self.state.divide = value & DIVIDE;
        if self.state.due.is_some() && self.mode() != MODE_DEADLINE {
            self.start(count);
        }
    }

    /// Going to or from deadline mode disarms the timer (11.5.4.1).
    pub(super) fn timer_mode_changed(&mut self, before: u32, after: u32) {
        let deadline = |entry: u32| entry >> MODE_SHIFT & 3 == MODE_DEADLINE;
        if deadline(before) != deadline(after) {
            self.state.due = None;
            self.state.deadline = 0;
            self.state.initial_count = 0;
        }
    }

    fn start(&mut self, count: u32) {
        let nanos = u64::from(count) * divisor(self.state.divide);
        let due = self.state.clock.checked_add(nanos);
        self.state.due = due.filter(|_| count != 0);
    }

    /// The first moment after now at which a periodic timer that fired at `due` fires again.
    fn next_period(&self, due: Nanos) -> Option<Nanos> {
        let period = u64::from(self.state.initial_count) * divisor(self.state.divide);
        if self.mode() != MODE_PERIODIC || period == 0 {
            return None;
        }
        let periods = self.state.clock.since(due) / period + 1;
        due.checked_add(period.checked_mul(periods)?)
    }

    fn mode(&self) -> u32 {
        self.state
            .table
            .get(LVT_TIMER)
            .map_or(0, |entry| entry >> MODE_SHIFT & 3)
    }
}

/// Checks the timer of a state.
pub(super) fn check(state: &LocalApicState) -> Result<(), StateError> {
    let check = |holds, field, reason| require(holds, "lapic", field, reason);
    check(
        state.divide & !DIVIDE == 0,
        "divide",
        "has bits that do not exist",
    )?;
    let future = state.due.is_none_or(|due| due > state.clock);
    check(future, "due", "is in the past")?;
    let armed = state.deadline == 0 || state.due.is_some();
    check(armed, "deadline", "is set without a moment")
}

/// By what the clock is divided (figure 11-10).
fn divisor(divide: u32) -> u64 {
    let code = divide >> 1 & 4 | divide & 3;
    if code == 7 { 1 } else { 2 << code }
}
