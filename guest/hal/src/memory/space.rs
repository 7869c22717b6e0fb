//! Where in guest-physical space extents go.
//!
//! Most of it is plain: ranges that the host backs page by page when they are touched.
//! Small extents that will be full soon are packed into blocks instead, each backed by
//! one large page from the start: 90 us for 2 MiB, where 512 single pages would cost a
//! millisecond. A block whose extents are all gone goes back to the host as a whole; until
//! then its free parts are cleared and used again, as long as there is little of that.
//! The first extents of a machine are plain, so that a small program stays small
//! (`docs/decisions/0008-small-memory-shares-large-pages.md`).

use alloc::collections::{BTreeMap, BTreeSet};

use guest_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

use super::{Extent, ram_pointer};
use crate::sync::Mutex;
use crate::{GuestAddress, LinearAddress, Nanos, platform, time};

/// The longest extent that is packed.
const PACKED_MAX: u64 = HUGE_PAGE_SIZE / 2;
/// Bytes that are handed out as they come before the first block is made.
const FIRST: u64 = HUGE_PAGE_SIZE / 2;
/// Free bytes in blocks that may stay with us; beyond, they are given back in pieces.
const IDLE_MAX: u64 = 4 * HUGE_PAGE_SIZE;

/// What a large page may cost: a block whose pages come one by one costs no more than that.
const DEAR: Nanos = Nanos(1_200_000);
/// How many blocks do without one after one was dearer, and at first where the host is known to be
/// like that. A host that is a virtual machine itself and reports its free pages gets each back only
/// when it is touched, which made it 5 ms instead of 90 us.
const SMALL: u32 = 64;

/// Free ranges: start to length; neighbours are merged.
#[derive(Debug)]
struct Ranges {
    map: BTreeMap<u64, u64>,
    total: u64,
}

/// All of guest-physical space that extents may have. What is free reads as zero.
#[derive(Debug)]
struct Space {
    plain: Ranges,
    packed: Ranges,
    /// Where the blocks begin.
    blocks: BTreeSet<u64>,
    /// What is left of [`FIRST`].
    first: u64,
    /// How many blocks are to do without a large page yet.
    small: u32,
    dear: bool,
}

static SPACE: Mutex<Space> = Mutex::new(Space {
    plain: Ranges::new(),
    packed: Ranges::new(),
    blocks: BTreeSet::new(),
    first: FIRST,
    small: 0,
    dear: false,
});

/// Hands `start..end` out from now on.
pub(super) fn initialize(start: u64, end: u64, large_pages_are_dear: bool) {
    let start = start.next_multiple_of(HUGE_PAGE_SIZE);
    let mut space = SPACE.lock();
    space.plain.put(start, end - start);
    space.dear = large_pages_are_dear;
    space.small = if large_pages_are_dear { SMALL } else { 0 };
}

/// Whether it is better to do without large pages where little of each may be used: the host says
/// that they are dear.
#[must_use]
pub fn large_pages_are_dear() -> bool {
    SPACE.lock().dear
}

/// Makes one large page of the block at `physical`, if the host has one; otherwise its
/// pages come one by one, as they are touched. Whether that was worth it.
fn back_by_large_page(physical: u64) -> bool {
    let linear = LinearAddress(ram_pointer(physical).addr() as u64);
    let start = time::monotonic();
    platform().prefer_large_pages(linear, HUGE_PAGE_SIZE, true);
    platform().populate(linear, PAGE_SIZE, true);
    time::monotonic().saturating_sub(start) < DEAR
}

/// A plain range, at `near` if that is free.
pub(super) fn take(length: u64, align: u64, near: Option<GuestAddress>) -> Option<u64> {
    SPACE.lock().take(length, align, near)
}

/// A range in blocks, at `near` if that is free.
pub(super) fn take_packed(length: u64, near: Option<GuestAddress>) -> Option<u64> {
    let mut space = SPACE.lock();
    if length > PACKED_MAX || length <= space.first {
        space.first = space.first.saturating_sub(length);
        return space.take(length, PAGE_SIZE, near);
    }
    let there = near.and_then(|at| space.packed.take_at(at.0, length));
    if let Some(start) = there.or_else(|| space.packed.take(length, PAGE_SIZE)) {
        return Some(start);
    }
    let block = space.plain.take(HUGE_PAGE_SIZE, HUGE_PAGE_SIZE)?;
    if space.small > 0 {
        space.small -= 1;
    } else if !back_by_large_page(block) {
        space.small = SMALL;
    }
    space.blocks.insert(block);
    space.packed.put(block, HUGE_PAGE_SIZE);
    space.packed.take(length, PAGE_SIZE)
}

/// Whether an extent that starts there lies in blocks.
pub(super) fn is_packed(start: u64) -> bool {
    SPACE.lock().is_packed(start)
}

/// Takes an extent's memory back.
pub(super) fn give_back(extent: &Extent) {
    let (start, length) = (extent.start, extent.length);
    let mut space = SPACE.lock();
    if !space.is_packed(start) {
        platform().discard(extent.start(), length);
        space.plain.put(start, length);
        return;
    }
    if space.packed.total + length <= IDLE_MAX {
        extent.fill_zero(0, length);
    } else {
        platform().discard(extent.start(), length);
    }
    space.packed.put(start, length);
    space.release_blocks(start, length);
}

impl Space {
    fn take(&mut self, length: u64, align: u64, near: Option<GuestAddress>) -> Option<u64> {
        let there = near.and_then(|at| self.plain.take_at(at.0, length));
        there.or_else(|| self.plain.take(length, align))
    }

    fn is_packed(&self, start: u64) -> bool {
        self.blocks.contains(&(start & !(HUGE_PAGE_SIZE - 1)))
    }

    /// Gives back the blocks around a range that are free as a whole, but keeps one.
    fn release_blocks(&mut self, start: u64, length: u64) {
        let last = (start + length - 1) & !(HUGE_PAGE_SIZE - 1);
        let mut block = start & !(HUGE_PAGE_SIZE - 1);
        while block <= last {
            if self.packed.total > HUGE_PAGE_SIZE
                && self.packed.take_at(block, HUGE_PAGE_SIZE).is_some()
            {
                platform().discard(GuestAddress(block), HUGE_PAGE_SIZE);
                self.blocks.remove(&block);
                self.plain.put(block, HUGE_PAGE_SIZE);
            }
            block += HUGE_PAGE_SIZE;
        }
    }
}

impl Ranges {
    const fn new() -> Self {
        Self {
            map: BTreeMap::new(),
            total: 0,
        }
    }

    /// From the top: mappings are placed downwards as well, so neighbours in linear space
    /// become neighbours here and merge.
    fn take(&mut self, length: u64, align: u64) -> Option<u64> {
        let (start, at) = self.map.iter().rev().find_map(|(&start, &free)| {
            let at = (start + free).checked_sub(length)? / align * align;
            (at >= start).then_some((start, at))
        })?;
        self.cut(start, at, length);
        Some(at)
    }

    fn take_at(&mut self, at: u64, length: u64) -> Option<u64> {
        let (&start, &free) = self.map.range(..=at).next_back()?;
        let end = at.checked_add(length)?;
        if end > start + free {
            return None;
        }
        self.cut(start, at, length);
        Some(at)
    }

    fn cut(&mut self, start: u64, at: u64, length: u64) {
        let free = self.map.remove(&start).expect("a range found just now");
        if at > start {
            self.map.insert(start, at - start);
        }
        let rest = start + free - (at + length);
        if rest > 0 {
            self.map.insert(at + length, rest);
        }
        self.total -= length;
    }

    fn put(&mut self, mut start: u64, mut length: u64) {
        self.total += length;
        if let Some((&before, &size)) = self.map.range(..start).next_back()
            && before + size == start
        {
            self.map.remove(&before);
            start = before;
            length += size;
        }
        if let Some(size) = self.map.remove(&(start + length)) {
            length += size;
        }
        self.map.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ranges_merge_with_both_neighbours() {
        let mut ranges = Ranges::new();
        ranges.put(0x1000, 0x1000);
        ranges.put(0x3000, 0x1000);
        ranges.put(0x2000, 0x1000);
        assert_eq!(ranges.total, 0x3000);
        assert_eq!(
            ranges.map.into_iter().collect::<alloc::vec::Vec<_>>(),
            [(0x1000, 0x3000)]
        );
    }

    #[test]
    fn small_extents_share_a_block_and_are_zero_again_when_they_come_back() {
        crate::hosted::initialize();
        SPACE.lock().first = 0;
        let extents: alloc::vec::Vec<Extent> = (0..600)
            .map(|number| Extent::allocate_full(((number % 3) + 1) * PAGE_SIZE, None).unwrap())
            .collect();
        for extent in &extents {
            let mut byte = [1];
            extent.read(extent.len() - 1, &mut byte);
            assert_eq!(byte, [0]);
            extent.write(0, &[7; 64]);
            assert!(is_packed(extent.start));
        }
        let starts: BTreeSet<u64> = extents.iter().map(|extent| extent.start).collect();
        assert_eq!(starts.len(), extents.len());
        drop(extents);
        let again = Extent::allocate_full(PAGE_SIZE, None).unwrap();
        let mut bytes = [1; 64];
        again.read(0, &mut bytes);
        assert_eq!(bytes, [0; 64]);
    }

    #[test]
    fn free_blocks_go_back_and_long_extents_are_not_packed() {
        crate::hosted::initialize();
        let extents: alloc::vec::Vec<Extent> = (0..32)
            .map(|_| Extent::allocate_full(PACKED_MAX, None).unwrap())
            .collect();
        drop(extents);
        assert!(SPACE.lock().packed.total < 32 * PACKED_MAX);
        let long = Extent::allocate_full(PACKED_MAX + PAGE_SIZE, None).unwrap();
        assert!(!is_packed(long.start));
    }
}
