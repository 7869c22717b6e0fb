//! Time that passes with instructions: the ability of engines whose machines do the same in every run.

use std::sync::Arc;

use machine_bus::Nanos;

/// The time of a machine that is the same in every run: it passes with the instructions that its virtual CPUs
/// execute and, while all of them wait, goes on to the next moment that somebody waits for.
///
/// Only virtual CPUs look at it, and what they call in their turn: one at a time.
pub trait VirtualTime: Send + Sync {
    /// Time since the machine was made, within an instruction that reaches a device, too.
    fn now(&self) -> Nanos;

    /// What the wall clock showed when time began, in nanoseconds since 1970 UTC.
    fn beginning(&self) -> u64;

    /// Instructions executed so far, by all virtual CPUs.
    fn instructions(&self) -> u64;

    /// Has somebody called when their time has come. Once, before the first instruction.
    fn attend(&self, timed: Arc<dyn Timed>);
}

/// Somebody who waits for moments of such a time. Called between instructions, by the virtual CPU whose turn it is.
pub trait Timed: Send + Sync {
    /// The next moment that is waited for.
    fn next(&self) -> Option<Nanos>;

    /// Time has passed.
    fn run_due(&self);
}
