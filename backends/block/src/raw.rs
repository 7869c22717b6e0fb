//! A disk that is a file or a block device of the host, byte for byte.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::disk::{Disk, DiskError, SECTOR, Sink, Source, check_range, check_writable};
use crate::open::identity;

/// Zeros written at a time where the host cannot make them.
const ZEROS: &[u8] = &[0; 64 << 10];

/// A raw disk.
#[derive(Debug)]
pub(crate) struct RawDisk {
    file: File,
    size: u64,
    read_only: bool,
    identity: String,
}

impl RawDisk {
    pub(crate) fn new(mut file: File, path: &Path, read_only: bool) -> io::Result<Self> {
        // A block device's metadata do not have its size.
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            size: bytes / SECTOR * SECTOR,
            read_only,
            identity: identity(path),
        })
    }

    /// Asks the host to change a range; `false` when it cannot do that.
    fn allocate(&self, mode: FallocateFlags, offset: u64, length: u64) -> Result<bool, DiskError> {
        loop {
            return match fallocate(&self.file, mode | FallocateFlags::KEEP_SIZE, offset, length) {
                Ok(()) => Ok(true),
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NODEV | Errno::NOSYS) => Ok(false),
                Err(error) => Err(DiskError::Io(error.into())),
            };
        }
    }

    fn overwrite(&self, mut offset: u64, length: u64) -> Result<(), DiskError> {
        let end = offset + length;
        while offset < end {
            let count = (end - offset).min(ZEROS.len() as u64);
            let zeros = ZEROS.get(..count as usize).unwrap_or(ZEROS);
            self.file.write_all_at(zeros, offset)?;
            offset += count;
        }
        Ok(())
    }
}

impl Disk for RawDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn read_at(&self, offset: u64, into: &mut dyn Sink) -> Result<(), DiskError> {
        check_range(self.size, offset, into.remaining() as u64)?;
        let mut offset = offset;
        while into.remaining() > 0 {
            match into.fill_from(self.file.as_fd(), offset, into.remaining()) {
                // Someone made the file shorter: what is gone cannot be read.
                Ok(0) => return Err(DiskError::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => offset += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &mut dyn Source) -> Result<(), DiskError> {
        check_writable(self, offset, from.remaining() as u64)?;
        let mut offset = offset;
        while from.remaining() > 0 {
            match from.drain_to(self.file.as_fd(), offset, from.remaining()) {
                Ok(0) => return Err(DiskError::Io(io::ErrorKind::WriteZero.into())),
                Ok(count) => offset += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only {
            return Ok(());
        }
        Ok(self.file.sync_data()?)
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        check_writable(self, offset, length)?;
        if length > 0 {
            self.allocate(FallocateFlags::PUNCH_HOLE, offset, length)?;
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> Result<(), DiskError> {
        check_writable(self, offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let made = (unmap && self.allocate(FallocateFlags::PUNCH_HOLE, offset, length)?)
            || self.allocate(FallocateFlags::ZERO_RANGE, offset, length)?;
        if made {
            Ok(())
        } else {
            self.overwrite(offset, length)
        }
    }
}
