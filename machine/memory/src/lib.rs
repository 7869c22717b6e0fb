//! Guest-physical memory: one sparse file, mapped once into the monitor.
//!
//! The file may be far larger than what the machine may use; the host backs a page when it
//! is touched, and enforces the limit where the file lives (a private tmpfs). A machine with
//! devices below 4 GiB has its memory in two [`Region`]s of the one file. Everything
//! in it is the guest's: the monitor reads a byte once, checks it, and uses the copy.
//! Nobody gets a `&[u8]` into it.

use std::fs::File;
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

use guest_abi::device::DevicePage;
use guest_abi::layout;
use guest_abi::report::ReportPage;
use guest_abi::vcpu::{ClockPage, VcpuPage};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// The one type of guest memory in the monitor.
pub type Mapping = GuestMemoryMmap<()>;

/// The memory could not be set up or does not have the range.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file cannot be mapped.
    #[error("guest memory cannot be mapped: {0}")]
    Map(String),
    /// There is none to be had.
    #[error("{0}")]
    Create(String),
    /// The range is not in the machine's memory.
    #[error("guest address {0:#x} is outside of the machine's memory")]
    Range(u64),
}

/// A machine's memory; clones share it.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    mapping: Arc<Mapping>,
    file: Arc<File>,
    regions: Arc<[Region]>,
    span: u64,
    watch: Arc<OnceLock<Watch>>,
}

/// Memory without a gap, in guest-physical space, in the file and in the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Guest-physical address of its first byte.
    pub guest: u64,
    /// Offset of its first byte in the memory's file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Where the monitor sees it.
    pub host: usize,
}

impl GuestMemory {
    /// Maps `span` bytes of `file`.
    ///
    /// # Errors
    /// When the host has no room for the mapping.
    pub fn new(file: File, span: u64) -> Result<Self, MemoryError> {
        Self::map(file, &[(0, span)])
    }

    /// Maps `bytes` of `file` so that nothing lies in `hole`: what does not fit below it
    /// goes on behind it, in guest-physical space; in the file one follows on the other.
    ///
    /// # Errors
    /// When the host has no room for the mapping, or the hole has no whole pages.
    pub fn with_hole(file: File, bytes: u64, hole: Range<u64>) -> Result<Self, MemoryError> {
        let is_whole = |address: u64| address.is_multiple_of(layout::PAGE_SIZE);
        if !is_whole(hole.start) || !is_whole(hole.end) || hole.start >= hole.end {
            let sentence = format!("{hole:#x?} is no hole of whole pages");
            return Err(MemoryError::Map(sentence));
        }
        match bytes.checked_sub(hole.start).filter(|above| *above > 0) {
            None => Self::map(file, &[(0, bytes)]),
            Some(above) => Self::map(file, &[(0, hole.start), (hole.end, above)]),
        }
    }

    /// Maps parts of the file, given by guest-physical address and length, one after the other.
    fn map(file: File, parts: &[(u64, u64)]) -> Result<Self, MemoryError> {
        let fail = |error: &dyn std::fmt::Display| MemoryError::Map(error.to_string());
        let file = Arc::new(file);
        let (mut ranges, mut offset) = (Vec::new(), 0);
        for (guest, length) in parts.iter().copied() {
            let size = usize::try_from(length).map_err(|error| fail(&error))?;
            let place = FileOffset::from_arc(Arc::clone(&file), offset);
            ranges.push((GuestAddress(guest), size, Some(place)));
            offset += length;
        }
        let mapping = Mapping::from_ranges_with_files(ranges).map_err(|error| fail(&error))?;
        let (mut regions, mut offset, mut span) = (Vec::new(), 0, 0);
        for (guest, length) in parts.iter().copied() {
            let host = mapping.get_host_address(GuestAddress(guest));
            let host = host
                .map_err(|_| MemoryError::Range(guest))?
                .expose_provenance();
            regions.push(Region {
                guest,
                offset,
                length,
                host,
            });
            offset += length;
            span = guest + length;
        }
        Ok(Self {
            mapping: Arc::new(mapping),
            file,
            regions: regions.into(),
            span,
            watch: Arc::default(),
        })
    }

    /// The first guest-physical address above all memory.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// Bytes of it that the host has given so far.
    #[must_use]
    pub fn touched_bytes(&self) -> u64 {
        let status = rustix::fs::fstat(self.file.as_ref());
        status.map_or(0, |status| status.st_blocks.cast_unsigned() * 512)
    }

    /// Its regions, by ascending address; the first begins at zero.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Where in the memory's file a guest-physical address is, if it is in memory.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let within = address.checked_sub(region.guest)?;
            (within < region.length).then_some(region.offset + within)
        })
    }

    /// The mapping, for virtqueues.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Where the monitor sees its first region: first address and length.
    ///
    /// # Errors
    /// When there is no memory at all.
    pub fn host_range(&self) -> Result<(usize, usize), MemoryError> {
        let region = self.regions.first().ok_or(MemoryError::Range(0))?;
        Ok((region.host, region.length as usize))
    }

    /// Copies in.
    ///
    /// # Errors
    /// When the range is not in the machine's memory.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let written = self.mapping.write_slice(bytes, GuestAddress(address));
        written.map_err(|_| MemoryError::Range(address))?;
        self.note_write(address, bytes.len());
        Ok(())
    }

    /// The marks of pages with code; from the first call on, writes are noted.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        self.watch.get_or_init(|| Watch::new(self))
    }

    /// The monitor has written here.
    pub(crate) fn note_write(&self, address: u64, bytes: usize) {
        if let Some(watch) = self.watch.get() {
            watch.note(self, address, bytes as u64);
        }
    }

    /// Copies out.
    ///
    /// # Errors
    /// When the range is not in the machine's memory.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let read = self.mapping.read_slice(into, GuestAddress(address));
        read.map_err(|_| MemoryError::Range(address))
    }

    /// The shared page at an address.
    ///
    /// # Errors
    /// When it is not in the machine's memory or not page aligned.
    pub fn page<T: SharedPage>(&self, address: u64) -> Result<Page<T>, MemoryError> {
        let fits = address.is_multiple_of(4096)
            && address
                .checked_add(size_of::<T>() as u64)
                .is_some_and(|end| end <= self.span);
        if !fits {
            return Err(MemoryError::Range(address));
        }
        let host = self.mapping.get_host_address(GuestAddress(address));
        let pointer = host.map_err(|_| MemoryError::Range(address))?.cast::<T>();
        Ok(Page {
            pointer,
            _memory: Arc::clone(&self.mapping),
        })
    }
}

pub use create::{HOLE, create};
pub use frame::{FRAME_SIZE, Frame, Word};
pub use pages::{Page, SharedPage};
pub use pieces::Pieces;
pub use watch::{Watch, lines};

mod contents;
mod create;
mod frame;
mod large;
mod pieces;
mod sockets;
mod watch;

mod pages {
    #![expect(unsafe_code, reason = "shared pages are references into guest memory")]

    use super::{Arc, ClockPage, Deref, DevicePage, Mapping, ReportPage, VcpuPage};

    /// A type that may lie in guest memory.
    ///
    /// # Safety
    /// It consists of atomics only, is at most a page long, and every bit pattern is valid.
    pub unsafe trait SharedPage {}

    // SAFETY: atomics only.
    unsafe impl SharedPage for ClockPage {}
    // SAFETY: atomics only.
    unsafe impl SharedPage for DevicePage {}
    // SAFETY: atomics only.
    unsafe impl SharedPage for ReportPage {}
    // SAFETY: atomics only.
    unsafe impl SharedPage for VcpuPage {}

    /// A shared page; keeps the memory mapped.
    #[derive(Debug)]
    pub struct Page<T> {
        pub(super) pointer: *const T,
        pub(super) _memory: Arc<Mapping>,
    }

    // SAFETY: the target consists of atomics (see `SharedPage`).
    unsafe impl<T: SharedPage> Send for Page<T> {}
    // SAFETY: as above.
    unsafe impl<T: SharedPage> Sync for Page<T> {}

    impl<T: SharedPage> Deref for Page<T> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: `GuestMemory::page` checked range and alignment; the mapping lives as
            // long as this; atomics tolerate writes by the guest.
            unsafe { &*self.pointer }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn memory() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        GuestMemory::new(file, 1 << 20).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let memory = memory();
        memory.write(5000, b"hello").unwrap();
        let mut bytes = [0; 5];
        memory.read(5000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }

    #[test]
    fn ranges_outside_are_refused() {
        let memory = memory();
        assert!(memory.write((1 << 20) - 2, b"hello").is_err());
        assert!(memory.page::<VcpuPage>(1 << 20).is_err());
        assert!(memory.page::<VcpuPage>(100).is_err());
        assert!(memory.page::<VcpuPage>(u64::MAX - 4095).is_err());
    }

    #[test]
    fn a_page_is_shared() {
        let memory = memory();
        let page = memory.page::<VcpuPage>(4096).unwrap();
        page.event.store(7, Ordering::Relaxed);
        let mut bytes = [0; 4];
        memory.read(4096, &mut bytes).unwrap();
        assert_eq!(bytes, [7, 0, 0, 0]);
    }

    /// 64 KiB, of which 16 lie below a hole of 32.
    fn memory_with_hole() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x1_0000).unwrap();
        GuestMemory::with_hole(file, 0x1_0000, 0x4000..0xc000).unwrap()
    }

    #[test]
    fn memory_goes_on_behind_a_hole() {
        let memory = memory_with_hole();
        let places = memory
            .regions()
            .iter()
            .map(|r| (r.guest, r.offset, r.length));
        let places: Vec<_> = places.collect();
        assert_eq!(places, [(0, 0, 0x4000), (0xc000, 0x4000, 0xc000)]);
        assert_eq!(memory.span(), 0x1_8000);
        let offsets = [0x3fff, 0x4000, 0xbfff, 0xc000, 0x1_7fff, 0x1_8000, u64::MAX]
            .map(|address| memory.file_offset(address));
        let (low, middle, high) = (Some(0x3fff), Some(0x4000), Some(0xffff));
        assert_eq!(offsets, [low, None, None, middle, high, None, None]);
    }

    #[test]
    fn what_fits_below_the_hole_has_one_region() {
        for bytes in [0x1000, 0x4000] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(bytes).unwrap();
            let memory = GuestMemory::with_hole(file, bytes, 0x4000..0xc000).unwrap();
            assert_eq!((memory.regions().len(), memory.span()), (1, bytes));
        }
    }

    #[test]
    fn nothing_is_read_or_written_in_a_hole() {
        let memory = memory_with_hole();
        let mut bytes = [0; 4];
        for address in [0x3ffe, 0x4000, 0xbffe, 0x1_7ffe] {
            assert!(memory.write(address, &[1; 4]).is_err(), "{address:#x}");
            assert!(memory.read(address, &mut bytes).is_err(), "{address:#x}");
        }
        assert!(memory.page::<VcpuPage>(0x4000).is_err());
        assert!(memory.page::<VcpuPage>(0xb000).is_err());
        assert!(memory.page::<VcpuPage>(0xc000).is_ok());
        assert!(memory.page::<VcpuPage>(0x1_7000).is_ok());
    }

    #[test]
    fn both_regions_are_the_one_file() {
        use std::os::unix::fs::FileExt;
        let memory = memory_with_hole();
        memory.write(0x3ffc, b"last").unwrap();
        memory.write(0xc000, b"next").unwrap();
        let mut bytes = [0; 8];
        memory.file.read_exact_at(&mut bytes, 0x3ffc).unwrap();
        assert_eq!(&bytes, b"lastnext");
    }

    #[test]
    fn a_hole_has_whole_pages() {
        for hole in [0x4000..0x4000, 0x4001..0x5000, 0x4000..0x4800] {
            let file = tempfile::tempfile().unwrap();
            assert!(GuestMemory::with_hole(file, 0x1000, hole).is_err());
        }
    }

    #[test]
    fn large_pages_are_a_wish() {
        memory_with_hole().prefer_large_pages();
    }
}
