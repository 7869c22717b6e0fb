//! Which memory holds code, and which of it was written: for engines that keep a form of their own of code.
//!
//! An engine [marks](Watch::mark) lines of a page before it reads code from them. Whoever writes to marked lines, a
//! device or a virtual CPU, [notes](Watch::note) that afterwards, and the engine finds it by looking at a
//! counter. With that the page loses its marks, for what was made of its code is to be forgotten: memory that once
//! held code costs no more than other memory. Not noted are the rings of virtqueues, which their library writes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use crate::GuestMemory;

/// Bits of an address within a page, and within a line: there are 64 lines.
const PAGE_SHIFT: u32 = 12;
const LINE_SHIFT: u32 = 6;
/// Changes that are remembered: whoever looks more rarely has to take everything as changed.
const REMEMBERED: usize = 256;

/// The marks of a machine's memory.
#[derive(Debug)]
pub struct Watch {
    /// By page of the memory's file, a bit a line.
    marks: Box<[AtomicU64]>,
    /// Pages that had no mark before they got one, so far.
    fresh: AtomicU64,
    /// Changes so far.
    changes: AtomicU64,
    /// The pages of the last of them, by guest-physical address.
    pages: Mutex<VecDeque<u64>>,
}

/// The lines of a page that bytes from `address` on lie in, as far as they lie in that page.
#[must_use]
pub const fn lines(address: u64, length: u64) -> u64 {
    let within = address & ((1 << PAGE_SHIFT) - 1);
    let end = within + length - 1;
    let last = if end >> PAGE_SHIFT == 0 {
        end >> LINE_SHIFT
    } else {
        63
    };
    u64::MAX << (within >> LINE_SHIFT) & u64::MAX >> (63 - last)
}

impl Watch {
    pub(crate) fn new(memory: &GuestMemory) -> Self {
        let bytes: u64 = memory.regions().iter().map(|region| region.length).sum();
        let marks = (0..bytes >> PAGE_SHIFT).map(|_| AtomicU64::new(0));
        Self {
            marks: marks.collect(),
            fresh: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            pages: Mutex::default(),
        }
    }

    fn marks_of(&self, memory: &GuestMemory, address: u64) -> Option<&AtomicU64> {
        let offset = memory.file_offset(address)?;
        self.marks.get(usize::try_from(offset >> PAGE_SHIFT).ok()?)
    }

    /// So many bytes within a page, at least one, are marked from now on; whether the page had no mark.
    pub fn mark(&self, memory: &GuestMemory, address: u64, length: u64) -> bool {
        let Some(marks) = self.marks_of(memory, address) else {
            return false;
        };
        let before = marks.fetch_or(lines(address, length), Ordering::SeqCst);
        // What is read from there now is either new, or its writer sees the mark.
        fence(Ordering::SeqCst);
        if before == 0 {
            self.fresh.fetch_add(1, Ordering::SeqCst);
        }
        before == 0
    }

    /// How often a page got its first mark: whoever keeps ways to write that look at no mark has to look again
    /// when this has changed.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        self.fresh.load(Ordering::SeqCst)
    }

    /// Whether the page has marks.
    #[must_use]
    pub fn is_marked(&self, memory: &GuestMemory, page: u64) -> bool {
        let marks = self.marks_of(memory, page);
        marks.is_some_and(|marks| marks.load(Ordering::Relaxed) != 0)
    }

    /// So many bytes were written.
    pub fn note(&self, memory: &GuestMemory, address: u64, length: u64) {
        if length == 0 {
            return;
        }
        fence(Ordering::SeqCst);
        let end = address.saturating_add(length);
        let mut at = address;
        while at < end {
            let next = (at | ((1 << PAGE_SHIFT) - 1)) + 1;
            let written = lines(at, next.min(end) - at);
            let marks = self.marks_of(memory, at);
            if let Some(marks) = marks.filter(|marks| marks.load(Ordering::Relaxed) & written != 0)
            {
                // First this, then the counter: what is marked in between belongs to what is forgotten.
                marks.store(0, Ordering::SeqCst);
                self.remember(at >> PAGE_SHIFT << PAGE_SHIFT);
            }
            at = next;
        }
    }

    fn remember(&self, page: u64) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() == REMEMBERED {
            pages.pop_front();
        }
        pages.push_back(page);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// How many changes there were.
    #[inline]
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// How many changes there were, and the pages of those since there were `before`; `None` when that is
    /// too long ago.
    #[must_use]
    pub fn since(&self, before: u64) -> (u64, Option<Vec<u64>>) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.changes();
        let new = usize::try_from(now.wrapping_sub(before)).ok();
        let skipped = new.and_then(|new| pages.len().checked_sub(new));
        let pages = skipped.map(|skipped| pages.iter().skip(skipped).copied().collect());
        (now, pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x1_0000).unwrap();
        GuestMemory::with_hole(file, 0x1_0000, 0x4000..0xc000).unwrap()
    }

    #[test]
    fn lines_are_those_that_bytes_touch() {
        assert_eq!(lines(0, 1), 1);
        assert_eq!(lines(63, 2), 3);
        assert_eq!(lines(0x1fc0, 64), 1 << 63);
        assert_eq!(lines(0x1fff, 100), 1 << 63);
        assert_eq!(lines(0, 4096), u64::MAX);
    }

    #[test]
    fn writes_to_marked_lines_are_noted() {
        let memory = memory();
        let watch = memory.watch();
        assert!(watch.mark(&memory, 0x1010, 5));
        assert!(!watch.mark(&memory, 0x1020, 5));
        assert!(watch.mark(&memory, 0xd000, 1));
        assert_eq!(watch.fresh(), 2);
        memory.write(0x2000, &[1; 0x1000]).unwrap();
        memory.write(0x1040, &[1; 0x1000 - 0x40]).unwrap();
        assert_eq!(watch.changes(), 0);
        memory.write(0xff0, &[1; 0x20]).unwrap();
        let mut pieces = memory.pieces([(0xd010, 4)].into_iter()).unwrap();
        pieces.write(&[1; 4]);
        assert_eq!(watch.since(0), (2, Some(vec![0x1000, 0xd000])));
        assert_eq!(watch.since(1), (2, Some(vec![0xd000])));
        // With that they have lost their marks.
        memory.write(0x1000, &[1; 0x1000]).unwrap();
        assert_eq!(watch.since(2), (2, Some(vec![])));
        assert!(watch.mark(&memory, 0x1010, 5));
        assert_eq!(watch.fresh(), 3);
    }

    #[test]
    fn what_is_too_long_ago_is_not_known() {
        let memory = memory();
        let watch = memory.watch();
        watch.mark(&memory, 0, 1);
        for _ in 0..300 {
            watch.mark(&memory, 0, 1);
            memory.write(0, &[1]).unwrap();
        }
        assert_eq!(watch.since(0), (300, None));
        assert_eq!(watch.since(298), (300, Some(vec![0, 0])));
    }
}
