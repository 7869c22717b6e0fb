//! Bits, exchanges with memory, what is locked, long products, and small things of the system.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};
use x86_semantics::CodeSize;

use super::super::arithmetic::{
    Adc, Add, And, Binary, Dec, Inc, Neg, Not, Or, Sbb, Sub, Unary, Xor,
};
use super::super::various::{
    self, Bit, Clear, Count, LeadingZeros, Look, Ones, ScanForward, ScanReverse, Set,
    TrailingZeros, Turn,
};
use super::super::width::{Absolute, Based, Byte, InFs, InGs, Indexed, Long, Quad, Scaled, Short};
use super::macros::{way, width, width_wide};
use super::operands::{Way, bytes, immediate, is_memory, memory, register};
use crate::blocks::{General, Op, Run};

/// What has no prefix that locks it.
pub(super) fn various<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    match instruction.mnemonic() {
        Mnemonic::Bt => bit::<Look>(op, instruction, size),
        Mnemonic::Bts => bit::<Set>(op, instruction, size),
        Mnemonic::Btr => bit::<Clear>(op, instruction, size),
        Mnemonic::Btc => bit::<Turn>(op, instruction, size),
        Mnemonic::Bsf => count::<ScanForward>(op, instruction),
        Mnemonic::Bsr => count::<ScanReverse>(op, instruction),
        Mnemonic::Tzcnt => count::<TrailingZeros>(op, instruction),
        Mnemonic::Lzcnt => count::<LeadingZeros>(op, instruction),
        Mnemonic::Popcnt => count::<Ones>(op, instruction),
        Mnemonic::Xadd | Mnemonic::Cmpxchg => exchange(op, instruction, size),
        Mnemonic::Bswap => {
            op.first = register(instruction, 0)?;
            width_wide!(
                instruction.op0_register().size(),
                |W| various::swap_bytes::<W>
            )
        }
        Mnemonic::Cwde => Some(various::widen::<Long, Short>),
        Mnemonic::Cdqe => Some(various::widen::<Quad, Long>),
        Mnemonic::Cdq => Some(various::spread::<Long>),
        Mnemonic::Cqo => Some(various::spread::<Quad>),
        Mnemonic::Mul => {
            op.first = register(instruction, 0)?;
            match instruction.op0_register().size() {
                4 => Some(various::multiply_long::<Long>),
                8 => Some(various::multiply_long::<Quad>),
                _ => None,
            }
        }
        Mnemonic::Div => {
            op.first = register(instruction, 0)?;
            match instruction.op0_register().size() {
                4 => Some(various::divide::<Long>),
                8 => Some(various::divide::<Quad>),
                _ => None,
            }
        }
        Mnemonic::Pushfq if size == CodeSize::Quad => Some(various::push_flags),
        Mnemonic::Cli => Some(various::clear_interrupts),
        _ => None,
    }
}

/// `TEST` of a second byte.
pub(super) fn test_high<'a>(op: &mut Op<'a>, instruction: &Instruction) -> Option<Run<'a>> {
    let high = [Register::AH, Register::CH, Register::DH, Register::BH];
    let at = high
        .iter()
        .position(|register| *register == instruction.op0_register())?;
    op.first = *General::ALL.get(at)?;
    op.wide = immediate(instruction, 1, 1)?;
    Some(various::test_high)
}

/// A segment's selector, to a register.
pub(super) fn selector<'a>(op: &mut Op<'a>, instruction: &Instruction) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    op.wide = instruction.op1_register().number() as u64;
    width_wide!(
        instruction.op0_register().size(),
        |W| various::selector::<W>
    )
}

/// `XCHG` with memory, which locks always.
pub(super) fn swap<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    op.first = register(instruction, 1)?;
    let way = memory(op, instruction, size, false)?;
    width!(bytes(instruction, 0), |W| way!(
        way,
        |A| various::exchange::<W, A>
    ))
}

fn bit<'a, T: Bit>(op: &mut Op<'a>, instruction: &Instruction, size: CodeSize) -> Option<Run<'a>> {
    let width = bytes(instruction, 0);
    let constant = immediate(instruction, 1, 1);
    if is_memory(instruction, 0) {
        // A register goes beyond the operand.
        op.value = constant? as i32;
        let way = memory(op, instruction, size, false)?;
        return width_wide!(width, |W| way!(way, |A| various::bit_memory::<T, W, A>));
    }
    op.first = register(instruction, 0)?;
    if let Some(constant) = constant {
        op.wide = constant;
        return width_wide!(width, |W| various::bit_constant::<T, W>);
    }
    op.second = register(instruction, 1)?;
    width_wide!(width, |W| various::bit_register::<T, W>)
}

fn count<'a, C: Count>(op: &mut Op<'a>, instruction: &Instruction) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    op.second = register(instruction, 1)?;
    width_wide!(bytes(instruction, 0), |W| various::count::<C, W>)
}

/// With memory, locked or not.
fn exchange<'a>(op: &mut Op<'a>, instruction: &Instruction, size: CodeSize) -> Option<Run<'a>> {
    if !is_memory(instruction, 0) {
        return None;
    }
    op.first = register(instruction, 1)?;
    let way = memory(op, instruction, size, false)?;
    let width = bytes(instruction, 0);
    if instruction.mnemonic() == Mnemonic::Xadd {
        return width!(width, |W| way!(way, |A| various::exchange_add::<W, A>));
    }
    width!(width, |W| way!(way, |A| various::compare_exchange::<W, A>))
}

/// What has one.
pub(super) fn locked<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    if instruction.code() == Code::INVALID || instruction.op0_kind() != OpKind::Memory {
        return None;
    }
    match instruction.mnemonic() {
        Mnemonic::Add => locked_binary::<Add>(op, instruction, size),
        Mnemonic::Adc => locked_binary::<Adc>(op, instruction, size),
        Mnemonic::Sub => locked_binary::<Sub>(op, instruction, size),
        Mnemonic::Sbb => locked_binary::<Sbb>(op, instruction, size),
        Mnemonic::And => locked_binary::<And>(op, instruction, size),
        Mnemonic::Or => locked_binary::<Or>(op, instruction, size),
        Mnemonic::Xor => locked_binary::<Xor>(op, instruction, size),
        Mnemonic::Inc => locked_unary::<Inc>(op, instruction, size),
        Mnemonic::Dec => locked_unary::<Dec>(op, instruction, size),
        Mnemonic::Neg => locked_unary::<Neg>(op, instruction, size),
        Mnemonic::Not => locked_unary::<Not>(op, instruction, size),
        Mnemonic::Bts => bit::<Set>(op, instruction, size),
        Mnemonic::Btr => bit::<Clear>(op, instruction, size),
        Mnemonic::Btc => bit::<Turn>(op, instruction, size),
        Mnemonic::Xadd | Mnemonic::Cmpxchg => exchange(op, instruction, size),
        Mnemonic::Xchg => swap(op, instruction, size),
        _ => None,
    }
}

fn locked_binary<'a, B: Binary>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let width = bytes(instruction, 0);
    if let Some(value) = immediate(instruction, 1, width) {
        op.value = value as i32;
        let way = memory(op, instruction, size, false)?;
        return width!(width, |W| way!(
            way,
            |A| various::locked_constant::<B, W, A>
        ));
    }
    op.first = register(instruction, 1)?;
    let way = memory(op, instruction, size, false)?;
    width!(width, |W| way!(
        way,
        |A| various::locked_register::<B, W, A>
    ))
}

fn locked_unary<'a, U: Unary>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let way = memory(op, instruction, size, false)?;
    width!(bytes(instruction, 0), |W| way!(way, |A| {
        various::locked_memory::<U, W, A>
    }))
}
