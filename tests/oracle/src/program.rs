//! The registers of a program in Linux.

use host_processor::{Mode, Registers};
use x86_semantics::{Cpu, Flags};
use x86_state::{Control, Segment, Segments};

/// What its flags always have.
const FIXED: u64 = 0x202;
/// Rights of its flat segments.
const CODE_LONG: u16 = 0xa0fb;
const CODE_PROTECTED: u16 = 0xc0fb;
const DATA: u16 = 0xc0f3;
/// `CR0` with protection, paging and what Linux has.
const CR0: u64 = 0x8005_0033;
/// `EFER` with long mode, enabled and active.
const EFER: u64 = 0x500;

/// Registers as the bench gives them to code at `rip`.
pub fn program(mode: Mode, rip: u64, registers: &Registers) -> Cpu {
    let data = Segment {
        selector: 0x2b,
        base: 0,
        limit: u32::MAX,
        rights: DATA,
    };
    let (selector, rights) = match mode {
        Mode::Protected => (0x23, CODE_PROTECTED),
        Mode::Long => (0x33, CODE_LONG),
    };
    let code = Segment {
        selector,
        rights,
        ..data
    };
    let flags = registers.flags | FIXED;
    Cpu {
        general: registers.general,
        rip,
        flags: Flags::from_bits(flags),
        system_flags: flags & !Flags::MASK,
        segments: Segments {
            cs: code,
            ds: data,
            es: data,
            ss: data,
            ..Segments::default()
        },
        control: Control {
            cr0: CR0,
            efer: EFER,
            ..Control::default()
        },
        ..Cpu::default()
    }
}
