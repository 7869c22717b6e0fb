//! Operands: which registers and constants, and how memory is addressed.

use iced_x86::{Instruction, OpKind, Register};
use x86_semantics::CodeSize;

use super::super::number;
use super::super::width::{NO_BASE, NO_INDEX, SCALE_SHIFT};
use crate::blocks::{General, Op};

/// How a memory operand is addressed.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Based,
    Indexed,
    Scaled,
    Absolute,
    InFs,
    InGs,
}

/// The register that an operand is.
pub(super) fn register(instruction: &Instruction, operand: u32) -> Option<General> {
    if instruction.op_kind(operand) != OpKind::Register {
        return None;
    }
    number(instruction.op_register(operand))
}

pub(super) fn is_memory(instruction: &Instruction, operand: u32) -> bool {
    instruction.op_kind(operand) == OpKind::Memory
}

/// Bytes of an operand that is a register or in memory.
pub(super) fn bytes(instruction: &Instruction, operand: u32) -> usize {
    match instruction.op_kind(operand) {
        OpKind::Register => instruction.op_register(operand).size(),
        _ => instruction.memory_size().size(),
    }
}

/// How the memory operand is addressed; its parts are put into the operation.
pub(super) fn memory(
    op: &mut Op<'_>,
    instruction: &Instruction,
    size: CodeSize,
    is_address_alone: bool,
) -> Option<Way> {
    let width = if size == CodeSize::Quad { 8 } else { 4 };
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    op.wide = instruction.memory_displacement64();
    let part = |register: Register| match register {
        Register::None => Some(None),
        _ if register.size() == width => number(register).map(Some),
        _ => None,
    };
    // It is in the displacement already.
    let base = if base == Register::RIP {
        Register::None
    } else {
        base
    };
    let places = (part(base)?, part(index)?);
    let scale = instruction.memory_index_scale().trailing_zeros() as u8;
    op.second = places.0.unwrap_or(General::Rax);
    op.index = places
        .1
        .map_or(NO_INDEX, |index| index as u8 | scale << SCALE_SHIFT);
    if places.0.is_none() {
        op.index |= NO_BASE;
    }
    let is_narrow = base == Register::None
        && index == Register::None
        && instruction.memory_displ_size() < width as u32
        && instruction.memory_base() != Register::RIP;
    if is_narrow && size == CodeSize::Quad && instruction.memory_displ_size() == 2 {
        return None;
    }
    match instruction.memory_segment() {
        _ if is_address_alone => {}
        Register::FS if size == CodeSize::Quad => return Some(Way::InFs),
        Register::GS if size == CodeSize::Quad => return Some(Way::InGs),
        Register::FS | Register::GS => return None,
        // Code cannot be written (SDM vol. 3, 3.4.5.1).
        Register::CS if size != CodeSize::Quad => return None,
        _ => {}
    }
    Some(match places {
        (None, None) => Way::Absolute,
        (None, _) => Way::Scaled,
        (_, None) => Way::Based,
        _ => Way::Indexed,
    })
}

/// An immediate of the width of the first operand.
pub(super) fn immediate(instruction: &Instruction, operand: u32, bytes: usize) -> Option<u64> {
    let is_immediate = matches!(
        instruction.op_kind(operand),
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    );
    let mask = u64::MAX >> (64 - 8 * bytes);
    is_immediate.then(|| instruction.immediate(operand) & mask)
}
