//! Who lies where in a machine's memory: nothing on anything else, all of it on memory.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::error::BootError;
use crate::ram::{Ram, Range};

/// What has been placed so far.
pub(crate) struct Claims<'r> {
    ram: &'r Ram,
    taken: Vec<(Range, &'static str)>,
}

impl<'r> Claims<'r> {
    pub(crate) const fn new(ram: &'r Ram) -> Self {
        let taken = Vec::new();
        Self { ram, taken }
    }

    /// Takes a range for `what`.
    pub(crate) fn take(
        &mut self,
        what: &'static str,
        start: u64,
        length: u64,
    ) -> Result<Range, BootError> {
        let outside = BootError::OutsideMemory {
            what,
            start,
            length,
        };
        let range = Range::new(start, length).filter(|range| self.is_memory(*range));
        let range = range.ok_or(outside)?;
        if let Some((_, second)) = self.holder(range) {
            let first = what;
            return Err(BootError::Overlap {
                first,
                start,
                second,
            });
        }
        self.taken.push((range, what));
        Ok(range)
    }

    /// Takes the highest range of `length` bytes that begins at a page and ends at or
    /// before `below`.
    pub(crate) fn take_highest(
        &mut self,
        what: &'static str,
        length: u64,
        below: u64,
    ) -> Result<Range, BootError> {
        let mut pieces = self.ram.usable().rev();
        let found = pieces.find_map(|piece| self.highest_in(piece, length, below));
        let start = found.ok_or(BootError::NoRoom {
            what,
            length,
            below,
        })?;
        self.take(what, start, length)
    }

    /// Takes the lowest range of `length` bytes from `from` on at a multiple of `alignment`
    /// (a power of two) that ends at or before `below`.
    pub(crate) fn take_lowest(
        &mut self,
        what: &'static str,
        length: u64,
        (from, below): (u64, u64),
        alignment: u64,
    ) -> Result<Range, BootError> {
        let space = (from, below);
        let mut pieces = self.ram.usable();
        let found = pieces.find_map(|piece| self.lowest_in(piece, length, space, alignment));
        let start = found.ok_or(BootError::NoRoom {
            what,
            length,
            below,
        })?;
        self.take(what, start, length)
    }

    fn highest_in(&self, piece: Range, length: u64, below: u64) -> Option<u64> {
        let mut top = piece.end().min(below);
        loop {
            let start = top.checked_sub(length)? & !0xfff;
            let range = Range::new(start, length).filter(|range| piece.contains(*range))?;
            match self.holder(range) {
                Some((holder, _)) => top = holder.start(),
                None => return Some(start),
            }
        }
    }

    fn lowest_in(
        &self,
        piece: Range,
        length: u64,
        (from, below): (u64, u64),
        alignment: u64,
    ) -> Option<u64> {
        let mut bottom = piece.start().max(from);
        loop {
            let start = bottom.checked_next_multiple_of(alignment)?;
            let range = Range::new(start, length).filter(|range| piece.contains(*range))?;
            match self.holder(range) {
                Some((holder, _)) => bottom = holder.end(),
                None => return (range.end() <= below).then_some(start),
            }
        }
    }

    fn is_memory(&self, range: Range) -> bool {
        self.ram.usable().any(|piece| piece.contains(range))
    }

    fn holder(&self, range: Range) -> Option<(Range, &'static str)> {
        let mut holders = self.taken.iter();
        holders.find(|(held, _)| held.overlaps(range)).copied()
    }

    /// Whether `address` lies in what was taken for `what`.
    pub(crate) fn holds(&self, what: &'static str, address: u64) -> bool {
        let byte = Range::new(address, 1);
        let inside = |held: Range| byte.is_some_and(|byte| held.contains(byte));
        let mut taken = self.taken.iter();
        taken.any(|(held, name)| *name == what && inside(*held))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn ram() -> Ram {
        Ram::new(&[(0, 16 * MIB), (32 * MIB, 4 * MIB)]).unwrap()
    }

    #[test]
    fn nothing_lies_on_anything_else() {
        let ram = ram();
        let mut claims = Claims::new(&ram);
        claims.take("a", 0x1000, 0x1000).unwrap();
        assert!(matches!(
            claims.take("b", 0x1fff, 1),
            Err(BootError::Overlap { second: "a", .. })
        ));
        claims.take("b", 0x2000, 1).unwrap();
        assert!(claims.holds("b", 0x2000) && !claims.holds("b", 0x2001));
    }

    #[test]
    fn all_lies_on_memory() {
        let ram = ram();
        let mut claims = Claims::new(&ram);
        for (start, length) in [
            (0x9_ffff, 2),
            (0xf_0000, 1),
            (15 * MIB, 2 * MIB),
            (20 * MIB, 1),
            (0, 0),
            (u64::MAX, 2),
        ] {
            let result = claims.take("it", start, length);
            assert!(matches!(result, Err(BootError::OutsideMemory { .. })));
        }
    }

    #[test]
    fn the_highest_and_the_lowest_place_are_found() {
        let ram = ram();
        let mut claims = Claims::new(&ram);
        let mut highest = |length, below| {
            let range = claims.take_highest("it", length, below);
            range.map(Range::start).ok()
        };
        assert_eq!(highest(1, u64::MAX), Some(36 * MIB - 0x1000));
        assert_eq!(highest(4 * MIB, u64::MAX), Some(12 * MIB));
        assert_eq!(highest(1, 16 * MIB), Some(12 * MIB - 0x1000));
        assert_eq!(highest(u64::MAX, u64::MAX), None);
        let mut lowest = |length, space, alignment| {
            let range = claims.take_lowest("it", length, space, alignment);
            range.map(Range::start).ok()
        };
        assert_eq!(lowest(0x1000, (MIB, u64::MAX), 0x1000), Some(MIB));
        assert_eq!(lowest(0x1000, (MIB, u64::MAX), MIB), Some(2 * MIB));
        assert_eq!(lowest(0x1000, (0xa_0000, MIB), 0x1000), None);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_apart_and_in_memory(
            wishes in prop::collection::vec((0..40 * MIB, 0..2 * MIB, 0..3_u8), 0..40)
        ) {
            let ram = ram();
            let mut claims = Claims::new(&ram);
            for (start, length, how) in wishes {
                let _ = match how {
                    0 => claims.take("it", start, length),
                    1 => claims.take_highest("it", length, start),
                    _ => claims.take_lowest("it", length, (start, 40 * MIB), 0x2000),
                };
            }
            for (index, (range, _)) in claims.taken.iter().enumerate() {
                prop_assert!(claims.is_memory(*range));
                let mut others = claims.taken.iter().skip(index + 1);
                prop_assert!(others.all(|(other, _)| !other.overlaps(*range)));
            }
        }
    }
}
