//! The content of a regular file, once it was changed.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_abi::layout::PAGE_SIZE;
use guest_hal::memory::Extent;

use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::File;
use crate::fs::pages::{Backing, Pages, SIZE_MAX};
use crate::{Errno, Result};

/// Pages in memory; those that were not written come from the lower file.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) pages: Arc<Pages>,
    size: AtomicU64,
    lower: Option<Arc<dyn File>>,
    /// How much of the lower file shows through.
    lower_end: AtomicU64,
}

impl Content {
    /// Of no length.
    pub(super) fn empty() -> Arc<Self> {
        Arc::new(Self {
            pages: Pages::new(),
            size: AtomicU64::new(0),
            lower: None,
            lower_end: AtomicU64::new(0),
        })
    }

    /// Over a lower file of a length.
    pub(super) fn over(lower: Arc<dyn File>, size: u64) -> Arc<Self> {
        Arc::new(Self {
            pages: Pages::new(),
            size: AtomicU64::new(size),
            lower: Some(lower),
            lower_end: AtomicU64::new(size),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Allocated units of 512 bytes.
    pub(super) fn blocks(&self) -> u64 {
        let here = self.pages.count() * (PAGE_SIZE / 512);
        here.max(self.lower_end.load(Ordering::Relaxed).div_ceil(512))
    }

    pub(super) fn read(&self, offset: u64, into: &mut Destination<'_>) -> Result<()> {
        self.pages.read(self, self.size(), offset, into)
    }

    /// Writes; the length grows with it.
    pub(super) fn write(&self, offset: u64, from: &mut Origin<'_>) -> Result<()> {
        let before = from.done();
        let result = self.pages.write(self, offset, from);
        let end = offset + (from.done() - before);
        if from.done() > before {
            self.size.fetch_max(end, Ordering::Relaxed);
        }
        result
    }

    pub(super) fn resize(&self, size: u64) -> Result<()> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        if size < self.size() {
            self.cut_lower(size)?;
            self.pages.truncate(size);
        }
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }

    /// Lets less of the lower file show through; a page that is cut in two is taken over.
    fn cut_lower(&self, size: u64) -> Result<()> {
        if size >= self.end() {
            return Ok(());
        }
        if !size.is_multiple_of(PAGE_SIZE) {
            self.pages.complete(self, size)?;
        }
        self.lower_end.store(size, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a range zero.
    pub(super) fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let zeros = [0u8; PAGE_SIZE as usize];
        let shown = self.end().min(offset.saturating_add(length));
        let mut at = offset;
        while at < shown {
            let count = (PAGE_SIZE - at % PAGE_SIZE).min(shown - at);
            let piece = zeros.get(..count as usize).unwrap_or_default();
            self.pages.write(self, at, &mut Origin::kernel(piece))?;
            at += count;
        }
        self.pages.punch(at, (offset + length).saturating_sub(at));
        Ok(())
    }

    /// Makes the file at least this long.
    pub(super) fn extend(&self, size: u64) -> Result<()> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.size.fetch_max(size, Ordering::Relaxed);
        Ok(())
    }

    /// The next data or hole from an offset on.
    pub(super) fn next(&self, offset: u64, data: bool) -> Result<u64> {
        let size = self.size();
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let shown = self.end();
        if data {
            if offset < shown {
                return Ok(offset);
            }
            return self.pages.next(offset, size, true).ok_or(Errno::ENXIO);
        }
        let start = offset.max(shown);
        Ok(self
            .pages
            .next(start, size, false)
            .unwrap_or(size)
            .min(size))
    }
}

impl Backing for Content {
    fn end(&self) -> u64 {
        self.lower_end.load(Ordering::Relaxed)
    }

    fn fetch(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        let length = length.min(self.end().saturating_sub(offset));
        let lower = self
            .lower
            .as_ref()
            .and_then(|lower| lower.as_regular())
            .ok_or(Errno::EIO)?;
        let got = lower.read_into_extent(offset, extent, at, length)?;
        // If the lower file became shorter, what it had is zero now.
        Ok(if got == 0 { length } else { got })
    }
}
