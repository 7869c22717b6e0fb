//! Where the bytes of a read go to and those of a write come from: memory of the program,
//! scattered or not, or of the kernel. Both keep count, so that what was moved before an
//! error is known.

use guest_hal::LinearAddress;
use guest_hal::memory::Extent;

use crate::{Errno, Result, uaccess};

/// A piece of the program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts.
    pub address: LinearAddress,
    /// Its length in bytes.
    pub length: u64,
}

const PAGE: u64 = 4096;

/// A place in a list of segments.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    segments: &'a [Segment],
    index: usize,
    within: u64,
    done: u64,
    total: u64,
}

impl<'a> Cursor<'a> {
    fn new(segments: &'a [Segment]) -> Self {
        let total = segments
            .iter()
            .fold(0u64, |sum, piece| sum.saturating_add(piece.length));
        Self {
            segments,
            index: 0,
            within: 0,
            done: 0,
            total,
        }
    }

    /// The next piece, at most `max` bytes.
    fn piece(&mut self, max: u64) -> Option<Segment> {
        let max = max.min(self.total - self.done);
        loop {
            let segment = self.segments.get(self.index)?;
            let left = segment.length - self.within;
            if left > 0 && max > 0 {
                let address = LinearAddress(segment.address.0.wrapping_add(self.within));
                return Some(Segment {
                    address,
                    length: left.min(max),
                });
            }
            if max == 0 {
                return None;
            }
            self.index += 1;
            self.within = 0;
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.within += bytes;
        self.done += bytes;
    }

    /// Goes back to where `done` bytes were moved.
    fn rewind(&mut self, done: u64) {
        let segments = self.segments;
        let total = self.total;
        *self = Self {
            segments,
            index: 0,
            within: 0,
            done: 0,
            total,
        };
        while self.done < done {
            let Some(piece) = self.piece(done - self.done) else {
                break;
            };
            self.advance(piece.length);
        }
    }

    /// Moves `length` bytes piece by piece by `copy(address, done, length)`.
    fn transfer(
        &mut self,
        length: u64,
        copy: &mut dyn FnMut(LinearAddress, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut moved = 0;
        while moved < length {
            let Some(piece) = self.piece(length - moved) else {
                return Ok(());
            };
            if copy(piece.address, moved, piece.length).is_err() {
                let some = copy_pages(piece, &mut |at, done, count| copy(at, moved + done, count));
                self.advance(some);
                return Err(Errno::EFAULT);
            }
            self.advance(piece.length);
            moved += piece.length;
        }
        Ok(())
    }
}

/// Copies page by page until one does not answer; returns how much was copied.
fn copy_pages(piece: Segment, copy: &mut dyn FnMut(LinearAddress, u64, u64) -> Result<()>) -> u64 {
    let mut done = 0;
    while done < piece.length {
        let at = piece.address.0.wrapping_add(done);
        let count = (PAGE - at % PAGE).min(piece.length - done);
        if copy(LinearAddress(at), done, count).is_err() {
            break;
        }
        done += count;
    }
    done
}

/// Part of a slice; empty if it is not inside.
fn part(bytes: &[u8], from: u64, length: u64) -> &[u8] {
    let from = from as usize;
    bytes
        .get(from..from.saturating_add(length as usize))
        .unwrap_or_default()
}

fn part_mut(bytes: &mut [u8], from: u64, length: u64) -> &mut [u8] {
    let from = from as usize;
    bytes
        .get_mut(from..from.saturating_add(length as usize))
        .unwrap_or_default()
}

/// Where a read's bytes go.
#[derive(Debug)]
pub struct Destination<'a> {
    place: IntoPlace<'a>,
}

#[derive(Debug)]
enum IntoPlace<'a> {
    User(Cursor<'a>),
    Kernel(&'a mut [u8], u64),
}

impl<'a> Destination<'a> {
    /// Memory of the program.
    #[must_use]
    pub fn user(segments: &'a [Segment]) -> Self {
        Self {
            place: IntoPlace::User(Cursor::new(segments)),
        }
    }

    /// Memory of the kernel.
    #[must_use]
    pub fn kernel(bytes: &'a mut [u8]) -> Self {
        Self {
            place: IntoPlace::Kernel(bytes, 0),
        }
    }

    /// How many bytes it has got.
    #[must_use]
    pub fn done(&self) -> u64 {
        match &self.place {
            IntoPlace::User(cursor) => cursor.done,
            IntoPlace::Kernel(_, done) => *done,
        }
    }

    /// How many bytes it still takes.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match &self.place {
            IntoPlace::User(cursor) => cursor.total - cursor.done,
            IntoPlace::Kernel(bytes, done) => bytes.len() as u64 - done,
        }
    }

    /// The next piece of the program's memory, at most `max` bytes; for who fills it
    /// otherwise and then says how much by [`Self::filled`].
    pub fn next(&mut self, max: u64) -> Option<Segment> {
        match &mut self.place {
            IntoPlace::User(cursor) => cursor.piece(max),
            IntoPlace::Kernel(..) => None,
        }
    }

    /// So much of the next piece was filled.
    pub fn filled(&mut self, bytes: u64) {
        if let IntoPlace::User(cursor) = &mut self.place {
            cursor.advance(bytes);
        }
    }

    /// Puts bytes, as many as fit.
    ///
    /// # Errors
    /// `EFAULT`; what was put before is counted.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let length = (bytes.len() as u64).min(self.remaining());
        match &mut self.place {
            IntoPlace::User(cursor) => cursor.transfer(length, &mut |address, done, count| {
                uaccess::write(address, part(bytes, done, count))
            }),
            IntoPlace::Kernel(into, at) => {
                part_mut(into, *at, length).copy_from_slice(part(bytes, 0, length));
                *at += length;
                Ok(())
            }
        }
    }

    /// Puts bytes of an extent, as many as fit.
    ///
    /// # Errors
    /// `EFAULT`; what was put before is counted.
    pub fn put_extent(&mut self, extent: &Extent, offset: u64, length: u64) -> Result<()> {
        let length = length.min(self.remaining());
        match &mut self.place {
            IntoPlace::User(cursor) => cursor.transfer(length, &mut |address, done, count| {
                uaccess::write_extent(address, extent, offset + done, count)
            }),
            IntoPlace::Kernel(into, at) => {
                extent.read(offset, part_mut(into, *at, length));
                *at += length;
                Ok(())
            }
        }
    }

    /// Puts zeros, as many as fit.
    ///
    /// # Errors
    /// `EFAULT`; what was put before is counted.
    pub fn put_zeros(&mut self, length: u64) -> Result<()> {
        let zeros = [0u8; 1024];
        let mut left = length.min(self.remaining());
        while left > 0 {
            let count = left.min(zeros.len() as u64);
            self.put(part(&zeros, 0, count))?;
            left -= count;
        }
        Ok(())
    }
}

/// Where a write's bytes come from.
#[derive(Debug)]
pub struct Origin<'a> {
    place: FromPlace<'a>,
}

#[derive(Debug)]
enum FromPlace<'a> {
    User(Cursor<'a>),
    Kernel(&'a [u8], u64),
}

impl<'a> Origin<'a> {
    /// Memory of the program.
    #[must_use]
    pub fn user(segments: &'a [Segment]) -> Self {
        Self {
            place: FromPlace::User(Cursor::new(segments)),
        }
    }

    /// Memory of the kernel.
    #[must_use]
    pub const fn kernel(bytes: &'a [u8]) -> Self {
        Self {
            place: FromPlace::Kernel(bytes, 0),
        }
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn done(&self) -> u64 {
        match &self.place {
            FromPlace::User(cursor) => cursor.done,
            FromPlace::Kernel(_, done) => *done,
        }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match &self.place {
            FromPlace::User(cursor) => cursor.total - cursor.done,
            FromPlace::Kernel(bytes, done) => bytes.len() as u64 - done,
        }
    }

    /// The next piece of the program's memory, at most `max` bytes; for who takes it
    /// otherwise and then passes over it.
    pub fn next(&mut self, max: u64) -> Option<Segment> {
        match &mut self.place {
            FromPlace::User(cursor) => cursor.piece(max),
            FromPlace::Kernel(..) => None,
        }
    }

    /// Leaves out what is beyond the next `most` bytes.
    pub fn shorten(&mut self, most: u64) {
        let end = self.done().saturating_add(most);
        match &mut self.place {
            FromPlace::User(cursor) => cursor.total = cursor.total.min(end),
            FromPlace::Kernel(bytes, _) => *bytes = part(bytes, 0, end.min(bytes.len() as u64)),
        }
    }

    /// Goes back to where `done` bytes were taken.
    pub fn rewind(&mut self, done: u64) {
        match &mut self.place {
            FromPlace::User(cursor) => cursor.rewind(done),
            FromPlace::Kernel(_, at) => *at = done.min(*at),
        }
    }

    /// Passes over bytes without looking at them.
    pub fn skip(&mut self, bytes: u64) {
        let target = self.done().saturating_add(bytes.min(self.remaining()));
        match &mut self.place {
            FromPlace::User(cursor) => cursor.rewind(target),
            FromPlace::Kernel(_, at) => *at = target,
        }
    }

    /// Takes bytes, as many as there are.
    ///
    /// # Errors
    /// `EFAULT`; what was taken before is counted.
    pub fn take(&mut self, into: &mut [u8]) -> Result<()> {
        let length = (into.len() as u64).min(self.remaining());
        match &mut self.place {
            FromPlace::User(cursor) => cursor.transfer(length, &mut |address, done, count| {
                uaccess::read(address, part_mut(into, done, count))
            }),
            FromPlace::Kernel(from, at) => {
                part_mut(into, 0, length).copy_from_slice(part(from, *at, length));
                *at += length;
                Ok(())
            }
        }
    }

    /// Takes bytes into an extent, as many as there are.
    ///
    /// # Errors
    /// `EFAULT`; what was taken before is counted.
    pub fn take_extent(&mut self, extent: &Extent, offset: u64, length: u64) -> Result<()> {
        let length = length.min(self.remaining());
        match &mut self.place {
            FromPlace::User(cursor) => cursor.transfer(length, &mut |address, done, count| {
                uaccess::read_extent(extent, offset + done, address, count)
            }),
            FromPlace::Kernel(from, at) => {
                extent.write(offset, part(from, *at, length));
                *at += length;
                Ok(())
            }
        }
    }
}
