//! What a virtio device's registers hold, as plain values.

/// A saved state in which the part cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state of virtio device: {reason}")]
pub struct StateError {
    /// What is wrong.
    pub reason: &'static str,
}

/// A queue as the driver set it up, and how far the device has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Descriptors; a power of two, at most what the device offers.
    pub size: u16,
    /// The driver says that it can be used.
    pub ready: bool,
    /// The descriptor table.
    pub descriptors: u64,
    /// The driver area: the available ring.
    pub driver: u64,
    /// The device area: the used ring.
    pub device: u64,
    /// The index of the next available chain.
    pub next_available: u16,
    /// The index of the next used chain.
    pub next_used: u16,
}

impl QueueState {
    pub(crate) fn new(size: u16) -> Self {
        Self {
            size,
            ready: false,
            descriptors: 0,
            driver: 0,
            device: 0,
            next_available: 0,
            next_used: 0,
        }
    }
}

/// The registers that all transports have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Which 32 bits of the offered features are shown.
    pub device_feature_select: u32,
    /// Which 32 bits of the accepted features are written.
    pub driver_feature_select: u32,
    /// What the driver accepts.
    pub driver_features: u64,
    /// Device status, without "needs reset".
    pub status: u8,
    /// The device cannot go on.
    pub needs_reset: bool,
    /// How often the configuration has changed.
    pub generation: u32,
    /// The queue that the queue registers are about.
    pub queue_select: u16,
    /// The queues.
    pub queues: Vec<QueueState>,
}
