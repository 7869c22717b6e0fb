//! Queues for packets: many buffers under way, nobody waits.
//!
//! Each direction has buffers of its own, so that a frame is copied once between them and where it
//! comes from or goes to.
#![expect(unsafe_code, reason = "devices are given addresses of memory")]

use alloc::vec::Vec;
use core::fmt;

use guest_abi::layout::{PAGE_SIZE, page_up};

use super::DeviceError;
use super::buffer::runs_mut;
use super::queue::{QUEUE_SIZE, Queue};
use crate::Nanos;
use crate::memory::Extent;

/// Most pieces of a buffer where memory does not lie in one.
const RUNS_MAX: usize = 24;

/// Buffers of one queue, and which of them the device has.
struct Buffers {
    queue: Queue,
    extents: Vec<Extent>,
    /// The buffer of each descriptor that heads one.
    of_token: [u16; QUEUE_SIZE],
    size: usize,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("count", &self.extents.len())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Buffers {
    const fn new(queue: Queue, size: usize) -> Self {
        Self {
            queue,
            extents: Vec::new(),
            of_token: [0; QUEUE_SIZE],
            size,
        }
    }

    /// One more buffer.
    fn make(&mut self) -> Option<u16> {
        let extent = Extent::allocate(page_up(self.size as u64), PAGE_SIZE, None)?;
        self.extents.push(extent);
        Some((self.extents.len() - 1) as u16)
    }

    /// The first `length` bytes of a buffer that the device does not have.
    fn bytes(&mut self, buffer: u16, length: usize) -> Option<&mut [u8]> {
        let extent = self.extents.get(usize::from(buffer))?;
        let length = length.min(self.size);
        // SAFETY: the extent is this queue's alone, and the caller says that the device does not
        // have it; the borrow keeps it from being given away.
        Some(unsafe { &mut *extent.raw(0, length as u64) })
    }

    /// Gives the device a buffer: to fill, or `length` bytes of it to read. False: no room.
    fn give(&mut self, buffer: u16, length: usize, fills: bool) -> bool {
        let Some(extent) = self.extents.get(usize::from(buffer)) else {
            return false;
        };
        let raw = extent.raw(0, length as u64);
        // SAFETY: the extent is this queue's alone, and nobody looks at it while it is given.
        let whole = unsafe { &mut *raw };
        let mut pieces: [&mut [u8]; RUNS_MAX] = core::array::from_fn(|_| Default::default());
        let Some(count) = runs_mut(core::iter::once(whole), &mut pieces) else {
            return false;
        };
        let Some(pieces) = pieces.get_mut(..count) else {
            return false;
        };
        let token = if fills {
            // SAFETY: the extent lives as long as the queue, and is not touched until it comes back.
            unsafe { self.queue.queue.add(&[], pieces) }
        } else {
            let mut inputs: [&[u8]; RUNS_MAX] = [&[]; RUNS_MAX];
            for (input, piece) in inputs.iter_mut().zip(pieces) {
                *input = piece;
            }
            // SAFETY: as above.
            unsafe {
                self.queue
                    .queue
                    .add(inputs.get(..count).unwrap_or_default(), &mut [])
            }
        };
        let Ok(token) = token else {
            return false;
        };
        if let Some(slot) = self.of_token.get_mut(usize::from(token)) {
            *slot = buffer;
        }
        true
    }

    /// Tells the device of buffers, if it wants to know.
    fn ring(&self) {
        if self.queue.queue.should_notify() {
            self.queue.bell.ring();
        }
    }

    /// Takes a buffer back that the device is done with, and how many bytes it says it filled.
    ///
    /// # Errors
    /// When the device gives back what it was not given.
    fn take_back(
        &mut self,
        length: usize,
        fills: bool,
    ) -> Result<Option<(u16, usize)>, DeviceError> {
        let Some(token) = self.queue.queue.peek_used() else {
            return Ok(None);
        };
        let buffer = self.of_token.get(usize::from(token)).copied();
        let buffer = buffer.ok_or(DeviceError)?;
        let extent = self.extents.get(usize::from(buffer)).ok_or(DeviceError)?;
        let raw = extent.raw(0, length as u64);
        // SAFETY: as in `give`.
        let whole = unsafe { &mut *raw };
        let mut pieces: [&mut [u8]; RUNS_MAX] = core::array::from_fn(|_| Default::default());
        let count = runs_mut(core::iter::once(whole), &mut pieces).ok_or(DeviceError)?;
        let pieces = pieces.get_mut(..count).ok_or(DeviceError)?;
        let filled = if fills {
            // SAFETY: the same pieces as were given under this token.
            unsafe { self.queue.queue.pop_used(token, &[], pieces) }
        } else {
            let mut inputs: [&[u8]; RUNS_MAX] = [&[]; RUNS_MAX];
            for (input, piece) in inputs.iter_mut().zip(pieces) {
                *input = piece;
            }
            let inputs = inputs.get(..count).unwrap_or_default();
            // SAFETY: as above.
            unsafe { self.queue.queue.pop_used(token, inputs, &mut []) }
        };
        let filled = filled.map_err(|_| DeviceError)? as usize;
        Ok(Some((buffer, filled.min(length))))
    }
}

/// A queue on which a device delivers packets.
#[derive(Debug)]
pub struct PacketReceiver(Buffers);

impl PacketReceiver {
    /// Gives the device `count` buffers of `size` bytes, or as many as the queue has room for.
    ///
    /// # Errors
    /// Without memory for one.
    pub fn new(queue: Queue, count: usize, size: usize) -> Result<Self, DeviceError> {
        let mut buffers = Buffers::new(queue, size);
        for _ in 0..count {
            let buffer = buffers.make().ok_or(DeviceError)?;
            if !buffers.give(buffer, size, true) {
                buffers.extents.pop();
                break;
            }
        }
        if buffers.extents.is_empty() {
            return Err(DeviceError);
        }
        buffers.queue.bell.ring();
        Ok(Self(buffers))
    }

    /// Gives what has come to `take`, packet by packet, and the buffers back to the device.
    ///
    /// # Errors
    /// When the device does not behave; what it says is not listened to any more then.
    pub fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<(), DeviceError> {
        let mut came = false;
        let size = self.0.size;
        while let Some((buffer, length)) = self.0.take_back(size, true)? {
            came = true;
            if let Some(bytes) = self.0.bytes(buffer, length) {
                take(bytes);
            }
            if !self.0.give(buffer, size, true) {
                return Err(DeviceError);
            }
        }
        if came {
            self.0.ring();
        }
        Ok(())
    }

    /// When to look again although nothing happened; `None` for a device that interrupts.
    #[must_use]
    pub fn look_again(&self) -> Option<Nanos> {
        self.0.queue.look_again()
    }
}

/// A queue on which a driver sends packets.
#[derive(Debug)]
pub struct PacketSender {
    buffers: Buffers,
    /// Buffers that the device does not have; the one used last is used next.
    free: Vec<u16>,
    /// How many bytes were given of each buffer.
    lengths: Vec<usize>,
    most: usize,
    rings: bool,
}

impl PacketSender {
    /// At most `count` packets of up to `size` bytes are under way.
    #[must_use]
    pub fn new(queue: Queue, count: usize, size: usize) -> Self {
        let mut buffers = Buffers::new(queue, size);
        // Buffers are taken back when they are needed.
        buffers.queue.queue.set_dev_notify(false);
        Self {
            buffers,
            free: Vec::new(),
            lengths: Vec::new(),
            most: count,
            rings: false,
        }
    }

    /// Sends a packet that `fill` writes, saying how long it is. False: there is no room; then the
    /// device interrupts when there is.
    ///
    /// # Errors
    /// When the device does not behave.
    pub fn send(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> Result<bool, DeviceError> {
        let Some(buffer) = self.free_buffer()? else {
            self.buffers.queue.queue.set_dev_notify(true);
            // It may have come back just before it was to tell.
            self.take_back()?;
            if self.free.is_empty() {
                return Ok(false);
            }
            self.buffers.queue.queue.set_dev_notify(false);
            return self.send(fill);
        };
        let size = self.buffers.size;
        let length = self.buffers.bytes(buffer, size).map_or(0, fill).min(size);
        if let Some(slot) = self.lengths.get_mut(usize::from(buffer)) {
            *slot = length;
        }
        if !self.buffers.give(buffer, length, false) {
            self.free.push(buffer);
            return Ok(false);
        }
        self.rings = true;
        Ok(true)
    }

    /// Tells the device of what was sent.
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.rings) {
            self.buffers.ring();
        }
    }

    fn free_buffer(&mut self) -> Result<Option<u16>, DeviceError> {
        self.take_back()?;
        if let Some(buffer) = self.free.pop() {
            return Ok(Some(buffer));
        }
        if self.buffers.extents.len() >= self.most {
            return Ok(None);
        }
        self.lengths.push(0);
        Ok(self.buffers.make())
    }

    fn take_back(&mut self) -> Result<(), DeviceError> {
        loop {
            let Some(token) = self.buffers.queue.queue.peek_used() else {
                return Ok(());
            };
            let buffer = self.buffers.of_token.get(usize::from(token));
            let length = buffer.and_then(|buffer| self.lengths.get(usize::from(*buffer)));
            let length = *length.ok_or(DeviceError)?;
            if let Some((buffer, _)) = self.buffers.take_back(length, false)? {
                self.free.push(buffer);
            }
        }
    }
}
