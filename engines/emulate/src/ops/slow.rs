//! Instructions as the reference executes them.

use crate::blocks::Ops;
use crate::core::Core;

/// Executes the instruction, then the next.
#[inline(never)]
pub(super) fn slow<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if core.execute(op) {
        next(core, rest);
    }
}

/// Executes the last instruction of a block, after which things may be otherwise than before.
#[inline(never)]
pub(super) fn last<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    if core.execute(op) {
        core.budget -= i64::from(op.count);
    }
}

/// Executes an instruction that somebody looks at.
pub(super) fn alone<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    core.cpu.rip = op.more.rip;
    core.step();
}

/// Goes on with the first of these operations, if there is one.
#[inline(always)]
pub(crate) fn next<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    if let [op, ..] = ops {
        (op.run)(core, ops);
    }
}
