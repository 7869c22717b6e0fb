//! A split virtqueue as its driver keeps it (virtio 1.2, 2.7).
//!
//! Descriptors are the caller's: it writes them once for a buffer that comes and goes, and then
//! only offers the chain's first and gets it back. Every word that the device shares is an
//! atomic; what the device says is an index and a length, which the caller checks.
#![expect(
    unsafe_code,
    reason = "the ring's words lie in memory shared with a device"
)]

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use guest_abi::layout::PAGE_SIZE;

use crate::memory::Extent;
use crate::platform::lower;

/// Most descriptors: their table is one page, and both rings fit into another, so that none of
/// them has to lie in more than one piece of physical memory.
pub(super) const SIZE_MAX: u32 = 256;

/// Descriptor flags (virtio 1.2, 2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// The available ring's flag: no interrupts, please (2.7.7); the used ring's: no rings (2.7.10).
const QUIET: u16 = 1;

/// The number of no descriptor.
const NO_HEAD: u16 = u16::MAX;

/// Offset of the used ring in the page of both: behind the longest available ring, aligned.
const USED: u64 = 1024;
/// Words of a ring before its elements: flags and index.
const HEAD: usize = 2;

#[repr(C)]
struct Descriptor {
    address: AtomicU64,
    length: AtomicU32,
    flags: AtomicU16,
    next: AtomicU16,
}

#[repr(C)]
struct Used {
    id: AtomicU32,
    length: AtomicU32,
}

/// The driver's side of a queue.
pub(super) struct Ring {
    descriptors: &'static [Descriptor],
    /// Flags, index, elements, and from which used buffer on to interrupt.
    available: &'static [AtomicU16],
    /// Flags and index.
    used_head: &'static [AtomicU16],
    used: &'static [Used],
    /// From which available buffer on the device wants to be rung.
    avail_event: &'static AtomicU16,
    /// Physical addresses of the three parts.
    places: [u64; 3],
    event_index: bool,
    /// How many chains were offered, and how many when it was last asked whether to ring.
    offered: u16,
    asked: u16,
    /// How many were taken back.
    taken: u16,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("size", &self.descriptors.len())
            .field("offered", &self.offered)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// What a range of memory that somebody else writes to can be seen as.
///
/// # Safety
/// It consists of atomics of integers, without padding.
unsafe trait Shared {}

// SAFETY: it is one.
unsafe impl Shared for AtomicU16 {}
// SAFETY: see its fields, each of which ends where the next begins.
unsafe impl Shared for Descriptor {}
// SAFETY: as above.
unsafe impl Shared for Used {}

/// `count` of them at `offset` of an extent.
///
/// # Panics
/// When they are not inside, or not aligned.
fn words<T: Shared>(extent: &'static Extent, offset: u64, count: usize) -> &'static [T] {
    let start = extent
        .raw(offset, (count * size_of::<T>()) as u64)
        .cast::<T>();
    assert!(start.is_aligned(), "a ring's parts are aligned");
    // SAFETY: `raw` checked that they are inside the extent, which is there for ever; any bytes are
    // such words, and they may change meanwhile.
    unsafe { core::slice::from_raw_parts(start, count) }
}

impl Ring {
    /// A ring of the largest size that a device has room for which lets it have `most`
    /// descriptors; `None` without memory, or when that is none.
    pub(super) fn new(most: u32, event_index: bool) -> Option<Self> {
        let size = 1 << most.min(SIZE_MAX).checked_ilog2()?;
        let count = size as usize;
        let extent = Extent::allocate(2 * PAGE_SIZE, 2 * PAGE_SIZE, None)?;
        // The device keeps it for ever.
        let extent: &'static Extent = Box::leak(Box::new(extent));
        let (available, used) = (PAGE_SIZE, PAGE_SIZE + USED);
        let place = |offset| {
            let linear = extent.raw(offset, 1).cast::<u8>().addr() as u64;
            lower().device_range(linear, 1).0
        };
        Some(Self {
            descriptors: words(extent, 0, count),
            available: words(extent, available, HEAD + count + 1),
            used_head: words(extent, used, HEAD),
            used: words(extent, used + 4, count),
            avail_event: words(extent, used + 4 + 8 * count as u64, 1).first()?,
            places: [place(0), place(available), place(used)],
            event_index,
            offered: 0,
            asked: 0,
            taken: 0,
        })
    }

    /// How many descriptors it has.
    pub(super) const fn size(&self) -> u16 {
        self.descriptors.len() as u16
    }

    /// Where descriptors, available ring and used ring lie.
    pub(super) const fn places(&self) -> [u64; 3] {
        self.places
    }

    /// Writes a descriptor: memory that the device `writes` or reads, and what follows it.
    pub(super) fn describe(
        &self,
        index: u16,
        (address, length): (u64, u32),
        writes: bool,
        next: Option<u16>,
    ) {
        let Some(descriptor) = self.descriptors.get(usize::from(index)) else {
            return;
        };
        let flags = if writes { WRITE } else { 0 } | next.map_or(0, |_| NEXT);
        descriptor.address.store(address, Ordering::Relaxed);
        descriptor.length.store(length, Ordering::Relaxed);
        descriptor.flags.store(flags, Ordering::Relaxed);
        descriptor.next.store(next.unwrap_or(0), Ordering::Relaxed);
    }

    /// Changes how much of its memory a descriptor offers, and whether the next belongs to it; the
    /// device only reads of it.
    pub(super) fn limit(&self, index: u16, length: u32, goes_on: bool) {
        if let Some(descriptor) = self.descriptors.get(usize::from(index)) {
            let flags = if goes_on { NEXT } else { 0 };
            descriptor.length.store(length, Ordering::Relaxed);
            descriptor.flags.store(flags, Ordering::Relaxed);
        }
    }

    /// Lets the device have the chain that begins with descriptor `head`.
    pub(super) fn offer(&mut self, head: u16) {
        let slot = HEAD + usize::from(self.offered & (self.size() - 1));
        if let Some(slot) = self.available.get(slot) {
            slot.store(head, Ordering::Relaxed);
        }
        self.offered = self.offered.wrapping_add(1);
        if let Some(index) = self.available.get(1) {
            index.store(self.offered, Ordering::Release);
        }
    }

    /// Whether the device wants to be told of what was offered since this was asked last.
    pub(super) fn is_awaited(&mut self) -> bool {
        // It may be about to sleep: it says so and looks again, as we offered and look now.
        fence(Ordering::SeqCst);
        let before = core::mem::replace(&mut self.asked, self.offered);
        if self.event_index {
            passes(
                self.avail_event.load(Ordering::Relaxed),
                before,
                self.offered,
            )
        } else {
            before != self.offered && word(self.used_head, 0) & QUIET == 0
        }
    }

    /// The next chain that the device gives back: its first descriptor, and how many bytes the
    /// device says it wrote.
    pub(super) fn take(&mut self) -> Option<(u16, u32)> {
        match self.waiting() {
            0 => return None,
            // More than it can have: nothing that it says is to be believed.
            waiting if waiting > self.size() => return Some((NO_HEAD, 0)),
            _ => {}
        }
        let slot = usize::from(self.taken & (self.size() - 1));
        let used = self.used.get(slot)?;
        self.taken = self.taken.wrapping_add(1);
        let head = u16::try_from(used.id.load(Ordering::Relaxed)).unwrap_or(NO_HEAD);
        Some((head, used.length.load(Ordering::Relaxed)))
    }

    /// How many chains came back that were not taken.
    fn waiting(&self) -> u16 {
        let index = self.used_head.get(1);
        let index = index.map_or(self.taken, |index| index.load(Ordering::Acquire));
        index.wrapping_sub(self.taken)
    }

    /// Asks for no interrupts.
    pub(super) fn quiet(&self) {
        if self.event_index {
            self.interrupt_at(self.taken.wrapping_sub(1));
        } else if let Some(flags) = self.available.first() {
            flags.store(QUIET, Ordering::Relaxed);
        }
    }

    /// Asks for an interrupt when the device has given back `more` chains beyond the next, or for
    /// any where it cannot count; whether so many have come already.
    pub(super) fn listen(&self, more: u16) -> bool {
        if self.event_index {
            self.interrupt_at(self.taken.wrapping_add(more));
        } else if let Some(flags) = self.available.first() {
            flags.store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.waiting() > if self.event_index { more } else { 0 }
    }

    /// Writes `used_event`.
    fn interrupt_at(&self, index: u16) {
        if let Some(event) = self.available.last() {
            event.store(index, Ordering::Relaxed);
        }
    }
}

fn word(words: &[AtomicU16], index: usize) -> u16 {
    words
        .get(index)
        .map_or(0, |word| word.load(Ordering::Relaxed))
}

/// Whether an index that went from `before` to `now` has passed `event` (2.7.7.2).
const fn passes(event: u16, before: u16, now: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}
