//! Shifts and rotations, by constants and by `CL`.

use x86_semantics::{Flags, Size, shift};

use super::slow::next;
use super::width::Width;
use crate::blocks::Ops;
use crate::core::Core;

/// Counter, in the order of encoding.
const RCX: usize = 1;

/// Of a value, a count and the flags.
pub(super) trait Shift {
    fn of(size: Size, a: u64, count: u32, flags: Flags) -> (u64, Flags);
}

macro_rules! shift {
    ($($name:ident: $function:path;)*) => {
        $(
            pub(super) struct $name;

            impl Shift for $name {
                #[inline(always)]
                fn of(size: Size, a: u64, count: u32, flags: Flags) -> (u64, Flags) {
                    $function(size, a, count, flags)
                }
            }
        )*
    };
}

shift! {
    Left: shift::left;
    Right: shift::right;
    RightSigned: shift::right_signed;
    RotateLeft: shift::rotate_left;
    RotateRight: shift::rotate_right;
}

pub(super) fn constant<'a, S: Shift, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, ..] = ops else {
        return;
    };
    shifted::<S, W, F>(core, ops, op.wide as u32);
}

pub(super) fn counted<'a, S: Shift, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let count = core.cpu.general[RCX] as u32 & 0xff;
    shifted::<S, W, true>(core, ops, count);
}

#[inline(always)]
fn shifted<'a, S: Shift, W: Width, const F: bool>(core: &mut Core<'a>, ops: Ops<'a>, count: u32) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let a = core.get::<W>(op.first);
    let (result, flags) = S::of(W::SIZE, a, count, core.cpu.flags);
    if F {
        core.cpu.flags = flags;
    }
    core.set::<W>(op.first, result);
    next(core, rest);
}
