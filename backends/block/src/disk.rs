//! The seam between a block device and a disk.

use std::io;
use std::os::fd::BorrowedFd;

/// Bytes of a sector, the unit of a disk's size.
pub const SECTOR: u64 = 512;

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The host failed to read or write.
    #[error("disk: {0}")]
    Io(#[from] io::Error),
    /// The disk cannot do this.
    #[error("disk: not supported")]
    Unsupported,
    /// The disk cannot be written.
    #[error("disk: read-only")]
    ReadOnly,
    /// The request goes past the end.
    #[error("disk: past the end")]
    Range,
}

/// Where bytes that are read go; filled front to back.
pub trait Sink {
    /// How many bytes still fit.
    fn remaining(&self) -> usize;

    /// Appends bytes; returns how many fitted.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Moves at most `length` bytes from `offset` of `file`; returns how many, 0 at its end.
    ///
    /// # Errors
    /// What pread(2) reports.
    fn fill_from(&mut self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize>;
}

/// Where bytes to write come from; used up front to back.
pub trait Source {
    /// How many bytes are left.
    fn remaining(&self) -> usize;

    /// Copies the next bytes out; returns how many there were.
    fn read(&mut self, into: &mut [u8]) -> usize;

    /// Moves at most `length` bytes to `offset` of `file`; returns how many.
    ///
    /// # Errors
    /// What pwrite(2) reports.
    fn drain_to(&mut self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize>;
}

/// A disk. Several threads may call at once; requests that overlap have no order.
pub trait Disk: Send + Sync {
    /// Bytes, a multiple of [`SECTOR`].
    fn size(&self) -> u64;

    /// Whether writing fails.
    fn is_read_only(&self) -> bool;

    /// A name that stays the same, of which a guest sees the first 20 bytes.
    fn identity(&self) -> &str;

    /// Fills all of `into` from `offset` on.
    ///
    /// # Errors
    /// When that lies past the end or the host fails; part of it may be filled then.
    fn read_at(&self, offset: u64, into: &mut dyn Sink) -> Result<(), DiskError>;

    /// Writes all of `from` at `offset`.
    ///
    /// # Errors
    /// When that lies past the end, the disk is read-only or the host fails; part of it may
    /// be written then.
    fn write_at(&self, offset: u64, from: &mut dyn Source) -> Result<(), DiskError>;

    /// Makes everything durable that was written by requests that are complete.
    ///
    /// # Errors
    /// When the host fails.
    fn flush(&self) -> Result<(), DiskError>;

    /// The content of the range is not needed any more; a disk may keep it.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    fn discard(&self, offset: u64, length: u64) -> Result<(), DiskError>;

    /// Makes the range read as zeros. `unmap`: the host may give the space back.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> Result<(), DiskError>;
}

/// Checks that a range lies on a disk of `size` bytes.
pub(crate) fn check_range(size: u64, offset: u64, length: u64) -> Result<(), DiskError> {
    let end = offset.checked_add(length);
    end.filter(|&end| end <= size)
        .map(drop)
        .ok_or(DiskError::Range)
}

/// Checks that a range can be written.
pub(crate) fn check_writable(disk: &dyn Disk, offset: u64, length: u64) -> Result<(), DiskError> {
    if disk.is_read_only() {
        return Err(DiskError::ReadOnly);
    }
    check_range(disk.size(), offset, length)
}
