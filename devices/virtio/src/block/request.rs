//! One request: what it asks for, where its data are, and its status (virtio 1.2, 5.2.6).

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use backend_block::{Disk, DiskError, SECTOR, Sink, Source};
use machine_memory::{GuestMemory, Pieces};

use super::{DISCARD_MAX, RANGES_MAX, ZEROES_MAX};
use crate::queue::{Chain, Range};

const KIND_READ: u32 = 0;
const KIND_WRITE: u32 = 1;
const KIND_FLUSH: u32 = 4;
const KIND_IDENTITY: u32 = 8;
const KIND_DISCARD: u32 = 11;
const KIND_WRITE_ZEROES: u32 = 13;

const STATUS_OK: u8 = 0;
const STATUS_IO_ERROR: u8 = 1;
const STATUS_UNSUPPORTED: u8 = 2;

/// Bytes of a request's header, of a range to discard, and of an identity.
const HEADER: usize = 16;
const RANGE: usize = 16;
const IDENTITY: usize = 20;
/// Flag of a range: the space may be given back.
const UNMAP: u32 = 1;

/// What serves requests; each thread has one.
pub(super) struct Server {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) memory: GuestMemory,
    pub(super) writes_through: bool,
}

impl Server {
    /// Serves one request; returns how many bytes were written, `None` for a chain that
    /// has no header, no place for a status, or lies outside of memory.
    pub(super) fn serve(&self, chain: &Chain) -> Option<u32> {
        let (target, status_at) = split_status(&chain.writable)?;
        let mut source = chain.reader(&self.memory)?;
        let mut target = self.memory.pieces(target.into_iter()).ok()?;
        let mut header = [0; HEADER];
        if source.read(&mut header) < HEADER {
            return None;
        }
        let room = target.remaining();
        let done = self.answer(header, &mut source, &mut target);
        let status = match done {
            Ok(()) => STATUS_OK,
            Err(DiskError::Unsupported) => STATUS_UNSUPPORTED,
            Err(_) => STATUS_IO_ERROR,
        };
        self.memory.write(status_at, &[status]).ok()?;
        let written = room - target.remaining();
        u32::try_from(written + 1).ok()
    }

    fn answer(
        &self,
        header: [u8; HEADER],
        source: &mut Pieces<'_>,
        target: &mut Pieces<'_>,
    ) -> Result<(), DiskError> {
        let fields = u128::from_le_bytes(header);
        let (kind, sector) = (fields as u32, (fields >> 64) as u64);
        match kind {
            KIND_READ => {
                let offset = self.offset(sector, target.remaining())?;
                self.disk.read_at(offset, &mut Memory(target))
            }
            KIND_WRITE => {
                let offset = self.offset(sector, source.remaining())?;
                self.disk.write_at(offset, &mut Memory(source))?;
                if self.writes_through {
                    self.disk.flush()
                } else {
                    Ok(())
                }
            }
            KIND_FLUSH => self.disk.flush(),
            KIND_IDENTITY => {
                let mut name = [0; IDENTITY];
                let bytes = self.disk.identity().bytes();
                name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
                target.write(&name);
                Ok(())
            }
            KIND_DISCARD | KIND_WRITE_ZEROES => self.ranges(kind == KIND_DISCARD, source),
            _ => Err(DiskError::Unsupported),
        }
    }

    /// Where data of a whole number of sectors start on the disk. Whether they end on it is
    /// for the disk to see.
    fn offset(&self, sector: u64, length: usize) -> Result<u64, DiskError> {
        let whole = (length as u64).is_multiple_of(SECTOR);
        let offset = sector.checked_mul(SECTOR).filter(|_| whole);
        offset.ok_or(DiskError::Range)
    }

    /// Discards ranges or writes zeroes to them.
    fn ranges(&self, discard: bool, source: &mut Pieces<'_>) -> Result<(), DiskError> {
        let count = source.remaining() / RANGE;
        if !source.remaining().is_multiple_of(RANGE) || count > RANGES_MAX as usize {
            return Err(DiskError::Range);
        }
        for _ in 0..count {
            let mut bytes = [0; RANGE];
            source.read(&mut bytes);
            self.range(discard, u128::from_le_bytes(bytes))?;
        }
        if self.writes_through && !discard {
            self.disk.flush()
        } else {
            Ok(())
        }
    }

    fn range(&self, discard: bool, fields: u128) -> Result<(), DiskError> {
        let (sector, count) = (fields as u64, (fields >> 64) as u32);
        let flags = (fields >> 96) as u32;
        let (flags_known, most) = if discard {
            (0, DISCARD_MAX)
        } else {
            (UNMAP, ZEROES_MAX)
        };
        if flags & !flags_known != 0 {
            return Err(DiskError::Unsupported);
        }
        if count > most {
            return Err(DiskError::Range);
        }
        let offset = self.offset(sector, 0)?;
        let length = u64::from(count) * SECTOR;
        if discard {
            return self.disk.discard(offset, length);
        }
        self.disk.write_zeroes(offset, length, flags & UNMAP != 0)
    }
}

/// The ranges for data, and the address of the status: the last byte of all.
fn split_status(writable: &[Range]) -> Option<(Vec<Range>, u64)> {
    let mut ranges = writable.to_vec();
    while ranges.last().is_some_and(|&(_, length)| length == 0) {
        ranges.pop();
    }
    let (address, length) = ranges.last_mut()?;
    *length -= 1;
    let status = address.checked_add(u64::from(*length))?;
    Some((ranges, status))
}

/// Guest memory as a disk sees it.
struct Memory<'p, 'm>(&'p mut Pieces<'m>);

impl Sink for Memory<'_, '_> {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.0.write(bytes)
    }

    fn fill_from(&mut self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
        self.0.fill_from(file, Some(offset), length)
    }
}

impl Source for Memory<'_, '_> {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        self.0.read(into)
    }

    fn drain_to(&mut self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
        self.0.drain_to(file, Some(offset), length)
    }
}
