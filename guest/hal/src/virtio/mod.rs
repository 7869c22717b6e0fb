//! Virtio devices: finding them, setting them up, and their queues.
//!
//! A device is reached in one of three ways, which the driver does not know:
//!
//! * [`page`]: by a page of memory shared with a Husk monitor, known by its number;
//! * [`pci`]: as a function of the PCI bus (virtio 1.2, 4.1), found by looking;
//! * [`mmio`]: by registers (virtio 1.2, 4.2) at a place that the monitor tells.
//!
//! [`wire`] sets up, the same way for all; [`queue`] sends and waits, [`packets`] does not wait; [`buffer`] and [`memory`]
//! give the device addresses. Whatever a device says of itself is checked: one that is odd is
//! not found, or cannot be opened.

mod buffer;
mod memory;
mod mmio;
mod packets;
mod page;
mod pci;
mod queue;
mod wire;

pub use buffer::{Source, Target};
#[cfg(kernel_build)]
pub(crate) use mmio::acknowledge;
pub use mmio::announce;
pub use packets::{PacketReceiver, PacketSender};
pub use queue::{Queue, ReceiveQueue, RequestQueue};

use alloc::vec::Vec;
use core::fmt;

use guest_abi::device;

use crate::platform::lower;
use mmio::MmioTransport;
use page::PageTransport;
use pci::PciTransport;
use wire::{Wire, set_up};

/// A device page has no more queues than this.
pub const QUEUES_MAX: usize = device::QUEUES_MAX;
/// The number of network devices (virtio 1.2, 5.1).
pub const ID_NET: u32 = 1;
/// The number of console devices (virtio 1.2, 5.3).
pub const ID_CONSOLE: u32 = 3;
/// The number of file system devices (virtio 1.2, 5.11).
pub const ID_FS: u32 = device::DEVICE_ID_FS;

/// The device did not behave as virtio asks, or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceError;

/// A device that nobody uses yet.
pub struct Device(Kind);

enum Kind {
    Page(PageTransport),
    Pci(PciTransport),
    Mmio(MmioTransport),
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.id()).finish()
    }
}

/// What [`Device::open`] returns.
#[derive(Debug)]
pub struct Opened {
    /// Which of the wanted features the device has.
    pub features: u64,
    /// As many queues as were asked for, ready for use.
    pub queues: Vec<Queue>,
}

/// The device of a shared page.
#[must_use]
pub fn numbered(number: u32) -> Option<Device> {
    PageTransport::new(number).map(|page| Device(Kind::Page(page)))
}

/// The first device with a number of the standard that is `wanted`, of those that are found
/// on buses and have not been returned before.
#[must_use]
pub fn find(id: u32, wanted: &dyn Fn(&Device) -> bool) -> Option<Device> {
    let hardware = lower().hardware()?;
    let is_it = |kind| Some(Device(kind)).filter(|device| wanted(device));
    let by_pci = pci::find(hardware, id, &mut |pci| is_it(Kind::Pci(pci)));
    by_pci.or_else(|| mmio::find(hardware, id, &mut |mmio| is_it(Kind::Mmio(mmio))))
}

/// Sets the device of a shared page up with its first `count` queues.
///
/// # Errors
/// When there is no such device, or it does not offer so many queues.
pub fn open(number: u32, count: u16) -> Result<Vec<RequestQueue>, DeviceError> {
    let opened = numbered(number).ok_or(DeviceError)?.open(0, count)?;
    Ok(opened.queues.into_iter().map(RequestQueue::from).collect())
}

impl Device {
    /// Its number in the standard.
    #[must_use]
    pub fn id(&self) -> u32 {
        match &self.0 {
            Kind::Page(wire) => wire.id(),
            Kind::Pci(wire) => wire.id(),
            Kind::Mmio(wire) => wire.id(),
        }
    }

    /// Reads of its configuration, little-endian bytes.
    ///
    /// # Errors
    /// When it has no such bytes.
    pub fn configuration(&self, offset: usize, into: &mut [u8]) -> Result<(), DeviceError> {
        let read = match &self.0 {
            Kind::Page(wire) => wire.configuration(offset, into),
            Kind::Pci(wire) => wire.configuration(offset, into),
            Kind::Mmio(wire) => wire.configuration(offset, into),
        };
        read.ok_or(DeviceError)
    }

    /// Sets it up with its first `count` queues and those of the `wanted` features it has.
    ///
    /// # Errors
    /// When it does not offer so many queues, or does not behave.
    pub fn open(self, wanted: u64, count: u16) -> Result<Opened, DeviceError> {
        let (features, queues) = match self.0 {
            Kind::Page(mut wire) => set_up(&mut wire, wanted, count),
            Kind::Pci(mut wire) => {
                wire.prepare();
                set_up(&mut wire, wanted, count)
            }
            Kind::Mmio(mut wire) => {
                wire.prepare();
                set_up(&mut wire, wanted, count)
            }
        }?;
        Ok(Opened { features, queues })
    }
}
