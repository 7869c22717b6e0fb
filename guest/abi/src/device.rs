//! The hypercall transport of virtio: one page of shared memory a device.
//!
//! The same content as virtio 1.2 section 4.2 (virtio over MMIO) without its
//! registers: what a driver would read from or write to a register is a field, so
//! setting a device up needs no exit. The driver fills in the queues, sets
//! `DRIVER_OK` and rings; the device copies the page once, checks it and starts.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Most queues of a device.
pub const QUEUES_MAX: usize = 4;
/// Bytes of configuration space.
pub const CONFIG_SIZE: usize = 256;
/// virtio device number of a file system (virtio 1.2, 5.11).
pub const DEVICE_ID_FS: u32 = 26;
/// Set in `status` when the driver is ready (virtio 1.2, 2.1).
pub const STATUS_DRIVER_OK: u32 = 4;

/// Where one virtqueue lies; guest-physical addresses (virtio 1.2, 2.7).
#[derive(Debug, Default)]
#[repr(C)]
pub struct QueueSlot {
    /// Number of descriptors, a power of two; zero: not in use.
    pub size: AtomicU32,
    /// Counts the driver's notifications; the device sleeps on it.
    pub bell: AtomicU32,
    /// One while the device sleeps and wants to be woken.
    pub asleep: AtomicU32,
    /// Not used.
    pub reserved: AtomicU32,
    /// Descriptor table.
    pub descriptors: AtomicU64,
    /// Driver area, the available ring.
    pub driver: AtomicU64,
    /// Device area, the used ring.
    pub device: AtomicU64,
}

/// One device.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct DevicePage {
    /// virtio device number; zero: no device here.
    pub device_id: AtomicU32,
    /// Largest number of descriptors of a queue.
    pub queue_size_max: AtomicU32,
    /// Offered features.
    pub device_features: AtomicU64,
    /// Accepted features, written by the driver.
    pub driver_features: AtomicU64,
    /// Device status, written by the driver.
    pub status: AtomicU32,
    /// Number of queues.
    pub queue_count: AtomicU32,
    /// The queues.
    pub queues: [QueueSlot; QUEUES_MAX],
    /// The device's configuration space in 32-bit words.
    pub config: [AtomicU32; CONFIG_SIZE / 4],
    /// Not zero: the device listens to the first queue's bell only, which is rung for all queues.
    pub one_bell: AtomicU32,
}

impl DevicePage {
    /// The bell to ring for a queue; `None` for one that no device has.
    #[must_use]
    pub fn bell_of(&self, queue: u16) -> Option<(u16, &QueueSlot)> {
        let is_one = self.one_bell.load(Ordering::Relaxed) != 0;
        let number = if is_one { 0 } else { queue };
        Some((number, self.queues.get(usize::from(number))?))
    }
}
