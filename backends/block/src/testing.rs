//! A disk in memory that fails where it is told to, and ends of requests in vectors.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskError, SECTOR, Sink, Source, check_range, check_writable};

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    bad: BTreeSet<u64>,
    flushes: usize,
    discarded: Vec<(u64, u64)>,
}

/// A disk in memory.
#[derive(Debug)]
pub struct MemoryDisk {
    content: Mutex<Content>,
    size: u64,
    read_only: bool,
}

impl MemoryDisk {
    /// A disk of this content, whose length is a multiple of [`SECTOR`].
    #[must_use]
    pub fn new(bytes: Vec<u8>, read_only: bool) -> Self {
        let size = bytes.len() as u64 / SECTOR * SECTOR;
        let content = Content {
            bytes,
            bad: BTreeSet::new(),
            flushes: 0,
            discarded: Vec::new(),
        };
        Self {
            content: Mutex::new(content),
            size,
            read_only,
        }
    }

    /// From now on, requests that reach this sector fail there.
    pub fn break_sector(&self, sector: u64) {
        self.content().bad.insert(sector);
    }

    /// A copy of the content.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.content().bytes.clone()
    }

    /// How often the disk was flushed.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.content().flushes
    }

    /// The ranges that were discarded.
    #[must_use]
    pub fn discarded(&self) -> Vec<(u64, u64)> {
        self.content().discarded.clone()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `part` for each sector of a range until one of them is bad.
    fn each_sector(
        &self,
        offset: u64,
        length: u64,
        mut part: impl FnMut(&mut [u8]),
    ) -> Result<(), DiskError> {
        let mut content = self.content();
        let mut at = offset;
        let end = offset + length;
        while at < end {
            if content.bad.contains(&(at / SECTOR)) {
                return Err(DiskError::Io(io::Error::other("bad sector")));
            }
            let next = (at / SECTOR + 1).saturating_mul(SECTOR).min(end);
            let bytes = content.bytes.get_mut(at as usize..next as usize);
            part(bytes.unwrap_or_default());
            at = next;
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn identity(&self) -> &str {
        "a disk in the memory of a test"
    }

    fn read_at(&self, offset: u64, into: &mut dyn Sink) -> Result<(), DiskError> {
        let length = into.remaining() as u64;
        check_range(self.size, offset, length)?;
        self.each_sector(offset, length, |bytes| {
            into.write(bytes);
        })
    }

    fn write_at(&self, offset: u64, from: &mut dyn Source) -> Result<(), DiskError> {
        let length = from.remaining() as u64;
        check_writable(self, offset, length)?;
        self.each_sector(offset, length, |bytes| {
            from.read(bytes);
        })
    }

    fn flush(&self) -> Result<(), DiskError> {
        self.content().flushes += 1;
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        check_writable(self, offset, length)?;
        self.content().discarded.push((offset, length));
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _: bool) -> Result<(), DiskError> {
        check_writable(self, offset, length)?;
        self.each_sector(offset, length, |bytes| bytes.fill(0))
    }
}

/// A [`Sink`] of a number of bytes.
#[derive(Debug)]
pub struct VecSink {
    /// What was written so far.
    pub bytes: Vec<u8>,
    room: usize,
}

impl VecSink {
    /// Takes `length` bytes.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let bytes = Vec::with_capacity(length);
        Self {
            bytes,
            room: length,
        }
    }
}

impl Sink for VecSink {
    fn remaining(&self) -> usize {
        self.room - self.bytes.len()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.remaining());
        self.bytes.extend(bytes.iter().take(count));
        count
    }

    fn fill_from(&mut self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
        let file = std::fs::File::from(file.try_clone_to_owned()?);
        let mut piece = vec![0; length.min(self.remaining())];
        let count = file.read_at(&mut piece, offset)?;
        piece.truncate(count);
        Ok(self.write(&piece))
    }
}

/// A [`Source`] of given bytes.
#[derive(Debug)]
pub struct SliceSource<'b>(pub &'b [u8]);

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.0.len());
        let (first, rest) = self.0.split_at(count);
        into.iter_mut()
            .zip(first)
            .for_each(|(to, from)| *to = *from);
        self.0 = rest;
        count
    }

    fn drain_to(&mut self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
        let file = std::fs::File::from(file.try_clone_to_owned()?);
        let piece = self.0.get(..length).unwrap_or(self.0);
        let count = file.write_at(piece, offset)?;
        self.0 = self.0.get(count..).unwrap_or_default();
        Ok(count)
    }
}
