//! Registers as the contract has them, and back.

use x86_semantics::{Cpu, Flags, ModelSpecific};
use x86_state::{CpuState, Events, Exception, Segment, Segments, Table};
use x86_vector::Vectors;

use crate::memory_types::MemoryTypes;
use crate::registers::Registers;

/// Numbers of the model-specific registers that are shown, in ascending order, but for the machine's own.
const SHOWN: [u32; 10] = [
    0x174,
    0x175,
    0x176,
    0x277,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0102,
    0xc000_0103,
];
const APIC_BASE: u32 = 0x1b;
/// Page attributes after reset (SDM vol. 3, 11.12.4).
const PAT: u64 = 0x0007_0406_0007_0406;
/// `DR6` and `DR7`, and `CR0`: caches off, the extension type.
const DEBUG: [u64; 6] = [0, 0, 0, 0, 0xffff_0ff0, 0x400];
const CR0: u64 = 0x6000_0010;
/// Flag that is always set.
const FLAGS: u64 = 2;
/// In `EDX` after reset: the processor's version.
const VERSION: u64 = 0x0083_0f10;

/// What a virtual CPU is, with what waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) cpu: Cpu,
    pub(crate) vectors: Vectors,
    pub(crate) registers: Registers,
    pub(crate) waiting: Waiting,
}

/// What is on its way, or held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// A non-maskable interrupt.
    pub(crate) nmi: bool,
    /// They are held back until `iret`.
    pub(crate) nmi_masked: bool,
    /// It waits for another to start it.
    pub(crate) startup: bool,
    /// What the guest's debugger is told of after the next instruction, as `DR6` has it.
    pub(crate) held_back: u64,
    /// The last instruction loaded the stack segment.
    pub(crate) stack_was_loaded: bool,
    /// An exception that was raised but not delivered, elsewhere.
    pub(crate) exception: Option<Exception>,
    /// An interrupt likewise.
    pub(crate) interrupt: Option<u8>,
}

fn register(registers: &mut ModelSpecific, number: u32) -> Option<&mut u64> {
    Some(match number {
        0x174 => &mut registers.sysenter_cs,
        0x175 => &mut registers.sysenter_esp,
        0x176 => &mut registers.sysenter_eip,
        0x277 => &mut registers.pat,
        0xc000_0081 => &mut registers.star,
        0xc000_0082 => &mut registers.lstar,
        0xc000_0083 => &mut registers.cstar,
        0xc000_0084 => &mut registers.flag_mask,
        0xc000_0102 => &mut registers.kernel_gs_base,
        0xc000_0103 => &mut registers.tsc_aux,
        _ => return None,
    })
}

/// A segment of real mode.
const fn real(selector: u16, base: u64, rights: u16) -> Segment {
    Segment {
        selector,
        base,
        limit: 0xffff,
        rights,
    }
}

impl Whole {
    /// As after reset or INIT (SDM vol. 3, table 9-1).
    pub(crate) fn reset(is_first: bool) -> Self {
        let data = real(0, 0, 0x93);
        let table = Table {
            base: 0,
            limit: 0xffff,
        };
        let mut general = [0; 16];
        general[2] = VERSION;
        let mut cpu = Cpu {
            general,
            rip: 0xfff0,
            flags: Flags::from_bits(0),
            system_flags: FLAGS,
            segments: Segments {
                cs: real(0xf000, 0xffff_0000, 0x9b),
                ds: data,
                es: data,
                fs: data,
                gs: data,
                ss: data,
                tr: real(0, 0, 0x8b),
                ldt: real(0, 0, 0x82),
            },
            control: x86_state::Control {
                cr0: CR0,
                xcr0: 1,
                ..Default::default()
            },
            gdt: table,
            idt: table,
            debug: DEBUG,
            model_specific: ModelSpecific::default(),
            interrupt_shadow: false,
            halted: false,
            by_steps: false,
        };
        cpu.model_specific.pat = PAT;
        Self {
            cpu,
            vectors: Vectors::default(),
            registers: Registers::new(is_first),
            waiting: Waiting {
                startup: !is_first,
                ..Waiting::default()
            },
        }
    }

    /// For others to see.
    pub(crate) fn show(&self) -> CpuState {
        let mut registers = self.cpu.model_specific;
        let mut shown = vec![(APIC_BASE, self.registers.apic_base)];
        shown.extend(SHOWN.iter().filter_map(|number| {
            let value = register(&mut registers, *number)?;
            Some((*number, *value))
        }));
        let types = &self.registers.memory_types;
        shown.extend(
            MemoryTypes::numbers().filter_map(|number| Some((number, types.read(number)?))),
        );
        shown.sort_unstable();
        CpuState {
            general: self.cpu.general,
            rip: self.cpu.rip,
            rflags: self.cpu.rflags(),
            segments: self.cpu.segments,
            gdt: self.cpu.gdt,
            idt: self.cpu.idt,
            control: self.cpu.control,
            debug: self.cpu.debug,
            model_specific: shown,
            vector: self.vectors.to_xsave(),
            events: Events {
                exception: self.waiting.exception,
                interrupt: self.waiting.interrupt,
                nmi_pending: self.waiting.nmi,
                nmi_masked: self.waiting.nmi_masked,
                interrupt_shadow: self.cpu.interrupt_shadow,
                halted: self.cpu.halted,
                awaits_startup: self.waiting.startup,
            },
        }
    }

    /// Takes what others give. Registers that are not named stay.
    pub(crate) fn take(&mut self, state: &CpuState) {
        let cpu = &mut self.cpu;
        self.vectors = Vectors::from_xsave(&state.vector);
        cpu.general = state.general;
        cpu.rip = state.rip;
        cpu.set_rflags(state.rflags | FLAGS);
        cpu.segments = state.segments;
        (cpu.gdt, cpu.idt) = (state.gdt, state.idt);
        (cpu.control, cpu.debug) = (state.control, state.debug);
        for (number, value) in &state.model_specific {
            if *number == APIC_BASE {
                self.registers.apic_base = *value;
            } else if let Some(register) = register(&mut cpu.model_specific, *number) {
                *register = *value;
            } else {
                self.registers.memory_types.write(*number, *value);
            }
        }
        cpu.interrupt_shadow = state.events.interrupt_shadow;
        cpu.halted = state.events.halted;
        self.waiting = Waiting {
            nmi: state.events.nmi_pending,
            nmi_masked: state.events.nmi_masked,
            startup: state.events.awaits_startup,
            exception: state.events.exception,
            interrupt: state.events.interrupt,
            ..Waiting::default()
        };
    }
}
