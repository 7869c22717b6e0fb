//! Moves and the stack.

use iced_x86::{Code, Instruction, Mnemonic};
use x86_semantics::CodeSize;

use super::super::moves;
use super::super::width::{Absolute, Based, Byte, InFs, InGs, Indexed, Long, Quad, Scaled, Short};
use super::macros::{way, width, width_wide};
use super::operands::{Way, bytes, immediate, is_memory, memory, register};
use crate::blocks::{Op, Run};

pub(super) fn copy<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let width = bytes(instruction, 0);
    if let Some(value) = immediate(instruction, 1, width) {
        if is_memory(instruction, 0) {
            // As wide as 32 bits at most, whose sign is extended.
            op.value = value as i32;
            let way = memory(op, instruction, size, false)?;
            return width!(width, |W| way!(way, |A| moves::store_constant::<W, A>));
        }
        op.wide = value;
        op.first = register(instruction, 0)?;
        return width!(width, |W| moves::constant::<W>);
    }
    if is_memory(instruction, 0) {
        op.first = register(instruction, 1)?;
        let way = memory(op, instruction, size, false)?;
        return width!(width, |W| way!(way, |A| moves::store::<W, A>));
    }
    op.first = register(instruction, 0)?;
    if is_memory(instruction, 1) {
        let way = memory(op, instruction, size, false)?;
        return width!(width, |W| way!(way, |A| moves::load::<W, A>));
    }
    op.second = register(instruction, 1)?;
    width!(width, |W| moves::registers::<W>)
}

pub(super) fn extend<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let is_signed = instruction.mnemonic() != Mnemonic::Movzx;
    let (width, narrow) = (bytes(instruction, 0), bytes(instruction, 1));
    op.first = register(instruction, 0)?;
    if is_memory(instruction, 1) {
        let way = memory(op, instruction, size, false)?;
        return match (is_signed, narrow) {
            (false, 1) => width_wide!(width, |W| way!(way, |A| moves::zero_extend_memory::<
                W,
                Byte,
                A,
            >)),
            (false, 2) => width_wide!(width, |W| way!(way, |A| moves::zero_extend_memory::<
                W,
                Short,
                A,
            >)),
            (true, 1) => width_wide!(width, |W| way!(way, |A| moves::sign_extend_memory::<
                W,
                Byte,
                A,
            >)),
            (true, 2) => width_wide!(width, |W| way!(way, |A| moves::sign_extend_memory::<
                W,
                Short,
                A,
            >)),
            (true, 4) => width_wide!(width, |W| way!(way, |A| moves::sign_extend_memory::<
                W,
                Long,
                A,
            >)),
            _ => None,
        };
    }
    op.second = register(instruction, 1)?;
    match (is_signed, narrow) {
        (false, 1) => width_wide!(width, |W| moves::zero_extend::<W, Byte>),
        (false, 2) => width_wide!(width, |W| moves::zero_extend::<W, Short>),
        (true, 1) => width_wide!(width, |W| moves::sign_extend::<W, Byte>),
        (true, 2) => width_wide!(width, |W| moves::sign_extend::<W, Short>),
        (true, 4) => width_wide!(width, |W| moves::sign_extend::<W, Long>),
        _ => None,
    }
}

/// Whether an instruction uses the stack by as many bytes as its code has.
pub(super) fn stack<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let run: Run<'a> = match (instruction.code(), size) {
        (Code::Push_r64, CodeSize::Quad) => moves::push::<Quad> as Run<'_>,
        (Code::Push_r32, CodeSize::Double) => moves::push::<Long> as Run<'_>,
        (Code::Pop_r64, CodeSize::Quad) => moves::pop::<Quad> as Run<'_>,
        (Code::Pop_r32, CodeSize::Double) => moves::pop::<Long> as Run<'_>,
        (Code::Pushq_imm8 | Code::Pushq_imm32, CodeSize::Quad) => {
            op.wide = instruction.immediate(0);
            return Some(moves::push_constant::<Quad> as Run<'_>);
        }
        (Code::Pushd_imm8 | Code::Pushd_imm32, CodeSize::Double) => {
            op.wide = instruction.immediate(0) & 0xffff_ffff;
            return Some(moves::push_constant::<Long>);
        }
        (Code::Leaveq, CodeSize::Quad) => return Some(moves::leave::<Quad>),
        (Code::Leaved, CodeSize::Double) => return Some(moves::leave::<Long>),
        _ => return None,
    };
    op.first = register(instruction, 0)?;
    Some(run)
}
