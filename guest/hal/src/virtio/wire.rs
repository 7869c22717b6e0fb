//! Setting a device up (virtio 1.2, 3.1.1), the same way whatever it is reached by.

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};
use zerocopy::{FromBytes, IntoBytes};

use super::packets::PacketQueue;
use super::queue::Queue;
use super::ring::Ring;
use super::{DeviceError, EVENT_INDEX};
use crate::hardware::Registers;
use crate::platform;

/// `VIRTIO_F_VERSION_1`: the device is not of the old kind.
const VERSION_1: u64 = 1 << 32;
/// `VIRTIO_F_ACCESS_PLATFORM`: the device sees memory as the platform shows it, which here is
/// as it is. A device that offers it may refuse to work without.
const ACCESS_PLATFORM: u64 = 1 << 33;

/// What all transports have beside what the queues' mechanics ask of them.
pub(super) trait Wire: Transport {
    /// The device's number in the standard.
    fn id(&self) -> u32;

    /// How to tell the device that a queue has work; `None` when that lies nowhere.
    fn bell(&mut self, queue: u16) -> Option<Bell>;

    /// Whether the device interrupts; otherwise it must be looked at.
    fn interrupts(&self) -> bool;

    /// Bytes of the device's configuration; `None` if it has no such.
    fn configuration(&self, offset: usize, into: &mut [u8]) -> Option<()>;
}

/// What a driver rings when a queue has work.
#[derive(Debug)]
pub(super) enum Bell {
    /// The monitor's: device and queue.
    Page(u32, u16),
    /// A register that takes the queue's number as 16 bits.
    Half(Registers, u16),
    /// The same of 32 bits.
    Word(Registers, u16),
}

impl Bell {
    pub(super) fn ring(&self) {
        match self {
            Self::Page(device, queue) => platform().notify(*device, *queue),
            Self::Half(register, queue) => register.write(0, *queue),
            Self::Word(register, queue) => register.write(0, u32::from(*queue)),
        }
    }
}

/// Begins to set a device up: agrees on those of the `wanted` features that it has; which those
/// are.
pub(super) fn begin<W: Wire>(wire: &mut W, wanted: u64) -> Result<u64, DeviceError> {
    wire.set_status(DeviceStatus::empty());
    wire.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let features = wire.read_device_features() & (wanted | VERSION_1 | ACCESS_PLATFORM);
    wire.write_driver_features(features);
    let agreed = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
    wire.set_status(agreed);
    if features & VERSION_1 != 0 && wire.get_status().contains(DeviceStatus::FEATURES_OK) {
        Ok(features)
    } else {
        fail(wire);
        Err(DeviceError)
    }
}

/// Says that the driver gives up.
pub(super) fn fail<W: Wire>(wire: &mut W) {
    wire.set_status(DeviceStatus::FAILED);
}

/// A queue for requests, of a device that was begun and agreed on `features`.
pub(super) fn requests<W: Wire>(
    wire: &mut W,
    features: u64,
    index: u16,
) -> Result<Queue, DeviceError> {
    let event_index = features & EVENT_INDEX != 0;
    let queue = VirtQueue::new(wire, index, false, event_index).map_err(|_| DeviceError)?;
    let bell = wire.bell(index).ok_or(DeviceError)?;
    Ok(Queue::new(queue, bell, !wire.interrupts()))
}

/// A queue for packets, likewise, with as many descriptors as the device lets it have.
pub(super) fn packets<W: Wire>(
    wire: &mut W,
    features: u64,
    index: u16,
) -> Result<PacketQueue, DeviceError> {
    let most = wire.max_queue_size(index);
    if wire.queue_used(index) {
        return Err(DeviceError);
    }
    let ring = Ring::new(most, features & EVENT_INDEX != 0).ok_or(DeviceError)?;
    let [descriptors, driver, device] = ring.places();
    wire.queue_set(index, u32::from(ring.size()), descriptors, driver, device);
    let bell = wire.bell(index).ok_or(DeviceError)?;
    Ok(PacketQueue::new(ring, bell, !wire.interrupts()))
}

/// The crate's name for a device number; it must have one, and looks at none here.
pub(super) fn device_type(id: u32) -> DeviceType {
    DeviceType::try_from(id).unwrap_or(DeviceType::_9P)
}

/// A value of the device's configuration.
pub(super) fn read_value<T: FromBytes + IntoBytes>(
    wire: &impl Wire,
    offset: usize,
) -> virtio_drivers::Result<T> {
    let mut value = T::new_zeroed();
    let read = wire.configuration(offset, value.as_mut_bytes());
    read.ok_or(virtio_drivers::Error::ConfigSpaceTooSmall)?;
    Ok(value)
}
