//! Instructions on single floating-point numbers.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use x86_vector::scalar::{Add, Divide, Multiply, Root, Scalar, Subtract};

use super::super::scalars::{self, Double, Form, Single, VexDouble, VexSingle};
use super::super::width::{Absolute, Based, InFs, InGs, Indexed, Long, Quad, Scaled};
use super::macros::way;
use super::operands::{Way, memory};
use crate::blocks::{General, Op, Run};
use crate::mode::Mode;

/// The quick function, where vector registers are available.
pub(super) fn scalar<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    mode: Mode,
) -> Option<Run<'a>> {
    use Mnemonic as M;
    if !mode.has_vectors {
        return None;
    }
    match instruction.mnemonic() {
        M::Addss => arithmetic::<Add, Single>(op, instruction, mode),
        M::Addsd => arithmetic::<Add, Double>(op, instruction, mode),
        M::Vaddss => arithmetic::<Add, VexSingle>(op, instruction, mode),
        M::Vaddsd => arithmetic::<Add, VexDouble>(op, instruction, mode),
        M::Subss => arithmetic::<Subtract, Single>(op, instruction, mode),
        M::Subsd => arithmetic::<Subtract, Double>(op, instruction, mode),
        M::Vsubss => arithmetic::<Subtract, VexSingle>(op, instruction, mode),
        M::Vsubsd => arithmetic::<Subtract, VexDouble>(op, instruction, mode),
        M::Mulss => arithmetic::<Multiply, Single>(op, instruction, mode),
        M::Mulsd => arithmetic::<Multiply, Double>(op, instruction, mode),
        M::Vmulss => arithmetic::<Multiply, VexSingle>(op, instruction, mode),
        M::Vmulsd => arithmetic::<Multiply, VexDouble>(op, instruction, mode),
        M::Divss => arithmetic::<Divide, Single>(op, instruction, mode),
        M::Divsd => arithmetic::<Divide, Double>(op, instruction, mode),
        M::Vdivss => arithmetic::<Divide, VexSingle>(op, instruction, mode),
        M::Vdivsd => arithmetic::<Divide, VexDouble>(op, instruction, mode),
        M::Sqrtss => arithmetic::<Root, Single>(op, instruction, mode),
        M::Sqrtsd => arithmetic::<Root, Double>(op, instruction, mode),
        M::Vsqrtss => arithmetic::<Root, VexSingle>(op, instruction, mode),
        M::Vsqrtsd => arithmetic::<Root, VexDouble>(op, instruction, mode),
        M::Comiss | M::Ucomiss | M::Vcomiss | M::Vucomiss => {
            comparison::<Single>(op, instruction, mode)
        }
        M::Comisd | M::Ucomisd | M::Vcomisd | M::Vucomisd => {
            comparison::<Double>(op, instruction, mode)
        }
        M::Cvttss2si | M::Vcvttss2si => truncation::<Single>(op, instruction),
        M::Cvttsd2si | M::Vcvttsd2si => truncation::<Double>(op, instruction),
        M::Cvtsi2sd => conversion::<Double>(op, instruction),
        M::Vcvtsi2sd => conversion::<VexDouble>(op, instruction),
        _ => None,
    }
}

/// The number of a register of any kind.
fn numbered(register: Register) -> Option<General> {
    General::ALL.get(register.number()).copied()
}

/// The register that an operand is.
fn register(instruction: &Instruction, operand: u32) -> Option<General> {
    if instruction.op_kind(operand) != OpKind::Register {
        return None;
    }
    numbered(instruction.op_register(operand))
}

fn arithmetic<'a, O: Scalar, F: Form>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    mode: Mode,
) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    // Without VEX the first operand is the result's place, too.
    let at = u32::from(F::IS_VEX);
    op.value = register(instruction, at)? as i32;
    if let Some(second) = register(instruction, at + 1) {
        op.second = second;
        return Some(scalars::arithmetic::<O, F>);
    }
    let way = memory(op, instruction, mode.size, false)?;
    Some(way!(way, |A| scalars::arithmetic_memory::<O, F, A> as Run<'_>))
}

fn comparison<'a, F: Form>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    mode: Mode,
) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    if let Some(second) = register(instruction, 1) {
        op.second = second;
        return Some(scalars::comparison::<F>);
    }
    let way = memory(op, instruction, mode.size, false)?;
    Some(way!(way, |A| scalars::comparison_memory::<F, A> as Run<'_>))
}

fn truncation<'a, F: Form>(op: &mut Op<'a>, instruction: &Instruction) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    op.second = register(instruction, 1)?;
    Some(match instruction.op0_register().size() {
        4 => scalars::truncation::<F, Long> as Run<'_>,
        _ => scalars::truncation::<F, Quad> as Run<'_>,
    })
}

fn conversion<'a, F: Form>(op: &mut Op<'a>, instruction: &Instruction) -> Option<Run<'a>> {
    op.first = register(instruction, 0)?;
    op.value = register(instruction, u32::from(F::IS_VEX))? as i32;
    let last = instruction.op_count() - 1;
    op.second = register(instruction, last)?;
    Some(match instruction.op_register(last).size() {
        4 => scalars::conversion::<F, Long> as Run<'_>,
        _ => scalars::conversion::<F, Quad> as Run<'_>,
    })
}
