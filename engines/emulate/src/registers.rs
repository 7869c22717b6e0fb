//! Model-specific registers that are the machine's and not the instructions' (SDM vol. 4; AMD PPR 17h, 2.1.14).

use device_legacy::lapic::Deadline;

use crate::bus::Bus;
use crate::memory_types::MemoryTypes;
use crate::paravirtual_clock::{SYSTEM_TIME, WALL_CLOCK};

const TIME_STAMP: u32 = 0x10;
const APIC_BASE: u32 = 0x1b;
const DEADLINE: u32 = 0x6e0;
/// In `IA32_APIC_BASE`: the local APIC is on, the first processor; where it is.
const APIC_ON: u64 = 1 << 11;
const APIC_FIRST: u64 = 1 << 8;
const APIC_ADDRESS: u64 = 0x0000_00ff_ffff_f000;
/// After reset it is here.
const APIC_START: u64 = 0xfee0_0000;

/// Registers that read as this and whose writes change nothing: what systems look at to find out about a
/// processor's age and errors.
const CONSTANT: [(u32, u64); 12] = [
    // Microcode's revision; machine checks: none are reported; last branches.
    (0x8b, 0x0830_1055),
    (0x179, 0),
    (0x17a, 0),
    (0x1d9, 0),
    (0x1db, 0),
    (0x1dc, 0),
    // AMD's: system and hardware configuration, north bridge, power, and that `LFENCE` waits.
    (0xc001_0010, 0),
    (0xc001_0015, 1 << 24),
    (0xc001_001f, 0),
    (0xc001_0055, 0),
    (0xc001_0140, 0),
    (0xc001_1029, 2),
];

/// Those that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) apic_base: u64,
    /// What is added to the machine's time stamp.
    pub(crate) time_offset: u64,
    pub(crate) memory_types: MemoryTypes,
}

impl Registers {
    /// As after reset, of the first virtual CPU or another.
    pub(crate) const fn new(is_first: bool) -> Self {
        let first = if is_first { APIC_FIRST } else { 0 };
        Self {
            apic_base: APIC_START | APIC_ON | first,
            time_offset: 0,
            memory_types: MemoryTypes::new(),
        }
    }
}

impl Bus<'_> {
    pub(crate) fn read_register(&mut self, number: u32) -> Option<u64> {
        match number {
            TIME_STAMP => Some(self.stamp()),
            APIC_BASE => Some(self.registers.apic_base),
            // What was written is nobody's to be read.
            SYSTEM_TIME | WALL_CLOCK if !self.is_over_xen() => Some(0),
            DEADLINE => self
                .shared
                .controllers
                .with_local(self.vcpu, |apic| apic.deadline()),
            _ => constant(number)
                .or_else(|| self.registers.memory_types.read(number))
                .or_else(|| self.read_xen_register(number)),
        }
    }

    pub(crate) fn write_register(&mut self, number: u32, value: u64) -> bool {
        match number {
            TIME_STAMP => {
                let offset = value.wrapping_sub(self.machine_stamp());
                self.registers.time_offset = offset;
                self.retell_time();
                true
            }
            APIC_BASE => self.write_apic_base(value),
            SYSTEM_TIME if !self.is_over_xen() => self.write_system_time(value),
            WALL_CLOCK if !self.is_over_xen() => self.write_wall_clock(value),
            DEADLINE => {
                self.write_deadline(value);
                true
            }
            _ => {
                constant(number).is_some()
                    || self.registers.memory_types.write(number, value)
                    || self.write_xen_register(number, value)
            }
        }
    }

    /// The guest finds Xen below itself, and not KVM with its clock.
    const fn is_over_xen(&self) -> bool {
        self.shared.xen.is_some()
    }

    /// The virtual CPU's time stamp.
    pub(crate) fn stamp(&self) -> u64 {
        self.machine_stamp()
            .wrapping_add(self.registers.time_offset)
    }

    fn write_apic_base(&mut self, value: u64) -> bool {
        let first = self.registers.apic_base & APIC_FIRST;
        // There is no x2APIC, which would be bit 10.
        if value & !(APIC_ADDRESS | APIC_ON | APIC_FIRST) != 0 {
            return false;
        }
        self.registers.apic_base = value & !APIC_FIRST | first;
        let on = value & APIC_ON != 0;
        self.shared
            .controllers
            .with_local(self.vcpu, |apic| apic.set_on(on));
        self.forget_all();
        true
    }

    fn write_deadline(&mut self, tsc: u64) {
        let now = self.now();
        let ticks = tsc.saturating_sub(self.stamp());
        let at = machine_bus::Nanos(now.0.saturating_add(self.shared.nanos(ticks)));
        let deadline = (tsc != 0).then_some(Deadline { tsc, at });
        self.shared
            .controllers
            .write_deadline(self.vcpu, deadline, now);
    }
}

fn constant(number: u32) -> Option<u64> {
    let found = CONSTANT.iter().find(|(other, _)| *other == number);
    found.map(|(_, value)| *value)
}
