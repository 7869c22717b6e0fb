//! Where a machine has memory, and what a guest is told about it.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::error::BootError;

/// From here to [`ABOVE_LEGACY`] lie the screen's memory and the firmware of a PC.
pub const LEGACY: u64 = 0xa_0000;
/// The first address behind them.
pub const ABOVE_LEGACY: u64 = 0x10_0000;
/// Most ranges of memory that a machine may have.
pub const RANGES_MAX: usize = 16;

/// A range of guest-physical addresses that is not empty and ends within them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The range of `length` bytes from `start` on, if there is one.
    #[must_use]
    pub const fn new(start: u64, length: u64) -> Option<Self> {
        match start.checked_add(length) {
            Some(end) if length > 0 => Some(Self { start, end }),
            _ => None,
        }
    }

    /// The addresses from `start` to before `end`, if there is one.
    const fn between(start: u64, end: u64) -> Option<Self> {
        if start < end {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// Its first address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The first address behind it.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` lies in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether they have an address in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    fn intersection(self, start: u64, end: u64) -> Option<Self> {
        Self::between(self.start.max(start), self.end.min(end))
    }
}

/// The machine's memory: ranges in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ram {
    ranges: Vec<Range>,
}

/// What a range of addresses is, in the numbers that the E820 map, PVH and Multiboot share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory for the guest.
    Usable = 1,
    /// Nothing to touch.
    Reserved = 2,
    /// The tables of ACPI.
    Acpi = 3,
}

/// An entry of a memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub range: Range,
    /// What.
    pub kind: Kind,
}

impl Ram {
    /// From the first address and the length, in bytes, of each range.
    ///
    /// # Errors
    /// When they are none, too many, empty, out of order, or overlap.
    pub fn new(ranges: &[(u64, u64)]) -> Result<Self, BootError> {
        if ranges.is_empty() || ranges.len() > RANGES_MAX {
            return Err(BootError::Ram("it has no range, or too many"));
        }
        let mut checked: Vec<Range> = Vec::new();
        for (start, length) in ranges {
            let range = Range::new(*start, *length);
            let range = range.ok_or(BootError::Ram("a range is empty or ends nowhere"))?;
            if checked.last().is_some_and(|last| last.end > range.start) {
                return Err(BootError::Ram("its ranges are not in ascending order"));
            }
            checked.push(range);
        }
        Ok(Self { ranges: checked })
    }

    /// What a guest may use: all but what a PC has below 1 MiB.
    pub fn usable(&self) -> impl DoubleEndedIterator<Item = Range> {
        let parts = |range: &Range| {
            let below = range.intersection(0, LEGACY);
            let above = range.intersection(ABOVE_LEGACY, u64::MAX);
            [below, above]
        };
        self.ranges.iter().flat_map(parts).flatten()
    }

    /// The memory map; `acpi` lies between [`LEGACY`] and [`ABOVE_LEGACY`].
    #[must_use]
    pub fn map(&self, acpi: Option<Range>) -> Vec<Entry> {
        let usable = self.usable().map(|range| (Some(range), Kind::Usable));
        let mut entries: Vec<(Option<Range>, Kind)> = usable.collect();
        let tables = acpi.map_or((ABOVE_LEGACY, ABOVE_LEGACY), |acpi| (acpi.start, acpi.end));
        entries.push((Range::between(LEGACY, tables.0), Kind::Reserved));
        entries.push((acpi, Kind::Acpi));
        entries.push((Range::between(tables.1, ABOVE_LEGACY), Kind::Reserved));
        let entry = |(range, kind): (Option<Range>, Kind)| {
            Some(Entry {
                range: range?,
                kind,
            })
        };
        let mut entries: Vec<Entry> = entries.into_iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry.range.start);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn shape(entries: &[Entry]) -> Vec<(u64, u64, Kind)> {
        let shape = |entry: &Entry| (entry.range.start, entry.range.end, entry.kind);
        entries.iter().map(shape).collect()
    }

    #[test]
    fn the_map_has_holes_where_a_pc_has_them() {
        let ram = Ram::new(&[(0, 3 * GIB), (4 * GIB, GIB)]).unwrap();
        let acpi = Range::new(0xe_0000, 0x3000);
        let expected = [
            (0, LEGACY, Kind::Usable),
            (LEGACY, 0xe_0000, Kind::Reserved),
            (0xe_0000, 0xe_3000, Kind::Acpi),
            (0xe_3000, ABOVE_LEGACY, Kind::Reserved),
            (ABOVE_LEGACY, 3 * GIB, Kind::Usable),
            (4 * GIB, 5 * GIB, Kind::Usable),
        ];
        assert_eq!(shape(&ram.map(acpi)), expected);
        assert_eq!(ram.map(None).len(), 4);
    }

    #[test]
    fn contradictions_are_refused() {
        let end = u64::MAX;
        let many = [(0, 1); RANGES_MAX + 1];
        for ranges in [
            &[][..],
            &many,
            &[(0, 0)],
            &[(end, 2)],
            &[(0, 10), (9, 5)],
            &[(9, 5), (0, 5)],
        ] {
            assert!(Ram::new(ranges).is_err(), "{ranges:?}");
        }
    }
}
