//! What is mapped where in the program's part of linear space.
//!
//! What an engine's host does for a cell, this platform does itself: a mapping is noted, and
//! the processor's tables are filled in when a page is touched.

use alloc::collections::BTreeMap;

use crate::Protection;

/// A range of linear addresses; its start is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First linear address beyond it.
    pub(super) end: u64,
    /// Guest-physical address behind its first byte.
    pub(super) physical: u64,
    /// What the program may do.
    pub(super) protection: Protection,
    /// Large pages are welcome.
    pub(super) large: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    map: BTreeMap<u64, Mapping>,
}

impl Mappings {
    pub(super) const fn new() -> Self {
        Self {
            map: BTreeMap::new(),
        }
    }

    /// The mapping at an address: its start, and it.
    pub(super) fn at(&self, linear: u64) -> Option<(u64, Mapping)> {
        let (&start, mapping) = self.map.range(..=linear).next_back()?;
        (linear < mapping.end).then_some((start, *mapping))
    }

    /// Maps, replacing what was there; joins the neighbours where they go on alike.
    pub(super) fn insert(&mut self, start: u64, mapping: Mapping) {
        self.remove(start, mapping.end);
        let (mut start, mut mapping) = (start, mapping);
        if let Some((&before, other)) = self.map.range(..start).next_back()
            && other.end == start
            && goes_on(before, other, start, &mapping)
        {
            mapping.physical = other.physical;
            start = before;
        }
        if let Some(after) = self.map.get(&mapping.end).copied()
            && goes_on(start, &mapping, mapping.end, &after)
        {
            self.map.remove(&mapping.end);
            mapping.end = after.end;
        }
        self.map.insert(start, mapping);
    }

    /// Unmaps.
    pub(super) fn remove(&mut self, start: u64, end: u64) {
        self.split(start);
        self.split(end);
        while let Some((&at, _)) = self.map.range(start..end).next() {
            self.map.remove(&at);
        }
    }

    /// Changes every mapping in a range.
    pub(super) fn change(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Mapping)) {
        self.split(start);
        self.split(end);
        for (_, mapping) in self.map.range_mut(start..end) {
            change(mapping);
        }
    }

    /// Calls `part` with every linear range that shows part of a guest-physical one.
    pub(super) fn each_of_physical(&self, start: u64, end: u64, mut part: impl FnMut(u64, u64)) {
        for (&linear, mapping) in &self.map {
            let length = mapping.end - linear;
            let first = start.max(mapping.physical);
            let last = end.min(mapping.physical + length);
            if first < last {
                let offset = first - mapping.physical;
                part(linear + offset, linear + offset + (last - first));
            }
        }
    }

    /// Makes `at` a border.
    fn split(&mut self, at: u64) {
        let Some((start, mapping)) = self.at(at).filter(|(start, _)| *start != at) else {
            return;
        };
        let rest = Mapping {
            physical: mapping.physical + (at - start),
            ..mapping
        };
        self.map.insert(at, rest);
        if let Some(first) = self.map.get_mut(&start) {
            first.end = at;
        }
    }
}

/// Whether `second` at `at` continues `first`, which starts at `start`.
fn goes_on(start: u64, first: &Mapping, at: u64, second: &Mapping) -> bool {
    first.protection == second.protection
        && first.large == second.large
        && first.physical + (at - start) == second.physical
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn mapping(end: u64, physical: u64) -> Mapping {
        Mapping {
            end,
            physical,
            protection: Protection::READ,
            large: false,
        }
    }

    #[test]
    fn neighbours_that_go_on_alike_are_one() {
        let mut mappings = Mappings::new();
        mappings.insert(0x1000, mapping(0x2000, 0x9000));
        mappings.insert(0x3000, mapping(0x4000, 0xb000));
        mappings.insert(0x2000, mapping(0x3000, 0xa000));
        assert_eq!(mappings.at(0x3fff), Some((0x1000, mapping(0x4000, 0x9000))));
        assert_eq!(mappings.at(0x4000), None);
    }

    #[test]
    fn a_hole_leaves_both_ends_where_they_were() {
        let mut mappings = Mappings::new();
        mappings.insert(0x1000, mapping(0x5000, 0x9000));
        mappings.remove(0x2000, 0x3000);
        assert_eq!(mappings.at(0x1000), Some((0x1000, mapping(0x2000, 0x9000))));
        assert_eq!(mappings.at(0x2000), None);
        assert_eq!(mappings.at(0x3000), Some((0x3000, mapping(0x5000, 0xb000))));
    }

    #[test]
    fn a_new_mapping_replaces_what_it_covers() {
        let mut mappings = Mappings::new();
        mappings.insert(0x1000, mapping(0x5000, 0x9000));
        mappings.insert(0x2000, mapping(0x6000, 0x1_0000));
        assert_eq!(mappings.at(0x1fff), Some((0x1000, mapping(0x2000, 0x9000))));
        assert_eq!(
            mappings.at(0x2000),
            Some((0x2000, mapping(0x6000, 0x1_0000)))
        );
    }

    #[test]
    fn changes_stay_within_their_range() {
        let mut mappings = Mappings::new();
        mappings.insert(0x1000, mapping(0x4000, 0x9000));
        mappings.change(0x2000, 0x3000, |mapping| {
            mapping.protection = Protection::NONE;
        });
        let protection = |at| mappings.at(at).map(|(_, mapping)| mapping.protection);
        assert_eq!(protection(0x1000), Some(Protection::READ));
        assert_eq!(protection(0x2000), Some(Protection::NONE));
        assert_eq!(protection(0x3000), Some(Protection::READ));
    }

    #[test]
    fn every_view_of_a_physical_range_is_found() {
        let mut mappings = Mappings::new();
        mappings.insert(0x1000, mapping(0x3000, 0x9000));
        mappings.insert(0x7000, mapping(0x8000, 0xa000));
        let mut found = Vec::new();
        mappings.each_of_physical(0xa000, 0xa800, |start, end| found.push((start, end)));
        assert_eq!(found, [(0x2000, 0x2800), (0x7000, 0x7800)]);
    }
}
