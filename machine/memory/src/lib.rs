//! Guest-physical memory: one sparse file, mapped once into the monitor.
//!
//! The file is far larger than what the machine may use; the host backs a page when it
//! is touched, and enforces the limit where the file lives (a private tmpfs). Everything
//! in it is the guest's: the monitor reads a byte once, checks it, and uses the copy.
//! Nobody gets a `&[u8]` into it.

use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;

use guest_abi::device::DevicePage;
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
    /// The range is not in the machine's memory.
    #[error("guest address {0:#x} is outside of the machine's memory")]
    Range(u64),
}

/// A machine's memory; clones share it.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    mapping: Arc<Mapping>,
    file: Arc<File>,
    span: u64,
}

impl GuestMemory {
    /// Maps `span` bytes of `file`.
    ///
    /// # Errors
    /// When the host has no room for the mapping.
    pub fn new(file: File, span: u64) -> Result<Self, MemoryError> {
        let size = usize::try_from(span).map_err(|error| MemoryError::Map(error.to_string()))?;
        let file = Arc::new(file);
        let range = (
            GuestAddress(0),
            size,
            Some(FileOffset::from_arc(Arc::clone(&file), 0)),
        );
        let mapping = Mapping::from_ranges_with_files([range])
            .map_err(|error| MemoryError::Map(error.to_string()))?;
        Ok(Self {
            mapping: Arc::new(mapping),
            file,
            span,
        })
    }

    /// Bytes of guest-physical space.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// The mapping, for virtqueues.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Where the monitor sees it: first address and length.
    ///
    /// # Errors
    /// When there is no memory at all.
    pub fn host_range(&self) -> Result<(usize, usize), MemoryError> {
        let host = self.mapping.get_host_address(GuestAddress(0));
        let host = host.map_err(|_| MemoryError::Range(0))?;
        Ok((host.addr(), self.span as usize))
    }

    /// Copies in.
    ///
    /// # Errors
    /// When the range is not in the machine's memory.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let written = self.mapping.write_slice(bytes, GuestAddress(address));
        written.map_err(|_| MemoryError::Range(address))
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

pub use pages::{Page, SharedPage};
pub use pieces::Pieces;

mod pieces;

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
}
