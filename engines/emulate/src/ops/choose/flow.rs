//! Jumps, calls, returns, and what else is done on conditions.

use iced_x86::{Code, ConditionCode, Instruction, MemorySize, Mnemonic, OpKind};
use x86_semantics::CodeSize;

use super::super::arithmetic::{And, Cmp, Sub, Test};
use super::super::fused::{self, Decides};
use super::super::width::{Absolute, Based, Byte, InFs, InGs, Indexed, Long, Quad, Scaled, Short};
use super::super::{flow, moves};
use super::macros::{condition, way, width, width_wide};
use super::operands::{Way, bytes, is_memory, memory, register};
use crate::blocks::{Op, Run};

pub(super) fn flow_of<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let is_quad = size == CodeSize::Quad;
    let near = if is_quad {
        OpKind::NearBranch64
    } else {
        OpKind::NearBranch32
    };
    let mnemonic = instruction.mnemonic();
    if mnemonic == Mnemonic::Ret {
        op.wide = match instruction.op_count() {
            0 => 0,
            _ => instruction.immediate16().into(),
        };
        return match (instruction.code(), is_quad) {
            (Code::Retnq | Code::Retnq_imm16, true) => Some(flow::leave::<Quad>),
            (Code::Retnd | Code::Retnd_imm16, false) => Some(flow::leave::<Long>),
            _ => None,
        };
    }
    let is_call = mnemonic == Mnemonic::Call;
    if instruction.op0_kind() == near {
        op.wide = instruction.near_branch_target();
        return Some(match (is_call, is_quad) {
            (false, _) => flow::jump as Run<'_>,
            (true, true) => flow::call::<Quad> as Run<'_>,
            (true, false) => flow::call::<Long> as Run<'_>,
        });
    }
    let width = if is_quad { 8 } else { 4 };
    if let Some(register) = register(instruction, 0) {
        op.first = register;
        let is_right = instruction.op0_register().size() == width;
        return match (is_call, is_quad) {
            _ if !is_right => None,
            (false, true) => Some(flow::jump_register::<Quad>),
            (false, false) => Some(flow::jump_register::<Long>),
            (true, true) => Some(flow::call_register::<Quad>),
            (true, false) => Some(flow::call_register::<Long>),
        };
    }
    let is_near = matches!(
        (instruction.memory_size(), is_quad),
        (MemorySize::QwordOffset, true) | (MemorySize::DwordOffset, false)
    );
    if !is_memory(instruction, 0) || !is_near {
        return None;
    }
    let way = memory(op, instruction, size, false)?;
    Some(match (is_call, is_quad) {
        (false, true) => way!(way, |A| flow::jump_memory::<Quad, A> as Run<'_>),
        (false, false) => way!(way, |A| flow::jump_memory::<Long, A> as Run<'_>),
        (true, true) => way!(way, |A| flow::call_memory::<Quad, A> as Run<'_>),
        (true, false) => way!(way, |A| flow::call_memory::<Long, A> as Run<'_>),
    })
}

/// The number of the condition on which an instruction does what it does.
fn condition_number(instruction: &Instruction) -> Option<usize> {
    Some(match instruction.condition_code() {
        ConditionCode::None => return None,
        ConditionCode::o => 0,
        ConditionCode::no => 1,
        ConditionCode::b => 2,
        ConditionCode::ae => 3,
        ConditionCode::e => 4,
        ConditionCode::ne => 5,
        ConditionCode::be => 6,
        ConditionCode::a => 7,
        ConditionCode::s => 8,
        ConditionCode::ns => 9,
        ConditionCode::p => 10,
        ConditionCode::np => 11,
        ConditionCode::l => 12,
        ConditionCode::ge => 13,
        ConditionCode::le => 14,
        ConditionCode::g => 15,
    })
}

/// A comparison as the first operation of two, whose second jumps on its condition: the function of both.
pub(in crate::ops) fn fuse<'a>(first: &Instruction, jump: &Instruction) -> Option<Run<'a>> {
    let is_register = |operand| first.op_kind(operand) == OpKind::Register;
    let is_known = register(first, 0).is_some() && !is_memory(first, 1);
    if !jump.is_jcc_short_or_near() || !is_known {
        return None;
    }
    let number = condition_number(jump)?;
    let by_register = is_register(1);
    match first.mnemonic() {
        Mnemonic::Cmp => fused::<Cmp>(first, number, by_register),
        Mnemonic::Test => fused::<Test>(first, number, by_register),
        Mnemonic::Sub => fused::<Sub>(first, number, by_register),
        Mnemonic::And => fused::<And>(first, number, by_register),
        _ => None,
    }
}

fn fused<'a, B: Decides>(first: &Instruction, number: usize, by_register: bool) -> Option<Run<'a>> {
    let width = first.op0_register().size();
    if by_register {
        condition!(number, |C| width!(width, |W| fused::registers::<B, W, C>))
    } else {
        condition!(number, |C| width!(width, |W| fused::constant::<B, W, C>))
    }
}

/// Jumps, moves and bytes on conditions.
pub(super) fn on_condition<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    size: CodeSize,
) -> Option<Run<'a>> {
    let number = condition_number(instruction)?;
    let near = if size == CodeSize::Quad {
        OpKind::NearBranch64
    } else {
        OpKind::NearBranch32
    };
    if instruction.is_jcc_short_or_near() {
        if instruction.op0_kind() != near {
            return None;
        }
        op.wide = instruction.near_branch_target();
        return condition!(number, |C| Some(flow::jump_if::<C> as Run<'_>));
    }
    if instruction.op_count() == 1 {
        if is_memory(instruction, 0) {
            let way = memory(op, instruction, size, false)?;
            return condition!(number, |C| Some(way!(
                way,
                |A| moves::flag_to_memory::<C, A> as Run<'_>
            )));
        }
        op.first = register(instruction, 0)?;
        let is_byte = instruction.op0_register().size() == 1;
        return condition!(number, |C| is_byte.then_some(moves::flag::<C> as Run<'_>));
    }
    let is_move = instruction.op_count() == 2 && register(instruction, 0).is_some();
    if !is_move || !is_conditional_move(instruction) {
        return None;
    }
    op.first = register(instruction, 0)?;
    let width = bytes(instruction, 0);
    if is_memory(instruction, 1) {
        let way = memory(op, instruction, size, false)?;
        return condition!(number, |C| width_wide!(width, |W| way!(way, |A| {
            moves::conditional_load::<C, W, A>
        })));
    }
    op.second = register(instruction, 1)?;
    condition!(number, |C| width_wide!(
        width,
        |W| moves::conditional::<C, W>
    ))
}

/// Others have conditions, too: moves of vectors, loops.
pub(super) fn is_conditional_move(instruction: &Instruction) -> bool {
    let code = instruction.code() as u32;
    (Code::Cmovo_r16_rm16 as u32..=Code::Cmovg_r64_rm64 as u32).contains(&code)
}
