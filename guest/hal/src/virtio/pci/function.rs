//! Functions of the PCI bus: configuration spaces, capabilities, base address registers.
//!
//! Everything here may have been made up by whoever built the machine: chains may have loops,
//! bridges may lead back.

use alloc::vec::Vec;

use crate::hardware::Hardware;

/// Registers of a configuration space (PCI Local Bus 3.0, chapter 6).
const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const STATUS: u8 = 0x06;
const HEADER_TYPE: u8 = 0x0e;
const BAR_0: u8 = 0x10;
const SECONDARY_BUS: u8 = 0x19;
const CAPABILITIES: u8 = 0x34;

pub(super) const COMMAND_PORTS: u16 = 1;
pub(super) const COMMAND_MEMORY: u16 = 1 << 1;
pub(super) const COMMAND_MASTER: u16 = 1 << 2;
pub(super) const COMMAND_NO_LINE: u16 = 1 << 10;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const HEADER_MULTIFUNCTION: u8 = 0x80;
const HEADER_BRIDGE: u8 = 1;
const BAR_PORTS: u32 = 1;
const BAR_WIDE: u32 = 2 << 1;
const BAR_KIND: u32 = 3 << 1;
const BAR_FLAGS: u32 = 0xf;

/// First byte of a configuration space that a capability may have.
const FIRST_CAPABILITY: u8 = 0x40;
/// So many capabilities of four bytes fit.
const CAPABILITIES_MAX: usize = 48;
/// Base address registers of a function that is no bridge.
const BARS: usize = 6;
/// Physical addresses have at most so many bits.
const ADDRESS_BITS: u32 = 52;

/// A function, by its place.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) hardware: &'static dyn Hardware,
    /// Bus (8 bits), device (5), function (3).
    pub(super) place: u16,
}

/// Where a base address register shows memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Function {
    pub(super) fn read32(&self, register: u8) -> u32 {
        self.hardware
            .read_configuration(self.place, register & 0xfc)
    }

    pub(super) fn read16(&self, register: u8) -> u16 {
        (self.read32(register) >> (8 * u32::from(register & 2))) as u16
    }

    pub(super) fn read8(&self, register: u8) -> u8 {
        (self.read32(register) >> (8 * u32::from(register & 3))) as u8
    }

    fn write32(&self, register: u8, value: u32) {
        self.hardware
            .write_configuration(self.place, register & 0xfc, value);
    }

    /// Writes one half of a register, which keeps the other.
    pub(super) fn write16(&self, register: u8, value: u16) {
        let shift = 8 * u32::from(register & 2);
        let kept = self.read32(register) & !(0xffff << shift);
        self.write32(register, kept | u32::from(value) << shift);
    }

    fn exists(&self) -> bool {
        self.read16(ID) != 0xffff
    }

    /// Vendor and device.
    pub(super) fn id(&self) -> (u16, u16) {
        (self.read16(ID), self.read16(ID + 2))
    }

    pub(super) fn command(&self) -> u16 {
        self.read16(COMMAND)
    }

    /// Sets the command register. The status beside it is left alone: its bits are cleared by
    /// writing ones.
    pub(super) fn set_command(&self, command: u16) {
        self.write32(COMMAND, u32::from(command));
    }

    fn is_multifunction(&self) -> bool {
        self.read8(HEADER_TYPE) & HEADER_MULTIFUNCTION != 0
    }

    fn secondary_bus(&self) -> Option<u8> {
        let kind = self.read8(HEADER_TYPE) & !HEADER_MULTIFUNCTION;
        (kind == HEADER_BRIDGE).then(|| self.read8(SECONDARY_BUS))
    }

    /// Capabilities: number and where each begins.
    pub(super) fn capabilities(&self) -> impl Iterator<Item = (u8, u8)> + use<> {
        let function = *self;
        let has = function.read16(STATUS) & STATUS_CAPABILITIES != 0;
        let mut next = if has { function.read8(CAPABILITIES) } else { 0 };
        let step = move || {
            let at = next & !3;
            if at < FIRST_CAPABILITY {
                return None;
            }
            next = function.read8(at + 1);
            Some((function.read8(at), at))
        };
        core::iter::from_fn(step).take(CAPABILITIES_MAX)
    }

    /// What the base address registers show; a wide one takes its neighbour's place, too. None
    /// where there is no memory, or the firmware has given it no address.
    pub(super) fn bars(&self) -> [Option<Bar>; BARS] {
        let command = self.command();
        // What is being measured must not answer meanwhile.
        self.set_command(command & !(COMMAND_MEMORY | COMMAND_PORTS));
        let mut bars = [None; BARS];
        let mut index = 0;
        while let Some(bar) = bars.get_mut(index) {
            let register = BAR_0 + 4 * index as u8;
            let low = self.read32(register);
            let wide = low & (BAR_KIND | BAR_PORTS) == BAR_WIDE;
            if low & BAR_PORTS == 0 && (!wide || index + 1 < BARS) {
                *bar = self.measure(register, low, wide);
            }
            index += if wide { 2 } else { 1 };
        }
        self.set_command(command);
        bars
    }

    fn measure(&self, register: u8, low: u32, wide: bool) -> Option<Bar> {
        let mask = u64::from(self.writable(register, low) & !BAR_FLAGS);
        let (start, mask) = if wide {
            let high = self.read32(register + 4);
            let mask_high = self.writable(register + 4, high);
            let start = u64::from(low & !BAR_FLAGS) | u64::from(high) << 32;
            (start, mask | u64::from(mask_high) << 32)
        } else {
            (u64::from(low & !BAR_FLAGS), mask | 0xffff_ffff << 32)
        };
        let length = mask.wrapping_neg();
        let end = start.checked_add(length)?;
        let good = start != 0 && length.is_power_of_two() && end <= 1 << ADDRESS_BITS;
        good.then_some(Bar { start, length })
    }

    /// Which bits of a register that holds `value` can be set.
    fn writable(&self, register: u8, value: u32) -> u32 {
        self.write32(register, u32::MAX);
        let mask = self.read32(register);
        self.write32(register, value);
        mask
    }
}

/// All functions of the first bus and of those behind its bridges.
pub(super) fn functions(hardware: &'static dyn Hardware) -> Vec<Function> {
    let mut found = Vec::new();
    let mut seen = [false; 256];
    let mut buses = alloc::vec![0u8];
    while let Some(bus) = buses.pop() {
        let seen = seen.get_mut(usize::from(bus));
        if seen.is_some_and(|seen| !core::mem::replace(seen, true)) {
            let first = found.len();
            look_at_bus(hardware, bus, &mut found);
            let behind = found.iter().skip(first).filter_map(Function::secondary_bus);
            buses.extend(behind);
        }
    }
    found
}

fn look_at_bus(hardware: &'static dyn Hardware, bus: u8, found: &mut Vec<Function>) {
    let function = |device: u16, number| Function {
        hardware,
        place: u16::from(bus) << 8 | device << 3 | number,
    };
    for device in 0..32 {
        let first = function(device, 0);
        if !first.exists() {
            continue;
        }
        found.push(first);
        if first.is_multifunction() {
            let others = (1..8).map(|number| function(device, number));
            found.extend(others.filter(Function::exists));
        }
    }
}
