//! A comparison or a sum and the jump on its condition, as one operation.

use x86_semantics::{Condition, Flags, Size};

use super::arithmetic::{And, Binary, Cmp, Sub, Test};
use super::flow::branch;
use super::width::Width;
use crate::blocks::Ops;
use crate::core::Core;

/// How a condition follows from what was compared.
pub(super) trait Decides: Binary {
    /// The condition with the number `C`.
    #[inline(always)]
    fn holds<const C: usize>(_: Size, _: (u64, u64), flags: Flags) -> bool {
        Condition::ALL[C].holds(flags)
    }
}

/// A difference: its operands are compared, which needs no flags.
#[inline(always)]
const fn compares<const C: usize>(size: Size, (a, b): (u64, u64), flags: Flags) -> bool {
    let (signed_a, signed_b) = (size.signed(a), size.signed(b));
    let plain = match C >> 1 {
        1 => a < b,
        2 => a == b,
        3 => a <= b,
        6 => signed_a < signed_b,
        7 => signed_a <= signed_b,
        _ => return Condition::ALL[C].holds(flags),
    };
    plain != (C & 1 != 0)
}

impl Decides for Cmp {
    #[inline(always)]
    fn holds<const C: usize>(size: Size, values: (u64, u64), flags: Flags) -> bool {
        compares::<C>(size, values, flags)
    }
}

impl Decides for Sub {
    #[inline(always)]
    fn holds<const C: usize>(size: Size, values: (u64, u64), flags: Flags) -> bool {
        compares::<C>(size, values, flags)
    }
}

impl Decides for Test {}
impl Decides for And {}

#[inline(always)]
fn decide<'a, B: Decides, W: Width, const C: usize>(core: &mut Core<'a>, ops: Ops<'a>, b: u64) {
    let [op, jump, ..] = ops else {
        return;
    };
    let a = core.get::<W>(op.first);
    let (result, flags) = B::of(W::SIZE, a, b, core.cpu.flags);
    core.cpu.flags = flags;
    if B::WRITES {
        core.set::<W>(op.first, result);
    }
    branch(core, jump, B::holds::<C>(W::SIZE, (a, b), flags));
}

/// Register and register, then the jump.
pub(super) fn registers<'a, B: Decides, W: Width, const C: usize>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, ..] = ops else {
        return;
    };
    let b = core.get::<W>(op.second);
    decide::<B, W, C>(core, ops, b);
}

/// Register and constant, then the jump.
pub(super) fn constant<'a, B: Decides, W: Width, const C: usize>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, ..] = ops else {
        return;
    };
    decide::<B, W, C>(core, ops, op.wide);
}
