//! File pages: the content of files in memory, and the cache of files of the host.
//!
//! [`Pages`] keeps one file's pages in extents that never move: segments that double in
//! size. Which of their pages are there is a bit each; a page that is not there reads as
//! zero in its extent. Where missing pages come from is said by a [`Backing`] at each use,
//! so that a cache outlives the open file it was filled through.
//!
//! * [`segment`]: the geometry and the bits.
//! * [`limit`]: how much memory the caches of host files may take.
//! * [`PageStore`]: the pages of an open file for shared mappings; while it lives, its
//!   pages stay where they are.
//!
//! No lock is held while the program's memory is accessed: bringing that in may come back
//! here.

mod limit;
mod segment;
mod store;

pub use limit::{resident, set_limit};
pub use store::PageStore;

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use guest_abi::layout::{PAGE_SIZE, page_up};
use guest_hal::memory::Extent;
use guest_hal::sync::Mutex;

use super::buffer::{Destination, Origin};
use crate::{Errno, Result};
use segment::{Run, Segments};

/// The longest file in memory.
pub const SIZE_MAX: u64 = 1 << 44;
/// The first and the longest read-ahead.
const AHEAD_MIN: u64 = 16 << 10;
const AHEAD_MAX: u64 = 1 << 20;
/// What is read around a page when reads jump about.
const AHEAD_RANDOM: u64 = 16 << 10;

/// Without what is behind the pointer: that would keep the code for it of every type there is.
impl fmt::Debug for dyn Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backing")
    }
}

/// Where missing pages come from.
pub trait Backing: Send + Sync {
    /// How many bytes it has; beyond are zeros.
    fn end(&self) -> u64;

    /// Reads at most `length` bytes into an extent; fewer at the end of what there is.
    ///
    /// # Errors
    /// The file system's.
    fn fetch(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64>;

    /// Writes pages of a shared mapping back; nothing to do for files in memory.
    ///
    /// # Errors
    /// The file system's.
    fn store(&self, _offset: u64, _extent: &Extent, _at: u64, _length: u64) -> Result<()> {
        Ok(())
    }
}

/// Nothing: all missing pages are zero.
#[derive(Debug)]
pub struct Nothing;

impl Backing for Nothing {
    fn end(&self) -> u64 {
        0
    }

    fn fetch(&self, _: u64, _: &Extent, _: u64, _: u64) -> Result<u64> {
        Ok(0)
    }
}

/// How reads have come so far.
#[derive(Debug, Default)]
struct ReadAhead {
    next: u64,
    window: u64,
}

impl ReadAhead {
    /// How much to read for a read of `length` bytes at `offset`.
    fn plan(&mut self, offset: u64, length: u64) -> u64 {
        let sequential = offset == self.next;
        self.window = match (sequential, self.window) {
            (true, 0) => AHEAD_MIN,
            (true, window) => (window * 4).clamp(AHEAD_MIN, AHEAD_MAX),
            (false, _) => AHEAD_RANDOM,
        };
        page_up(length)
            .max(self.window)
            .min(AHEAD_MAX.max(page_up(length)))
    }
}

/// One file's pages.
#[derive(Debug)]
pub struct Pages {
    segments: Mutex<Segments>,
    ahead: Mutex<ReadAhead>,
    /// How many [`PageStore`]s want the pages to stay.
    pins: AtomicUsize,
    /// Whether pages can be had again, so that they count as cache.
    evictable: bool,
    used: AtomicU64,
}

impl Pages {
    /// The pages of a file that is only here.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::make(false)
    }

    /// The pages of a file that can be read again.
    #[must_use]
    pub fn cache() -> Arc<Self> {
        let pages = Self::make(true);
        limit::register(&pages);
        pages
    }

    fn make(evictable: bool) -> Arc<Self> {
        Arc::new(Self {
            segments: Mutex::new(Segments::default()),
            ahead: Mutex::new(ReadAhead::default()),
            pins: AtomicUsize::new(0),
            evictable,
            used: AtomicU64::new(0),
        })
    }

    /// How many pages are there.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.segments.lock().count()
    }

    /// Reads up to `size`, the length of the file.
    ///
    /// # Errors
    /// `EFAULT`; the backing's.
    pub fn read(
        &self,
        backing: &dyn Backing,
        size: u64,
        offset: u64,
        into: &mut Destination<'_>,
    ) -> Result<()> {
        let end = size.min(offset.saturating_add(into.remaining()));
        let mut at = offset;
        while at < end {
            let run = self.segments.lock().run(at, end - at);
            match run {
                Run::Present(extent, inner, length) => {
                    into.put_extent(&extent, inner, length)?;
                    at += length;
                }
                Run::Absent(_) if at < backing.end() => {
                    if self.fill(backing, at, end - at, true)? <= at {
                        return Ok(());
                    }
                }
                Run::Absent(length) => {
                    into.put_zeros(length)?;
                    at += length;
                }
            }
        }
        Ok(())
    }

    /// Brings the page at `at` in, and more if that looks useful; returns up to where
    /// bytes are there now.
    fn fill(&self, backing: &dyn Backing, at: u64, wanted: u64, ahead: bool) -> Result<u64> {
        let start = at & !(PAGE_SIZE - 1);
        let wanted = wanted + (at - start);
        let plan = if ahead {
            self.ahead.lock().plan(start, wanted)
        } else {
            page_up(wanted)
        };
        if self.evictable {
            limit::make_room(self, plan);
        }
        let (extent, inner, length) = {
            let mut segments = self.segments.lock();
            let absent = segments.absent_run(start, plan);
            let length = absent.min(page_up(backing.end()).saturating_sub(start));
            let (extent, inner) = segments.ensure(start)?;
            (extent, inner, length)
        };
        let got = backing.fetch(start, &extent, inner, length)?.min(length);
        self.mark(start, got);
        self.ahead.lock().next = start + got;
        Ok(start + got)
    }

    /// Pages from `start` on hold `length` bytes of the file now.
    fn mark(&self, start: u64, length: u64) {
        let added = self.segments.lock().mark(start, length);
        self.used.store(limit::tick(), Ordering::Relaxed);
        if self.evictable {
            limit::added(added);
        }
    }

    /// Writes. The length of the file is the caller's business.
    ///
    /// # Errors
    /// `EFAULT`, `EFBIG`, `ENOSPC`; the backing's.
    pub fn write(&self, backing: &dyn Backing, offset: u64, from: &mut Origin<'_>) -> Result<()> {
        let mut at = offset;
        while from.remaining() > 0 {
            if at >= SIZE_MAX {
                return Err(Errno::EFBIG);
            }
            let length = segment::rest_of_segment(at)
                .min(from.remaining())
                .min(SIZE_MAX - at);
            self.complete_edges(backing, at, length)?;
            let (extent, inner) = self.segments.lock().ensure(at)?;
            let before = from.done();
            let result = from.take_extent(&extent, inner, length);
            let taken = from.done() - before;
            self.mark_written(at, taken, taken == length);
            if let Err(errno) = result {
                let whole = self.whole_pages(at, taken);
                from.rewind(before + whole);
                return Err(errno);
            }
            at += length;
        }
        Ok(())
    }

    /// Of `taken` bytes at `at`, those before a page that was cut short and is not there.
    fn whole_pages(&self, at: u64, taken: u64) -> u64 {
        let last = (at + taken) & !(PAGE_SIZE - 1);
        if self.is_present(last) {
            taken
        } else {
            last.saturating_sub(at).min(taken)
        }
    }

    fn mark_written(&self, at: u64, taken: u64, complete: bool) {
        let start = at & !(PAGE_SIZE - 1);
        let end = at + taken;
        let end = if complete {
            end
        } else {
            end & !(PAGE_SIZE - 1)
        };
        if end > start && taken > 0 {
            self.mark(start, end - start);
        }
    }

    /// Whether the page at `offset` is there.
    #[must_use]
    pub fn is_present(&self, offset: u64) -> bool {
        matches!(self.segments.lock().run(offset, 1), Run::Present(..))
    }

    /// Brings in the first and last page of a write that covers them in part only.
    fn complete_edges(&self, backing: &dyn Backing, at: u64, length: u64) -> Result<()> {
        let end = at + length;
        if !at.is_multiple_of(PAGE_SIZE) {
            self.complete(backing, at)?;
        }
        if !end.is_multiple_of(PAGE_SIZE) && end < backing.end() {
            self.complete(backing, end)?;
        }
        Ok(())
    }

    /// Brings in the page at `at`, from the backing or as zeros.
    ///
    /// # Errors
    /// `ENOSPC`; the backing's.
    pub fn complete(&self, backing: &dyn Backing, at: u64) -> Result<()> {
        let start = at & !(PAGE_SIZE - 1);
        if self.is_present(start) {
            return Ok(());
        }
        if start < backing.end() {
            self.fill(backing, start, PAGE_SIZE, false)?;
        }
        self.segments.lock().ensure(start)?;
        self.mark(start, PAGE_SIZE);
        Ok(())
    }

    /// Updates the pages that are there with what was written elsewhere.
    pub fn update(&self, offset: u64, from: &Extent, from_offset: u64, length: u64) {
        let mut done = 0;
        while done < length {
            let run = self.segments.lock().run(offset + done, length - done);
            match run {
                Run::Present(extent, inner, count) => {
                    extent.copy_from(inner, from, from_offset + done, count);
                    done += count;
                }
                Run::Absent(count) => done += count,
            }
        }
    }

    /// Copies a range to an extent, without keeping what was missing.
    ///
    /// # Errors
    /// The backing's.
    pub fn copy_out(
        &self,
        backing: &dyn Backing,
        offset: u64,
        (into, into_offset): (&Extent, u64),
        length: u64,
    ) -> Result<u64> {
        let mut done = 0;
        while done < length {
            let at = offset + done;
            let run = self.segments.lock().run(at, length - done);
            done += match run {
                Run::Present(extent, inner, count) => {
                    into.copy_from(into_offset + done, &extent, inner, count);
                    count
                }
                Run::Absent(count) if at < backing.end() => {
                    let count = count.min(backing.end() - at);
                    let got = backing.fetch(at, into, into_offset + done, count)?;
                    if got == 0 {
                        break;
                    }
                    got
                }
                Run::Absent(count) => {
                    into.clear(into_offset + done, count);
                    count
                }
            };
        }
        Ok(done)
    }

    /// Forgets everything from `size` on, which reads as zero then.
    pub fn truncate(&self, size: u64) {
        let pinned = self.pins.load(Ordering::Relaxed) > 0;
        let removed = self.segments.lock().truncate(size, pinned);
        self.removed(removed);
    }

    /// Makes a range zero and forgets the pages wholly inside.
    pub fn punch(&self, offset: u64, length: u64) {
        let removed = self.segments.lock().punch(offset, length);
        self.removed(removed);
    }

    fn removed(&self, pages: u64) {
        if self.evictable {
            limit::removed(pages);
        }
    }

    /// Forgets all pages, so that they are read again; unless they are mapped, when they are
    /// read again in place at once.
    pub fn invalidate(&self, backing: Option<&dyn Backing>) {
        if self.pins.load(Ordering::Relaxed) == 0 {
            return self.truncate(0);
        }
        if let Some(backing) = backing {
            let runs = self.segments.lock().present_runs(0, SIZE_MAX);
            for run in runs {
                // What cannot be read any more stays as it was.
                let _: Result<u64> = backing.fetch(run.offset, &run.extent, run.inner, run.length);
            }
        }
    }

    /// The first offset from `offset` on that is in a page which is (not) there.
    #[must_use]
    pub fn next(&self, offset: u64, end: u64, present: bool) -> Option<u64> {
        let mut at = offset;
        while at < end {
            let run = self.segments.lock().run(at, end - at);
            let (is, length) = match run {
                Run::Present(_, _, length) => (true, length),
                Run::Absent(length) => (false, length),
            };
            if is == present {
                return Some(at);
            }
            at += length;
        }
        None
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let count = self.segments.lock().count();
        self.removed(count);
    }
}
