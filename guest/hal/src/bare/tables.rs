//! The processor's page tables (SDM vol. 3, 4.5).
//!
//! Tables lie in frames and are reached at [`layout::FRAMES_BASE`], so that nothing here can
//! itself meet a page that is missing. Entries are atomics: the processor reads and marks
//! them at any time.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_abi::layout;

use super::frames::{FRAME, Frames, Size};
use super::translations::Gone;

/// Entry: there is something.
pub(super) const PRESENT: u64 = 1;
/// Entry: may be written.
pub(super) const WRITE: u64 = 1 << 1;
/// Entry: the program's.
pub(super) const USER: u64 = 1 << 2;
/// Entry: not through the caches.
pub(super) const UNCACHED: u64 = 3 << 3;
/// Entry: has been used. Set from the start, so that the processor need not.
const USED: u64 = 3 << 5;
/// Entry of a directory: a page of 2 MiB.
pub(super) const LARGE: u64 = 1 << 7;
/// Entry: stays when the root is loaded anew.
pub(super) const GLOBAL: u64 = 1 << 8;
/// Entry of the kernel's view of memory: the program has, or had, one too. Ours to use.
pub(super) const SHOWN: u64 = 1 << 9;
/// Entry: no instructions.
pub(super) const NO_EXECUTE: u64 = 1 << 63;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Levels of tables; level 1 has pages, level 2 large pages.
const LEVELS: u32 = 4;

/// A table.
type Table = [AtomicU64; 512];

/// Where memory is seen.
pub(super) fn pointer(physical: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((layout::FRAMES_BASE + physical) as usize)
}

fn table(physical: u64) -> &'static Table {
    let pointer = pointer(physical & ADDRESS).cast::<Table>();
    // SAFETY: addresses of tables come from entries that `Tables` made, of frames that hold
    // nothing else; all frames are mapped, and atomics tolerate the processor's writes.
    unsafe { &*pointer }
}

/// Makes frames zero.
pub(super) fn clear(physical: u64, length: u64) {
    // SAFETY: callers pass frames that they just took from `Frames`: nobody else uses them.
    unsafe { core::ptr::write_bytes(pointer(physical), 0, length as usize) }
}

/// Bytes that an entry of a level stands for.
pub(super) const fn span(level: u32) -> u64 {
    FRAME << (9 * (level - 1))
}

const fn index(linear: u64, level: u32) -> usize {
    ((linear / span(level)) % 512) as usize
}

/// An entry, and how many bytes from which linear address on it stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) entry: &'static AtomicU64,
    pub(super) linear: u64,
    pub(super) span: u64,
}

impl Leaf {
    /// What the entry says.
    pub(super) fn value(&self) -> u64 {
        self.entry.load(Ordering::Relaxed)
    }

    /// Physical address of its page.
    pub(super) fn physical(&self) -> u64 {
        self.value() & ADDRESS & !(self.span - 1)
    }

    /// Sets it to a page with the given rights.
    pub(super) fn set(&self, physical: u64, flags: u64) {
        let size = if self.span > FRAME { LARGE } else { 0 };
        let value = physical | flags | size | PRESENT | USED;
        self.entry.store(value, Ordering::Relaxed);
    }
}

/// A tree of tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    root: u64,
}

impl Tables {
    /// An empty tree. `None` without a frame.
    pub(super) fn new(frames: &mut Frames) -> Option<Self> {
        let root = new_table(frames)?;
        Some(Self { root })
    }

    /// Physical address of the root.
    pub(super) const fn root(self) -> u64 {
        self.root
    }

    /// The page at an address, if there is one.
    pub(super) fn find(self, linear: u64) -> Option<Leaf> {
        let mut at = self.root;
        for level in (1..=LEVELS).rev() {
            let entry = table(at).get(index(linear, level))?;
            let value = entry.load(Ordering::Relaxed);
            if value & PRESENT == 0 {
                return None;
            }
            if level == 1 || value & LARGE != 0 {
                let span = span(level);
                let linear = linear & !(span - 1);
                return Some(Leaf {
                    entry,
                    linear,
                    span,
                });
            }
            at = value;
        }
        None
    }

    /// The entry of a level at an address, with the tables above it, which are made. An entry
    /// above it that is a large page is returned instead. `None` without a frame.
    pub(super) fn entry(self, linear: u64, level: u32, frames: &mut Frames) -> Option<Leaf> {
        let mut at = self.root;
        for above in (level..=LEVELS).rev() {
            let entry = table(at).get(index(linear, above))?;
            let value = entry.load(Ordering::Relaxed);
            let is_page = value & PRESENT != 0 && value & LARGE != 0 && above > 1;
            if above == level || is_page {
                let span = span(above);
                let linear = linear & !(span - 1);
                return Some(Leaf {
                    entry,
                    linear,
                    span,
                });
            }
            at = if value & PRESENT == 0 {
                let new = new_table(frames)?;
                // Rights are those of the last level.
                entry.store(new | PRESENT | WRITE | USER | USED, Ordering::Relaxed);
                new
            } else {
                value
            };
        }
        None
    }

    /// Maps a range, with large pages where they fit. `None` without a frame.
    pub(super) fn map(
        self,
        linear: u64,
        physical: u64,
        length: u64,
        flags: u64,
        frames: &mut Frames,
    ) -> Option<()> {
        let mut done = 0;
        while done < length {
            let (at, target) = (linear + done, physical + done);
            let large = Size::Block.bytes();
            let fits = at % large == 0 && target % large == 0 && length - done >= large;
            let leaf = self.entry(at, if fits { 2 } else { 1 }, frames)?;
            leaf.set(target, flags);
            done += leaf.span;
        }
        Some(())
    }

    /// Shows what `other` has around an address, by the same tables.
    pub(super) fn share(self, other: Self, linear: u64) {
        let entry = |tables: Self| table(tables.root).get(index(linear, LEVELS));
        if let (Some(entry), Some(from)) = (entry(self), entry(other)) {
            entry.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Calls `part` with every page that is (partly) in a range. With `prune`, tables that lie
    /// wholly in the range are given back afterwards: then `part` must clear its entry. What has
    /// gone, if so.
    pub(super) fn visit(
        self,
        start: u64,
        end: u64,
        frames: &mut Frames,
        prune: bool,
        part: &mut dyn FnMut(&mut Frames, Leaf),
    ) -> Gone {
        let mut visit = Visit {
            start,
            end,
            frames,
            prune,
            part,
            gone: Gone::Nothing,
        };
        visit.table(self.root, LEVELS, 0);
        visit.gone
    }

    /// Turns a large page into small ones. Whether it could.
    pub(super) fn split(leaf: Leaf, frames: &mut Frames) -> bool {
        let Some(new) = new_table(frames) else {
            return false;
        };
        let flags = leaf.value() & !(ADDRESS | LARGE);
        for (entry, number) in table(new).iter().zip(0u64..) {
            let page = leaf.physical() + number * FRAME;
            entry.store(page | flags, Ordering::Relaxed);
        }
        leaf.entry
            .store(new | PRESENT | WRITE | USER | USED, Ordering::Relaxed);
        true
    }
}

fn new_table(frames: &mut Frames) -> Option<u64> {
    take_zero(frames, Size::Page)
}

/// Takes memory that is zero; its physical address.
pub(super) fn take_zero(frames: &mut Frames, size: Size) -> Option<u64> {
    let taken = frames.take(size)?;
    if !taken.is_zero {
        clear(taken.start, size.bytes());
    }
    Some(taken.start)
}

struct Visit<'a> {
    start: u64,
    end: u64,
    frames: &'a mut Frames,
    prune: bool,
    part: &'a mut dyn FnMut(&mut Frames, Leaf),
    gone: Gone,
}

impl Visit<'_> {
    fn table(&mut self, at: u64, level: u32, base: u64) {
        let span = span(level);
        let first = self.start.saturating_sub(base) / span;
        let entries = table(at).iter().zip(0u64..).skip(first as usize);
        for (entry, number) in entries {
            let linear = base + number * span;
            if linear >= self.end {
                return;
            }
            let value = entry.load(Ordering::Relaxed);
            if value & PRESENT == 0 {
                continue;
            }
            if level == 1 || value & LARGE != 0 {
                let leaf = Leaf {
                    entry,
                    linear,
                    span,
                };
                (self.part)(self.frames, leaf);
                if self.gone == Gone::Nothing {
                    self.gone = Gone::Entries;
                }
                continue;
            }
            self.table(value, level - 1, linear);
            if self.prune && linear >= self.start && linear + span <= self.end {
                entry.store(0, Ordering::Relaxed);
                self.frames.give(value & ADDRESS);
                self.gone = Gone::Tables;
            }
        }
    }
}
