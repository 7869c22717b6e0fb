//! Opening and locking files of the host.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::open::Reason;

/// Opens an image, and locks it: alone for writing, shared for reading.
pub(crate) fn open(path: &Path, writable: bool) -> Result<File, Reason> {
    let opened = open_at_once(path, writable);
    let file = opened.map_err(|error| reason(error, writable))?;
    let kind = file.metadata().map_err(Reason::Host)?.file_type();
    if kind.is_dir() {
        return Err(Reason::Directory);
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Reason::Kind);
    }
    let flags = fcntl_getfl(&file).map_err(|error| Reason::Host(error.into()))?;
    let blocking = flags - OFlags::NONBLOCK;
    fcntl_setfl(&file, blocking).map_err(|error| Reason::Host(error.into()))?;
    let locked = if writable {
        file.try_lock()
    } else {
        file.try_lock_shared()
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Reason::Locked),
        Err(TryLockError::Error(error)) => Err(Reason::Host(error)),
    }
}

/// Opens whatever is there without waiting for another end, which a pipe would do.
///
/// # Errors
/// What open(2) reports.
pub(crate) fn open_at_once(path: &Path, writable: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(writable);
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    options.custom_flags(flags).open(path)
}

/// Why the host refused to open an image.
pub(crate) fn reason(error: io::Error, writable: bool) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound => Reason::Missing,
        io::ErrorKind::IsADirectory => Reason::Directory,
        io::ErrorKind::ReadOnlyFilesystem => Reason::ReadOnlyFileSystem,
        io::ErrorKind::PermissionDenied if writable => Reason::NotWritable,
        io::ErrorKind::PermissionDenied => Reason::NotReadable,
        _ => Reason::Host(error),
    }
}
