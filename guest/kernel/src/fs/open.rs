//! Open file descriptions.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::entry::Location;
use super::file::{File, Io, Position, Positioning, Regular};
use super::inotify;
use super::metadata::{FileKind, Metadata};
use crate::{Errno, Result};

/// Flags that only matter while opening.
const CREATION_FLAGS: u32 =
    raw::O_CREAT | raw::O_EXCL | raw::O_NOCTTY | raw::O_TRUNC | raw::O_CLOEXEC;
/// Flags that `F_SETFL` changes.
const CHANGEABLE_FLAGS: u32 =
    raw::O_APPEND | raw::O_NONBLOCK | raw::FASYNC | raw::O_DIRECT | raw::O_NOATIME;

/// An open file description: what descriptors refer to.
#[derive(Debug)]
pub struct OpenFile {
    /// Where it was found.
    pub location: Location,
    file: Option<Arc<dyn File>>,
    flags: AtomicU32,
    position: AtomicU64,
    id: u64,
    owner: AtomicI32,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1 << 32);

impl OpenFile {
    /// Something open.
    #[must_use]
    pub fn new(location: Location, file: Arc<dyn File>, flags: u32) -> Arc<Self> {
        Self::make(location, Some(file), flags & !CREATION_FLAGS)
    }

    /// Only a place (`O_PATH`).
    #[must_use]
    pub fn path_only(location: Location, flags: u32) -> Arc<Self> {
        let kept = raw::O_PATH | raw::O_DIRECTORY | raw::O_NOFOLLOW;
        Self::make(location, None, flags & kept)
    }

    fn make(location: Location, file: Option<Arc<dyn File>>, flags: u32) -> Arc<Self> {
        Arc::new(Self {
            location,
            file,
            flags: AtomicU32::new(flags),
            position: AtomicU64::new(0),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            owner: AtomicI32::new(0),
        })
    }

    /// A number no other open file has: the owner of its locks.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What is open.
    ///
    /// # Errors
    /// `EBADF` for `O_PATH`.
    pub fn file(&self) -> Result<&Arc<dyn File>> {
        self.file.as_ref().ok_or(Errno::EBADF)
    }

    /// Whether it is only a place.
    #[must_use]
    pub const fn is_path_only(&self) -> bool {
        self.file.is_none()
    }

    /// Status flags and access mode, as `F_GETFL` has them.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Changes the status flags that can be changed.
    pub fn set_flags(&self, flags: u32) {
        let kept = self.flags() & !CHANGEABLE_FLAGS;
        self.flags
            .store(kept | (flags & CHANGEABLE_FLAGS), Ordering::Relaxed);
    }

    /// Who gets signals about it (`F_SETOWN`).
    #[must_use]
    pub const fn signal_owner(&self) -> &AtomicI32 {
        &self.owner
    }

    /// Whether it is open for reading.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.is_path_only() && self.flags() & raw::O_ACCMODE != raw::O_WRONLY
    }

    /// Whether it is open for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.is_path_only() && matches!(self.flags() & raw::O_ACCMODE, raw::O_WRONLY | raw::O_RDWR)
    }

    /// The file, if it is open for reading.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn readable(&self) -> Result<&Arc<dyn File>> {
        if self.is_readable() {
            self.file()
        } else {
            Err(Errno::EBADF)
        }
    }

    /// The file, if it is open for writing.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn writable(&self) -> Result<&Arc<dyn File>> {
        if self.is_writable() {
            self.file()
        } else {
            Err(Errno::EBADF)
        }
    }

    /// Its ability as a regular file.
    ///
    /// # Errors
    /// `EBADF` for `O_PATH`, `EINVAL` if it has none.
    pub fn regular(&self) -> Result<&dyn Regular> {
        self.file()?.as_regular().ok_or(Errno::EINVAL)
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        self.location.inode().kind()
    }

    /// What `fstat` tells.
    ///
    /// # Errors
    /// The file system's.
    pub fn metadata(&self) -> Result<Metadata> {
        self.location.metadata()
    }

    /// Its position.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Sets its position.
    pub fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// How a read or write at the current position is done.
    fn here(&self, file: &dyn File) -> Io {
        let position = match file.positioning() {
            Positioning::Description => Position::At(self.position()),
            Positioning::Stream | Positioning::Own => Position::Current,
        };
        Io {
            position,
            flags: self.flags(),
        }
    }

    /// How a read or write at an offset is done.
    fn there(&self, file: &dyn File, offset: u64) -> Result<Io> {
        match file.positioning() {
            Positioning::Stream => Err(Errno::ESPIPE),
            _ => Ok(Io::at(offset, self.flags())),
        }
    }

    /// Reads at the position, which moves on.
    ///
    /// # Errors
    /// The file's, if nothing was read.
    pub fn read(&self, into: &mut Destination<'_>) -> Result<u64> {
        let file = self.readable()?;
        let io = self.here(&**file);
        let count = finish_read(&**file, io, into)?;
        self.advance(io, count);
        inotify::tell_moved_bytes(self, raw::IN_ACCESS, count);
        Ok(count)
    }

    /// Reads at an offset.
    ///
    /// # Errors
    /// `ESPIPE` for streams; the file's, if nothing was read.
    pub fn read_at(&self, offset: u64, into: &mut Destination<'_>) -> Result<u64> {
        let file = self.readable()?;
        let io = self.there(&**file, offset)?;
        let count = finish_read(&**file, io, into)?;
        inotify::tell_moved_bytes(self, raw::IN_ACCESS, count);
        Ok(count)
    }

    /// Writes at the position, which moves on.
    ///
    /// # Errors
    /// The file's, if nothing was written.
    pub fn write(&self, from: &mut Origin<'_>) -> Result<u64> {
        let file = self.writable()?;
        let io = self.here(&**file);
        let count = finish_write(&**file, io, from)?;
        if io.is_append() && io.position != Position::Current {
            if let Some(regular) = file.as_regular() {
                self.set_position(regular.size()?);
            }
        } else {
            self.advance(io, count);
        }
        inotify::tell_moved_bytes(self, raw::IN_MODIFY, count);
        Ok(count)
    }

    /// Writes at an offset; at the end if open with `O_APPEND`, as Linux has it.
    ///
    /// # Errors
    /// `ESPIPE` for streams; the file's, if nothing was written.
    pub fn write_at(&self, offset: u64, from: &mut Origin<'_>) -> Result<u64> {
        let file = self.writable()?;
        let io = self.there(&**file, offset)?;
        let count = finish_write(&**file, io, from)?;
        inotify::tell_moved_bytes(self, raw::IN_MODIFY, count);
        Ok(count)
    }

    fn advance(&self, io: Io, count: u64) {
        if let Position::At(offset) = io.position {
            self.set_position(offset + count);
        }
    }

    /// The absolute path as a process with this root sees it.
    #[must_use]
    pub fn path(&self, root: &Location) -> alloc::vec::Vec<u8> {
        self.location.path(root)
    }

    /// Whether a shared or private mapping of it is fresh zeros: `/dev/zero`.
    #[must_use]
    pub fn is_zero_device(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let any: &dyn core::any::Any = &**file;
        any.is::<super::dev::ZeroFile>()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        super::lock::forget_owner(self);
        inotify::closed(self);
    }
}

fn finish_read(file: &dyn File, io: Io, into: &mut Destination<'_>) -> Result<u64> {
    let before = into.done();
    let result = file.read(io, into);
    finish(result, into.done() - before)
}

fn finish_write(file: &dyn File, io: Io, from: &mut Origin<'_>) -> Result<u64> {
    let before = from.done();
    let result = file.write(io, from);
    finish(result, from.done() - before)
}

fn finish(result: Result<()>, moved: u64) -> Result<u64> {
    match result {
        Err(errno) if moved == 0 => Err(errno),
        _ => Ok(moved),
    }
}
