//! The fast ways into the system and back (APM vol. 2, 6.1; APM vol. 3, SYSCALL, SYSRET, SYSENTER, SYSEXIT).

use iced_x86::Mnemonic;
use x86_state::Segment;

use super::{Handler, Step};
use crate::Exception;
use crate::cpu::CodeSize;

/// `EFER.SCE`.
const CALLS: u64 = 1;
/// Flags: `IF`, `RF`, `VM`; those that there are, and the one that is always set.
const INTERRUPT: u64 = 1 << 9;
const RESUME: u64 = 1 << 16;
const VIRTUAL_8086: u64 = 1 << 17;
const KNOWN: u64 = 0x003f_7fd5;
const ALWAYS: u64 = 2;
/// Rights of flat segments, without their level.
const CODE: u16 = 0xc09b;
const CODE_LONG: u16 = 0xa09b;
const DATA: u16 = 0xc093;
/// Places of registers, in the order of encoding.
const RCX: usize = 1;
const RDX: usize = 2;
const RSP: usize = 4;
const R11: usize = 11;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Syscall => call,
        Mnemonic::Sysret | Mnemonic::Sysretq => leave,
        Mnemonic::Sysenter => enter,
        Mnemonic::Sysexit | Mnemonic::Sysexitq => exit,
        _ => return None,
    })
}

/// A segment of all that can be addressed.
const fn flat(selector: u64, rights: u16, level: u16) -> Segment {
    Segment {
        selector: selector as u16 & !3 | level,
        base: 0,
        limit: u32::MAX,
        rights: rights | level << 5,
    }
}

fn demand_calls(step: &Step<'_>) -> Result<(), Exception> {
    if step.cpu.control.efer & CALLS == 0 || !step.cpu.is_protected() {
        return Err(Exception::InvalidOpcode);
    }
    Ok(())
}

fn call(step: &mut Step<'_>) -> Result<(), Exception> {
    demand_calls(step)?;
    let registers = step.cpu.model_specific;
    let flags = step.cpu.rflags();
    let selector = registers.star >> 32;
    step.cpu.general[RCX] = step.next;
    let (rights, target, flags) = if step.cpu.is_long() {
        step.cpu.general[R11] = flags & !RESUME;
        let from_64 = step.cpu.code_size() == CodeSize::Quad;
        let target = if from_64 {
            registers.lstar
        } else {
            registers.cstar
        };
        (CODE_LONG, target, flags & !registers.flag_mask)
    } else {
        let target = registers.star & 0xffff_ffff;
        (CODE, target, flags & !(INTERRUPT | VIRTUAL_8086))
    };
    step.cpu.set_rflags(flags & !RESUME | ALWAYS);
    step.cpu.segments.cs = flat(selector, rights, 0);
    step.cpu.segments.ss = flat((selector & !3) + 8, DATA, 0);
    step.next = target;
    Ok(())
}

/// `SYSRET`. Of the stack segment it sets the selector alone.
fn leave(step: &mut Step<'_>) -> Result<(), Exception> {
    if step.cpu.control.efer & CALLS == 0 {
        return Err(Exception::InvalidOpcode);
    }
    if !step.cpu.is_protected() {
        return Err(Exception::Protection(0));
    }
    step.demand_system()?;
    let selector = step.cpu.model_specific.star >> 48;
    let flags = step.cpu.rflags();
    let target = step.cpu.general[RCX];
    let is_quad = step.instruction.mnemonic() == Mnemonic::Sysretq;
    let is_long = step.cpu.code_size() == CodeSize::Quad;
    step.cpu.segments.cs = if is_quad && is_long {
        flat(selector + 16, CODE_LONG, 3)
    } else {
        flat(selector, CODE, 3)
    };
    step.cpu.segments.ss.selector = (selector + 8) as u16 | 3;
    step.next = if is_quad && is_long {
        target
    } else {
        target & 0xffff_ffff
    };
    let flags = if is_long {
        step.cpu.general[R11] & KNOWN & !(RESUME | VIRTUAL_8086)
    } else {
        flags | INTERRUPT
    };
    step.cpu.set_rflags(flags | ALWAYS);
    Ok(())
}

/// `SYSENTER`, which there is outside of long mode only.
fn enter(step: &mut Step<'_>) -> Result<(), Exception> {
    if step.cpu.is_long() {
        return Err(Exception::InvalidOpcode);
    }
    let registers = step.cpu.model_specific;
    let selector = registers.sysenter_cs;
    if step.cpu.control.cr0 & 1 == 0 || selector & 0xfffc == 0 {
        return Err(Exception::Protection(0));
    }
    let flags = step.cpu.rflags() & !(INTERRUPT | VIRTUAL_8086 | RESUME);
    step.cpu.set_rflags(flags);
    step.cpu.segments.cs = flat(selector, CODE, 0);
    step.cpu.segments.ss = flat((selector & !3) + 8, DATA, 0);
    step.cpu.general[RSP] = registers.sysenter_esp & 0xffff_ffff;
    step.next = registers.sysenter_eip & 0xffff_ffff;
    Ok(())
}

fn exit(step: &mut Step<'_>) -> Result<(), Exception> {
    if step.cpu.is_long() {
        return Err(Exception::InvalidOpcode);
    }
    let selector = step.cpu.model_specific.sysenter_cs & !3;
    if !step.cpu.is_protected() || selector & 0xfffc == 0 {
        return Err(Exception::Protection(0));
    }
    step.demand_system()?;
    step.cpu.segments.cs = flat(selector + 16, CODE, 3);
    step.cpu.segments.ss = flat(selector + 24, DATA, 3);
    step.cpu.general[RSP] = step.cpu.general[RCX] & 0xffff_ffff;
    step.next = step.cpu.general[RDX] & 0xffff_ffff;
    Ok(())
}
