//! Lists of ranges of guest memory, as virtqueues have them, and moving bytes between
//! them and files without a copy in between.
#![expect(
    unsafe_code,
    reason = "preadv and pwritev take addresses of guest memory"
)]

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use smallvec::SmallVec;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice};

use crate::{GuestMemory, MemoryError};

/// A read of a file from this length on goes through [`BUFFER`] and into the memory's
/// file instead of through the mapping: pages that do not exist yet are made by a write
/// for a fifth of what a fault costs.
const BUFFERED_MIN: usize = 32 << 10;
/// Bytes moved at a time then; they stay in the processor's cache.
const BUFFER_SIZE: usize = 128 << 10;
/// Where the buffer begins: an allocation of this size begins 16 bytes into a page, and
/// there the host's copy of a file's page takes three times as long (AMD's `rep movsb`).
const BUFFER_ALIGN: usize = 4096;

thread_local! {
    /// Of `BUFFER_SIZE` and what aligning it may leave out; empty before its first use.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Most ranges moved by one call of the host.
pub(crate) const RANGES_MAX: usize = 64;

/// As many ranges need no memory of their own: most requests have no more.
const FEW: usize = 4;

/// Ranges as the host's calls take them.
pub(crate) type Vectors = SmallVec<[libc::iovec; FEW]>;

/// Ranges of guest memory, used up from the front.
#[derive(Clone, Debug)]
pub struct Pieces<'m> {
    memory: &'m GuestMemory,
    slices: SmallVec<[VolatileSlice<'m, ()>; FEW]>,
    /// Guest-physical address of what is left of each slice.
    addresses: SmallVec<[u64; FEW]>,
    first: usize,
    remaining: usize,
}

impl GuestMemory {
    /// The given ranges: guest-physical address and length.
    ///
    /// # Errors
    /// When one of them is not in the machine's memory.
    pub fn pieces(
        &self,
        ranges: impl Iterator<Item = (u64, u32)>,
    ) -> Result<Pieces<'_>, MemoryError> {
        let mut pieces = Pieces {
            memory: self,
            slices: SmallVec::new(),
            addresses: SmallVec::new(),
            first: 0,
            remaining: 0,
        };
        for (address, length) in ranges {
            let length = length as usize;
            let slice = self.mapping.get_slice(GuestAddress(address), length);
            pieces
                .slices
                .push(slice.map_err(|_| MemoryError::Range(address))?);
            pieces.addresses.push(address);
            pieces.remaining = pieces.remaining.saturating_add(length);
        }
        Ok(pieces)
    }
}

impl Pieces<'_> {
    /// Bytes left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.remaining
    }

    /// Uses up the next `count` bytes, or all.
    pub fn skip(&mut self, count: usize) {
        self.advance(count.min(self.remaining));
    }

    /// The lengths of what is left of each range.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.slices.iter().skip(self.first).map(VolatileSlice::len)
    }

    /// Copies the next bytes out; returns how many there were.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some((slice, rest)) = self.front(into.len() - done) {
            let target = &mut into[done..done + rest];
            done += slice.read(target, 0).unwrap_or(0);
            self.advance(rest);
        }
        done
    }

    /// Copies the next bytes out as [`Pieces::read`] does, without using them up.
    #[must_use]
    pub fn peek(&self, into: &mut [u8]) -> usize {
        let mut done = 0;
        for slice in self.slices.iter().skip(self.first) {
            let target = &mut into[done..];
            done += slice.read(target, 0).unwrap_or(0);
        }
        done
    }

    /// Copies the next bytes in; returns how many fitted.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while let Some((slice, rest)) = self.front(bytes.len() - done) {
            done += slice.write(&bytes[done..done + rest], 0).unwrap_or(0);
            self.advance(rest);
        }
        done
    }

    /// The next slice and how much of it to use for `wanted` bytes; `None` at the end.
    fn front(&mut self, wanted: usize) -> Option<(VolatileSlice<'_, ()>, usize)> {
        while self
            .slices
            .get(self.first)
            .is_some_and(|slice| slice.is_empty())
        {
            self.first += 1;
        }
        let slice = *self.slices.get(self.first)?;
        let rest = slice.len().min(wanted);
        (rest > 0).then_some((slice, rest))
    }

    /// Notes that so many bytes from the front on may have been written.
    fn note(&self, count: usize) {
        let mut left = count;
        let pieces = self.slices.iter().zip(&self.addresses).skip(self.first);
        for (slice, address) in pieces {
            let part = slice.len().min(left);
            self.memory.note_write(*address, part);
            left -= part;
        }
    }

    /// Uses up `count` bytes.
    fn advance(&mut self, mut count: usize) {
        self.remaining -= count;
        self.note(count);
        while let Some(slice) = self.slices.get_mut(self.first) {
            if count < slice.len() {
                *slice = slice.offset(count).expect("less than its length");
                self.addresses[self.first] += count as u64;
                return;
            }
            count -= slice.len();
            self.first += 1;
        }
    }

    /// Addresses for the host: at most `length` bytes.
    pub(crate) fn vectors(&self, length: usize) -> Vectors {
        let mut left = length;
        let mut vectors = Vectors::new();
        for slice in self.slices.iter().skip(self.first).take(RANGES_MAX) {
            let count = slice.len().min(left);
            if count > 0 {
                let base = slice.ptr_guard_mut().as_ptr().cast();
                vectors.push(libc::iovec {
                    iov_base: base,
                    iov_len: count,
                });
            }
            left -= count;
        }
        vectors
    }

    /// Moves at most `length` bytes from `file` (at `offset`, or at its position) here.
    ///
    /// # Errors
    /// The host's.
    pub fn fill_from(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        length: usize,
    ) -> io::Result<usize> {
        if let Some(at) = offset
            && length.min(self.remaining) >= BUFFERED_MIN
        {
            return self.fill_buffered(file, at, length);
        }
        let vectors = self.vectors(length);
        let (list, count) = (vectors.as_ptr(), vectors.len() as libc::c_int);
        let moved = match offset {
            // SAFETY: the vectors describe mapped guest memory, which outlives the call.
            Some(at) => unsafe { libc::preadv(file.as_raw_fd(), list, count, at as libc::off_t) },
            // SAFETY: as above.
            None => unsafe { libc::readv(file.as_raw_fd(), list, count) },
        };
        self.moved(moved)
    }

    /// As [`Pieces::fill_from`], through the memory's file.
    fn fill_buffered(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        BUFFER.with_borrow_mut(|buffer| {
            let most = length.min(BUFFER_SIZE);
            if buffer.is_empty() {
                *buffer = vec![0; BUFFER_SIZE + BUFFER_ALIGN];
            }
            let start = buffer.as_ptr().align_offset(BUFFER_ALIGN);
            let buffer = &mut buffer[start..];
            let mut done = 0;
            while let Some((_, part)) = self.front((length - done).min(most)) {
                let got = rustix::io::pread(file, &mut buffer[..part], offset + done as u64);
                let got = match got {
                    Ok(got) => got,
                    Err(error) if done == 0 => return Err(error.into()),
                    Err(_) => break,
                };
                let address = self.addresses[self.first];
                let place = self.memory.file_offset(address);
                let place = place.expect("the ranges of pieces lie in memory");
                self.memory.file.write_all_at(&buffer[..got], place)?;
                self.advance(got);
                done += got;
                if got < part {
                    break;
                }
            }
            Ok(done)
        })
    }

    /// Moves at most `length` bytes from here to `file`.
    ///
    /// # Errors
    /// The host's.
    pub fn drain_to(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        length: usize,
    ) -> io::Result<usize> {
        let vectors = self.vectors(length);
        let (list, count) = (vectors.as_ptr(), vectors.len() as libc::c_int);
        let moved = match offset {
            // SAFETY: the vectors describe mapped guest memory, which outlives the call.
            Some(at) => unsafe { libc::pwritev(file.as_raw_fd(), list, count, at as libc::off_t) },
            // SAFETY: as above.
            None => unsafe { libc::writev(file.as_raw_fd(), list, count) },
        };
        self.moved(moved)
    }

    fn moved(&mut self, result: isize) -> io::Result<usize> {
        let count = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        self.advance(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    use super::*;

    fn memory() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        GuestMemory::new(file, 1 << 20).unwrap()
    }

    #[test]
    fn bytes_cross_the_borders_of_pieces() {
        let memory = memory();
        let ranges = [(100, 3), (200, 0), (300, 5)];
        assert_eq!(
            memory
                .pieces(ranges.into_iter())
                .unwrap()
                .write(b"abcdefghij"),
            8
        );
        let mut pieces = memory.pieces(ranges.into_iter()).unwrap();
        let mut bytes = [0; 4];
        assert_eq!(pieces.read(&mut bytes), 4);
        assert_eq!((&bytes, pieces.remaining()), (b"abcd", 4));
        let mut next = [0; 9];
        assert_eq!(pieces.peek(&mut next[..2]), 2);
        assert_eq!((&next[..2], pieces.remaining()), (&b"ef"[..], 4));
        assert_eq!(pieces.peek(&mut next), 4);
        assert_eq!((&next[..4], pieces.remaining()), (&b"efgh"[..], 4));
        let mut rest = [0; 9];
        assert_eq!(pieces.read(&mut rest), 4);
        assert_eq!(&rest[..4], b"efgh");
    }

    #[test]
    fn files_are_moved_in_pieces() {
        let memory = memory();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut pieces = memory.pieces([(0, 3), (10, 3)].into_iter()).unwrap();
        assert_eq!(pieces.fill_from(file.as_fd(), Some(2), 5).unwrap(), 5);
        assert_eq!(pieces.remaining(), 1);
        let mut pieces = memory.pieces([(0, 3), (10, 2)].into_iter()).unwrap();
        assert_eq!(pieces.drain_to(file.as_fd(), Some(0), 100).unwrap(), 5);
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "2345656789");
    }

    #[test]
    fn ranges_outside_are_refused() {
        let memory = memory();
        assert!(memory.pieces([((1 << 20) - 1, 2)].into_iter()).is_err());
        assert!(memory.pieces([(u64::MAX, 2)].into_iter()).is_err());
    }

    #[test]
    fn a_long_read_lands_behind_a_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let memory = GuestMemory::with_hole(file, 1 << 20, 0x8000..0x10_0000).unwrap();
        let mut source = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..2 * BUFFERED_MIN).map(|at| at as u8 ^ 0x55).collect();
        source.write_all(&bytes).unwrap();
        let length = bytes.len();
        let ranges = [(0, 0x1000), (0x10_2000, length as u32)];
        let mut pieces = memory.pieces(ranges.into_iter()).unwrap();
        let moved = pieces.fill_from(source.as_fd(), Some(0), length).unwrap();
        assert_eq!(moved, length);
        let mut found = vec![0; length];
        memory.read(0, &mut found[..0x1000]).unwrap();
        memory.read(0x10_2000, &mut found[0x1000..]).unwrap();
        assert_eq!(found, bytes);
    }

    #[test]
    fn a_piece_never_spans_a_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x1_0000).unwrap();
        let memory = GuestMemory::with_hole(file, 0x1_0000, 0x4000..0xc000).unwrap();
        assert!(memory.pieces([(0x3000, 0x1001)].into_iter()).is_err());
        assert!(memory.pieces([(0x4000, 1)].into_iter()).is_err());
        assert!(memory.pieces([(0xc000, 0xc000)].into_iter()).is_ok());
    }
}
