//! Memory that is written at one address and executed at another.
#![expect(unsafe_code, reason = "maps memory, and makes code of it")]

use std::ffi::c_void;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::run::{Entry, Stub};

/// Enough for every form: some 2,000 without an immediate, 200 with 256 of them each, of up to 100 bytes.
/// Only pages that are written take memory.
const SIZE: usize = 8 << 20;
/// Where a stub may begin.
const ALIGNMENT: usize = 32;

/// The area. It stays mapped when this is gone.
pub(super) struct CodeArea {
    written: *mut u8,
    executed: *const u8,
    used: usize,
}

// SAFETY: the addresses mean the same on all threads; who owns this is the only one who writes there.
unsafe impl Send for CodeArea {}

impl CodeArea {
    pub(super) fn new() -> io::Result<Self> {
        let file = memfd_create("husk-stubs", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, SIZE as u64)?;
        Ok(Self {
            written: map(&file, ProtFlags::READ | ProtFlags::WRITE)?.cast(),
            executed: map(&file, ProtFlags::READ | ProtFlags::EXEC)?.cast(),
            used: 0,
        })
    }

    /// Makes code a stub, which [`super::emit`] wrote as [`Entry`] wants it; `None` when the area is full.
    pub(super) fn add(&mut self, code: &[u8]) -> Option<Stub> {
        let at = self.used;
        let end = at
            .checked_add(code.len())
            .filter(|end| *end <= SIZE)?
            .next_multiple_of(ALIGNMENT);
        // SAFETY: `at` lies in the mapping.
        let to = unsafe { self.written.add(at) };
        // SAFETY: so does the end, by the check above; nobody runs this part yet, since no stub lies there.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), to, code.len()) };
        self.used = end;
        // SAFETY: the other mapping has the same size.
        let entry = unsafe { self.executed.add(at) };
        // There is code now that keeps to the convention, and stays for as long as the process.
        Some(Stub::new(Entry::new(entry.expose_provenance())?))
    }
}

fn map(file: &OwnedFd, rights: ProtFlags) -> io::Result<*mut c_void> {
    // SAFETY: the host chooses a place where nothing is.
    let mapped = unsafe { mmap(ptr::null_mut(), SIZE, rights, MapFlags::SHARED, file, 0) };
    Ok(mapped?)
}
