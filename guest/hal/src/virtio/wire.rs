//! Setting a device up (virtio 1.2, 3.1.1), the same way whatever it is reached by.

use alloc::vec::Vec;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};
use zerocopy::{FromBytes, IntoBytes};

use super::DeviceError;
use super::queue::Queue;
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

/// Sets a device up with its first `count` queues and those of the `wanted` features that it
/// has; which features those are.
pub(super) fn set_up<W: Wire>(
    wire: &mut W,
    wanted: u64,
    count: u16,
) -> Result<(u64, Vec<Queue>), DeviceError> {
    wire.set_status(DeviceStatus::empty());
    wire.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let features = wire.read_device_features() & (wanted | VERSION_1 | ACCESS_PLATFORM);
    wire.write_driver_features(features);
    let agreed = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
    wire.set_status(agreed);
    let good = features & VERSION_1 != 0 && wire.get_status().contains(DeviceStatus::FEATURES_OK);
    let result = if good {
        (0..count).map(|index| queue(wire, index)).collect()
    } else {
        Err(DeviceError)
    };
    match result {
        Ok(queues) => {
            wire.finish_init();
            Ok((features, queues))
        }
        Err(error) => {
            wire.set_status(DeviceStatus::FAILED);
            Err(error)
        }
    }
}

fn queue<W: Wire>(wire: &mut W, index: u16) -> Result<Queue, DeviceError> {
    let queue = VirtQueue::new(wire, index, false, false).map_err(|_| DeviceError)?;
    let bell = wire.bell(index).ok_or(DeviceError)?;
    Ok(Queue::new(queue, bell, !wire.interrupts()))
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
