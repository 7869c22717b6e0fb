//! virtio by registers at a known place (virtio 1.2, 4.2), version 2.
//!
//! Such devices cannot be looked for: the monitor writes their places on the kernel's command
//! line, and whoever reads that announces them here.

use alloc::vec::Vec;

use virtio_drivers::PhysAddr;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::wire::{Bell, Wire, device_type, read_value};
use crate::hardware::{Hardware, Registers};
use crate::sync::{Mutex, Once};

/// Registers (virtio 1.2, 4.2.2).
const MAGIC: usize = 0x00;
const VERSION: usize = 0x04;
const DEVICE_ID: usize = 0x08;
const FEATURES: usize = 0x10;
const FEATURES_SELECT: usize = 0x14;
const ACCEPTED: usize = 0x20;
const ACCEPTED_SELECT: usize = 0x24;
const QUEUE_SELECT: usize = 0x30;
const QUEUE_SIZE_MAX: usize = 0x34;
const QUEUE_SIZE: usize = 0x38;
const QUEUE_READY: usize = 0x44;
const QUEUE_NOTIFY: usize = 0x50;
const INTERRUPT: usize = 0x60;
const INTERRUPT_TAKEN: usize = 0x64;
const STATUS: usize = 0x70;
const QUEUE_DESCRIPTORS: usize = 0x80;
const QUEUE_DRIVER: usize = 0x90;
const QUEUE_DEVICE: usize = 0xa0;
const GENERATION: usize = 0xfc;
const CONFIGURATION: usize = 0x100;

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"virt");
const VERSION_VALUE: u32 = 2;
/// More registers than this no device has.
const LENGTH_MAX: u64 = 64 << 10;
/// Physical addresses have at most so many bits.
const ADDRESS_BITS: u32 = 52;
/// Most devices that interrupt.
const OPEN_MAX: usize = 32;

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: u64,
    length: u64,
    line: u32,
    taken: bool,
}

static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());
/// What the interrupt handler answers for.
static OPEN: [Once<Registers>; OPEN_MAX] = [const { Once::new() }; OPEN_MAX];

/// Makes a device known: `SIZE@ADDRESS:LINE`, as Linux' parameter `virtio_mmio.device` has it
/// (size and address may have a unit, a further `:ID` is of no account). Whether that was
/// understood.
pub fn announce(text: &[u8]) -> bool {
    let place = parse(text);
    PLACES.lock().extend(place);
    place.is_some()
}

fn parse(text: &[u8]) -> Option<Place> {
    let (length, rest) = number(text)?;
    let (start, rest) = number(rest.strip_prefix(b"@")?)?;
    let (line, rest) = number(rest.strip_prefix(b":")?)?;
    let known = rest.is_empty() || rest.starts_with(b":");
    let place = Place {
        start,
        length: length.min(LENGTH_MAX),
        line: u32::try_from(line).ok()?,
        taken: false,
    };
    let end = start.checked_add(length)?;
    let good = known && length > CONFIGURATION as u64 && end <= 1 << ADDRESS_BITS;
    good.then_some(place)
}

/// A number, decimal or hexadecimal, perhaps with a unit; and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        _ => (10, text),
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let count = digits
        .iter()
        .take_while(|byte| digit(byte).is_some())
        .count();
    let (digits, rest) = digits.split_at_checked(count).filter(|_| count > 0)?;
    let value = digits.iter().try_fold(0u64, |value, byte| {
        let shifted = value.checked_mul(u64::from(radix))?;
        shifted.checked_add(u64::from(digit(byte)?))
    })?;
    let (unit, rest) = match rest {
        [b'K' | b'k', rest @ ..] => (1 << 10, rest),
        [b'M' | b'm', rest @ ..] => (1 << 20, rest),
        [b'G' | b'g', rest @ ..] => (1 << 30, rest),
        _ => (1, rest),
    };
    Some((value.checked_mul(unit)?, rest))
}

/// The first announced device with that number that is `wanted`.
pub(super) fn find<T>(
    hardware: &'static dyn Hardware,
    id: u32,
    wanted: &mut dyn FnMut(MmioTransport) -> Option<T>,
) -> Option<T> {
    let places = PLACES.lock().clone();
    for (index, place) in places.iter().enumerate().filter(|(_, place)| !place.taken) {
        let device = MmioTransport::new(hardware, *place).filter(|device| device.id() == id);
        if let Some(found) = device.and_then(&mut *wanted) {
            if let Some(place) = PLACES.lock().get_mut(index) {
                place.taken = true;
            }
            return Some(found);
        }
    }
    None
}

/// Tells all devices that their interrupts have been taken; the one that interrupted among
/// them. What they did is seen after that.
pub(crate) fn acknowledge() {
    for registers in OPEN.iter().map_while(Once::get) {
        let reasons: u32 = registers.read(INTERRUPT);
        if reasons != 0 {
            registers.write(INTERRUPT_TAKEN, reasons);
        }
    }
}

/// A device with its registers.
pub(super) struct MmioTransport {
    hardware: &'static dyn Hardware,
    registers: Registers,
    line: u32,
    interrupts: bool,
}

impl MmioTransport {
    fn new(hardware: &'static dyn Hardware, place: Place) -> Option<Self> {
        let registers = hardware.map_registers(place.start, place.length)?;
        let is_virtio = registers.read::<u32>(MAGIC) == MAGIC_VALUE
            && registers.read::<u32>(VERSION) == VERSION_VALUE;
        is_virtio.then_some(Self {
            hardware,
            registers,
            line: place.line,
            interrupts: false,
        })
    }

    /// Lets the device interrupt, if that is possible.
    pub(super) fn prepare(&mut self) {
        let whole = self.registers.part(0, self.registers.len());
        let slot = OPEN.iter().find(|slot| !slot.is_completed());
        if let (Some(whole), Some(slot)) = (whole, slot) {
            slot.call_once(|| whole);
            self.interrupts = self.hardware.connect_line(self.line);
        }
    }

    fn select(&self, queue: u16) {
        self.registers.write(QUEUE_SELECT, u32::from(queue));
    }
}

impl Wire for MmioTransport {
    fn id(&self) -> u32 {
        self.registers.read(DEVICE_ID)
    }

    fn bell(&mut self, queue: u16) -> Option<Bell> {
        Some(Bell::Word(self.registers.part(QUEUE_NOTIFY, 4)?, queue))
    }

    fn interrupts(&self) -> bool {
        self.interrupts
    }

    fn configuration(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        let offset = offset.checked_add(CONFIGURATION)?;
        self.registers.read_bytes(offset, into)
    }
}

impl Transport for MmioTransport {
    fn device_type(&self) -> DeviceType {
        device_type(self.id())
    }

    fn read_device_features(&mut self) -> u64 {
        self.registers.write(FEATURES_SELECT, 0u32);
        let low: u32 = self.registers.read(FEATURES);
        self.registers.write(FEATURES_SELECT, 1u32);
        let high: u32 = self.registers.read(FEATURES);
        u64::from(low) | u64::from(high) << 32
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.registers.write(ACCEPTED_SELECT, 0u32);
        self.registers.write(ACCEPTED, driver_features as u32);
        self.registers.write(ACCEPTED_SELECT, 1u32);
        self.registers
            .write(ACCEPTED, (driver_features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.registers.read(QUEUE_SIZE_MAX)
    }

    fn notify(&mut self, queue: u16) {
        self.registers.write(QUEUE_NOTIFY, u32::from(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.registers.read(STATUS))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.registers.write(STATUS, status.bits());
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        desc: PhysAddr,
        avail: PhysAddr,
        used: PhysAddr,
    ) {
        self.select(queue);
        self.registers.write(QUEUE_SIZE, size);
        self.registers.write_halves(QUEUE_DESCRIPTORS, desc);
        self.registers.write_halves(QUEUE_DRIVER, avail);
        self.registers.write_halves(QUEUE_DEVICE, used);
        self.registers.write(QUEUE_READY, 1u32);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.select(queue);
        self.registers.write(QUEUE_READY, 0u32);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.registers.read::<u32>(QUEUE_READY) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // The interrupt handler has done that.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.registers.read(GENERATION)
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        read_value(self, offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::fake::{Fake, registers, same};

    #[test]
    fn places_are_read_as_linux_reads_them() {
        let check = |text: &str, expected: Option<(u64, u64, u32)>| {
            let place = parse(text.as_bytes());
            let place = place.map(|place| (place.length, place.start, place.line));
            assert_eq!(place, expected, "{text}");
        };
        check("512@0xfeb00e00:12", Some((512, 0xfeb0_0e00, 12)));
        check("4K@0xd0000000:5", Some((4096, 0xd000_0000, 5)));
        check("0x1000@3M:7:2", Some((4096, 3 << 20, 7)));
        for odd in [
            "",
            "@",
            "4K",
            "4K@",
            "4K@1:",
            "4K@0x:1",
            "4K@1:1x",
            "16@0x1000:1",
            "4K@0xffffffffffffffff:1",
            "4K@99999999999999999999:1",
            "4K@1:99999999999",
            "17179869184G@0:1",
        ] {
            check(odd, None);
        }
    }

    #[test]
    fn only_version_2_is_a_device() {
        let fake = Fake::leaked();
        let all = registers(0x200);
        fake.memory.lock().unwrap().push((0x1000, same(&all)));
        let place = Place {
            start: 0x1000,
            length: 0x200,
            line: 5,
            taken: false,
        };
        assert!(MmioTransport::new(fake, place).is_none());
        all.write(MAGIC, MAGIC_VALUE);
        all.write(VERSION, 1u32);
        assert!(MmioTransport::new(fake, place).is_none());
        all.write(VERSION, 2u32);
        all.write(DEVICE_ID, 26u32);
        all.write(CONFIGURATION + 2, b'x');
        let mut device = MmioTransport::new(fake, place).unwrap();
        assert_eq!(device.id(), 26);
        let mut byte = [0];
        assert_eq!(device.configuration(2, &mut byte), Some(()));
        assert_eq!(&byte, b"x");
        assert_eq!(device.configuration(0x100, &mut byte), None);
        assert_eq!(device.configuration(usize::MAX, &mut byte), None);
        device.prepare();
        assert!(device.interrupts());
        all.write(INTERRUPT, 1u32);
        acknowledge();
        assert_eq!(all.read::<u32>(INTERRUPT_TAKEN), 1);
    }
}
