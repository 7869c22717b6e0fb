//! Sums, differences, logic, shifts and products.

use iced_x86::{Instruction, OpKind};
use x86_semantics::CodeSize;

use super::super::width::{Absolute, Based, Byte, InFs, InGs, Indexed, Long, Quad, Scaled, Short};
use super::super::{arithmetic, shifts};
use super::macros::{flags, way, width, width_wide};
use super::operands::{Way, bytes, immediate, is_memory, memory, register};
use crate::blocks::{Op, Run};

pub(super) fn binary<'a, B: arithmetic::Binary>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
    keeps: bool,
) -> Option<Run<'a>> {
    let width = bytes(instruction, 0);
    if let Some(value) = immediate(instruction, 1, width) {
        if is_memory(instruction, 0) {
            // As wide as 32 bits at most, whose sign is extended.
            op.value = value as i32;
            let way = memory(op, instruction, size, false)?;
            return width!(width, |W| way!(way, |A| arithmetic::constant_to_memory::<
                B,
                W,
                A,
            >));
        }
        op.wide = value;
        op.first = register(instruction, 0)?;
        return flags!(keeps, |F| width!(
            width,
            |W| arithmetic::constant::<B, W, F>
        ));
    }
    if is_memory(instruction, 0) {
        op.first = register(instruction, 1)?;
        let way = memory(op, instruction, size, false)?;
        return width!(width, |W| way!(way, |A| arithmetic::to_memory::<B, W, A>));
    }
    op.first = register(instruction, 0)?;
    if is_memory(instruction, 1) {
        let way = memory(op, instruction, size, false)?;
        return width!(width, |W| way!(way, |A| arithmetic::from_memory::<B, W, A>));
    }
    op.second = register(instruction, 1)?;
    flags!(keeps, |F| width!(
        width,
        |W| arithmetic::registers::<B, W, F>
    ))
}

pub(super) fn unary<'a, U: arithmetic::Unary>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
    keeps: bool,
) -> Option<Run<'a>> {
    let width = bytes(instruction, 0);
    if is_memory(instruction, 0) {
        let way = memory(op, instruction, size, false)?;
        return width!(width, |W| way!(way, |A| arithmetic::in_memory::<U, W, A>));
    }
    op.first = register(instruction, 0)?;
    flags!(keeps, |F| width!(
        width,
        |W| arithmetic::register::<U, W, F>
    ))
}

pub(super) fn shift<'a, S: shifts::Shift>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    keeps: bool,
) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    let width = bytes(instruction, 0);
    if instruction.op_kind(1) == OpKind::Register {
        return width!(width, |W| shifts::counted::<S, W>);
    }
    op.wide = immediate(instruction, 1, 1)?;
    flags!(keeps, |F| width!(width, |W| shifts::constant::<S, W, F>))
}

pub(super) fn multiply<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
    keeps: bool,
) -> Option<Run<'a>> {
    let width = bytes(instruction, 0);
    match instruction.op_count() {
        2 => {
            op.first = register(instruction, 0)?;
            if is_memory(instruction, 1) {
                let way = memory(op, instruction, size, false)?;
                return width_wide!(width, |W| way!(
                    way,
                    |A| arithmetic::multiply_memory::<W, A>
                ));
            }
            op.second = register(instruction, 1)?;
            flags!(keeps, |F| width_wide!(width, |W| arithmetic::multiply::<
                W,
                F,
            >))
        }
        3 => {
            op.first = register(instruction, 0)?;
            op.second = register(instruction, 1)?;
            op.wide = immediate(instruction, 2, width)?;
            flags!(keeps, |F| width_wide!(width, |W| {
                arithmetic::multiply_constant::<W, F>
            }))
        }
        _ => None,
    }
}
