//! The seam between a file device and a file service.
//!
//! What: [`Request`] and [`Reply`] are one descriptor chain seen from the service, and
//! [`FuseService`] is what the device calls for each chain.
//!
//! Neighbours: devices implement the first two over guest memory, [`crate::memory`] over
//! vectors; [`crate::DirectoryService`] and the console implement the third.
//!
//! What it does not do: no parsing; that is [`crate::wire`].

use std::io;
use std::os::fd::BorrowedFd;

use guest_abi::fuse::OutHeader;

/// The driver-readable part of one request chain; read front to back.
pub trait Request {
    /// How many bytes are left.
    fn remaining(&self) -> usize;

    /// Copies the next bytes out; returns how many there were.
    fn read(&mut self, into: &mut [u8]) -> usize;

    /// Moves the next `len` bytes straight into `file`, at `offset` or at its own position for
    /// `None`. Returns how many were moved, at most [`Request::remaining`]; only those are
    /// consumed.
    ///
    /// # Errors
    /// What write(2) or pwrite(2) reports; then nothing is consumed.
    fn copy_to_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize>;
}

/// The device-writable part. The first 16 bytes are kept for the header, which comes last.
pub trait Reply {
    /// How many bytes of payload still fit: the kept header is not counted.
    fn remaining(&self) -> usize;

    /// Appends bytes to the payload; returns how many fitted.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Moves up to `len` bytes from `file` to the payload, at `offset` or at its own position
    /// for `None`. Returns how many were moved; 0 is the end of the file.
    ///
    /// # Errors
    /// What read(2) or pread(2) reports; then nothing is appended.
    fn copy_from_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize>;

    /// Fills the kept header in; a chain too short to hold one stays as it is.
    fn set_header(&mut self, header: OutHeader);
}

/// Hands a file, open for reading only, over to the guest under a number of the guest's choice.
pub type HandOver = Box<dyn Fn(u64, BorrowedFd<'_>) -> io::Result<()> + Send>;

/// What answers FUSE requests: a directory tree or the standard streams.
pub trait FuseService: Send {
    /// Serves one request; returns the number of bytes of the reply (0: no reply wanted).
    fn serve(&mut self, request: &mut dyn Request, reply: &mut dyn Reply) -> u32;
}
