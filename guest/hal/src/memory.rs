//! Guest-physical memory: owned extents, and the kernel's heap.
//!
//! Guest-physical space is far larger than the machine's memory; a page of it costs
//! nothing until it is touched and reads as zero then. So an [`Extent`] is cheap to
//! allocate whatever its size, is already zero, and gives its memory back to the host
//! when dropped. Being owned, two extents never overlap, which is what makes its
//! accessors safe.
//!
//! Beyond the extents lie the pages shared with the monitor (below `FREE_START`) and
//! the heap, a fixed window of which only the touched part exists.
//!
//! [`space`] says where an extent goes: what will be full soon is packed into large pages.
#![expect(unsafe_code, reason = "guest-physical memory is reached by address")]

use core::ptr;

use guest_abi::layout::{self, PAGE_SIZE};

use crate::{GuestAddress, platform};

mod space;

pub use space::large_pages_are_dear;

/// Below this, clearing memory that is packed with other memory does not give it back.
const CLEAR_MAX: u64 = 128 << 10;

/// Where the kernel sees a guest-physical address.
pub(crate) fn ram_pointer(physical: u64) -> *mut u8 {
    debug_assert!(physical < layout::RAM_SPAN_MAX);
    ptr::with_exposed_provenance_mut(ram_base().wrapping_add(physical as usize))
}

#[cfg(not(kernel_build))]
use crate::hosted::ram_base;

#[cfg(kernel_build)]
const fn ram_base() -> usize {
    layout::RAM_BASE as usize
}

/// Copies out of a range below `FREE_START`, which is always mapped.
pub(crate) fn copy_from_ram(physical: u64, into: &mut [u8]) {
    assert!(physical + into.len() as u64 <= layout::KERNEL_IMAGE);
    // SAFETY: the range is mapped and readable for ever (checked above), `into` is exclusive.
    unsafe { ptr::copy_nonoverlapping(ram_pointer(physical), into.as_mut_ptr(), into.len()) }
}

/// A range of guest-physical pages with one owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Extent {
    start: u64,
    length: u64,
}

impl Extent {
    /// Allocates `length` bytes (whole pages), zero, aligned to `align` bytes (a power
    /// of two, at least a page). With `near`, exactly there if that range is free, so
    /// that neighbouring mappings can merge. `None` when guest-physical space is used up.
    #[must_use]
    pub fn allocate(length: u64, align: u64, near: Option<GuestAddress>) -> Option<Self> {
        let whole = length > 0 && length.is_multiple_of(PAGE_SIZE);
        let start = whole.then(|| space::take(length, align.max(PAGE_SIZE), near))??;
        Some(Self { start, length })
    }

    /// Allocates `length` bytes (whole pages) that will be touched soon, most of them:
    /// small ones share large pages, which are there at once and cost a tenth of what
    /// touching their pages one by one would. Long ones, and the first few of a machine,
    /// are as from [`Extent::allocate`].
    #[must_use]
    pub fn allocate_full(length: u64, near: Option<GuestAddress>) -> Option<Self> {
        let whole = length > 0 && length.is_multiple_of(PAGE_SIZE);
        let start = whole.then(|| space::take_packed(length, near))??;
        Some(Self { start, length })
    }

    /// Where it starts.
    #[must_use]
    pub const fn start(&self) -> GuestAddress {
        GuestAddress(self.start)
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no pages: never.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Cuts it in two: this keeps the first `at` bytes, the rest is returned.
    ///
    /// # Panics
    /// When `at` is not a page boundary inside.
    #[must_use]
    pub fn split_off(&mut self, at: u64) -> Self {
        assert!(
            at > 0 && at < self.length && at.is_multiple_of(PAGE_SIZE),
            "split inside"
        );
        let rest = Self {
            start: self.start + at,
            length: self.length - at,
        };
        self.length = at;
        rest
    }

    /// Appends the extent that starts where this one ends; otherwise gives it back.
    ///
    /// # Errors
    /// The other extent, when it is not the neighbour.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        if self.start + self.length != other.start {
            return Err(other);
        }
        self.length += other.length;
        core::mem::forget(other);
        Ok(())
    }

    fn pointer(&self, offset: u64, length: usize) -> *mut u8 {
        let end = offset
            .checked_add(length as u64)
            .expect("a length in memory");
        assert!(end <= self.length, "access beyond the extent");
        ram_pointer(self.start + offset)
    }

    /// Makes all of its pages exist, in one step: it is about to be filled.
    pub fn populate(&self) {
        let linear = crate::LinearAddress(ram_pointer(self.start).addr() as u64);
        platform().populate(linear, self.length, true);
    }

    /// Copies out.
    ///
    /// # Panics
    /// When the range is not inside.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        let from = self.pointer(offset, into.len());
        // SAFETY: `pointer` checked that the range is inside; `into` is exclusive and not
        // part of an extent. Concurrent writes of the program only make the bytes vary.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    /// Copies in.
    ///
    /// # Panics
    /// When the range is not inside.
    pub fn write(&self, offset: u64, from: &[u8]) {
        let into = self.pointer(offset, from.len());
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }

    /// Copies from another extent, or from another part of this one.
    ///
    /// # Panics
    /// When a range is not inside.
    pub fn copy_from(&self, offset: u64, other: &Self, other_offset: u64, length: u64) {
        let into = self.pointer(offset, length as usize);
        let from = other.pointer(other_offset, length as usize);
        // SAFETY: both ranges are inside their extents; `copy` allows overlap.
        unsafe { ptr::copy(from, into, length as usize) }
    }

    /// Copies to the program's memory; see [`crate::user::write`].
    ///
    /// # Errors
    /// [`crate::user::Fault`] at the first byte that cannot be written.
    ///
    /// # Panics
    /// When the range is not inside.
    pub fn read_to_user(
        &self,
        offset: u64,
        user: crate::LinearAddress,
        length: u64,
    ) -> Result<(), crate::user::Fault> {
        let from = self.pointer(offset, length as usize);
        crate::user::copy_out(user, from, length as usize)
    }

    /// Copies from the program's memory; see [`crate::user::read`].
    ///
    /// # Errors
    /// [`crate::user::Fault`] at the first byte that cannot be read.
    ///
    /// # Panics
    /// When the range is not inside.
    pub fn write_from_user(
        &self,
        offset: u64,
        user: crate::LinearAddress,
        length: u64,
    ) -> Result<(), crate::user::Fault> {
        let into = self.pointer(offset, length as usize);
        crate::user::copy_in(into, user, length as usize)
    }

    /// Makes a range zero. Whole pages are given back to the host.
    ///
    /// # Panics
    /// When the range is not inside.
    pub fn clear(&self, offset: u64, length: u64) {
        let end = offset + length;
        let first = layout::page_up(offset).min(end);
        let last = layout::page_down(end).max(first);
        self.fill_zero(offset, first - offset);
        if last > first {
            assert!(last <= self.length, "access beyond the extent");
            if last - first < CLEAR_MAX && space::is_packed(self.start) {
                self.fill_zero(first, last - first);
            } else {
                platform().discard(GuestAddress(self.start + first), last - first);
            }
        }
        self.fill_zero(last, end - last);
    }

    fn fill_zero(&self, offset: u64, length: u64) {
        let into = self.pointer(offset, length as usize);
        // SAFETY: `pointer` checked that the range is inside.
        unsafe { ptr::write_bytes(into, 0, length as usize) }
    }

    /// The range as a buffer for a device; see [`crate::virtio::Piece`].
    pub(crate) fn raw(&self, offset: u64, length: u64) -> *mut [u8] {
        ptr::slice_from_raw_parts_mut(self.pointer(offset, length as usize), length as usize)
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        space::give_back(self);
    }
}

/// Divides what lies above `FREE_START` between the heap and the extents; once, before
/// the first allocation. `span` is the length of guest-physical space.
pub(crate) fn initialize(span: u64, large_pages_are_dear: bool) {
    let heap = (span / 16).clamp(16 << 20, 64 << 30);
    #[cfg(kernel_build)]
    heap::initialize(ram_pointer(layout::FREE_START), heap as usize);
    space::initialize(layout::FREE_START + heap, span, large_pages_are_dear);
}

#[cfg(kernel_build)]
mod heap {
    use talc::TalcLock;
    use talc::source::Manual;

    #[global_allocator]
    static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

    pub(super) fn initialize(start: *mut u8, length: usize) {
        // SAFETY: the window is mapped, zero, and belongs to nobody else: extents begin above it.
        let claimed = unsafe { HEAP.lock().claim(start, length) };
        assert!(claimed.is_some(), "the heap's window is large enough");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_zero_and_keeps_what_was_written() {
        crate::hosted::initialize();
        let extent = Extent::allocate(8192, PAGE_SIZE, None).unwrap();
        let mut bytes = [1u8; 16];
        extent.read(4090, &mut bytes);
        assert_eq!(bytes, [0; 16]);
        extent.write(4090, &[7; 16]);
        extent.read(4090, &mut bytes);
        assert_eq!(bytes, [7; 16]);
        extent.clear(0, 8192);
        extent.read(4090, &mut bytes);
        assert_eq!(bytes, [0; 16]);
    }

    #[test]
    fn an_extent_near_another_is_its_neighbour_and_joins_it() {
        crate::hosted::initialize();
        let mut first = Extent::allocate(4096, 1 << 28, None).unwrap();
        let near = first.start().checked_add(4096);
        let second = Extent::allocate(4096, PAGE_SIZE, near).unwrap();
        assert_eq!(Some(second.start()), near);
        first.join(second).unwrap();
        assert_eq!(first.len(), 8192);
        let rest = first.split_off(4096);
        assert_eq!(rest.start(), near.unwrap());
    }

    #[test]
    fn requests_that_cannot_be_met_are_refused() {
        assert_eq!(Extent::allocate(0, PAGE_SIZE, None), None);
        assert_eq!(Extent::allocate(100, PAGE_SIZE, None), None);
        assert_eq!(Extent::allocate(!4095, PAGE_SIZE, None), None);
    }
}
