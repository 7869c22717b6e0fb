//! Bits, exchanges with memory, long products, and small things of the system.

use x86_semantics::{Flags, bits, multiply};

use super::arithmetic::{Binary, Unary};
use super::slow::{next, slow};
use super::width::{Address, Quad, Width};
use crate::blocks::{General, Ops};
use crate::core::Core;

/// `RFLAGS`: `IF`; `RF` and `VM`, which are not pushed.
const INTERRUPT: u64 = 1 << 9;
const NOT_PUSHED: u64 = 1 << 16 | 1 << 17;

/// What becomes of a bit that is tested.
pub(super) trait Bit {
    const WRITES: bool = true;

    fn of(value: u64, one: u64) -> u64;
}

/// `BT`, `BTS`, `BTR`, `BTC`.
pub(super) struct Look;
pub(super) struct Set;
pub(super) struct Clear;
pub(super) struct Turn;

impl Bit for Look {
    const WRITES: bool = false;

    #[inline(always)]
    fn of(value: u64, _: u64) -> u64 {
        value
    }
}

impl Bit for Set {
    #[inline(always)]
    fn of(value: u64, one: u64) -> u64 {
        value | one
    }
}

impl Bit for Clear {
    #[inline(always)]
    fn of(value: u64, one: u64) -> u64 {
        value & !one
    }
}

impl Bit for Turn {
    #[inline(always)]
    fn of(value: u64, one: u64) -> u64 {
        value ^ one
    }
}

#[inline(always)]
fn bit<'a, T: Bit, W: Width>(core: &mut Core<'a>, ops: Ops<'a>, place: u64) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = core.get::<W>(op.first);
    core.cpu.flags = bits::test(W::SIZE, value, place, core.cpu.flags);
    if T::WRITES {
        core.set::<W>(op.first, T::of(value, bits::single(W::SIZE, place)));
    }
    next(core, rest);
}

/// Of a register, by a constant.
pub(super) fn bit_constant<'a, T: Bit, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    if let [op, ..] = ops {
        bit::<T, W>(core, ops, op.wide);
    }
}

/// Of a register, by another.
pub(super) fn bit_register<'a, T: Bit, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    if let [op, ..] = ops {
        let place = core.general(op.second);
        bit::<T, W>(core, ops, place);
    }
}

/// Of memory, by a constant, in one step for all.
pub(super) fn bit_memory<'a, T: Bit, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (linear, place) = (A::of(core, op), op.constant::<W>());
    let old = if T::WRITES {
        core.update::<W>(linear, |value| T::of(value, bits::single(W::SIZE, place)))
    } else {
        core.load::<W>(linear)
    };
    let Some(value) = old else {
        return slow(core, ops);
    };
    core.cpu.flags = bits::test(W::SIZE, value, place, core.cpu.flags);
    next(core, rest);
}

impl<'a> Core<'a> {
    /// Changes memory whose translation is known in one step for all; what there was before.
    #[inline(always)]
    fn update<W: Width>(&self, linear: u64, change: impl Fn(u64) -> u64) -> Option<u64> {
        let (frame, offset) = self.writable(linear, W::BYTES)?;
        loop {
            let old: W::Word = frame.load(offset);
            let value = old.into();
            if frame.exchange(offset, old, W::word(W::SIZE.cut(change(value)))) {
                return Some(value);
            }
        }
    }
}

/// A value and memory, locked.
#[inline(always)]
fn locked<'a, B: Binary, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>, b: u64) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let before = core.cpu.flags;
    let linear = A::of(core, op);
    let old = core.update::<W>(linear, |a| B::of(W::SIZE, a, b, before).0);
    let Some(a) = old else {
        return slow(core, ops);
    };
    core.cpu.flags = B::of(W::SIZE, a, b, before).1;
    next(core, rest);
}

/// Memory and register, locked.
pub(super) fn locked_register<'a, B: Binary, W: Width, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    if let [op, ..] = ops {
        let b = core.get::<W>(op.first);
        locked::<B, W, A>(core, ops, b);
    }
}

/// Memory and constant, locked.
pub(super) fn locked_constant<'a, B: Binary, W: Width, A: Address>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    if let [op, ..] = ops {
        locked::<B, W, A>(core, ops, op.constant::<W>());
    }
}

/// Memory alone, locked.
pub(super) fn locked_memory<'a, U: Unary, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let before = core.cpu.flags;
    let linear = A::of(core, op);
    let old = core.update::<W>(linear, |a| U::of(W::SIZE, a, before).0);
    let Some(a) = old else {
        return slow(core, ops);
    };
    core.cpu.flags = U::of(W::SIZE, a, before).1;
    next(core, rest);
}

/// `XADD` of memory, locked or not.
pub(super) fn exchange_add<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let b = core.get::<W>(op.first);
    let linear = A::of(core, op);
    let Some(a) = core.update::<W>(linear, |a| a.wrapping_add(b)) else {
        return slow(core, ops);
    };
    core.cpu.flags = x86_semantics::arithmetic::add(W::SIZE, a, b).1;
    core.set::<W>(op.first, a);
    next(core, rest);
}

/// `XCHG` with memory.
pub(super) fn exchange<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let b = core.get::<W>(op.first);
    let linear = A::of(core, op);
    let Some(a) = core.update::<W>(linear, |_| b) else {
        return slow(core, ops);
    };
    core.set::<W>(op.first, a);
    next(core, rest);
}

/// `CMPXCHG` with memory, locked or not.
pub(super) fn compare_exchange<'a, W: Width, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let wanted = core.get::<W>(General::Rax);
    let new = core.get::<W>(op.first);
    let linear = A::of(core, op);
    let Some(old) = core.update::<W>(linear, |old| if old == wanted { new } else { old }) else {
        return slow(core, ops);
    };
    core.cpu.flags = x86_semantics::arithmetic::subtract(W::SIZE, wanted, old).1;
    if old != wanted {
        core.set::<W>(General::Rax, old);
    }
    next(core, rest);
}

pub(super) fn swap_bytes<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let value = core.get::<W>(op.first);
    core.set::<W>(op.first, bits::swap_bytes(W::SIZE, value));
    next(core, rest);
}

/// `CWDE` and `CDQE`: the accumulator from its lower half, `N`.
pub(super) fn widen<'a, W: Width, N: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [_, rest @ ..] = ops else {
        return;
    };
    let value = N::SIZE.signed(core.general(General::Rax)) as u64;
    core.set::<W>(General::Rax, value);
    next(core, rest);
}

/// `CDQ` and `CQO`: the sign of the accumulator in all of `RDX`.
pub(super) fn spread<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [_, rest @ ..] = ops else {
        return;
    };
    let sign = W::SIZE.signed(core.general(General::Rax)) >> 63;
    core.set::<W>(General::Rdx, sign as u64);
    next(core, rest);
}

/// `MUL` of 32 and 64 bits.
pub(super) fn multiply_long<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (a, b) = (core.get::<W>(General::Rax), core.get::<W>(op.first));
    let (low, high, flags) = multiply::multiply(W::SIZE, a, b);
    core.cpu.flags = flags;
    core.set::<W>(General::Rax, low);
    core.set::<W>(General::Rdx, high);
    next(core, rest);
}

/// `DIV` of 32 and 64 bits by a number whose quotient is as short as itself.
pub(super) fn divide<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (low, high) = (core.get::<W>(General::Rax), core.get::<W>(General::Rdx));
    let by = core.get::<W>(op.first);
    if high >= by {
        return slow(core, ops);
    }
    let (quotient, remainder) = if high == 0 {
        (low / by, low % by)
    } else {
        let whole = u128::from(high) << W::SIZE.bits() | u128::from(low);
        (
            (whole / u128::from(by)) as u64,
            (whole % u128::from(by)) as u64,
        )
    };
    core.set::<W>(General::Rax, quotient);
    core.set::<W>(General::Rdx, remainder);
    next(core, rest);
}

/// What counts bits, and what is counted where there are none.
pub(super) fn count<'a, C: Count, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let (result, flags) = C::of::<W>(core.get::<W>(op.second));
    core.cpu.flags = flags;
    if let Some(result) = result {
        core.set::<W>(op.first, result);
    }
    next(core, rest);
}

/// Of one value; without a result the register stays.
pub(super) trait Count {
    fn of<W: Width>(a: u64) -> (Option<u64>, Flags);
}

macro_rules! count {
    ($($name:ident: |$size:ident, $a:ident| $result:expr;)*) => {
        $(
            pub(super) struct $name;

            impl Count for $name {
                #[inline(always)]
                fn of<W: Width>($a: u64) -> (Option<u64>, Flags) {
                    let $size = W::SIZE;
                    $result
                }
            }
        )*
    };
}

/// A result that there always is.
#[inline(always)]
const fn always((result, flags): (u64, Flags)) -> (Option<u64>, Flags) {
    (Some(result), flags)
}

count! {
    ScanForward: |size, a| bits::scan_forward(size, a);
    ScanReverse: |size, a| bits::scan_reverse(size, a);
    TrailingZeros: |size, a| always(bits::trailing_zeros(size, a));
    LeadingZeros: |size, a| always(bits::leading_zeros(size, a));
    Ones: |_size, a| always(bits::count_ones(a));
}

/// The second byte of one of the first four registers and a constant; the result is not kept.
pub(super) fn test_high<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let byte = core.general(op.first) >> 8 & op.wide & 0xff;
    core.cpu.flags = Flags::of_logic(x86_semantics::Size::Byte, byte);
    next(core, rest);
}

/// `PUSHF` in 64-bit code.
pub(super) fn push_flags<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [_, rest @ ..] = ops else {
        return;
    };
    let value = core.cpu.rflags() & !NOT_PUSHED;
    let to = core.general(General::Rsp).wrapping_sub(Quad::BYTES);
    if !core.store::<Quad>(to, value) {
        return slow(core, ops);
    }
    core.cpu.general[General::Rsp as usize] = to;
    next(core, rest);
}

/// `CLI` of a kernel.
pub(super) fn clear_interrupts<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [_, rest @ ..] = ops else {
        return;
    };
    if core.cpu.level() != 0 {
        return slow(core, ops);
    }
    core.cpu.system_flags &= !INTERRUPT;
    next(core, rest);
}

/// A segment's selector, to a register.
pub(super) fn selector<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let segments = &core.cpu.segments;
    let segment = match op.wide {
        0 => &segments.es,
        1 => &segments.cs,
        2 => &segments.ss,
        3 => &segments.ds,
        4 => &segments.fs,
        _ => &segments.gs,
    };
    let value = segment.selector.into();
    core.set::<W>(op.first, value);
    next(core, rest);
}
