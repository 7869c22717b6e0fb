//! What can be done with something that is open.

use alloc::sync::Arc;
use core::fmt;

use guest_hal::host_file::HostFile;
use guest_hal::memory::Extent;
use guest_hal::{LinearAddress, Nanos};
use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::lock::{Owner, RangeLock};
use super::pages::PageStore;
use crate::wait::WaitQueue;
use crate::{Errno, Result};

/// Who keeps the position of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positioning {
    /// The open file description: reads and writes say where.
    Description,
    /// Nobody: it is a stream.
    Stream,
    /// The file itself.
    Own,
}

/// Where to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the position of the file itself, or of the stream.
    Current,
    /// At an offset.
    At(u64),
}

/// How to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Where.
    pub position: Position,
    /// The status flags of the open file (`O_NONBLOCK`, `O_APPEND`, ...) and access mode.
    pub flags: u32,
}

impl Io {
    /// At an offset, with flags.
    #[must_use]
    pub const fn at(offset: u64, flags: u32) -> Self {
        Self {
            position: Position::At(offset),
            flags,
        }
    }

    /// The offset; streams have none.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self.position {
            Position::At(offset) => offset,
            Position::Current => 0,
        }
    }

    /// Whether to fail rather than wait.
    #[must_use]
    pub const fn is_nonblocking(&self) -> bool {
        self.flags & raw::O_NONBLOCK != 0
    }

    /// Whether writes go to the end.
    #[must_use]
    pub const fn is_append(&self) -> bool {
        self.flags & raw::O_APPEND != 0
    }
}

/// Readiness: `POLL*` bits.
pub type Events = u32;

/// Without what is behind the pointer: that would keep the code for it of every type there is.
impl fmt::Debug for dyn File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("File")
    }
}

/// Something that is open. Access modes have been checked.
pub trait File: core::any::Any + Send + Sync {
    /// Reads; how much is what `into` has got. An error after something was read counts
    /// as the end of the read.
    ///
    /// # Errors
    /// The file's.
    fn read(&self, _: Io, _: &mut Destination<'_>) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// Writes; how much is what was taken from `from`. With `O_APPEND` the offset is
    /// ignored; the new position of the description is returned.
    ///
    /// # Errors
    /// The file's.
    fn write(&self, _: Io, _: &mut Origin<'_>) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// Who keeps the position.
    fn positioning(&self) -> Positioning {
        Positioning::Stream
    }

    /// Seeks, for those that keep their own position; `SEEK_DATA` and `SEEK_HOLE` for others.
    ///
    /// # Errors
    /// `ESPIPE` for streams.
    fn seek(&self, _: i64, _: u32) -> Result<u64> {
        Err(Errno::ESPIPE)
    }

    /// What it is ready for now.
    fn poll(&self) -> Events {
        raw::POLLIN | raw::POLLOUT | raw::POLLRDNORM | raw::POLLWRNORM
    }

    /// Whether it becomes ready without an event, so that it must be asked again and again.
    fn must_be_asked(&self) -> bool {
        false
    }

    /// Where it says that it may have become ready.
    fn queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// Whether its readiness changes without a word on its queue: with time, or because it must
    /// be asked.
    fn is_silent(&self) -> bool {
        self.must_be_asked()
    }

    /// When it becomes ready by itself (monotonic clock).
    fn deadline(&self) -> Option<Nanos> {
        None
    }

    /// How many bytes can be read at once (`FIONREAD`), for streams.
    fn available(&self) -> Option<u64> {
        None
    }

    /// Device control; `argument` is what the program gave.
    ///
    /// # Errors
    /// `ENOTTY` for what it does not know.
    fn control(&self, _command: u32, _argument: LinearAddress) -> Result<u64> {
        Err(Errno::ENOTTY)
    }

    /// One of the descriptors was closed, by the owner of POSIX locks `owner`.
    fn flush(&self, _owner: u64) -> Result<()> {
        Ok(())
    }

    /// Its ability as a regular file.
    fn as_regular(&self) -> Option<&dyn Regular> {
        None
    }

    /// Whether its locks are kept elsewhere.
    fn as_lockable(&self) -> Option<&dyn Lockable> {
        None
    }
}

/// The ability of regular files.
pub trait Regular {
    /// The length in bytes.
    ///
    /// # Errors
    /// The file system's.
    fn size(&self) -> Result<u64>;

    /// Sets the length.
    ///
    /// # Errors
    /// The file system's.
    fn truncate(&self, size: u64) -> Result<()>;

    /// Makes durable; with `data_only` as `fdatasync` does.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }

    /// `fallocate`.
    ///
    /// # Errors
    /// The file system's.
    fn allocate(&self, _mode: u32, _offset: u64, _length: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Reads into an extent: the private copy of a mapping. Returns how many bytes; fewer
    /// at the end of the file. What lies behind is left as it was.
    ///
    /// # Errors
    /// The file system's.
    fn read_into_extent(
        &self,
        offset: u64,
        extent: &Extent,
        extent_offset: u64,
        length: u64,
    ) -> Result<u64>;

    /// The host's file itself, for mappings that are only read, where its content is that and
    /// the platform can. With `ask` false, only if the host need not be asked for it.
    fn host_file(&self, _ask: bool) -> Option<Arc<HostFile>> {
        None
    }

    /// The pages themselves, for shared mappings.
    ///
    /// # Errors
    /// `ENODEV` where there are none.
    fn pages(&self) -> Result<Arc<PageStore>>;
}

/// The ability of files whose locks are kept by their file system.
pub trait Lockable {
    /// The lock that is in the way, if one is.
    ///
    /// # Errors
    /// The file system's.
    fn test_lock(&self, owner: Owner, lock: &RangeLock) -> Result<Option<RangeLock>>;

    /// Takes or drops a lock, without waiting.
    ///
    /// # Errors
    /// `EAGAIN` when another is in the way.
    fn set_lock(&self, owner: Owner, lock: &RangeLock) -> Result<()>;
}
