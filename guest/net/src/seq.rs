//! Sequence numbers, which wrap, and ranges of them.

use alloc::vec::Vec;

/// A sequence number (RFC 9293, 3.4). It has no order of its own: of two it is told which comes
/// first as seen from one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
    pub(crate) const fn plus(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes as u32))
    }

    pub(crate) const fn minus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// How far this is behind `earlier`; zero if it is before.
    pub(crate) fn since(self, earlier: Self) -> usize {
        if self.before(earlier) {
            0
        } else {
            self.0.wrapping_sub(earlier.0) as usize
        }
    }

    pub(crate) const fn before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    pub(crate) const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    pub(crate) const fn at_least(self, other: Self) -> bool {
        !self.before(other)
    }

    pub(crate) const fn at_most(self, other: Self) -> bool {
        !other.before(self)
    }

    pub(crate) fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

/// A range: from the first to before the second.
pub(crate) type Range = (Seq, Seq);

/// Disjoint ranges in order, not too many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges {
    list: Vec<Range>,
}

impl Ranges {
    const MOST: usize = 256;

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[Range] {
        &self.list
    }

    pub(crate) fn last(&self) -> Option<Range> {
        self.list.last().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.list = Vec::new();
    }

    /// Adds a range and joins what touches. Returns the joined one; `None` if there are too many.
    pub(crate) fn insert(&mut self, (start, end): Range) -> Option<Range> {
        if end.at_most(start) {
            return None;
        }
        let from = self.list.partition_point(|(_, e)| e.before(start));
        let to = self.list.partition_point(|(s, _)| s.at_most(end));
        let joined = self.list.get(from..to).unwrap_or(&[]);
        let (Some(first), Some(last)) = (joined.first(), joined.last()) else {
            if self.list.len() >= Self::MOST {
                return None;
            }
            self.list.insert(from, (start, end));
            return Some((start, end));
        };
        let all = (start.min(first.0), end.max(last.1));
        self.list.drain(from + 1..to);
        if let Some(place) = self.list.get_mut(from) {
            *place = all;
        }
        Some(all)
    }

    /// Forgets everything before `seq`.
    pub(crate) fn drop_before(&mut self, seq: Seq) {
        let gone = self.list.partition_point(|(_, end)| end.at_most(seq));
        if gone == self.list.len() {
            self.list.clear();
            return;
        }
        self.list.drain(..gone);
        if let Some(first) = self.list.first_mut() {
            first.0 = first.0.max(seq);
        }
    }

    /// The range that holds `seq`.
    pub(crate) fn containing(&self, seq: Seq) -> Option<Range> {
        let at = self.list.partition_point(|(_, end)| end.at_most(seq));
        let range = *self.list.get(at)?;
        range.0.at_most(seq).then_some(range)
    }

    /// The first gap in `from..to`.
    pub(crate) fn gap(&self, from: Seq, to: Seq) -> Option<Range> {
        let start = self.containing(from).map_or(from, |(_, end)| end);
        let next = self.list.partition_point(|(_, end)| end.at_most(start));
        let end = self.list.get(next).map_or(to, |(s, _)| s.min(to));
        start.before(end).then_some((start, end))
    }

    /// How many bytes of `from..to` are in it.
    pub(crate) fn covered(&self, from: Seq, to: Seq) -> usize {
        let within = |(start, end): &Range| end.min(to).since(start.max(from));
        self.list.iter().map(within).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_survives_wrapping(base: u32, ahead in 1_u32..0x7fff_ffff) {
            let (one, other) = (Seq(base), Seq(base.wrapping_add(ahead)));
            prop_assert!(one.before(other) && other.after(one));
            prop_assert_eq!(other.since(one), ahead as usize);
            prop_assert_eq!(one.since(other), 0);
            prop_assert_eq!(one.max(other), other);
            prop_assert_eq!(one.min(other), one);
        }

        #[test]
        fn ranges_are_sets(base: u32, pieces: Vec<(u8, u8)>, floor: u8) {
            let mut ranges = Ranges::default();
            let mut model = [false; 600];
            for (start, length) in pieces {
                let (start, end) = (usize::from(start), usize::from(start) + usize::from(length));
                ranges.insert((Seq(base).plus(start), Seq(base).plus(end)));
                model[start..end].fill(true);
            }
            let floor = usize::from(floor);
            ranges.drop_before(Seq(base).plus(floor));
            model[..floor].fill(false);
            for (at, held) in model.iter().enumerate() {
                prop_assert_eq!(ranges.containing(Seq(base).plus(at)).is_some(), *held);
            }
            let count = model.iter().filter(|held| **held).count();
            prop_assert_eq!(ranges.covered(Seq(base), Seq(base).plus(600)), count);
            let gap = ranges.gap(Seq(base).plus(floor), Seq(base).plus(600)).map(|(s, _)| s.since(Seq(base)));
            prop_assert_eq!(gap, (floor..600).find(|at| !model[*at]));
            let apart = ranges.as_slice().windows(2).all(|pair| pair[0].1.before(pair[1].0));
            prop_assert!(apart);
        }
    }
}
