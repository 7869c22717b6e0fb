//! Virtio devices: finding them, setting them up, and their queues.
//!
//! A device is reached in one of three ways, which the driver does not know:
//!
//! * [`page`]: by a page of memory shared with a Husk monitor, known by its number;
//! * [`pci`]: as a function of the PCI bus (virtio 1.2, 4.1), found by looking;
//! * [`mmio`]: by registers (virtio 1.2, 4.2) at a place that the monitor tells.
//!
//! [`wire`] sets up, the same way for all; [`queue`] sends and waits, [`packets`] does not wait and
//! keeps its [`ring`] itself; [`buffer`] and [`memory`] give the device addresses. Whatever a
//! device says of itself is checked: one that is odd is not found, or cannot be opened.

mod buffer;
mod memory;
mod mmio;
mod packets;
mod page;
mod pci;
mod queue;
mod ring;
#[cfg(test)]
mod tests;
mod wire;

pub use buffer::{Source, Target};
#[cfg(kernel_build)]
pub(crate) use mmio::acknowledge;
pub use mmio::announce;
pub use packets::{PacketQueue, PacketReceiver, PacketSender};
pub use queue::{Queue, ReceiveQueue, RequestQueue};

use alloc::vec::Vec;
use core::fmt;

use guest_abi::device;
use virtio_drivers::transport::Transport as _;

use crate::platform::lower;
use mmio::MmioTransport;
use page::PageTransport;
use pci::PciTransport;
use wire::Wire;

/// A device page has no more queues than this.
pub const QUEUES_MAX: usize = device::QUEUES_MAX;
/// The number of network devices (virtio 1.2, 5.1).
pub const ID_NET: u32 = 1;
/// The number of console devices (virtio 1.2, 5.3).
pub const ID_CONSOLE: u32 = 3;
/// The number of file system devices (virtio 1.2, 5.11).
pub const ID_FS: u32 = device::DEVICE_ID_FS;

/// `VIRTIO_F_EVENT_IDX`: each side says from which buffer on it wants to be told (virtio 1.2,
/// 2.7.7.1 and 2.7.10). A driver that wants it gets it for all its queues.
pub const EVENT_INDEX: u64 = 1 << 29;

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

/// The same for a device however it is reached.
macro_rules! each {
    ($kind:expr, $wire:ident => $what:expr) => {
        match $kind {
            Kind::Page($wire) => $what,
            Kind::Pci($wire) => $what,
            Kind::Mmio($wire) => $what,
        }
    };
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

/// A device that is being set up: features are agreed, queues are to be made. Until
/// [`SetUp::finish`] it does nothing; one that is dropped before is told that it failed.
#[derive(Debug)]
pub struct SetUp {
    device: Option<Device>,
    features: u64,
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
        each!(&self.0, wire => wire.id())
    }

    /// Reads of its configuration, little-endian bytes.
    ///
    /// # Errors
    /// When it has no such bytes.
    pub fn configuration(&self, offset: usize, into: &mut [u8]) -> Result<(), DeviceError> {
        let read = each!(&self.0, wire => wire.configuration(offset, into));
        read.ok_or(DeviceError)
    }

    /// Sets it up with its first `count` queues, for requests, and those of the `wanted` features
    /// it has.
    ///
    /// # Errors
    /// When it does not offer so many queues, or does not behave.
    pub fn open(self, wanted: u64, count: u16) -> Result<Opened, DeviceError> {
        let mut setup = self.begin(wanted)?;
        let queues = (0..count).map(|index| setup.requests(index));
        let queues = queues.collect::<Result<_, _>>()?;
        Ok(Opened {
            features: setup.finish(),
            queues,
        })
    }

    /// Begins to set it up, with those of the `wanted` features it has.
    ///
    /// # Errors
    /// When it does not behave.
    pub fn begin(mut self, wanted: u64) -> Result<SetUp, DeviceError> {
        match &mut self.0 {
            Kind::Page(_) => {}
            Kind::Pci(wire) => wire.prepare(),
            Kind::Mmio(wire) => wire.prepare(),
        }
        let features = each!(&mut self.0, wire => wire::begin(wire, wanted))?;
        Ok(SetUp {
            device: Some(self),
            features,
        })
    }
}

impl SetUp {
    /// Which of the wanted features the device has.
    #[must_use]
    pub const fn features(&self) -> u64 {
        self.features
    }

    /// Makes a queue for requests.
    ///
    /// # Errors
    /// When the device has no such queue, or it is in use.
    pub fn requests(&mut self, index: u16) -> Result<Queue, DeviceError> {
        let device = self.device.as_mut().ok_or(DeviceError)?;
        each!(&mut device.0, wire => wire::requests(wire, self.features, index))
    }

    /// Makes a queue for packets.
    ///
    /// # Errors
    /// When the device has no such queue, or it is in use.
    pub fn packets(&mut self, index: u16) -> Result<PacketQueue, DeviceError> {
        let device = self.device.as_mut().ok_or(DeviceError)?;
        each!(&mut device.0, wire => wire::packets(wire, self.features, index))
    }

    /// Lets the device work; the features it works with.
    pub fn finish(mut self) -> u64 {
        if let Some(mut device) = self.device.take() {
            each!(&mut device.0, wire => wire.finish_init());
        }
        self.features
    }
}

impl Drop for SetUp {
    fn drop(&mut self) {
        if let Some(device) = &mut self.device {
            each!(&mut device.0, wire => wire::fail(wire));
        }
    }
}
