//! Jumps, calls and returns to other segments and privilege levels, and tasks (SDM vol. 3, 5.8 and 7.3).

use iced_x86::{MemorySize, Mnemonic, OpKind, Register};
use x86_state::Segment;

use super::operand::size_of;
use super::stack::popped_flags;
use super::{Handler, Step};
use crate::cpu::CodeSize;
use crate::descriptor::{Gate, Rights, system};
use crate::processor::is_canonical;
use crate::tables::{Found, error_code, is_null, requested_level};
use crate::task::Reason;
use crate::{Exception, Size};

/// `NT`, `RF`, `VM`, `VIF` and `VIP`.
const NESTED_TASK: u64 = 1 << 14;
const RESUME: u64 = 1 << 16;
const VIRTUAL_8086: u64 = 1 << 17;
const VIRTUAL_INTERRUPTS: u64 = 3 << 19;
/// All flags that there are, and the one that is always set.
const KNOWN: u64 = 0x003f_7fd5;
const ALWAYS: u64 = 2;
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

/// Where a far jump or call goes.
struct Entry {
    code: Segment,
    offset: u64,
    /// What is pushed at a time.
    size: Size,
    /// Values that a gate has copied from the caller's stack.
    arguments: u64,
}

impl Entry {
    fn level(&self) -> u8 {
        requested_level(self.code.selector)
    }
}

/// To another task.
fn switch(
    step: &mut Step<'_>,
    selector: u16,
    found: Found,
    reason: Reason,
) -> Result<(), Exception> {
    let next = step.next;
    step.next = step.switch_task(selector, found, reason, next)?;
    Ok(())
}

/// Whether a selector is of the local table.
const fn is_local(selector: u16) -> bool {
    selector & 1 << 2 != 0
}

/// A far `JMP`.
pub(super) fn jump(step: &mut Step<'_>) -> Result<(), Exception> {
    match entry(step, false)? {
        Target::Code(entry) => enter(step, entry.code, entry.offset),
        Target::Task(selector, found) => switch(step, selector, found, Reason::Jump),
    }
}

/// A far `CALL`.
pub(super) fn call(step: &mut Step<'_>) -> Result<(), Exception> {
    let entry = match entry(step, true)? {
        Target::Code(entry) => entry,
        Target::Task(selector, found) => return switch(step, selector, found, Reason::Call),
    };
    check_offset(step, &entry.code, entry.offset)?;
    let (caller, back) = (step.selector(Register::CS)?, step.next);
    if step.cpu.is_protected() && entry.level() < step.cpu.level() {
        return call_inner(step, entry, caller, back);
    }
    let before = step.cpu.general[RSP];
    let pushed = step.push(entry.size, caller);
    let pushed = pushed.and_then(|()| step.push(entry.size, back));
    if pushed.is_err() {
        step.cpu.general[RSP] = before;
        return pushed;
    }
    enter(step, entry.code, entry.offset)
}

/// A call to an inner level, on its stack (SDM vol. 3, 5.8.5).
fn call_inner(step: &mut Step<'_>, entry: Entry, caller: u64, back: u64) -> Result<(), Exception> {
    let level = entry.level();
    let mut stack = if step.cpu.is_long() {
        step.inner_stack_long(level, 0)?
    } else {
        step.inner_stack(level, 0)?
    };
    let outer = [step.selector(Register::SS)?, step.cpu.general[RSP]];
    let mut pushed = outer.to_vec();
    for number in (0..entry.arguments).rev() {
        pushed.push(step.nth(entry.size, number)?);
    }
    pushed.extend([caller, back]);
    for value in pushed {
        stack.push(step.memory, entry.size, value)?;
    }
    step.cpu.segments.ss = stack.segment;
    step.cpu.general[RSP] = stack.pointer_over(step.cpu.general[RSP]);
    enter(step, entry.code, entry.offset)
}

/// Where a far jump or call leads.
enum Target {
    Code(Entry),
    /// To a task, by the selector of its state.
    Task(u16, Found),
}

/// Where a jump or call goes, directly or by a gate.
fn entry(step: &mut Step<'_>, is_call: bool) -> Result<Target, Exception> {
    let (selector, offset, size) = target(step)?;
    let direct = |code| {
        Target::Code(Entry {
            code,
            offset,
            size,
            arguments: 0,
        })
    };
    if !step.cpu.is_protected() {
        return step.paragraph(Register::CS, selector).map(direct);
    }
    let found = named(step, selector)?;
    let (rights, level) = (found.descriptor.rights(), step.cpu.level());
    if rights.is_system() {
        return by_gate(step, selector, found, is_call);
    }
    let is_allowed = if rights.is_conforming() {
        rights.level() <= level
    } else {
        requested_level(selector) <= level && rights.level() == level
    };
    loaded(step, found, selector & !3 | u16::from(level), is_allowed).map(direct)
}

/// Where a call gate leads (SDM vol. 3, 5.8.4).
fn by_gate(
    step: &mut Step<'_>,
    selector: u16,
    found: Found,
    is_call: bool,
) -> Result<Target, Exception> {
    let (rights, now) = (found.descriptor.rights(), step.cpu.level());
    let refused = Exception::Protection(error_code(selector));
    let is_long = step.cpu.is_long();
    let is_allowed = now.max(requested_level(selector)) <= rights.level();
    match rights.kind() {
        system::CALL_GATE if is_allowed => {}
        system::CALL_GATE_16 if is_allowed && !is_long => {}
        system::TASK_16 | system::TASK if is_allowed && !is_long && !is_local(selector) => {
            return Ok(Target::Task(selector, found));
        }
        system::TASK_GATE if is_allowed && !is_long => {
            if !rights.is_present() {
                return Err(Exception::NotPresent(error_code(selector)));
            }
            let selector = (found.descriptor.0 >> 16) as u16;
            return Ok(Target::Task(selector, step.task(selector, 0)?));
        }
        _ => return Err(refused),
    }
    let high = if is_long {
        step.second_half(selector, found)?.ok_or(refused)?
    } else {
        0
    };
    if !rights.is_present() {
        return Err(Exception::NotPresent(error_code(selector)));
    }
    let gate = Gate {
        low: found.descriptor.0,
        high,
    };
    let selector = gate.selector();
    let found = named(step, selector)?;
    let rights = found.descriptor.rights();
    let is_right = if is_call || rights.is_conforming() {
        rights.level() <= now
    } else {
        rights.level() == now
    };
    let is_allowed = is_right && (!is_long || rights.is_long());
    let level = if rights.is_conforming() {
        now
    } else {
        rights.level()
    };
    let code = loaded(step, found, selector & !3 | u16::from(level), is_allowed)?;
    Ok(Target::Code(Entry {
        code,
        offset: gate.offset(is_long),
        size: gate.size(is_long),
        arguments: if is_long { 0 } else { gate.arguments() },
    }))
}

/// The code segment of a return.
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
    loaded(step, found, selector, is_allowed)
}

fn named(step: &mut Step<'_>, selector: u16) -> Result<Found, Exception> {
    if is_null(selector) {
        return Err(Exception::Protection(0));
    }
    step.needed_descriptor(selector)
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
    if is_long(step, code) {
        demand(is_canonical(offset))
    } else {
        demand(offset <= code.limit.into())
    }
}

fn demand(holds: bool) -> Result<(), Exception> {
    if holds {
        Ok(())
    } else {
        Err(Exception::Protection(0))
    }
}

/// Whether code is 64-bit code.
fn is_long(step: &Step<'_>, code: &Segment) -> bool {
    step.cpu.is_long() && Rights(code.rights).is_long()
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
    let level = requested_level(selector);
    if step.cpu.is_protected() && level > step.cpu.level() {
        let bytes = u64::from(size.bytes());
        let pointer = step.above(size, 2 * bytes + more)?;
        let outer = step.above(size, 3 * bytes + more)? as u16;
        let is_long = step.cpu.is_long() && Rights(code.rights).is_long();
        let stack = step.stack_segment_at(outer, level, is_long)?;
        return enter_outer(step, code, offset, stack, pointer.wrapping_add(more));
    }
    // The stack is as wide as before the return.
    step.drop_top(taken);
    enter(step, code, offset)
}

/// Goes on at an outer level, on its stack.
fn enter_outer(
    step: &mut Step<'_>,
    code: Segment,
    offset: u64,
    stack: Segment,
    pointer: u64,
) -> Result<(), Exception> {
    let level = requested_level(code.selector);
    enter(step, code, offset)?;
    step.cpu.segments.ss = stack;
    step.set_stack(pointer);
    step.hide_segments(level);
    Ok(())
}

/// `IRET`. From 64-bit code it takes the stack, too.
fn return_from_interrupt(step: &mut Step<'_>) -> Result<(), Exception> {
    let size = match step.instruction.mnemonic() {
        Mnemonic::Iret => Size::Word,
        Mnemonic::Iretd => Size::Double,
        _ => Size::Quad,
    };
    let is_protected = step.cpu.is_protected();
    let is_virtual = step.virtual_interrupts(size)?;
    if is_protected && step.cpu.system_flags & NESTED_TASK != 0 {
        if step.cpu.is_long() {
            return Err(Exception::Protection(0));
        }
        let next = step.next;
        step.next = step.return_to_task(next)?;
        return Ok(());
    }
    let (offset, selector) = (step.nth(size, 0)?, step.nth(size, 1)? as u16);
    let flags = step.nth(size, 2)?;
    let is_system = is_protected && step.cpu.level() == 0;
    if is_system && !step.cpu.is_long() && size == Size::Double && flags & VIRTUAL_8086 != 0 {
        return return_to_8086(step, offset, selector, flags);
    }
    let code = code_to_return_to(step, selector)?;
    check_offset(step, &code, offset)?;
    let level = requested_level(selector);
    let from_long = step.cpu.code_size() == CodeSize::Quad;
    let is_outer = is_protected && level > step.cpu.level();
    let more = RESUME | if is_system { VIRTUAL_INTERRUPTS } else { 0 };
    if from_long || is_outer {
        let (pointer, outer) = (step.nth(size, 3)?, step.nth(size, 4)? as u16);
        let is_long = step.cpu.is_long() && Rights(code.rights).is_long();
        let stack = step.stack_segment_at(outer, level, is_long)?;
        popped_flags(step, size, flags, more);
        if is_outer {
            return enter_outer(step, code, offset, stack, pointer);
        }
        enter(step, code, offset)?;
        step.cpu.segments.ss = stack;
        step.set_stack(pointer);
        return Ok(());
    }
    if is_virtual {
        step.pop_virtual_flags(flags)?;
    } else {
        popped_flags(step, size, flags, more);
    }
    step.drop_top(3 * u64::from(size.bytes()));
    enter(step, code, offset)
}

/// Goes on in virtual-8086 mode (SDM vol. 3, 21.2.5).
fn return_to_8086(
    step: &mut Step<'_>,
    offset: u64,
    selector: u16,
    flags: u64,
) -> Result<(), Exception> {
    let names = [
        Register::SS,
        Register::ES,
        Register::DS,
        Register::FS,
        Register::GS,
    ];
    let pointer = step.nth(Size::Double, 3)?;
    let mut selectors = [0; 5];
    for (number, selector) in (4..).zip(&mut selectors) {
        *selector = step.nth(Size::Double, number)? as u16;
    }
    // More than the segment has is cut off (APM vol. 3, IRET).
    let offset = offset & 0xffff;
    step.cpu.set_rflags(flags & KNOWN | ALWAYS);
    for (name, selector) in names.into_iter().zip(selectors) {
        let segment = step.paragraph(name, selector)?;
        step.set_segment(name, segment);
    }
    step.cpu.general[RSP] = pointer;
    let code = step.paragraph(Register::CS, selector)?;
    enter(step, code, offset)
}
