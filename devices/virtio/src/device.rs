//! The seam between a virtio device and the transport that shows it to a driver.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use machine_memory::GuestMemory;

use crate::queue::Virtqueue;

/// A device, whatever carries its registers.
///
/// The transport negotiates; the device says what it offers, is activated when the driver is
/// ready, and stopped at a reset. Between the two it works on threads of its own, so that a
/// notification costs the virtual CPU nothing but waking one.
pub trait VirtioDevice: Send {
    /// Its identity (virtio 1.2, chapter 5).
    fn id(&self) -> u32;

    /// The feature bits of its own that it offers; those of rings and transports are not its.
    fn features(&self) -> u64;

    /// The largest size of each queue: powers of two, at most 32768.
    fn queue_sizes(&self) -> Vec<u16>;

    /// Bytes of its configuration.
    fn config_size(&self) -> u32;

    /// Fills `data` with the configuration from `offset` on; what is past the end is zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Takes `data` for the configuration from `offset` on. Most cannot be written.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let _ = (offset, data);
    }

    /// Starts work. It was never active or has been stopped.
    ///
    /// # Errors
    /// When the host has no thread; the driver is told that the device needs a reset.
    fn activate(&mut self, activation: Activation) -> io::Result<()>;

    /// Stops work: requests that were taken are completed, no other is taken, and no
    /// thread is left. Does nothing when the device is not active.
    fn stop(&mut self);
}

/// What a device gets when its driver is ready.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The machine's memory.
    pub memory: GuestMemory,
    /// What was negotiated.
    pub features: u64,
    /// The queues; `None` for one that the driver does not use.
    pub queues: Vec<Option<Arc<Virtqueue>>>,
    /// How to tell the driver about anything but used buffers.
    pub signals: Arc<Signals>,
}

impl Activation {
    /// The queue of this number, if the driver uses it.
    #[must_use]
    pub fn queue(&self, number: usize) -> Option<Arc<Virtqueue>> {
        self.queues.get(number).cloned().flatten()
    }
}

/// How a transport interrupts. Called from the device's threads; must not wait for them.
pub trait Interrupt: Send + Sync {
    /// Buffers of a queue were used.
    fn queue(&self, queue: u16);

    /// The configuration or the device's status changed.
    fn config(&self);
}

/// What a device tells its driver.
pub struct Signals {
    interrupt: Box<dyn Interrupt>,
    generation: AtomicU32,
    needs_reset: AtomicBool,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs_reset = self.needs_reset();
        f.debug_struct("Signals")
            .field("needs_reset", &needs_reset)
            .finish_non_exhaustive()
    }
}

impl Signals {
    pub(crate) fn new(interrupt: Box<dyn Interrupt>) -> Self {
        Self {
            interrupt,
            generation: AtomicU32::new(0),
            needs_reset: AtomicBool::new(false),
        }
    }

    /// Buffers of a queue were used.
    pub(crate) fn used(&self, queue: u16) {
        self.interrupt.queue(queue);
    }

    /// The configuration has changed.
    pub fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.interrupt.config();
    }

    /// The device cannot go on (virtio 1.2, 2.1.2).
    pub fn need_reset(&self) {
        if !self.needs_reset.swap(true, Ordering::AcqRel) {
            self.interrupt.config();
        }
    }

    /// Whether the device cannot go on.
    pub fn needs_reset(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    pub(crate) fn set_needs_reset(&self, value: bool) {
        self.needs_reset.store(value, Ordering::Release);
    }

    /// How often the configuration has changed.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn set_generation(&self, value: u32) {
        self.generation.store(value, Ordering::Release);
    }
}

/// A device's configuration as bytes: fills `data` from `offset` on.
pub(crate) fn read_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = config.get(from..).unwrap_or_default();
    for (to, byte) in data.iter_mut().zip(rest) {
        *to = *byte;
    }
}
