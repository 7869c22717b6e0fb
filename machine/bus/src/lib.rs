//! How devices hear of work and tell of its completion, whatever the engine.
//!
//! A device never knows its engine or its address: it waits on a doorbell and completes
//! by another.
#![forbid(unsafe_code)]

/// The doorbells of a machine's devices.
pub trait Doorbells: Send + Sync {
    /// Waits until the driver rang for `queue` of `device` after `seen`; returns the new
    /// count, or `None` when the machine has ended or there is no such device.
    fn wait(&self, device: u32, queue: u16, seen: u32) -> Option<u32>;

    /// Tells the machine that a device has completed work.
    fn complete(&self, device: u32);
}
