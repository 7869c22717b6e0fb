//! Long files read from front to back.
//!
//! Keeping their pages would touch fresh memory for each, to no use: it is cheaper to read
//! them piece by piece into the same memory again and again. What is read by jumping about
//! is cached as pages all the same.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_abi::layout::PAGE_SIZE;
use guest_hal::memory::Extent;
use guest_hal::sync::Mutex;

use crate::fs::buffer::Destination;
use crate::fs::pages::Backing;
use crate::{Errno, Result};

/// From which length on a file is long.
const LONG: u64 = 2 << 20;
/// Bytes of the longest piece, and of the shortest, the first: many a program reads only the
/// beginning of a long file, and maps the rest. Each is four times as long as the one before.
const PIECE: u64 = 1 << 20;
const PIECE_FIRST: u64 = 16 << 10;

/// The piece of a file that was read last.
#[derive(Debug)]
struct Window {
    extent: Arc<Extent>,
    start: u64,
    length: u64,
    /// How much was asked for.
    asked: u64,
    /// Which version of the content it is of.
    version: u64,
}

/// How one open file is read.
#[derive(Debug)]
pub(super) struct Stream {
    window: Mutex<Option<Window>>,
    /// Where the next read starts if it goes on.
    next: AtomicU64,
}

impl Stream {
    pub(super) const fn new() -> Self {
        Self {
            window: Mutex::new(None),
            next: AtomicU64::new(0),
        }
    }

    /// Whether a read at `offset` goes on in a long file.
    pub(super) fn suits(&self, size: u64, offset: u64) -> bool {
        size >= LONG && offset == self.next.load(Ordering::Relaxed)
    }

    /// The part of the window from `offset` on.
    fn part(&self, version: u64, offset: u64) -> Option<(Arc<Extent>, u64, u64)> {
        let window = self.window.lock();
        let window = window.as_ref().filter(|window| window.version == version)?;
        let within = offset.checked_sub(window.start)?;
        let left = window.length.checked_sub(within).filter(|&left| left > 0)?;
        Some((window.extent.clone(), within, left))
    }

    /// Reads the window anew, because `wanted` bytes are; whether there is something.
    fn move_on(
        &self,
        backing: &dyn Backing,
        version: u64,
        start: u64,
        wanted: u64,
    ) -> Result<bool> {
        let old = self.window.lock().take();
        let (extent, before) = match old {
            Some(window) => (window.extent, window.asked),
            None => {
                let extent = Extent::allocate(PIECE, PAGE_SIZE, None).ok_or(Errno::ENOMEM)?;
                (Arc::new(extent), 0)
            }
        };
        let asked = (4 * before).max(wanted).clamp(PIECE_FIRST, PIECE);
        let length = backing.fetch(start, &extent, 0, asked)?;
        *self.window.lock() = Some(Window {
            extent,
            start,
            length,
            asked,
            version,
        });
        Ok(length > 0)
    }

    /// Reads up to `size`, the length of the file.
    pub(super) fn read(
        &self,
        backing: &dyn Backing,
        version: u64,
        size: u64,
        offset: u64,
        into: &mut Destination<'_>,
    ) -> Result<()> {
        let end = size.min(offset.saturating_add(into.remaining()));
        let mut at = offset;
        while at < end {
            let Some((extent, within, left)) = self.part(version, at) else {
                if self.move_on(backing, version, at, end - at)? {
                    continue;
                }
                break;
            };
            let count = left.min(end - at);
            into.put_extent(&extent, within, count)?;
            at += count;
        }
        self.next.store(at, Ordering::Relaxed);
        Ok(())
    }
}
