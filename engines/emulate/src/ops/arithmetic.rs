//! Sums, differences, logic and comparisons.

use x86_semantics::{Flags, Size, arithmetic};

use super::slow::{next, slow};
use super::width::{Address, Width};
use crate::blocks::Ops;
use crate::core::Core;

/// Of two values and the flags; the result, and the flags afterwards.
pub(super) trait Binary {
    /// The result is kept.
    const WRITES: bool = true;

    fn of(size: Size, a: u64, b: u64, flags: Flags) -> (u64, Flags);
}

macro_rules! binary {
    ($($name:ident($writes:literal): |$size:ident, $a:ident, $b:ident, $flags:ident| $result:expr;)*) => {
        $(
            pub(super) struct $name;

            impl Binary for $name {
                const WRITES: bool = $writes;

                #[inline(always)]
                fn of($size: Size, $a: u64, $b: u64, $flags: Flags) -> (u64, Flags) {
                    $result
                }
            }
        )*
    };
}

/// A result of logic and its flags.
#[inline(always)]
const fn logic(size: Size, result: u64) -> (u64, Flags) {
    (result, Flags::of_logic(size, result))
}

binary! {
    Add(true): |size, a, b, _flags| arithmetic::add(size, a, b);
    Adc(true): |size, a, b, flags| arithmetic::add_with_carry(size, a, b, flags.carry());
    Sub(true): |size, a, b, _flags| arithmetic::subtract(size, a, b);
    Sbb(true): |size, a, b, flags| arithmetic::subtract_with_borrow(size, a, b, flags.carry());
    Cmp(false): |size, a, b, _flags| arithmetic::subtract(size, a, b);
    And(true): |size, a, b, _flags| logic(size, a & b);
    Or(true): |size, a, b, _flags| logic(size, a | b);
    Xor(true): |size, a, b, _flags| logic(size, a ^ b);
    Test(false): |size, a, b, _flags| logic(size, a & b);
}

/// Of one value and the flags.
pub(super) trait Unary {
    fn of(size: Size, a: u64, flags: Flags) -> (u64, Flags);
}

macro_rules! unary {
    ($($name:ident: |$size:ident, $a:ident, $flags:ident| $result:expr;)*) => {
        $(
            pub(super) struct $name;

            impl Unary for $name {
                #[inline(always)]
                fn of($size: Size, $a: u64, $flags: Flags) -> (u64, Flags) {
                    $result
                }
            }
        )*
    };
}

unary! {
    Inc: |size, a, flags| arithmetic::increment(size, a, flags);
    Dec: |size, a, flags| arithmetic::decrement(size, a, flags);
    Neg: |size, a, _flags| arithmetic::negate(size, a);
    Not: |size, a, flags| (size.cut(!a), flags);
}

/// Register and register.
pub(super) fn registers<'a, B: Binary, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (a, b) = (core.get::<W>(op.first), core.get::<W>(op.second));
    let (result, flags) = B::of(W::SIZE, a, b, core.cpu.flags);
    if F {
        core.cpu.flags = flags;
    }
    if B::WRITES {
        core.set::<W>(op.first, result);
    }
    next(core, rest);
}

/// Register and constant.
pub(super) fn constant<'a, B: Binary, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let a = core.get::<W>(op.first);
    let (result, flags) = B::of(W::SIZE, a, op.wide, core.cpu.flags);
    if F {
        core.cpu.flags = flags;
    }
    if B::WRITES {
        core.set::<W>(op.first, result);
    }
    next(core, rest);
}

/// Register and memory.
pub(super) fn from_memory<'a, B: Binary, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(b) = core.load::<W>(A::of(core, op)) else {
        return slow(core, ops);
    };
    let a = core.get::<W>(op.first);
    let (result, flags) = B::of(W::SIZE, a, b, core.cpu.flags);
    core.cpu.flags = flags;
    if B::WRITES {
        core.set::<W>(op.first, result);
    }
    next(core, rest);
}

/// Memory and register.
pub(super) fn to_memory<'a, B: Binary, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let b = core.get::<W>(op.first);
    update::<B, W, A>(core, ops, b);
}

/// Memory and constant.
pub(super) fn constant_to_memory<'a, B: Binary, W: Width, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, ..] = ops else {
        return;
    };
    update::<B, W, A>(core, ops, op.constant::<W>());
}

#[inline(always)]
fn update<'a, B: Binary, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>, b: u64) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let linear = A::of(core, op);
    let old = if B::WRITES {
        core.load_to_store::<W>(linear)
    } else {
        core.load::<W>(linear)
    };
    let Some(a) = old else {
        return slow(core, ops);
    };
    let (result, flags) = B::of(W::SIZE, a, b, core.cpu.flags);
    if B::WRITES {
        core.store::<W>(linear, result);
    }
    core.cpu.flags = flags;
    next(core, rest);
}

/// A register.
pub(super) fn register<'a, U: Unary, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let a = core.get::<W>(op.first);
    let (result, flags) = U::of(W::SIZE, a, core.cpu.flags);
    if F {
        core.cpu.flags = flags;
    }
    core.set::<W>(op.first, result);
    next(core, rest);
}

/// Memory.
pub(super) fn in_memory<'a, U: Unary, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let linear = A::of(core, op);
    let Some(a) = core.load_to_store::<W>(linear) else {
        return slow(core, ops);
    };
    let (result, flags) = U::of(W::SIZE, a, core.cpu.flags);
    core.store::<W>(linear, result);
    core.cpu.flags = flags;
    next(core, rest);
}

/// Register and register, of which the first is multiplied.
pub(super) fn multiply<'a, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let (a, b) = (core.get::<W>(op.first), core.get::<W>(op.second));
    multiplied::<W, F>(core, ops, a, b);
}

/// Register and memory.
pub(super) fn multiply_memory<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let Some(b) = core.load::<W>(A::of(core, op)) else {
        return slow(core, ops);
    };
    let a = core.get::<W>(op.first);
    multiplied::<W, true>(core, ops, a, b);
}

/// Another register and a constant.
pub(super) fn multiply_constant<'a, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let a = core.get::<W>(op.second);
    multiplied::<W, F>(core, ops, a, op.wide);
}

#[inline(always)]
fn multiplied<'a, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>, a: u64, b: u64) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (low, _, flags) = x86_semantics::multiply::multiply_signed(W::SIZE, a, b);
    if F {
        core.cpu.flags = flags;
    }
    core.set::<W>(op.first, low);
    next(core, rest);
}
