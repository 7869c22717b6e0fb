//! Memory as the rest of the kernel knows it, made of frames.
//!
//! Guest-physical memory is sparse: the kernel's view of it, at `RAM_BASE`, has a page where
//! one was touched, and that view's tables say which frame is behind which page. The program's
//! mappings are noted in [`Mappings`] and become entries when touched. Both are what a host
//! does for a cell; so is giving memory back, and running out of it.
//!
//! Locks: `MAPPINGS` before `MEMORY`. Whoever holds `MEMORY` touches frames and statics only,
//! never the heap, which itself may have to be brought in.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_abi::layout::{self, APP_END, RAM_BASE};

use super::frames::{FRAME, Frames, Size};
use super::mappings::{Mapping, Mappings};
use super::ranges::Range;
use super::tables::{self, GLOBAL, Leaf, NO_EXECUTE, SHOWN, Tables, UNCACHED, USER, WRITE};
use super::translations::{self, Gone};
use super::{cpu, image};
use crate::Protection;
use crate::hardware::Registers;
use crate::sync::Mutex;

/// Pages that are looked at around one that was touched.
const AROUND: u64 = 16 * FRAME;
/// How the kernel sees memory.
const VIEW: u64 = WRITE | NO_EXECUTE;

/// How bringing a page in went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is there now.
    Done,
    /// It is not to be had: nothing is mapped there, or not for this.
    Refused,
    /// There is no frame left.
    NoMemory,
}

struct Memory {
    frames: Frames,
    tables: Tables,
    /// Where the next registers are mapped.
    registers: u64,
    /// Bytes of guest-physical space.
    span: u64,
}

/// Physical address of the tables' root, for processors that start.
pub(super) static ROOT: AtomicU64 = AtomicU64::new(0);
static MEMORY: Mutex<Option<Memory>> = Mutex::new(None);
static MAPPINGS: Mutex<Mappings> = Mutex::new(Mappings::new());

/// Begins to use the machine's memory: `ram` is what there is, `kept` what is shared with the
/// monitor and seen at the same guest-physical address. Nothing is in `frames` yet but what the
/// new tables shall be made of.
pub(super) fn initialize(
    mut frames: Frames,
    ram: &[Range],
    kept: &[Range],
    span: u64,
) -> Option<()> {
    let tables = Tables::new(&mut frames)?;
    for range in ram {
        let start = range.start.next_multiple_of(FRAME);
        let length = (range.end & !(FRAME - 1)).saturating_sub(start);
        let linear = layout::FRAMES_BASE + start;
        let flags = WRITE | NO_EXECUTE | GLOBAL;
        tables.map(linear, start, length, flags, &mut frames)?;
    }
    for (part, flags) in image::parts() {
        let (start, length) = (part.start, part.end - part.start);
        let physical = start - layout::KERNEL_BASE + layout::KERNEL_IMAGE;
        map_pages(tables, start, physical, length, flags | GLOBAL, &mut frames)?;
    }
    for range in kept {
        let linear = RAM_BASE + range.start;
        map_pages(
            tables,
            linear,
            range.start,
            range.end - range.start,
            VIEW,
            &mut frames,
        )?;
    }
    cpu::load_root(tables.root());
    ROOT.store(tables.root(), Ordering::Relaxed);
    *MEMORY.lock() = Some(Memory {
        frames,
        tables,
        registers: layout::REGISTERS_BASE,
        span,
    });
    Some(())
}

/// Small pages only: rights or owners differ from page to page.
fn map_pages(
    tables: Tables,
    linear: u64,
    physical: u64,
    length: u64,
    flags: u64,
    frames: &mut Frames,
) -> Option<()> {
    for offset in (0..length).step_by(FRAME as usize) {
        let leaf = tables.entry(linear + offset, 1, frames)?;
        leaf.set(physical + offset, flags);
    }
    Some(())
}

/// Hands more memory out.
pub(super) fn add(range: Range) {
    with(|memory| memory.frames.add(range.start, range.end));
}

/// Writes to guest-physical memory before anybody else uses it.
pub(super) fn write(physical: u64, bytes: &[u8]) {
    with(|memory| {
        let parts = bytes
            .chunks(FRAME as usize)
            .zip((physical..).step_by(FRAME as usize));
        for (part, at) in parts {
            let frame = memory.back(at).expect("memory at the start");
            let into = tables::pointer(frame);
            // SAFETY: the frame was taken for this page, which nobody else uses yet; callers
            // begin at a page's start, so a part fits it.
            unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), into, part.len()) }
        }
    });
}

/// Maps registers of a device, which are never cached; where.
pub(super) fn map_registers(physical: u64, length: u64) -> Option<*mut u8> {
    with(|memory| {
        let first = physical & !(FRAME - 1);
        let pages = (physical + length).next_multiple_of(FRAME) - first;
        let linear = memory.registers;
        if linear + pages > layout::REGISTERS_BASE + layout::REGISTERS_SPAN {
            return None;
        }
        let flags = WRITE | NO_EXECUTE | UNCACHED;
        map_pages(
            memory.tables,
            linear,
            first,
            pages,
            flags,
            &mut memory.frames,
        )?;
        memory.registers += pages;
        let address = linear + (physical - first);
        Some(core::ptr::with_exposed_provenance_mut(address as usize))
    })
}

/// As [`map_registers`], to be used safely.
pub(super) fn map_device(physical: u64, length: u64) -> Option<Registers> {
    let base = NonNull::new(map_registers(physical, length)?)?;
    // SAFETY: it has just been mapped, for ever, at addresses where no object is.
    Some(unsafe { Registers::new(base, length as usize) })
}

/// Makes page tables that show the image, and the page at `physical` where it lies, to be
/// executed; their root. For processors that start there.
pub(super) fn trampoline_root(physical: u64) -> Option<u64> {
    with(|memory| {
        let tables = Tables::new(&mut memory.frames)?;
        tables.share(memory.tables, layout::KERNEL_BASE);
        map_pages(tables, physical, physical, FRAME, 0, &mut memory.frames)?;
        Some(tables.root())
    })
}

fn with<T>(work: impl FnOnce(&mut Memory) -> T) -> T {
    let mut memory = MEMORY.lock();
    work(memory.as_mut().expect("memory is set up first of all"))
}

/// Brings in a page of the kernel's view of guest-physical memory.
pub(super) fn touch(physical: u64) -> Answer {
    with(|memory| {
        if physical >= memory.span {
            return Answer::Refused;
        }
        memory
            .back(physical)
            .map_or(Answer::NoMemory, |_| Answer::Done)
    })
}

/// Brings in a page of the program's; `needed` is what it is to be used for.
pub(super) fn show(linear: u64, needed: Protection) -> Answer {
    let found = MAPPINGS.lock().at(linear);
    match found {
        Some((start, mapping)) if mapping.protection.contains(needed) => {
            with(|memory| memory.show(linear, start, mapping))
        }
        _ => Answer::Refused,
    }
}

/// Where a device finds what the kernel sees at `linear`: the physical address, and how many
/// of `length` bytes follow each other there.
pub(super) fn device_range(linear: u64, length: u64) -> (u64, u64) {
    with(|memory| {
        let mut start = 0;
        let mut found = 0;
        while found < length {
            let Some(at) = memory.physical(linear + found) else {
                break;
            };
            if found > 0 && at != start + found {
                break;
            }
            if found == 0 {
                start = at;
            }
            found += FRAME - at % FRAME;
        }
        (start, found.min(length))
    })
}

pub(super) fn map(linear: u64, physical: u64, length: u64, protection: Protection) {
    let mapping = Mapping {
        end: linear + length,
        physical,
        protection,
        large: false,
    };
    MAPPINGS.lock().insert(linear, mapping);
    forget(linear, linear + length);
}

pub(super) fn unmap(linear: u64, length: u64) {
    MAPPINGS.lock().remove(linear, linear + length);
    forget(linear, linear + length);
}

pub(super) fn protect(linear: u64, length: u64, protection: Protection) {
    let end = linear + length;
    MAPPINGS
        .lock()
        .change(linear, end, |mapping| mapping.protection = protection);
    forget(linear, end);
}

/// Large pages are, or are not, welcome in a range.
pub(super) fn prefer_large(linear: u64, length: u64, large: bool) {
    if linear < APP_END {
        let change = |mapping: &mut Mapping| mapping.large = large;
        MAPPINGS.lock().change(linear, linear + length, change);
        return;
    }
    let block = Size::Block.bytes();
    let Some(physical) = linear.checked_sub(RAM_BASE).filter(|at| at % block == 0) else {
        return;
    };
    if large && length >= block {
        // One that is not to be had comes page by page.
        with(|memory| memory.back_large(physical));
    }
}

/// Brings a range in ahead of use. Whether all of it is there now.
pub(super) fn populate(linear: u64, length: u64, write: bool) -> bool {
    let needed = if write {
        Protection::WRITE
    } else {
        Protection::READ
    };
    for at in (linear..linear + length).step_by(FRAME as usize) {
        let answer = match at.checked_sub(RAM_BASE) {
            Some(physical) => touch(physical),
            None => show(at, needed),
        };
        if answer != Answer::Done {
            return false;
        }
    }
    true
}

/// Drops the program's entries of a range; they come back when touched.
fn forget(start: u64, end: u64) {
    with(|memory| memory.forget(start, end));
}

/// Gives frames back; the range reads as zero from now on.
pub(super) fn discard(physical: u64, length: u64) {
    let end = physical + length;
    if with(|memory| memory.is_shown(physical, end)) {
        let mappings = MAPPINGS.lock();
        mappings.each_of_physical(physical, end, forget);
    }
    with(|memory| memory.discard(physical, end));
}

impl Memory {
    /// The physical address of what the kernel sees at `linear`.
    fn physical(&mut self, linear: u64) -> Option<u64> {
        if let Some(offset) = linear.checked_sub(RAM_BASE).filter(|at| *at < self.span) {
            return self.back(offset);
        }
        let leaf = self.tables.find(linear)?;
        Some(leaf.physical() + (linear - leaf.linear))
    }

    /// The frame behind a guest-physical address, which is taken if there is none.
    fn back(&mut self, physical: u64) -> Option<u64> {
        let linear = RAM_BASE + physical;
        let leaf = self.tables.entry(linear, 1, &mut self.frames)?;
        if leaf.value() == 0 {
            self.fill(leaf)?;
        }
        Some(leaf.physical() + (linear - leaf.linear))
    }

    /// Puts a frame, or as many as belong together, behind a missing page.
    fn fill(&mut self, leaf: Leaf) -> Option<()> {
        if self.frames.is_time_for_clusters() && self.fill_cluster(leaf.linear) {
            return Some(());
        }
        let frame = tables::take_zero(&mut self.frames, Size::Page)?;
        leaf.set(frame, VIEW);
        Some(())
    }

    /// Backs the whole neighbourhood of a page, if nothing is there yet.
    fn fill_cluster(&mut self, linear: u64) -> bool {
        let first = linear & !(AROUND - 1);
        let pages = || (first..first + AROUND).step_by(FRAME as usize);
        if pages().any(|at| self.tables.find(at).is_some()) {
            return false;
        }
        let Some(frames) = tables::take_zero(&mut self.frames, Size::Cluster) else {
            return false;
        };
        for at in pages() {
            // The table is there: its neighbour's entry is in it.
            if let Some(leaf) = self.tables.entry(at, 1, &mut self.frames) {
                leaf.set(frames + (at - first), VIEW);
            }
        }
        true
    }

    /// Puts a large page behind a block that has nothing yet. Whether there is one now.
    fn back_large(&mut self, physical: u64) -> bool {
        let linear = RAM_BASE + physical;
        let Some(leaf) = self.tables.entry(linear, 2, &mut self.frames) else {
            return false;
        };
        if leaf.value() != 0 {
            return leaf.value() & tables::LARGE != 0;
        }
        let Some(frames) = tables::take_zero(&mut self.frames, Size::Block) else {
            return false;
        };
        leaf.set(frames, VIEW);
        true
    }

    /// Makes the program's entry for an address in a mapping that begins at `start`.
    fn show(&mut self, linear: u64, start: u64, mapping: Mapping) -> Answer {
        let physical = |at: u64| mapping.physical + (at - start);
        let block = linear & !(Size::Block.bytes() - 1);
        let whole = block >= start && block + Size::Block.bytes() <= mapping.end;
        if whole && physical(block) % Size::Block.bytes() == 0 {
            if mapping.large {
                self.back_large(physical(block));
            }
            if self.show_large(block, physical(block), mapping.protection) {
                return Answer::Done;
            }
        }
        if self.back(physical(linear)).is_none() {
            return Answer::NoMemory;
        }
        let first = (linear & !(AROUND - 1)).max(start);
        let last = ((linear & !(AROUND - 1)) + AROUND).min(mapping.end);
        for at in (first..last).step_by(FRAME as usize) {
            if self
                .show_page(at, physical(at), mapping.protection)
                .is_none()
            {
                return Answer::NoMemory;
            }
        }
        Answer::Done
    }

    /// Shows a block that is one large page. Whether it is.
    fn show_large(&mut self, linear: u64, physical: u64, protection: Protection) -> bool {
        let Some(view) = self.tables.find(RAM_BASE + physical) else {
            return false;
        };
        if view.span < Size::Block.bytes() {
            return false;
        }
        let leaf = self.tables.entry(linear, 2, &mut self.frames);
        let Some(leaf) = leaf.filter(|leaf| leaf.value() == 0 || leaf.value() & tables::LARGE != 0)
        else {
            return false;
        };
        view.entry.fetch_or(SHOWN, Ordering::Relaxed);
        leaf.set(view.physical(), user_flags(protection));
        true
    }

    /// Shows a page that has a frame. `None` without a frame for tables.
    fn show_page(&mut self, linear: u64, physical: u64, protection: Protection) -> Option<()> {
        let at = RAM_BASE + physical;
        let Some(view) = self.tables.find(at) else {
            return Some(());
        };
        let leaf = self.tables.entry(linear, 1, &mut self.frames)?;
        view.entry.fetch_or(SHOWN, Ordering::Relaxed);
        leaf.set(view.physical() + (at - view.linear), user_flags(protection));
        Some(())
    }

    fn forget(&mut self, start: u64, end: u64) {
        // A large page goes whole, also where the range is only a part of it.
        let (mut first, mut last) = (start, end);
        let mut clear = |_: &mut Frames, leaf: Leaf| {
            first = first.min(leaf.linear);
            last = last.max(leaf.linear + leaf.span);
            leaf.entry.store(0, Ordering::Relaxed);
        };
        let gone = self
            .tables
            .visit(start, end, &mut self.frames, true, &mut clear);
        translations::forget(first, last, gone);
    }

    fn is_shown(&mut self, start: u64, end: u64) -> bool {
        let mut shown = false;
        let mut look = |_: &mut Frames, leaf: Leaf| shown |= leaf.value() & SHOWN != 0;
        let (start, end) = (RAM_BASE + start, RAM_BASE + end);
        self.tables
            .visit(start, end, &mut self.frames, false, &mut look);
        shown
    }

    fn discard(&mut self, start: u64, end: u64) {
        let (start, end) = (RAM_BASE + start, RAM_BASE + end);
        self.split_at(start);
        self.split_at(end);
        let mut give = |frames: &mut Frames, leaf: Leaf| {
            // A large page that could not be split for want of a frame stays, but reads as zero.
            if leaf.linear < start || leaf.linear + leaf.span > end {
                let (first, last) = (leaf.linear.max(start), (leaf.linear + leaf.span).min(end));
                tables::clear(leaf.physical() + (first - leaf.linear), last - first);
                return;
            }
            let physical = leaf.physical();
            leaf.entry.store(0, Ordering::Relaxed);
            for frame in (physical..physical + leaf.span).step_by(FRAME as usize) {
                frames.give(frame);
            }
        };
        let gone = self
            .tables
            .visit(start, end, &mut self.frames, true, &mut give);
        translations::forget(start, end, gone);
    }

    /// Makes an address the border of a page.
    fn split_at(&mut self, linear: u64) {
        if let Some(leaf) = self.tables.find(linear)
            && leaf.linear != linear
            && leaf.span > FRAME
            && Tables::split(leaf, &mut self.frames)
        {
            translations::forget(leaf.linear, leaf.linear + leaf.span, Gone::Entries);
        }
    }
}

fn user_flags(protection: Protection) -> u64 {
    let write = if protection.contains(Protection::WRITE) {
        WRITE
    } else {
        0
    };
    let execute = if protection.contains(Protection::EXECUTE) {
        0
    } else {
        NO_EXECUTE
    };
    USER | write | execute
}
