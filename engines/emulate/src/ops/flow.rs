//! Jumps, calls and returns within flat code.

use x86_semantics::{Condition, is_canonical};

use super::slow::{last, next};
use super::width::{Address, Width};
use crate::blocks::{Link, NOT_TAKEN, Op, Ops, TAKEN};
use crate::core::Core;

/// Stack pointer, in the order of encoding.
const RSP: usize = 4;

/// Goes on at an address that the block knows.
#[inline(always)]
fn go<'a>(core: &mut Core<'a>, op: &'a Op<'a>, way: usize) {
    core.budget -= i64::from(op.count);
    if core.budget > 0
        && !cfg!(debug_assertions)
        && let Some(block) = core.linked(&op.more.links[way])
    {
        return next(core, block);
    }
    find(core, op, way);
}

/// Looks for a block, and remembers it.
#[inline(never)]
fn find<'a>(core: &mut Core<'a>, op: &'a Op<'a>, way: usize) {
    let more = op.more;
    let to = if way == TAKEN { op.wide } else { more.next };
    core.cpu.rip = to;
    if core.budget <= 0 || cfg!(debug_assertions) {
        return;
    }
    let Some(block) = core.jump(to) else {
        return;
    };
    // Within a page it stays as long as this operation; elsewhere, as long as all translations.
    let key = if more.is_near(to) {
        Link::ALWAYS
    } else {
        core.key()
    };
    more.links[way].set(key, block);
    next(core, block);
}

/// Goes on at an address that was computed.
#[inline(always)]
fn go_to<'a>(core: &mut Core<'a>, op: &'a Op<'a>, to: u64) {
    core.budget -= i64::from(op.count);
    core.cpu.rip = to;
    if core.budget > 0
        && !cfg!(debug_assertions)
        && let Some(block) = core.jump(to)
    {
        next(core, block);
    }
}

/// Of a jump, and behind the last instruction of a long block.
pub(super) fn jump<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    if let [op, ..] = ops {
        go(core, op, TAKEN);
    }
}

/// Of a jump on a condition.
#[inline(always)]
pub(super) fn branch<'a>(core: &mut Core<'a>, op: &'a Op<'a>, is_taken: bool) {
    if is_taken {
        go(core, op, TAKEN);
    } else {
        go(core, op, NOT_TAKEN);
    }
}

pub(super) fn jump_if<'a, const C: usize>(core: &mut Core<'a>, ops: Ops<'a>) {
    if let [op, ..] = ops {
        branch(core, op, Condition::ALL[C].holds(core.cpu.flags));
    }
}

pub(super) fn jump_register<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let to = core.get::<W>(op.first);
    if !is_code(core, to) {
        return last(core, ops);
    }
    go_to(core, op, to);
}

pub(super) fn jump_memory<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    match core.load::<W>(A::of(core, op)) {
        Some(to) if is_code(core, to) => go_to(core, op, to),
        _ => last(core, ops),
    }
}

/// Whether there can be code: elsewhere a jump is refused.
#[inline(always)]
fn is_code(core: &Core<'_>, to: u64) -> bool {
    is_canonical(to) && to & !core.address_mask == 0
}

/// Puts the address behind the instruction onto the stack; whether that could be.
#[inline(always)]
fn push_back<'a, W: Width>(core: &mut Core<'a>, op: &'a Op<'a>) -> bool {
    let to = core.cpu.general[RSP].wrapping_sub(W::BYTES) & core.address_mask;
    let done = core.store::<W>(to, op.more.next);
    if done {
        core.cpu.general[RSP] = to;
        let key = core.key();
        core.returns.push(op.more, key);
    }
    done
}

pub(super) fn call<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    if !push_back::<W>(core, op) {
        return last(core, ops);
    }
    go(core, op, TAKEN);
}

pub(super) fn call_register<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let to = core.get::<W>(op.first);
    if !is_code(core, to) || !push_back::<W>(core, op) {
        return last(core, ops);
    }
    go_to(core, op, to);
}

pub(super) fn call_memory<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    match core.load::<W>(A::of(core, op)) {
        Some(to) if is_code(core, to) && push_back::<W>(core, op) => go_to(core, op, to),
        _ => last(core, ops),
    }
}

/// `RET`, with bytes of arguments to be dropped.
pub(super) fn leave<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    let from = core.cpu.general[RSP];
    let to = match core.load::<W>(from) {
        Some(to) if is_code(core, to) => to,
        _ => return last(core, ops),
    };
    let more = W::BYTES.wrapping_add(op.wide);
    core.cpu.general[RSP] = from.wrapping_add(more) & core.address_mask;
    core.budget -= i64::from(op.count);
    if core.budget > 0
        && !cfg!(debug_assertions)
        && let Some(block) = core.returned(to)
    {
        return next(core, block);
    }
    come_back(core, to);
}

/// Looks for the block to which a call comes back.
#[inline(never)]
fn come_back(core: &mut Core<'_>, to: u64) {
    core.cpu.rip = to;
    if core.budget <= 0 || cfg!(debug_assertions) {
        return;
    }
    if let Some(block) = core.jump(to) {
        let key = core.key();
        core.returns.learn(to, key, block);
        next(core, block);
    }
}
