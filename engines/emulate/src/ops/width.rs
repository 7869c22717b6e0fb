//! Operands: their width, and where they are.

use machine_memory::{Frame, Word};
use x86_paging::Kind;
use x86_semantics::Size;

use crate::blocks::{General, Op};
use crate::core::Core;

/// How wide an operand is.
pub(super) trait Width {
    type Word: Word + Into<u64>;
    const SIZE: Size;
    const BYTES: u64;

    fn word(value: u64) -> Self::Word;

    /// A register with a value of this width put into it.
    fn merge(register: u64, value: u64) -> u64;
}

macro_rules! width {
    ($name:ident, $word:ty, $size:ident, $bytes:literal, |$register:ident, $value:ident| $merge:expr) => {
        pub(super) struct $name;

        impl Width for $name {
            type Word = $word;
            const SIZE: Size = Size::$size;
            const BYTES: u64 = $bytes;

            #[inline(always)]
            fn word(value: u64) -> $word {
                value as $word
            }

            #[inline(always)]
            fn merge($register: u64, $value: u64) -> u64 {
                $merge
            }
        }
    };
}

width!(Byte, u8, Byte, 1, |register, value| register & !0xff
    | value & 0xff);
width!(Short, u16, Word, 2, |register, value| register & !0xffff
    | value & 0xffff);
width!(Long, u32, Double, 4, |_register, value| value & 0xffff_ffff);
width!(Quad, u64, Quad, 8, |_register, value| value);

impl Op<'_> {
    /// The immediate beside a memory operand.
    #[inline(always)]
    pub(super) fn constant<W: Width>(&self) -> u64 {
        W::SIZE.cut(i64::from(self.value) as u64)
    }
}

impl<'a> Core<'a> {
    #[inline(always)]
    pub(super) const fn general(&self, register: General) -> u64 {
        self.cpu.general[register as usize]
    }

    /// A register's bits of some width.
    #[inline(always)]
    pub(super) fn get<W: Width>(&self, register: General) -> u64 {
        W::SIZE.cut(self.general(register))
    }

    /// Sets them.
    #[inline(always)]
    pub(super) fn set<W: Width>(&mut self, register: General, value: u64) {
        let register = &mut self.cpu.general[register as usize];
        *register = W::merge(*register, value);
    }

    /// The page from which so many bytes are read, and the offset there.
    #[inline(always)]
    pub(super) fn readable(&self, linear: u64, bytes: u64) -> Option<(Frame<'a>, usize)> {
        let frame = self.bus.tlb.page(Kind::Read, linear, bytes)?;
        Some((frame, offset_in_page(linear)))
    }

    /// The page to which they are written.
    #[inline(always)]
    pub(super) fn writable(&self, linear: u64, bytes: u64) -> Option<(Frame<'a>, usize)> {
        let frame = self.bus.tlb.page(Kind::Write, linear, bytes)?;
        Some((frame, offset_in_page(linear)))
    }

    /// Reads memory whose translation is known.
    #[inline(always)]
    pub(super) fn load<W: Width>(&self, linear: u64) -> Option<u64> {
        let (frame, offset) = self.readable(linear, W::BYTES)?;
        Some(frame.load::<W::Word>(offset).into())
    }

    /// Writes memory whose translation is known; whether it is.
    #[inline(always)]
    pub(super) fn store<W: Width>(&self, linear: u64, value: u64) -> bool {
        let page = self.writable(linear, W::BYTES);
        if let Some((frame, offset)) = page {
            frame.store::<W::Word>(offset, W::word(value));
        }
        page.is_some()
    }

    /// Reads memory that is written next: both its translations are known.
    #[inline(always)]
    pub(super) fn load_to_store<W: Width>(&self, linear: u64) -> Option<u64> {
        let (frame, offset) = self.writable(linear, W::BYTES)?;
        Some(frame.load::<W::Word>(offset).into())
    }
}

#[inline(always)]
const fn offset_in_page(linear: u64) -> usize {
    (linear & 0xfff) as usize
}

/// How a memory operand is addressed.
pub(super) trait Address {
    fn of(core: &Core<'_>, op: &Op<'_>) -> u64;
}

/// By a register and a displacement.
pub(super) struct Based;
/// By two registers and a displacement.
pub(super) struct Indexed;
/// By a register that is shifted and a displacement.
pub(super) struct Scaled;
/// By itself, or in relation to the instruction.
pub(super) struct Absolute;
/// In `FS`, and in `GS`, whatever else.
pub(super) struct InFs;
pub(super) struct InGs;

/// In an operation's index: there is no base, and no index.
pub(super) const NO_BASE: u8 = 1 << 6;
pub(super) const NO_INDEX: u8 = 1 << 7;

/// The index, shifted.
#[inline(always)]
fn index(core: &Core<'_>, op: &Op<'_>) -> u64 {
    let register = core.cpu.general[usize::from(op.index & 15)];
    register << (op.index >> SCALE_SHIFT & 3)
}

/// In an operation: by how much its index is shifted, above the register's number.
pub(super) const SCALE_SHIFT: u32 = 4;

impl Address for Based {
    #[inline(always)]
    fn of(core: &Core<'_>, op: &Op<'_>) -> u64 {
        core.general(op.second).wrapping_add(op.wide) & core.address_mask
    }
}

impl Address for Indexed {
    #[inline(always)]
    fn of(core: &Core<'_>, op: &Op<'_>) -> u64 {
        let sum = core.general(op.second).wrapping_add(index(core, op));
        sum.wrapping_add(op.wide) & core.address_mask
    }
}

impl Address for Scaled {
    #[inline(always)]
    fn of(core: &Core<'_>, op: &Op<'_>) -> u64 {
        index(core, op).wrapping_add(op.wide) & core.address_mask
    }
}

impl Address for Absolute {
    #[inline(always)]
    fn of(_: &Core<'_>, op: &Op<'_>) -> u64 {
        op.wide
    }
}

#[inline(always)]
fn offset(core: &Core<'_>, op: &Op<'_>) -> u64 {
    let mut sum = op.wide;
    if op.index & NO_BASE == 0 {
        sum = sum.wrapping_add(core.general(op.second));
    }
    if op.index & NO_INDEX == 0 {
        sum = sum.wrapping_add(index(core, op));
    }
    sum
}

impl Address for InFs {
    #[inline(always)]
    fn of(core: &Core<'_>, op: &Op<'_>) -> u64 {
        core.cpu.segments.fs.base.wrapping_add(offset(core, op))
    }
}

impl Address for InGs {
    #[inline(always)]
    fn of(core: &Core<'_>, op: &Op<'_>) -> u64 {
        core.cpu.segments.gs.base.wrapping_add(offset(core, op))
    }
}
