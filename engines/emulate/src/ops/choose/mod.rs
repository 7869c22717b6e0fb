//! Which function does what an instruction says, where there is a quick one.

mod arithmetic;
mod flow;
mod macros;
mod moves;
mod operands;
mod scalars;
mod various;
mod vectors;

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use x86_semantics::CodeSize;

use self::arithmetic::{binary, multiply, shift, unary};
pub(super) use self::flow::fuse;
use self::flow::{flow_of, on_condition};
use self::macros::{way, width, width_wide};
use self::moves::{copy, extend, stack};
use self::operands::{Way, memory, register};
use super::arithmetic::{Adc, Add, And, Cmp, Dec, Inc, Neg, Not, Or, Sbb, Sub, Test, Xor};
use super::shifts::{Left, Right, RightSigned, RotateLeft, RotateRight};
use super::width::{Absolute, Based, Byte, InFs, InGs, Indexed, Long, Quad, Scaled, Short};
use super::{is_nothing, moves as quick, number, strings};
use crate::blocks::{Op, Run, Start};
use crate::mode::Mode;

/// Puts the quick function of an instruction into its operation, and what that needs; whether there is one. Without
/// `keeps`, nobody looks at its flags.
pub(super) fn choose(
    op: &mut Op<'_>,
    instruction: &Instruction,
    start: &Start,
    keeps: bool,
) -> bool {
    let is_plain = start.mode.is_flat
        && instruction.next_ip() <= start.mode.address_mask()
        && !instruction.has_lock_prefix()
        && !instruction.has_rep_prefix()
        && !instruction.has_repne_prefix();
    let is_locked = start.mode.is_flat
        && instruction.has_lock_prefix()
        && !instruction.has_rep_prefix()
        && !instruction.has_repne_prefix();
    let run = if is_locked {
        various::locked(op, instruction, start.mode.size)
    } else if is_plain {
        find(op, instruction, start.mode, keeps)
    } else {
        repeated(instruction, start)
    };
    if let Some(run) = run {
        op.run = run;
    }
    run.is_some()
}

/// Repeated moves and fills, whose pointers are as wide as the code's addresses.
fn repeated<'a>(instruction: &Instruction, start: &Start) -> Option<Run<'a>> {
    let wide = match start.mode.size {
        CodeSize::Quad => (OpKind::MemoryESRDI, OpKind::MemorySegRSI),
        _ => (OpKind::MemoryESEDI, OpKind::MemorySegESI),
    };
    let is_plain = start.mode.is_flat
        && instruction.has_rep_prefix()
        && instruction.op0_kind() == wide.0
        && instruction.op_count() == 2
        && !instruction.has_lock_prefix();
    if !is_plain {
        return None;
    }
    let width = instruction.memory_size().size();
    let is_elsewhere = matches!(instruction.memory_segment(), Register::FS | Register::GS);
    match instruction.mnemonic() {
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq
            if instruction.op1_kind() == wide.1 && !is_elsewhere =>
        {
            width!(width, |W| strings::move_up::<W>)
        }
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
            width!(width, |W| strings::fill_up::<W>)
        }
        _ => None,
    }
}

fn find<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    mode: Mode,
    keeps: bool,
) -> Option<Run<'a>> {
    let size = mode.size;
    if is_nothing(instruction) {
        return Some(quick::nothing);
    }
    match instruction.mnemonic() {
        Mnemonic::Add => binary::<Add>(op, instruction, size, keeps),
        Mnemonic::Adc => binary::<Adc>(op, instruction, size, keeps),
        Mnemonic::Sub => binary::<Sub>(op, instruction, size, keeps),
        Mnemonic::Sbb => binary::<Sbb>(op, instruction, size, keeps),
        Mnemonic::Cmp => binary::<Cmp>(op, instruction, size, keeps),
        Mnemonic::And => binary::<And>(op, instruction, size, keeps),
        Mnemonic::Or => binary::<Or>(op, instruction, size, keeps),
        Mnemonic::Xor => binary::<Xor>(op, instruction, size, keeps),
        Mnemonic::Test => binary::<Test>(op, instruction, size, keeps)
            .or_else(|| various::test_high(op, instruction)),
        Mnemonic::Inc => unary::<Inc>(op, instruction, size, keeps),
        Mnemonic::Dec => unary::<Dec>(op, instruction, size, keeps),
        Mnemonic::Neg => unary::<Neg>(op, instruction, size, keeps),
        Mnemonic::Not => unary::<Not>(op, instruction, size, keeps),
        Mnemonic::Shl | Mnemonic::Sal => shift::<Left>(op, instruction, keeps),
        Mnemonic::Shr => shift::<Right>(op, instruction, keeps),
        Mnemonic::Sar => shift::<RightSigned>(op, instruction, keeps),
        Mnemonic::Rol => shift::<RotateLeft>(op, instruction, keeps),
        Mnemonic::Ror => shift::<RotateRight>(op, instruction, keeps),
        Mnemonic::Imul => multiply(op, instruction, size, keeps),
        Mnemonic::Mov if instruction.op1_register().is_segment_register() => {
            various::selector(op, instruction)
        }
        Mnemonic::Mov => copy(op, instruction, size),
        Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => extend(op, instruction, size),
        Mnemonic::Lea => {
            let way = memory(op, instruction, size, true)?;
            op.first = number(instruction.op0_register())?;
            width_wide!(instruction.op0_register().size(), |W| way!(way, |A| {
                quick::address::<W, A>
            }))
        }
        Mnemonic::Xchg if instruction.op0_kind() == OpKind::Memory => {
            various::swap(op, instruction, size)
        }
        Mnemonic::Xchg => {
            op.first = register(instruction, 0)?;
            op.second = register(instruction, 1)?;
            width!(instruction.op0_register().size(), |W| quick::swap::<W>)
        }
        Mnemonic::Push | Mnemonic::Pop | Mnemonic::Leave => stack(op, instruction, size),
        Mnemonic::Jmp | Mnemonic::Call | Mnemonic::Ret => flow_of(op, instruction, size),
        _ if op.more.vector.is_some() => scalars::scalar(op, instruction, mode)
            .or_else(|| vectors::vector(op, instruction, mode)),
        _ => {
            various::various(op, instruction, size).or_else(|| on_condition(op, instruction, size))
        }
    }
}
