//! The pages of an open file, for shared mappings.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use guest_abi::layout::{PAGE_SIZE, page_up};
use guest_hal::GuestAddress;

use super::segment::{Run, rest_of_segment};
use super::{Backing, Pages};
use crate::Result;

/// A file's pages with where they come from. While one lives, pages are not dropped.
#[derive(Debug)]
pub struct PageStore {
    pages: Arc<Pages>,
    backing: Arc<dyn Backing>,
}

impl PageStore {
    /// Of pages and their backing.
    #[must_use]
    pub fn new(pages: Arc<Pages>, backing: Arc<dyn Backing>) -> Arc<Self> {
        pages.pins.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { pages, backing })
    }

    /// Whether two are of the same file.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pages, &other.pages)
    }

    /// Where a range of whole pages lies in guest-physical memory, in order; missing pages
    /// are brought in.
    ///
    /// # Errors
    /// The backing's; `ENOSPC`.
    pub fn runs(&self, offset: u64, length: u64) -> Result<Vec<(GuestAddress, u64)>> {
        let mut runs: Vec<(GuestAddress, u64)> = Vec::new();
        let end = offset.saturating_add(page_up(length));
        let mut at = offset;
        while at < end {
            let length = rest_of_segment(at).min(end - at);
            self.populate(at, length)?;
            let (extent, inner) = self.pages.segments.lock().ensure(at)?;
            let start = GuestAddress(extent.start().0 + inner);
            match runs.last_mut() {
                Some((before, size)) if before.0 + *size == start.0 => *size += length,
                _ => runs.push((start, length)),
            }
            at += length;
        }
        Ok(runs)
    }

    /// Brings in all pages of a range within a segment.
    fn populate(&self, offset: u64, length: u64) -> Result<()> {
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let run = self.pages.segments.lock().run(at, end - at);
            match run {
                Run::Present(_, _, length) => at += length,
                Run::Absent(length) if at < self.backing.end() => {
                    let got = self.pages.fill(&*self.backing, at, length, false)?;
                    let there = page_up(got).max(at + PAGE_SIZE);
                    self.pages.mark(at, there - at);
                    at = there;
                }
                Run::Absent(length) => {
                    self.pages.segments.lock().ensure(at)?;
                    self.pages.mark(at, length);
                    at += length;
                }
            }
        }
        Ok(())
    }

    /// Writes a range of a shared writable mapping back, up to the end of the file.
    ///
    /// # Errors
    /// The backing's.
    pub fn write_back(&self, offset: u64, length: u64) -> Result<()> {
        let end = self.backing.end().min(offset.saturating_add(length));
        let runs = self
            .pages
            .segments
            .lock()
            .present_runs(offset, end.saturating_sub(offset));
        for run in runs {
            self.backing
                .store(run.offset, &run.extent, run.inner, run.length)?;
        }
        Ok(())
    }
}

impl Drop for PageStore {
    fn drop(&mut self) {
        self.pages.pins.fetch_sub(1, Ordering::Relaxed);
    }
}
