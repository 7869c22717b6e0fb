//! Segments: where in memory a page of a file is.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_abi::layout::PAGE_SIZE;
use guest_hal::memory::Extent;

use crate::{Errno, Result};

/// log2 of the pages of the first segment: 1 MiB.
const FIRST_BITS: u32 = 8;
/// log2 of the pages of the longest segments: 1 GiB.
const LAST_BITS: u32 = 18;

/// Number, first page and length in pages of the segment of a page.
const fn place(page: u64) -> (usize, u64, u64) {
    if page < 1 << FIRST_BITS {
        return (0, 0, 1 << FIRST_BITS);
    }
    if page >= 1 << LAST_BITS {
        let number = page >> LAST_BITS;
        let index = number as usize + (LAST_BITS - FIRST_BITS) as usize;
        return (index, number << LAST_BITS, 1 << LAST_BITS);
    }
    let bits = page.ilog2();
    ((bits - FIRST_BITS) as usize + 1, 1 << bits, 1 << bits)
}

/// Bytes from `offset` to the end of its segment.
pub(super) const fn rest_of_segment(offset: u64) -> u64 {
    let (_, first, count) = place(offset / PAGE_SIZE);
    (first + count) * PAGE_SIZE - offset
}

#[derive(Debug)]
struct Segment {
    extent: Arc<Extent>,
    present: Box<[u64]>,
    count: u64,
}

impl Segment {
    fn new(pages: u64) -> Result<Self> {
        let extent = Extent::allocate(pages * PAGE_SIZE, PAGE_SIZE, None).ok_or(Errno::ENOSPC)?;
        let present = alloc::vec![0; pages.div_ceil(64) as usize].into_boxed_slice();
        Ok(Self {
            extent: Arc::new(extent),
            present,
            count: 0,
        })
    }

    fn has(&self, page: u64) -> bool {
        let word = self.present.get((page / 64) as usize).copied().unwrap_or(0);
        word >> (page % 64) & 1 != 0
    }

    /// How many pages from `page` on, at most `max`, are alike.
    fn alike(&self, page: u64, max: u64) -> u64 {
        let is = self.has(page);
        let mut length = 0;
        while length < max {
            let at = page + length;
            let word = self.present.get((at / 64) as usize).copied().unwrap_or(0);
            let bits = if is { !word } else { word } >> (at % 64);
            let same = if bits == 0 {
                64 - at % 64
            } else {
                u64::from(bits.trailing_zeros())
            };
            length += same;
            if bits != 0 {
                break;
            }
        }
        length.min(max)
    }

    fn set(&mut self, page: u64, to: bool) -> bool {
        let Some(word) = self.present.get_mut((page / 64) as usize) else {
            return false;
        };
        let bit = 1 << (page % 64);
        let was = *word & bit != 0;
        if to {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        if was != to {
            self.count = if to { self.count + 1 } else { self.count - 1 };
        }
        was != to
    }
}

/// A piece of a file that is, or is not, in memory.
#[derive(Debug)]
pub(super) enum Run {
    /// In an extent at an offset, so many bytes.
    Present(Arc<Extent>, u64, u64),
    /// Not there, so many bytes.
    Absent(u64),
}

/// A run of pages that are there.
#[derive(Debug)]
pub(super) struct PresentRun {
    /// Offset in the file.
    pub(super) offset: u64,
    /// The extent.
    pub(super) extent: Arc<Extent>,
    /// Offset in the extent.
    pub(super) inner: u64,
    /// Bytes.
    pub(super) length: u64,
}

/// All segments of a file.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: Vec<Option<Segment>>,
}

impl Segments {
    fn get(&self, index: usize) -> Option<&Segment> {
        self.list.get(index).and_then(Option::as_ref)
    }

    /// How many pages are there.
    pub(super) fn count(&self) -> u64 {
        self.list
            .iter()
            .flatten()
            .map(|segment| segment.count)
            .sum()
    }

    /// What is at `offset`, at most `max` bytes.
    pub(super) fn run(&self, offset: u64, max: u64) -> Run {
        let page = offset / PAGE_SIZE;
        let (index, first, count) = place(page);
        let rest = (first + count) * PAGE_SIZE - offset;
        let Some(segment) = self.get(index) else {
            return Run::Absent(rest.min(max));
        };
        let inside = page - first;
        let within = offset % PAGE_SIZE;
        let wanted = (within + max.min(rest)).div_ceil(PAGE_SIZE);
        let length = (segment.alike(inside, wanted) * PAGE_SIZE - within).min(max);
        if segment.has(inside) {
            Run::Present(segment.extent.clone(), inside * PAGE_SIZE + within, length)
        } else {
            Run::Absent(length)
        }
    }

    /// Bytes from the page at `offset` to the next that is there or to the segment's end.
    pub(super) fn absent_run(&self, offset: u64, max: u64) -> u64 {
        match self.run(offset, max) {
            Run::Absent(length) => length,
            Run::Present(..) => 0,
        }
    }

    /// The extent for `offset` and the offset in it.
    pub(super) fn ensure(&mut self, offset: u64) -> Result<(Arc<Extent>, u64)> {
        let (index, first, count) = place(offset / PAGE_SIZE);
        if index >= self.list.len() {
            self.list.resize_with(index + 1, || None);
        }
        let slot = self.list.get_mut(index).ok_or(Errno::ENOSPC)?;
        let segment = match slot {
            Some(segment) => segment,
            None => slot.insert(Segment::new(count)?),
        };
        Ok((segment.extent.clone(), offset - first * PAGE_SIZE))
    }

    /// Pages from `start` on, `length` bytes, are there now; returns how many are new.
    pub(super) fn mark(&mut self, start: u64, length: u64) -> u64 {
        let pages = start / PAGE_SIZE..(start + length).div_ceil(PAGE_SIZE);
        let mut added = 0;
        for page in pages {
            let (index, first, _) = place(page);
            if let Some(Some(segment)) = self.list.get_mut(index) {
                added += u64::from(segment.set(page - first, true));
            }
        }
        added
    }

    /// Makes what is from `size` on zero and forgets it; returns how many pages that were.
    /// Extents stay if they are pinned.
    pub(super) fn truncate(&mut self, size: u64, pinned: bool) -> u64 {
        let (index, first, _) = place(size / PAGE_SIZE);
        let keep = if size == first * PAGE_SIZE {
            index
        } else {
            index + 1
        };
        let mut removed = 0;
        if !pinned && keep < self.list.len() {
            removed = self
                .list
                .drain(keep..)
                .flatten()
                .map(|segment| segment.count)
                .sum();
        }
        let end = self.end();
        removed + self.punch(size, end.saturating_sub(size))
    }

    /// The end of the last segment.
    fn end(&self) -> u64 {
        match self.list.len() {
            0 => 0,
            1 => PAGE_SIZE << FIRST_BITS,
            count if count <= (LAST_BITS - FIRST_BITS) as usize + 1 => {
                PAGE_SIZE << (FIRST_BITS as usize + count - 1)
            }
            count => (count as u64 - u64::from(LAST_BITS - FIRST_BITS)) << LAST_BITS << 12,
        }
    }

    /// Makes a range zero; pages wholly inside are forgotten. Returns how many.
    pub(super) fn punch(&mut self, offset: u64, length: u64) -> u64 {
        let end = offset.saturating_add(length).min(self.end());
        let mut at = offset;
        let mut removed = 0;
        while at < end {
            match self.run(at, end - at) {
                Run::Present(extent, inner, length) => {
                    extent.clear(inner, length);
                    removed += self.unmark(at, length);
                    at += length;
                }
                Run::Absent(length) => at += length,
            }
        }
        removed
    }

    /// Forgets the pages wholly inside a range.
    fn unmark(&mut self, offset: u64, length: u64) -> u64 {
        let mut removed = 0;
        for page in offset.div_ceil(PAGE_SIZE)..(offset + length) / PAGE_SIZE {
            let (index, first, _) = place(page);
            if let Some(Some(segment)) = self.list.get_mut(index) {
                removed += u64::from(segment.set(page - first, false));
            }
        }
        removed
    }

    /// The runs of pages that are there in a range.
    pub(super) fn present_runs(&self, offset: u64, length: u64) -> Vec<PresentRun> {
        let end = offset.saturating_add(length).min(self.end());
        let mut runs = Vec::new();
        let mut at = offset;
        while at < end {
            match self.run(at, end - at) {
                Run::Present(extent, inner, length) => {
                    runs.push(PresentRun {
                        offset: at,
                        extent,
                        inner,
                        length,
                    });
                    at += length;
                }
                Run::Absent(length) => at += length,
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_without_gaps() {
        let mut page = 0;
        for expected in 0..40 {
            let (index, first, count) = place(page);
            assert_eq!((index, first), (expected, page));
            assert_eq!(place(first + count - 1), (index, first, count));
            page += count;
        }
    }

    #[test]
    fn the_end_of_the_last_segment_is_where_the_next_begins() {
        let mut segments = Segments::default();
        for _ in 0..20 {
            let end = segments.end();
            let (index, first, _) = place(end / PAGE_SIZE);
            assert_eq!((index, first * PAGE_SIZE), (segments.list.len(), end));
            segments.list.push(None);
        }
    }
}
