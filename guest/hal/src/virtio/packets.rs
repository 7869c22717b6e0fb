//! Queues for packets: many buffers under way, nobody waits.
//!
//! Each direction has buffers of its own, so that a frame is copied once between them and where it
//! comes from or goes to. A buffer's descriptors are written when it is made; then it only comes
//! and goes.
//!
//! A device that merges (virtio 1.2, 5.1.6.4) puts a long packet into as many buffers as it takes.
//! They are one page each here and lie side by side, and the device uses them in the order in which
//! it got them: so a packet mostly lies in one piece all the same.
#![expect(unsafe_code, reason = "devices are given addresses of memory")]

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use guest_abi::layout::{PAGE_SIZE, page_up};

use super::DeviceError;
use super::ring::{Ring, SIZE_MAX};
use super::wire::Bell;
use crate::memory::Extent;
use crate::platform::lower;
use crate::{Nanos, time};

/// Most buffers of a merged packet: for the longest there is, and one more.
const MERGED_MAX: usize = 18;
/// How often to look at a device that does not interrupt.
const LOOK_EVERY: Nanos = Nanos(1_000_000);

/// A queue of one device for packets, not used for anything yet.
#[derive(Debug)]
pub struct PacketQueue {
    ring: Ring,
    bell: Bell,
    /// Whether the device does not interrupt.
    polled: bool,
}

impl PacketQueue {
    pub(super) const fn new(ring: Ring, bell: Bell, polled: bool) -> Self {
        Self { ring, bell, polled }
    }

    /// Tells the device of what was offered, if it wants to know.
    fn ring(&mut self) {
        if self.ring.is_awaited() {
            self.bell.ring();
        }
    }
}

/// The buffers of one queue, side by side, and which of them the device has.
struct Buffers {
    queue: PacketQueue,
    memory: Extent,
    /// Bytes of a buffer that are used, and from one to the next.
    size: usize,
    stride: u64,
    /// Whether the device writes to them.
    fills: bool,
    /// Each one's first descriptor; those of one follow each other.
    heads: Vec<u16>,
    with_device: Vec<bool>,
    /// The buffer that each descriptor heads, and how long the descriptor's memory is.
    of_head: Vec<Option<u16>>,
    lengths: Vec<u32>,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("count", &self.heads.len())
            .field("size", &self.size)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Buffers {
    /// Room for `most` buffers of `size` bytes; none is made yet.
    fn new(queue: PacketQueue, most: usize, size: usize, fills: bool) -> Result<Self, DeviceError> {
        let stride = page_up(size as u64);
        let whole = stride.checked_mul(most as u64).ok_or(DeviceError)?;
        let memory = Extent::allocate(whole, PAGE_SIZE, None).ok_or(DeviceError)?;
        Ok(Self {
            queue,
            memory,
            size,
            stride,
            fills,
            heads: Vec::new(),
            with_device: Vec::new(),
            of_head: vec![None; SIZE_MAX as usize],
            lengths: Vec::new(),
        })
    }

    /// One more buffer; `None` when there is no room for it, or not for its descriptors.
    fn make(&mut self) -> Option<u16> {
        let buffer = self.heads.len() as u16;
        let (mut offset, head) = (u64::from(buffer) * self.stride, self.lengths.len() as u16);
        let end = offset + self.size as u64;
        if end > self.memory.len() {
            return None;
        }
        let mut pieces = Vec::new();
        while offset < end {
            let rest = end - offset;
            let linear = self.memory.raw(offset, rest).cast::<u8>().addr() as u64;
            let (address, found) = lower().device_range(linear, rest);
            let length = found.clamp(1, rest);
            pieces.push((address, length as u32));
            offset += length;
        }
        if usize::from(head) + pieces.len() > usize::from(self.queue.ring.size()) {
            return None;
        }
        for (index, piece) in (head..).zip(&pieces) {
            let is_last = usize::from(index - head) + 1 == pieces.len();
            let next = (!is_last).then_some(index + 1);
            self.queue.ring.describe(index, *piece, self.fills, next);
            self.lengths.push(piece.1);
        }
        self.heads.push(head);
        self.with_device.push(false);
        *self.of_head.get_mut(usize::from(head))? = Some(buffer);
        Some(buffer)
    }

    /// `length` bytes from the start of a buffer on that the device does not have, nor any that
    /// they reach into.
    fn bytes(&mut self, buffer: u16, length: usize) -> Option<&mut [u8]> {
        let offset = u64::from(buffer) * self.stride;
        let length = length as u64;
        if offset + length > self.memory.len() {
            return None;
        }
        // SAFETY: the extent is this queue's alone, and the caller says that the device does not
        // have the range; the borrow keeps it from being given away.
        Some(unsafe { &mut *self.memory.raw(offset, length) })
    }

    /// Lets the device have a buffer.
    fn give(&mut self, buffer: u16) {
        let index = usize::from(buffer);
        if let (Some(head), Some(with_device)) =
            (self.heads.get(index), self.with_device.get_mut(index))
        {
            *with_device = true;
            self.queue.ring.offer(*head);
        }
    }

    /// Says that only `length` bytes of a buffer are to be read.
    fn limit(&self, buffer: u16, length: usize) {
        let Some(head) = self.heads.get(usize::from(buffer)) else {
            return;
        };
        let mut left = length as u32;
        for (index, whole) in (*head..).zip(self.lengths.iter().skip(usize::from(*head))) {
            let part = left.min(*whole);
            left -= part;
            self.queue.ring.limit(index, part, left > 0);
            if left == 0 {
                break;
            }
        }
    }

    /// Takes a buffer back that the device is done with, and how many bytes it says it filled.
    ///
    /// # Errors
    /// When the device gives back what it does not have, or more than there is.
    fn take_back(&mut self) -> Result<Option<(u16, usize)>, DeviceError> {
        let Some((head, length)) = self.queue.ring.take() else {
            return Ok(None);
        };
        let buffer = self.of_head.get(usize::from(head)).copied().flatten();
        let buffer = buffer.ok_or(DeviceError)?;
        let with_device = self.with_device.get_mut(usize::from(buffer));
        let length = length as usize;
        match with_device {
            Some(with_device) if *with_device && (!self.fills || length <= self.size) => {
                *with_device = false;
                Ok(Some((buffer, length)))
            }
            _ => Err(DeviceError),
        }
    }
}

/// A queue on which a device delivers packets.
#[derive(Debug)]
pub struct PacketReceiver {
    buffers: Buffers,
    /// Where the first buffer of a packet says how many there are.
    merges_at: Option<usize>,
    /// What lay in several places, put together.
    whole: Vec<u8>,
}

impl PacketReceiver {
    /// Gives the device `count` buffers of `size` bytes, or as many as the queue has room for; each
    /// takes one packet.
    ///
    /// # Errors
    /// Without memory for one.
    pub fn new(queue: PacketQueue, count: usize, size: usize) -> Result<Self, DeviceError> {
        Self::with(queue, count, size, None)
    }

    /// As [`PacketReceiver::new`] with buffers of one page, of which a packet takes as many as the
    /// 16 bits, little-endian, at offset `merges_at` of its first say.
    ///
    /// # Errors
    /// Without memory for one.
    pub fn merging(
        queue: PacketQueue,
        count: usize,
        merges_at: usize,
    ) -> Result<Self, DeviceError> {
        Self::with(queue, count, PAGE_SIZE as usize, Some(merges_at))
    }

    fn with(
        queue: PacketQueue,
        count: usize,
        size: usize,
        merges_at: Option<usize>,
    ) -> Result<Self, DeviceError> {
        let mut buffers = Buffers::new(queue, count, size, true)?;
        while let Some(buffer) = buffers.make() {
            buffers.give(buffer);
        }
        if buffers.heads.is_empty() {
            return Err(DeviceError);
        }
        Ok(Self {
            buffers,
            merges_at,
            whole: Vec::new(),
        })
    }

    /// Tells the device, once it works, that it has buffers.
    pub fn start(&mut self) {
        let _ = self.buffers.queue.ring.listen(0);
        self.buffers.queue.ring();
    }

    /// Gives what has come to `take`, packet by packet, and the buffers back to the device.
    ///
    /// # Errors
    /// When the device does not behave; what it says is not listened to any more then.
    pub fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<(), DeviceError> {
        let mut came = false;
        loop {
            while let Some((buffer, length)) = self.buffers.take_back()? {
                came = true;
                self.packet(buffer, length, take)?;
            }
            // An interrupt is asked for from here on, unless more came just before.
            if !came || !self.buffers.queue.ring.listen(0) {
                break;
            }
        }
        if came {
            self.buffers.queue.ring();
        }
        Ok(())
    }

    /// Hands over the packet that begins in `first`, and gives its buffers back.
    fn packet(
        &mut self,
        first: u16,
        length: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DeviceError> {
        let count = match self.merges_at {
            None => 1,
            Some(at) => {
                let bytes = self.buffers.bytes(first, length).ok_or(DeviceError)?;
                let count = bytes.get(at..).and_then(<[u8]>::first_chunk);
                // What is too short to say is too short for anything.
                count.map_or(1, |count| usize::from(u16::from_le_bytes(*count)))
            }
        };
        if count == 1 {
            take(self.buffers.bytes(first, length).ok_or(DeviceError)?);
            self.buffers.give(first);
            return Ok(());
        }
        let mut pieces = [(first, length); MERGED_MAX];
        let pieces = pieces.get_mut(..count).ok_or(DeviceError)?;
        for piece in pieces.iter_mut().skip(1) {
            *piece = self.buffers.take_back()?.ok_or(DeviceError)?;
        }
        take(self.join(pieces)?);
        for (buffer, _) in pieces {
            self.buffers.give(*buffer);
        }
        Ok(())
    }

    /// The bytes of several buffers, where they lie or put together.
    fn join(&mut self, pieces: &[(u16, usize)]) -> Result<&[u8], DeviceError> {
        let (first, _) = *pieces.first().ok_or(DeviceError)?;
        let follow = pieces.windows(2).all(|pair| match *pair {
            [(one, length), (next, _)] => next == one + 1 && length == self.buffers.size,
            _ => false,
        });
        if follow {
            let length = pieces.iter().map(|(_, length)| length).sum();
            return self
                .buffers
                .bytes(first, length)
                .map(|bytes| &*bytes)
                .ok_or(DeviceError);
        }
        self.whole.clear();
        for (buffer, length) in pieces {
            let bytes = self.buffers.bytes(*buffer, *length).ok_or(DeviceError)?;
            self.whole.extend_from_slice(bytes);
        }
        Ok(&self.whole)
    }

    /// When to look again although nothing happened; `None` for a device that interrupts.
    #[must_use]
    pub fn look_again(&self) -> Option<Nanos> {
        let polled = self.buffers.queue.polled;
        polled.then(|| time::monotonic().saturating_add(LOOK_EVERY))
    }
}

/// A queue on which a driver sends packets.
#[derive(Debug)]
pub struct PacketSender {
    buffers: Buffers,
    /// Buffers that the device does not have; the one used last is used next.
    free: Vec<u16>,
    /// Whether the device is to interrupt when some come back.
    listens: bool,
}

impl PacketSender {
    /// At most `count` packets of up to `size` bytes are under way.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(queue: PacketQueue, count: usize, size: usize) -> Result<Self, DeviceError> {
        let buffers = Buffers::new(queue, count, size, false)?;
        // Buffers are taken back when they are needed.
        buffers.queue.ring.quiet();
        Ok(Self {
            buffers,
            free: Vec::new(),
            listens: false,
        })
    }

    /// Sends a packet that `fill` writes, saying how long it is. False: there is no room; then the
    /// device interrupts when there is.
    ///
    /// # Errors
    /// When the device does not behave.
    pub fn send(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> Result<bool, DeviceError> {
        let Some(buffer) = self.free_buffer()? else {
            return Ok(false);
        };
        let size = self.buffers.size;
        let length = self.buffers.bytes(buffer, size).map_or(0, fill).min(size);
        self.buffers.limit(buffer, length);
        self.buffers.give(buffer);
        Ok(true)
    }

    /// Tells the device of what was sent.
    pub fn flush(&mut self) {
        self.buffers.queue.ring();
    }

    /// Whether the device is done with all that was sent; if not, it interrupts when it is. One that
    /// does not behave has nothing more to do.
    pub fn is_drained(&mut self) -> bool {
        let under_way = |own: &mut Self| match own.take_back() {
            Ok(()) => own.buffers.heads.len() - own.free.len(),
            Err(DeviceError) => 0,
        };
        let count = under_way(self);
        if count == 0 {
            return true;
        }
        self.listens = true;
        self.buffers.queue.ring.listen(count as u16 - 1) && under_way(self) == 0
    }

    fn free_buffer(&mut self) -> Result<Option<u16>, DeviceError> {
        self.take_back()?;
        let mut found = self.free.pop().or_else(|| self.buffers.make());
        if found.is_none() {
            // Half of them at once, so that there is something to do then.
            let half = self.buffers.heads.len() as u16 / 2;
            self.listens = true;
            if self.buffers.queue.ring.listen(half) {
                self.take_back()?;
                found = self.free.pop();
            }
        }
        if found.is_some() && core::mem::take(&mut self.listens) {
            self.buffers.queue.ring.quiet();
        }
        Ok(found)
    }

    fn take_back(&mut self) -> Result<(), DeviceError> {
        while let Some((buffer, _)) = self.buffers.take_back()? {
            self.free.push(buffer);
        }
        Ok(())
    }
}
