//! Segment registers: loading them, and asking what a selector would give.

use iced_x86::{Mnemonic, OpKind, Register};

use super::{Handler, Step, control_registers};
use crate::descriptor::{Descriptor, system};
use crate::tables::{is_null, requested_level};
use crate::{Exception, Size};

/// What `LAR` shows of a descriptor's upper half.
const SHOWN: u64 = 0x00ff_ff00;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Mov => copy,
        Mnemonic::Lds => |step| load_pointer(step, Register::DS),
        Mnemonic::Les => |step| load_pointer(step, Register::ES),
        Mnemonic::Lss => |step| load_pointer(step, Register::SS),
        Mnemonic::Lfs => |step| load_pointer(step, Register::FS),
        Mnemonic::Lgs => |step| load_pointer(step, Register::GS),
        Mnemonic::Lar => |step| show(step, has_rights, |descriptor| descriptor.0 >> 32 & SHOWN),
        Mnemonic::Lsl => |step| show(step, has_limit, |descriptor| descriptor.limit().into()),
        Mnemonic::Verr => |step| verify(step, |descriptor| descriptor.rights().is_readable()),
        Mnemonic::Verw => |step| verify(step, |descriptor| descriptor.rights().is_writable()),
        Mnemonic::Arpl => adjust_level,
        _ => return None,
    })
}

/// The segment register that an operand is.
fn segment_operand(step: &Step<'_>, operand: u32) -> Option<Register> {
    let instruction = step.instruction;
    let is_register = instruction.op_kind(operand) == OpKind::Register;
    let register = is_register.then(|| instruction.op_register(operand));
    register.filter(|register| register.is_segment_register())
}

/// `MOV`: between general registers, memory and immediates, or from and to a segment register.
fn copy(step: &mut Step<'_>) -> Result<(), Exception> {
    if control_registers::is_concerned(step) {
        return control_registers::copy(step);
    }
    if let Some(name) = segment_operand(step, 0) {
        if name == Register::CS {
            return Err(Exception::InvalidOpcode);
        }
        let selector = step.read(1)? as u16;
        return step.load_alone(name, selector);
    }
    let value = match segment_operand(step, 1) {
        Some(name) => step.selector(name)?,
        None => step.read(1)?,
    };
    step.write(0, value)
}

/// `LDS` and its like: the offset lies before the selector.
fn load_pointer(step: &mut Step<'_>, name: Register) -> Result<(), Exception> {
    let size = step.size(0);
    let (offset, selector) = step.far_pointer(1, size)?;
    step.load_segment(name, selector)?;
    step.write(0, offset)
}

impl Step<'_> {
    /// An offset and a selector behind it, in memory.
    pub(super) fn far_pointer(
        &mut self,
        operand: u32,
        size: Size,
    ) -> Result<(u64, u16), Exception> {
        let (offset, bytes) = (self.offset(operand)?, u64::from(size.bytes()));
        let name = self.memory_segment();
        let address = self.linear(name, offset, bytes, false)?;
        let behind = offset.wrapping_add(bytes) & self.address_mask();
        let behind = self.linear(name, behind, 2, false)?;
        let target = self.read_at(address, size, false)?;
        Ok((target, self.read_at(behind, Size::Word, false)? as u16))
    }
}

/// Whether `LAR` shows the rights of a descriptor of this kind.
fn has_rights(kind: u8, is_long: bool) -> bool {
    match kind {
        system::LDT | system::TASK | system::TASK_BUSY | system::CALL_GATE => true,
        system::TASK_16 | system::TASK_16_BUSY | system::CALL_GATE_16 | system::TASK_GATE => {
            !is_long
        }
        _ => false,
    }
}

/// Whether it has a limit, for `LSL`.
fn has_limit(kind: u8, is_long: bool) -> bool {
    match kind {
        system::LDT | system::TASK | system::TASK_BUSY => true,
        system::TASK_16 | system::TASK_16_BUSY => !is_long,
        _ => false,
    }
}

/// The descriptor that a selector names, if whoever uses it may know of it.
fn visible(step: &mut Step<'_>, selector: u16) -> Result<Option<Descriptor>, Exception> {
    if !step.cpu.is_protected() {
        return Err(Exception::InvalidOpcode);
    }
    if is_null(selector) {
        return Ok(None);
    }
    let level = step.cpu.level().max(requested_level(selector));
    let found = step.descriptor(selector)?.map(|found| found.descriptor);
    Ok(found.filter(|descriptor| {
        let rights = descriptor.rights();
        rights.is_conforming() || level <= rights.level()
    }))
}

/// `LAR` and `LSL`: the register changes only if there is something to show; `ZF` says so.
fn show(
    step: &mut Step<'_>,
    of_system: fn(u8, bool) -> bool,
    what: fn(Descriptor) -> u64,
) -> Result<(), Exception> {
    let selector = step.read(1)? as u16;
    let is_long = step.cpu.is_long();
    let shown = visible(step, selector)?.filter(|descriptor| {
        let rights = descriptor.rights();
        !rights.is_system() || of_system(rights.kind(), is_long)
    });
    if let Some(descriptor) = shown {
        step.write(0, what(descriptor))?;
    }
    step.cpu.flags = step.cpu.flags.with_zero(shown.is_some());
    Ok(())
}

/// `VERR` and `VERW`.
fn verify(step: &mut Step<'_>, is_right: fn(Descriptor) -> bool) -> Result<(), Exception> {
    let selector = step.read(0)? as u16;
    let found = visible(step, selector)?.is_some_and(is_right);
    step.cpu.flags = step.cpu.flags.with_zero(found);
    Ok(())
}

/// `ARPL`: a selector is to be used in the name of who passed it.
fn adjust_level(step: &mut Step<'_>) -> Result<(), Exception> {
    if !step.cpu.is_protected() {
        return Err(Exception::InvalidOpcode);
    }
    let (least, selector) = (step.read(1)? & 3, step.read(0)?);
    let raised = selector & 3 < least;
    // What stays as it is need not be writable.
    if raised {
        step.write(0, selector & !3 | least)?;
    }
    step.cpu.flags = step.cpu.flags.with_zero(raised);
    Ok(())
}
