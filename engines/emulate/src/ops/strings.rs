//! Repeated moves and fills of strings, upwards in flat memory: by pages.

use machine_memory::Frame;
use x86_paging::{Access, Kind};

use super::slow::{next, slow};
use super::width::Width;
use crate::blocks::{General, Ops};
use crate::core::Core;
use crate::tlb::Class;

/// Places of registers, in the order of encoding.
const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;
const PAGE_SIZE: u64 = 0x1000;
/// Pieces that are done before others may come in between.
const PIECES_MAX: u32 = 64;
/// `RFLAGS.DF`.
const DOWN: u64 = 1 << 10;

/// How an operation goes on.
enum Done {
    All,
    /// The rest when it is met again.
    Some,
    /// It is odd: the reference goes on.
    Odd,
}

pub(super) fn move_up<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let done = core.move_pieces::<W>();
    finish(core, ops, done);
}

pub(super) fn fill_up<'a, W: Width>(core: &mut Core<'a>, ops: Ops<'a>) {
    let done = core.fill_pieces::<W>();
    finish(core, ops, done);
}

#[inline(always)]
fn finish<'a>(core: &mut Core<'a>, ops: Ops<'a>, done: Done) {
    let [op, rest @ ..] = ops else {
        return;
    };
    match done {
        Done::All => next(core, rest),
        Done::Odd => slow(core, ops),
        Done::Some => {
            core.cpu.rip = op.more.rip;
            core.budget -= i64::from(op.count);
        }
    }
}

/// Bytes to the end of a page.
const fn room(linear: u64) -> u64 {
    PAGE_SIZE - linear % PAGE_SIZE
}

impl<'a> Core<'a> {
    /// The counter, as far as it counts.
    fn left(&self) -> u64 {
        self.cpu.general[RCX] & self.address_mask
    }

    /// Moves on behind so many elements.
    fn advance<W: Width>(&mut self, elements: u64, pointers: &[usize]) {
        let mask = self.address_mask;
        let general = &mut self.cpu.general;
        general[RCX] = general[RCX].wrapping_sub(elements) & mask;
        for pointer in pointers {
            general[*pointer] = general[*pointer].wrapping_add(elements * W::BYTES) & mask;
        }
    }

    /// The page that an access leads to, if that can be known.
    fn known(&mut self, linear: u64, kind: Kind) -> Option<Frame<'a>> {
        let class = Class::of(self.cpu.privilege());
        if self.bus.tlb.find(class, kind, linear).is_none() {
            let privilege = self.cpu.privilege();
            self.bus.prepare(linear, Access { kind, privilege });
        }
        let (frame, _) = self.bus.tlb.find(class, kind, linear)?;
        Some(frame)
    }

    #[inline(never)]
    fn move_pieces<W: Width>(&mut self) -> Done {
        if self.cpu.system_flags & DOWN != 0 {
            return Done::Odd;
        }
        for _ in 0..PIECES_MAX {
            let left = self.left();
            if left == 0 {
                return Done::All;
            }
            let (from, to) = (
                self.cpu.general[RSI] & self.address_mask,
                self.cpu.general[RDI] & self.address_mask,
            );
            let elements = left.min(room(from).min(room(to)) / W::BYTES);
            let bytes = elements * W::BYTES;
            // What goes into what comes is copied element by element, which for bytes is what copying does.
            let overlaps = to.wrapping_sub(from) < bytes && W::BYTES > 1;
            if elements == 0 || overlaps {
                return Done::Odd;
            }
            // The second page may take the place of the first among the translations.
            let source = self.known(from, Kind::Read);
            let (Some(source), Some(target)) = (source, self.known(to, Kind::Write)) else {
                return Done::Odd;
            };
            let offset = |linear: u64| (linear % PAGE_SIZE) as usize;
            source.copy(offset(from), target, offset(to), bytes as usize);
            self.advance::<W>(elements, &[RSI, RDI]);
        }
        Done::Some
    }

    #[inline(never)]
    fn fill_pieces<W: Width>(&mut self) -> Done {
        if self.cpu.system_flags & DOWN != 0 {
            return Done::Odd;
        }
        for _ in 0..PIECES_MAX {
            let left = self.left();
            if left == 0 {
                return Done::All;
            }
            let to = self.cpu.general[RDI] & self.address_mask;
            let elements = left.min(room(to) / W::BYTES);
            let Some(frame) = self.known(to, Kind::Write).filter(|_| elements > 0) else {
                return Done::Odd;
            };
            let (offset, bytes) = ((to % PAGE_SIZE) as usize, elements * W::BYTES);
            frame.fill::<W::Word>(offset, bytes as usize, W::word(self.general(General::Rax)));
            self.advance::<W>(elements, &[RDI]);
        }
        Done::Some
    }
}
