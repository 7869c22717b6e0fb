//! How much memory all sockets use together, and buffers that grow with what is in them.

use alloc::vec::Vec;

use crate::error::{Error, Result};

/// The account, and spare buffers of the smallest size.
#[derive(Debug)]
pub(crate) struct Memory {
    used: usize,
    limit: usize,
    spare: Vec<Vec<u8>>,
}

/// What a buffer starts with.
const SMALLEST: usize = 4_096;
const MOST_SPARE: usize = 64;

impl Memory {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            used: 0,
            limit,
            spare: Vec::new(),
        }
    }

    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Takes so many bytes from what may be used.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<()> {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            return Err(Error::NoBuffers);
        }
        self.used = used;
        Ok(())
    }

    /// Gives them back.
    pub(crate) fn credit(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    fn allocate(&mut self, capacity: usize) -> Result<Vec<u8>> {
        self.charge(capacity)?;
        if capacity == SMALLEST
            && let Some(buffer) = self.spare.pop()
        {
            return Ok(buffer);
        }
        let mut buffer = Vec::new();
        if buffer.try_reserve_exact(capacity).is_err() {
            self.credit(capacity);
            return Err(Error::NoBuffers);
        }
        buffer.resize(capacity, 0);
        Ok(buffer)
    }

    fn free(&mut self, buffer: Vec<u8>) {
        self.credit(buffer.len());
        if buffer.len() == SMALLEST && self.spare.len() < MOST_SPARE {
            self.spare.push(buffer);
        }
    }
}

/// A queue of bytes. Its capacity is zero or a power of two; bytes can be put beyond its end before
/// those between are there.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Ring {
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    const fn mask(&self, at: usize) -> usize {
        at & self.bytes.len().wrapping_sub(1)
    }

    /// Makes room for `total` bytes in all.
    pub(crate) fn reserve(&mut self, total: usize, memory: &mut Memory) -> Result<()> {
        if total <= self.bytes.len() {
            return Ok(());
        }
        let capacity = total
            .checked_next_power_of_two()
            .ok_or(Error::NoBuffers)?
            .max(SMALLEST);
        let mut bytes = memory.allocate(capacity)?;
        // Bytes beyond the end move, too.
        let old = self.bytes.len();
        let (low, high) = bytes.split_at_mut(old.min(capacity) - self.start.min(old));
        low.copy_from_slice(self.bytes.get(self.start..).unwrap_or(&[]));
        let head = self.bytes.get(..self.start).unwrap_or(&[]);
        if let Some(place) = high.get_mut(..head.len()) {
            place.copy_from_slice(head);
        }
        memory.free(core::mem::replace(&mut self.bytes, bytes));
        self.start = 0;
        Ok(())
    }

    /// The bytes from `at` on, `length` of them if they are there.
    pub(crate) fn slices(&self, at: usize, length: usize) -> [&[u8]; 2] {
        let length = length.min(self.length.saturating_sub(at));
        let start = self.mask(self.start.wrapping_add(at));
        let first = length.min(self.bytes.len().saturating_sub(start));
        let one = self.bytes.get(start..start + first).unwrap_or(&[]);
        let other = self.bytes.get(..length - first).unwrap_or(&[]);
        [one, other]
    }

    /// Room that was reserved behind the end: what of it is contiguous, at most `length`.
    pub(crate) fn room(&mut self, length: usize) -> &mut [u8] {
        let free = self.bytes.len() - self.length;
        let start = self.mask(self.start.wrapping_add(self.length));
        let length = length.min(free).min(self.bytes.len().saturating_sub(start));
        self.bytes.get_mut(start..start + length).unwrap_or(&mut [])
    }

    /// Makes `length` bytes behind the end part of it.
    pub(crate) fn extend(&mut self, length: usize) {
        self.length = self.length.saturating_add(length).min(self.bytes.len());
    }

    /// Writes `offset` bytes behind the end, into room that was reserved.
    pub(crate) fn put_behind(&mut self, offset: usize, data: &[u8]) {
        let start = self.mask(self.start.wrapping_add(self.length).wrapping_add(offset));
        let first = data.len().min(self.bytes.len().saturating_sub(start));
        let (one, other) = data.split_at(first);
        crate::bytes::put(&mut self.bytes, start, one);
        crate::bytes::put(&mut self.bytes, 0, other);
    }

    /// Forgets bytes at the front.
    pub(crate) fn drop_front(&mut self, length: usize) {
        let length = length.min(self.length);
        self.start = self.mask(self.start.wrapping_add(length));
        self.length -= length;
    }

    /// Gives back the memory.
    pub(crate) fn release(&mut self, memory: &mut Memory) {
        if !self.bytes.is_empty() {
            memory.free(core::mem::take(&mut self.bytes));
        }
        self.start = 0;
        self.length = 0;
    }

    /// Gives back the memory, or most of it, when there is little in it.
    pub(crate) fn shrink(&mut self, memory: &mut Memory) {
        if self.length == 0 {
            self.release(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn a_ring_is_a_queue(steps: Vec<(u16, u16)>) {
            let mut memory = Memory::new(1 << 24);
            let mut ring = Ring::default();
            let mut model = VecDeque::new();
            let mut next = 0_u8;
            for (push, drop) in steps {
                let push = usize::from(push) % 9_000;
                ring.reserve(ring.len() + push, &mut memory).unwrap();
                let data: Vec<u8> = (0..push).map(|_| { next = next.wrapping_mul(5).wrapping_add(1); next }).collect();
                let (one, other) = data.split_at(push / 2);
                ring.put_behind(push / 2, other);
                ring.reserve(ring.len() + 2 * push, &mut memory).unwrap();
                ring.put_behind(0, one);
                ring.extend(push);
                model.extend(data);
                let [one, other] = ring.slices(0, usize::MAX);
                let all: Vec<u8> = one.iter().chain(other).copied().collect();
                prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
                let drop = usize::from(drop).min(model.len());
                ring.drop_front(drop);
                model.drain(..drop);
            }
            ring.release(&mut memory);
            prop_assert_eq!(memory.used(), 0);
        }
    }
}
