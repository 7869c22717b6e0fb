//! Where a virtio function has its registers (virtio 1.2, 4.1.4).

use super::function::{Bar, Function};

/// The vendor's own capability.
const VENDOR: u8 = 9;
/// Bytes of a virtio capability, and of the one that tells where to notify.
const LENGTH: u8 = 16;
const LENGTH_NOTIFY: u8 = 20;

const KIND_COMMON: u8 = 1;
const KIND_NOTIFY: u8 = 2;
const KIND_DEVICE: u8 = 4;

/// The vendor of all virtio functions.
const VIRTIO: u16 = 0x1af4;
/// Numbers of functions of the new kind begin here.
const NEW: u16 = 0x1040;

/// A range of physical addresses, inside a base address register's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// Where the registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) common: Region,
    pub(super) notify: Region,
    /// How far two queues' places are apart, in bytes for each unit.
    pub(super) multiplier: u32,
    /// The device's own configuration, if it has one.
    pub(super) device: Option<Region>,
}

/// The device's number in the standard, of a function that may have new registers.
pub(super) fn device_number(function: &Function) -> Option<u32> {
    match function.id() {
        (VIRTIO, id @ NEW..=0x107f) => Some(u32::from(id - NEW)),
        // The old numbers (virtio 1.2, 4.1.2.1).
        (VIRTIO, 0x1000) => Some(1),
        (VIRTIO, 0x1001) => Some(2),
        (VIRTIO, 0x1002) => Some(5),
        (VIRTIO, 0x1003) => Some(3),
        (VIRTIO, 0x1004) => Some(8),
        (VIRTIO, 0x1005) => Some(4),
        (VIRTIO, 0x1009) => Some(9),
        _ => None,
    }
}

/// A part of what a base address register shows; `None` if it is not inside.
pub(super) fn region(bars: &[Option<Bar>], bar: u8, offset: u32, length: u32) -> Option<Region> {
    let bar = (*bars.get(usize::from(bar))?)?;
    let end = u64::from(offset).checked_add(u64::from(length))?;
    let region = Region {
        start: bar.start.checked_add(u64::from(offset))?,
        length: u64::from(length),
    };
    (length > 0 && end <= bar.length).then_some(region)
}

/// Reads the function's capabilities; of each kind the first that can be used counts. `None`
/// without the registers that every device has.
pub(super) fn layout(function: &Function, bars: &[Option<Bar>]) -> Option<Layout> {
    let (mut common, mut notify, mut device) = (None, None, None);
    for (number, at) in function.capabilities() {
        let Some((kind, region)) = part(function, bars, number, at) else {
            continue;
        };
        match kind {
            KIND_COMMON => common = common.or(Some(region)),
            KIND_NOTIFY => notify = notify.or_else(|| notify_part(function, at, region)),
            KIND_DEVICE => device = device.or(Some(region)),
            _ => {}
        }
    }
    let (notify, multiplier) = notify?;
    Some(Layout {
        common: common?,
        notify,
        multiplier,
        device,
    })
}

/// Kind and place of what a capability describes.
fn part(function: &Function, bars: &[Option<Bar>], number: u8, at: u8) -> Option<(u8, Region)> {
    let fits = at.checked_add(LENGTH - 1).is_some();
    if number != VENDOR || !fits || function.read8(at + 2) < LENGTH {
        return None;
    }
    let (bar, offset) = (function.read8(at + 4), function.read32(at + 8));
    let region = region(bars, bar, offset, function.read32(at + 12))?;
    Some((function.read8(at + 3), region))
}

fn notify_part(function: &Function, at: u8, region: Region) -> Option<(Region, u32)> {
    let fits = at.checked_add(LENGTH_NOTIFY - 1).is_some();
    let long = fits && function.read8(at + 2) >= LENGTH_NOTIFY;
    long.then(|| (region, function.read32(at + 16)))
}
