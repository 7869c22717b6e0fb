//! Moves, alone, extended or on a condition; addresses; the stack.

use x86_semantics::Condition;

use super::slow::{next, slow};
use super::width::{Address, Width};
use crate::blocks::{General, Ops};
use crate::core::Core;

/// Stack pointer, in the order of encoding.
const RSP: General = General::Rsp;

pub(super) fn nothing<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [_, rest @ ..] = ops else {
        return;
    };
    next(core, rest);
}

pub(super) fn registers<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = core.general(op.second);
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn constant<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    core.set::<W>(op.first, op.wide);
    next(core, rest);
}

pub(super) fn load<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(value) = core.load::<W>(A::of(core, op)) else {
        return slow(core, ops);
    };
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn store<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = core.general(op.first);
    if !core.store::<W>(A::of(core, op), value) {
        return slow(core, ops);
    }
    next(core, rest);
}

pub(super) fn store_constant<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if !core.store::<W>(A::of(core, op), op.constant::<W>()) {
        return slow(core, ops);
    }
    next(core, rest);
}

/// From a narrower register to a wider one.
pub(super) fn zero_extend<'a, W: Width, N: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = core.get::<N>(op.second);
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn sign_extend<'a, W: Width, N: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = N::SIZE.signed(core.general(op.second)) as u64;
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn zero_extend_memory<'a, W: Width, N: Width, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(value) = core.load::<N>(A::of(core, op)) else {
        return slow(core, ops);
    };
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn sign_extend_memory<'a, W: Width, N: Width, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(value) = core.load::<N>(A::of(core, op)) else {
        return slow(core, ops);
    };
    core.set::<W>(op.first, N::SIZE.signed(value) as u64);
    next(core, rest);
}

pub(super) fn address<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = A::of(core, op);
    core.set::<W>(op.first, value);
    next(core, rest);
}

/// If the condition with this number holds. What is moved is as wide as before in any case.
pub(super) fn conditional<'a, const C: usize, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let from = if Condition::ALL[C].holds(core.cpu.flags) {
        op.second
    } else {
        op.first
    };
    let value = core.general(from);
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn conditional_load<'a, const C: usize, W: Width, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(mut value) = core.load::<W>(A::of(core, op)) else {
        return slow(core, ops);
    };
    if !Condition::ALL[C].holds(core.cpu.flags) {
        value = core.general(op.first);
    }
    core.set::<W>(op.first, value);
    next(core, rest);
}

pub(super) fn flag<'a, const C: usize>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = u64::from(Condition::ALL[C].holds(core.cpu.flags));
    core.set::<super::width::Byte>(op.first, value);
    next(core, rest);
}

pub(super) fn flag_to_memory<'a, const C: usize, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = u64::from(Condition::ALL[C].holds(core.cpu.flags));
    if !core.store::<super::width::Byte>(A::of(core, op), value) {
        return slow(core, ops);
    }
    next(core, rest);
}

/// Two registers change places.
pub(super) fn swap<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (a, b) = (core.general(op.first), core.general(op.second));
    core.set::<W>(op.first, b);
    core.set::<W>(op.second, a);
    next(core, rest);
}

#[inline(always)]
fn pushed<'a, W: Width>(core: &mut Core<'a>, value: u64) -> bool {
    let to = core.general(RSP).wrapping_sub(W::BYTES) & core.address_mask;
    let done = core.store::<W>(to, value);
    if done {
        core.cpu.general[RSP as usize] = to;
    }
    done
}

pub(super) fn push<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = core.general(op.first);
    if !pushed::<W>(core, value) {
        return slow(core, ops);
    }
    next(core, rest);
}

pub(super) fn push_constant<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if !pushed::<W>(core, op.wide) {
        return slow(core, ops);
    }
    next(core, rest);
}

pub(super) fn pop<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let from = core.general(RSP);
    let Some(value) = core.load::<W>(from) else {
        return slow(core, ops);
    };
    core.cpu.general[RSP as usize] = from.wrapping_add(W::BYTES) & core.address_mask;
    core.set::<W>(op.first, value);
    next(core, rest);
}

/// `LEAVE`: the stack goes back to the frame, and the frame to the one before.
pub(super) fn leave<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [_, rest @ ..] = ops else {
        return;
    };
    const RBP: General = General::Rbp;
    let frame = core.general(RBP);
    let Some(value) = core.load::<W>(frame) else {
        return slow(core, ops);
    };
    core.cpu.general[RSP as usize] = frame.wrapping_add(W::BYTES) & core.address_mask;
    core.set::<W>(RBP, value);
    next(core, rest);
}
