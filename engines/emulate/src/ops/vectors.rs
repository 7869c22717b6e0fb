//! x87 and vector instructions, whose memory operand is found here and the rest done by `x86-vector`.

use host_processor::half;
use machine_memory::Frame;
use x86_vector::{Beside, Choice, OnStack};

use super::slow::{next, slow};
use super::width::Address;
use crate::blocks::{Op, Ops};
use crate::core::Core;

/// Bytes of a memory operand.
pub(super) trait Bytes {
    const COUNT: usize;

    /// To the front of the buffer, of which half a vector register's bytes are written at least.
    fn bring<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &mut [u8; N]);

    /// From there.
    fn take<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &[u8; N]);
}

macro_rules! number {
    ($name:ident, $word:ty, $count:literal) => {
        pub(super) struct $name;

        impl Bytes for $name {
            const COUNT: usize = $count;

            #[inline(always)]
            fn bring<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &mut [u8; N]) {
                let number = u64::from(frame.load::<$word>(offset));
                buffer[..16].copy_from_slice(&half::of_number(number));
            }

            #[inline(always)]
            fn take<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &[u8; N]) {
                let bytes = buffer.first_chunk().copied().unwrap_or_default();
                frame.store(offset, <$word>::from_le_bytes(bytes));
            }
        }
    };
}

macro_rules! vector {
    ($name:ident, $count:literal) => {
        pub(super) struct $name;

        impl Bytes for $name {
            const COUNT: usize = $count;

            #[inline(always)]
            fn bring<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &mut [u8; N]) {
                if let Some(bytes) = buffer.first_chunk_mut::<$count>() {
                    frame.load_vector(offset, bytes);
                }
            }

            #[inline(always)]
            fn take<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &[u8; N]) {
                if let Some(bytes) = buffer.first_chunk::<$count>() {
                    frame.store_vector(offset, bytes);
                }
            }
        }
    };
}

number!(Two, u16, 2);
number!(Four, u32, 4);
number!(Eight, u64, 8);
/// All of a register of x87's.
pub(super) struct Ten;

impl Bytes for Ten {
    const COUNT: usize = 10;

    #[inline(always)]
    fn bring<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &mut [u8; N]) {
        buffer[..8].copy_from_slice(&frame.load::<u64>(offset).to_le_bytes());
        buffer[8..10].copy_from_slice(&frame.load::<u16>(offset + 8).to_le_bytes());
    }

    #[inline(always)]
    fn take<const N: usize>(frame: Frame<'_>, offset: usize, buffer: &[u8; N]) {
        let bytes = buffer.first_chunk().copied().unwrap_or_default();
        frame.store(offset, u64::from_le_bytes(bytes));
        frame.store(offset + 8, u16::from_le_bytes([buffer[8], buffer[9]]));
    }
}

vector!(Half, 16);
vector!(Whole, 32);

/// Where a memory operand is.
struct Place<'a> {
    linear: u64,
    frame: Frame<'a>,
    offset: usize,
}

/// Whether an address is what an aligned operand may have: such have a mask beside them.
#[inline(always)]
fn is_aligned(op: &Op<'_>, linear: u64) -> bool {
    linear & i64::from(op.value) as u64 == 0
}

/// The operand that is read, if its page is known and it is aligned where it has to be.
#[inline(always)]
fn source<'a, B: Bytes, A: Address>(core: &Core<'a>, op: &Op<'_>) -> Option<Place<'a>> {
    let linear = A::of(core, op);
    let (frame, offset) = core.readable(linear, B::COUNT as u64)?;
    let place = Place {
        linear,
        frame,
        offset,
    };
    is_aligned(op, linear).then_some(place)
}

/// The operand that is written, likewise.
#[inline(always)]
fn target<'a, B: Bytes, A: Address>(core: &Core<'a>, op: &Op<'_>) -> Option<Place<'a>> {
    let linear = A::of(core, op);
    let (frame, offset) = core.writable(linear, B::COUNT as u64)?;
    let place = Place {
        linear,
        frame,
        offset,
    };
    is_aligned(op, linear).then_some(place)
}

/// A move of so many bytes from one register to another, the rest of whose first `CLEARED` bytes is cleared.
pub(super) fn copy<'a, B: Bytes, const CLEARED: usize>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let from = *core.vectors.register(op.second as u8);
    let to = core.vectors.register_mut(op.first as u8);
    to[..B::COUNT].copy_from_slice(&from[..B::COUNT]);
    to[B::COUNT..CLEARED].fill(0);
    next(core, rest);
}

/// A move of a whole register to another.
pub(super) fn copy_whole<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    core.vectors.copy(op.first as u8, op.second as u8);
    next(core, rest);
}

/// A move from memory, likewise.
pub(super) fn load<'a, B: Bytes, A: Address, const CLEARED: usize>(
    core: &mut Core<'a>,
    ops: Ops<'a>,
) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = source::<B, A>(core, op) else {
        return slow(core, ops);
    };
    let to = core.vectors.register_mut(op.first as u8);
    B::bring(place.frame, place.offset, to);
    to[B::COUNT.max(16)..CLEARED].fill(0);
    next(core, rest);
}

/// A move to memory.
pub(super) fn store<'a, B: Bytes, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = target::<B, A>(core, op) else {
        return slow(core, ops);
    };
    B::take(
        place.frame,
        place.offset,
        core.vectors.register(op.first as u8),
    );
    next(core, rest);
}

/// On vector registers alone, by nothing but the host's instruction.
pub(super) fn plain<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if let Some(prepared) = op.more.vector {
        core.vectors.run(prepared);
    }
    next(core, rest);
}

/// The same with an operand that is read.
pub(super) fn read_plain<'a, B: Bytes, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = source::<B, A>(core, op) else {
        return slow(core, ops);
    };
    B::bring(place.frame, place.offset, core.vectors.operand());
    if let Some(prepared) = op.more.vector {
        core.vectors.run(prepared);
    }
    next(core, rest);
}

/// On registers alone. Not inlined, as those below: what has a quick way and this one would keep its own values across
/// the call, on either way.
#[inline(never)]
pub(super) fn registers<'a>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if core.execute_given(op, 0).is_some() {
        next(core, rest);
    }
}

/// With an operand that is read.
#[inline(never)]
pub(super) fn read<'a, B: Bytes, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = source::<B, A>(core, op) else {
        return slow(core, ops);
    };
    B::bring(place.frame, place.offset, core.vectors.operand());
    if core.execute_given(op, place.linear).is_some() {
        next(core, rest);
    }
}

/// With an operand that is written.
#[inline(never)]
pub(super) fn write<'a, B: Bytes, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = target::<B, A>(core, op) else {
        return slow(core, ops);
    };
    let Some(is_written) = core.execute_given(op, place.linear) else {
        return;
    };
    if is_written {
        B::take(place.frame, place.offset, core.vectors.operand());
    }
    next(core, rest);
}

/// The register that one of x87's has beside the top: where it is in `index`, its bit in `value`.
#[inline(always)]
const fn beside(op: &Op<'_>) -> Beside {
    Beside {
        offset: op.index,
        bit: op.value as u8,
    }
}

/// An instruction of x87 on registers alone, which is usual. Where it lies is in `wide`.
pub(super) fn quick<'a, S: OnStack>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if core.vectors.quick_on_stack::<S>(beside(op), op.wide) {
        next(core, rest);
    } else {
        quick_seldom::<S>(core, ops);
    }
}

/// The rest of what is usual.
#[inline(never)]
fn quick_seldom<'a, S: OnStack>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    if core.vectors.quick_on_stack_seldom::<S>(beside(op), op.wide) {
        next(core, rest);
    } else {
        registers(core, ops);
    }
}

/// Such an instruction's function.
pub(super) struct Quick;

impl Choice for Quick {
    type Chosen = for<'a> fn(&mut Core<'a>, Ops<'a>);

    fn choose<S: OnStack>(self) -> Self::Chosen {
        quick::<S>
    }
}

/// With an operand that is read.
pub(super) fn quick_read<'a, B: Bytes, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = source::<B, A>(core, op) else {
        return slow(core, ops);
    };
    B::bring(place.frame, place.offset, core.vectors.operand());
    if let Some(prepared) = op.more.vector
        && core
            .vectors
            .quick(prepared, op.more.rip, Some(place.linear))
    {
        next(core, rest);
    } else {
        read::<B, A>(core, ops);
    }
}

/// With an operand that is written.
pub(super) fn quick_write<'a, B: Bytes, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = target::<B, A>(core, op) else {
        return slow(core, ops);
    };
    if let Some(prepared) = op.more.vector
        && core
            .vectors
            .quick(prepared, op.more.rip, Some(place.linear))
    {
        B::take(place.frame, place.offset, core.vectors.operand());
        next(core, rest);
    } else {
        write::<B, A>(core, ops);
    }
}

/// `FLD` of all of a register of x87's.
pub(super) fn push_whole<'a, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = source::<Ten, A>(core, op) else {
        return slow(core, ops);
    };
    let (mantissa, head) = (
        place.frame.load::<u64>(place.offset),
        place.frame.load::<u16>(place.offset + 8),
    );
    let (instruction, linear) = (op.more.rip, place.linear);
    if core
        .vectors
        .quick_push((mantissa, head), instruction, linear)
    {
        next(core, rest);
    } else {
        read::<Ten, A>(core, ops);
    }
}

/// `FSTP` of all of it.
pub(super) fn pop_whole<'a, A: Address>(core: &mut Core<'a>, ops: Ops<'a>) {
    let [op, rest @ ..] = ops else {
        return;
    };
    let Some(place) = target::<Ten, A>(core, op) else {
        return slow(core, ops);
    };
    if let Some((mantissa, head)) = core.vectors.quick_pop(op.more.rip, place.linear) {
        place.frame.store(place.offset, mantissa);
        place.frame.store(place.offset + 8, head);
        next(core, rest);
    } else {
        write::<Ten, A>(core, ops);
    }
}
