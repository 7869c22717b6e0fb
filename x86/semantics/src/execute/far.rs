//! Jumps, calls and returns to another segment at the same privilege level (SDM vol. 3, 5.8).

use iced_x86::{MemorySize, Mnemonic, OpKind, Register};
use x86_state::Segment;

use super::operand::{is_canonical, size_of};
use super::stack::popped_flags;
use super::tables::{Found, error_code, is_null, requested_level};
use super::{Handler, Step};
use crate::cpu::CodeSize;
use crate::descriptor::Rights;
use crate::{Exception, Size};

/// `NT`, `RF`.
const NESTED_TASK: u64 = 1 << 14;
const RESUME: u64 = 1 << 16;
/// Stack pointer, in the order of encoding.
const RSP: usize = 4;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Retf => return_far,
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => return_from_interrupt,
        _ => return None,
    })
}

/// Whether a jump or call leads to another segment.
pub(super) fn is_far(step: &Step<'_>) -> bool {
    let instruction = step.instruction;
    let pointers = [
        MemorySize::SegPtr16,
        MemorySize::SegPtr32,
        MemorySize::SegPtr64,
    ];
    match instruction.op0_kind() {
        OpKind::FarBranch16 | OpKind::FarBranch32 => true,
        OpKind::Memory => pointers.contains(&instruction.memory_size()),
        _ => false,
    }
}

/// Where a far jump or call leads, and its operand size.
fn target(step: &mut Step<'_>) -> Result<(u16, u64, Size), Exception> {
    let instruction = step.instruction;
    Ok(match instruction.op0_kind() {
        OpKind::FarBranch16 => (
            instruction.far_branch_selector(),
            instruction.far_branch16().into(),
            Size::Word,
        ),
        OpKind::FarBranch32 => (
            instruction.far_branch_selector(),
            instruction.far_branch32().into(),
            Size::Double,
        ),
        _ => {
            let size = match instruction.memory_size() {
                MemorySize::SegPtr16 => Size::Word,
                MemorySize::SegPtr32 => Size::Double,
                _ => Size::Quad,
            };
            let (offset, selector) = step.far_pointer(0, size)?;
            (selector, offset, size)
        }
    })
}

/// A far `JMP`.
pub(super) fn jump(step: &mut Step<'_>) -> Result<(), Exception> {
    let (selector, offset, _) = target(step)?;
    let code = code_to_enter(step, selector)?;
    enter(step, code, offset)
}

/// A far `CALL`.
pub(super) fn call(step: &mut Step<'_>) -> Result<(), Exception> {
    let (selector, offset, size) = target(step)?;
    let code = code_to_enter(step, selector)?;
    check_offset(step, &code, offset)?;
    let before = step.cpu.general[RSP];
    let caller = step.selector(Register::CS)?;
    let pushed = step.push(size, caller);
    let pushed = pushed.and_then(|()| step.push(size, step.next));
    if pushed.is_err() {
        step.cpu.general[RSP] = before;
        return pushed;
    }
    enter(step, code, offset)
}

/// The code segment of a jump or call. Gates and tasks are not known here.
fn code_to_enter(step: &mut Step<'_>, selector: u16) -> Result<Segment, Exception> {
    if !step.cpu.is_protected() {
        return step.paragraph(Register::CS, selector);
    }
    let found = named(step, selector)?;
    let (rights, level) = (found.descriptor.rights(), step.cpu.level());
    if rights.is_system() {
        return Err(refuse_system(step, selector, rights));
    }
    let is_allowed = if rights.is_conforming() {
        rights.level() <= level
    } else {
        requested_level(selector) <= level && rights.level() == level
    };
    loaded(step, found, selector & !3 | u16::from(level), is_allowed)
}

/// The code segment of a return at the same level. Those to an outer one are not known here.
fn code_to_return_to(step: &mut Step<'_>, selector: u16) -> Result<Segment, Exception> {
    if !step.cpu.is_protected() {
        return step.paragraph(Register::CS, selector);
    }
    let found = named(step, selector)?;
    let rights = found.descriptor.rights();
    let (requested, level) = (requested_level(selector), step.cpu.level());
    let is_allowed = requested >= level
        && if rights.is_conforming() {
            rights.level() <= requested
        } else {
            rights.level() == requested
        };
    let segment = loaded(step, found, selector, is_allowed)?;
    if requested > level {
        return Err(Exception::InvalidOpcode);
    }
    Ok(segment)
}

fn named(step: &mut Step<'_>, selector: u16) -> Result<Found, Exception> {
    if is_null(selector) {
        return Err(Exception::Protection(0));
    }
    step.needed_descriptor(selector)
}

/// What a gate or a task says to who may not use it. Who may finds that they are not known here.
fn refuse_system(step: &Step<'_>, selector: u16, rights: Rights) -> Exception {
    use crate::descriptor::system;
    let is_gate_or_task = match rights.kind() {
        system::CALL_GATE => true,
        system::TASK_16 | system::CALL_GATE_16 | system::TASK_GATE | system::TASK => {
            !step.cpu.is_long()
        }
        _ => false,
    };
    let level = step.cpu.level().max(requested_level(selector));
    if is_gate_or_task && level <= rights.level() {
        Exception::InvalidOpcode
    } else {
        Exception::Protection(error_code(selector))
    }
}

/// What `CS` has with a descriptor, if it is code that may be entered.
fn loaded(
    step: &mut Step<'_>,
    mut found: Found,
    selector: u16,
    is_allowed: bool,
) -> Result<Segment, Exception> {
    let (rights, code) = (found.descriptor.rights(), error_code(selector));
    let is_mixed = step.cpu.is_long() && rights.is_long() && rights.is_big();
    if !rights.is_code() || !is_allowed || is_mixed {
        return Err(Exception::Protection(code));
    }
    if !rights.is_present() {
        return Err(Exception::NotPresent(code));
    }
    step.mark(&mut found)?;
    Ok(found.descriptor.segment(selector))
}

/// Whether there can be code at an offset of a segment.
fn check_offset(step: &Step<'_>, code: &Segment, offset: u64) -> Result<(), Exception> {
    let is_there = if step.cpu.is_long() && Rights(code.rights).is_long() {
        is_canonical(offset)
    } else {
        offset <= code.limit.into()
    };
    if is_there {
        Ok(())
    } else {
        Err(Exception::Protection(0))
    }
}

fn enter(step: &mut Step<'_>, code: Segment, offset: u64) -> Result<(), Exception> {
    check_offset(step, &code, offset)?;
    step.cpu.segments.cs = code;
    step.next = offset;
    Ok(())
}

/// `RETF`, with bytes of arguments to be dropped.
fn return_far(step: &mut Step<'_>) -> Result<(), Exception> {
    let taken = step.instruction.stack_pointer_increment() as u64;
    let more = match step.instruction.op_count() {
        0 => 0,
        _ => u64::from(step.instruction.immediate16()),
    };
    let size = size_of((taken - more) as usize / 2).ok_or(Exception::InvalidOpcode)?;
    let (offset, selector) = (step.nth(size, 0)?, step.nth(size, 1)? as u16);
    let code = code_to_return_to(step, selector)?;
    check_offset(step, &code, offset)?;
    // The stack is as wide as before the return.
    step.drop_top(taken);
    enter(step, code, offset)
}

/// `IRET`. From 64-bit code it takes the stack, too.
fn return_from_interrupt(step: &mut Step<'_>) -> Result<(), Exception> {
    let size = match step.instruction.mnemonic() {
        Mnemonic::Iret => Size::Word,
        Mnemonic::Iretd => Size::Double,
        _ => Size::Quad,
    };
    if step.cpu.is_virtual_8086() {
        // Only at I/O privilege level 3, or with extensions, which are not known here.
        return Err(Exception::Protection(0));
    }
    if step.cpu.is_protected() && step.cpu.system_flags & NESTED_TASK != 0 {
        return Err(if step.cpu.is_long() {
            Exception::Protection(0)
        } else {
            Exception::InvalidOpcode
        });
    }
    let (offset, selector) = (step.nth(size, 0)?, step.nth(size, 1)? as u16);
    let flags = step.nth(size, 2)?;
    let from_long = step.cpu.code_size() == CodeSize::Quad;
    let stack = if from_long {
        Some((step.nth(size, 3)?, step.nth(size, 4)? as u16))
    } else {
        None
    };
    let code = code_to_return_to(step, selector)?;
    check_offset(step, &code, offset)?;
    match stack {
        Some((pointer, selector)) => {
            let to_long = Rights(code.rights).is_long();
            let stack = step.stack_to_return_to(selector, code.selector, to_long)?;
            step.cpu.segments.cs = code;
            step.cpu.segments.ss = stack;
            step.set_stack(pointer);
        }
        None => step.drop_top(3 * u64::from(size.bytes())),
    }
    popped_flags(step, size, flags, RESUME);
    enter(step, code, offset)
}
