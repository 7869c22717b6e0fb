//! Calls between devices and Husk's own kernel, by pages that they share.
//!
//! A device never knows its engine or its address: it waits on a doorbell and completes
//! by another.

/// Whether who waits for a bell looks for a while before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As long as it has helped: for requests that somebody waits for.
    Adaptive,
    /// For what comes when it likes, while others could use the processor.
    Never,
}

/// The doorbells of a machine's devices.
pub trait Doorbells: Send + Sync {
    /// Waits until the driver rang for `queue` of `device` after `seen`; returns the new
    /// count, or `None` when the machine has ended or there is no such device.
    fn wait(&self, device: u32, queue: u16, seen: u32, look: Look) -> Option<u32>;

    /// Tells the machine that a device has completed work.
    fn complete(&self, device: u32);

    /// The driver rang and found the device asleep: wakes it. For engines whose guests
    /// cannot do so themselves. Numbers that stand for no queue are ignored.
    fn ring(&self, device: u32, queue: u16);
}

/// How signals from outside reach the program.
pub trait SignalLine: Send + Sync {
    /// Posts Linux signal `number`, 1 to 64; others are dropped.
    fn post(&self, number: u32);

    /// Stops the virtual CPUs where they are, because the monitor is about to be stopped.
    fn stop(&self);

    /// Lets them go on.
    fn go_on(&self);
}
