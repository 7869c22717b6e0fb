//! Single floating-point numbers in vector registers: computed at once where they are ordinary ones, and otherwise
//! by `x86-vector` as any vector instruction.

use x86_vector::scalar::{Scalar, compared};

use super::slow::{next, slow};
use super::vectors::registers;
use super::width::{Address, Long, Quad, Width};
use crate::blocks::{Op, Ops};
use crate::core::Core;

/// Precision, and whether the instruction has a VEX prefix: then a register more is read, and more is cleared.
pub(super) trait Form {
    /// As wide as the number.
    type Number: Width;
    const BYTES: usize;
    const IS_VEX: bool;
}

macro_rules! form {
    ($($name:ident: $width:ident, $bytes:literal, $vex:literal;)*) => {
        $(
            pub(super) struct $name;

            impl Form for $name {
                type Number = $width;
                const BYTES: usize = $bytes;
                const IS_VEX: bool = $vex;
            }
        )*
    };
}

form! {
    Single: Long, 4, false;
    Double: Quad, 8, false;
    VexSingle: Long, 4, true;
    VexDouble: Quad, 8, true;
}

impl<'a> Core<'a> {
    /// The number in a register.
    #[inline(always)]
    fn number<F: Form>(&self, register: u8) -> u64 {
        let bytes = self.vectors.register(register);
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        F::Number::SIZE.cut(u64::from_le_bytes(bytes))
    }

    /// Sets it; the rest of the lower half is the same, or with VEX that of the register in `value`, and the upper
    /// half is cleared.
    #[inline(always)]
    fn set_number<F: Form>(&mut self, op: &Op<'a>, number: u64) {
        let (to, rest) = (op.first as u8, op.value as u8);
        if F::BYTES == 4 {
            self.vectors.set_number::<4>(to, rest, number);
        } else {
            self.vectors.set_number::<8>(to, rest, number);
        }
        if F::IS_VEX {
            self.vectors.register_mut(to)[16..].fill(0);
        }
    }

    /// Computes, and sets the result; whether that could be.
    #[inline(always)]
    fn compute<O: Scalar, F: Form>(&mut self, op: &Op<'a>, b: u64) -> bool {
        let a = self.number::<F>(op.value as u8);
        let result = if F::BYTES == 4 {
            self.vectors.scalar::<O, 4>(a, b)
        } else {
            self.vectors.scalar::<O, 8>(a, b)
        };
        if let Some(result) = result {
            self.set_number::<F>(op, result);
        }
        result.is_some()
    }

    /// Compares, and sets the flags, likewise.
    #[inline(always)]
    fn compare<F: Form>(&mut self, op: &Op<'a>, b: u64) -> bool {
        let a = self.number::<F>(op.first as u8);
        let flags = if F::BYTES == 4 {
            compared::<4>(a, b)
        } else {
            compared::<8>(a, b)
        };
        if let Some(flags) = flags {
            self.cpu.flags = flags;
        }
        flags.is_some()
    }
}

/// Of two registers.
pub(super) fn arithmetic<'a, O: Scalar, F: Form>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let b = core.number::<F>(op.second as u8);
    if core.compute::<O, F>(op, b) {
        return next(core, rest);
    }
    registers(core, ops);
}

/// Of a register and memory.
pub(super) fn arithmetic_memory<'a, O: Scalar, F: Form, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, rest @ ..] = ops else {
        return;
    };
    match core.load::<F::Number>(A::of(core, op)) {
        Some(b) if core.compute::<O, F>(op, b) => next(core, rest),
        _ => slow(core, ops),
    }
}

pub(super) fn comparison<'a, F: Form>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let b = core.number::<F>(op.second as u8);
    if core.compare::<F>(op, b) {
        return next(core, rest);
    }
    registers(core, ops);
}

pub(super) fn comparison_memory<'a, F: Form, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    match core.load::<F::Number>(A::of(core, op)) {
        Some(b) if core.compare::<F>(op, b) => next(core, rest),
        _ => slow(core, ops),
    }
}

/// To a whole number in a general register of `W`, on the way to zero.
pub(super) fn truncation<'a, F: Form, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let number = core.number::<F>(op.second as u8);
    let vectors = &core.vectors;
    let whole = match (F::BYTES, W::BYTES) {
        (4, 4) => vectors.truncated::<4, 4>(number),
        (4, _) => vectors.truncated::<4, 8>(number),
        (_, 4) => vectors.truncated::<8, 4>(number),
        _ => vectors.truncated::<8, 8>(number),
    };
    let Some(whole) = whole else {
        return registers(core, ops);
    };
    core.set::<W>(op.first, whole);
    next(core, rest);
}

/// From a whole number in a general register of `W`, to double precision.
pub(super) fn conversion<'a, F: Form, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let whole = core.get::<W>(op.second);
    let number = if W::BYTES == 4 {
        core.vectors.converted::<4>(whole)
    } else {
        core.vectors.converted::<8>(whole)
    };
    let Some(number) = number else {
        return registers(core, ops);
    };
    core.set_number::<F>(op, number);
    next(core, rest);
}
