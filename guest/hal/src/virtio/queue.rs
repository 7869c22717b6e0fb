//! Queues on which a driver sends requests, or receives what a device has to say.
//!
//! The mechanics are the `virtio-drivers` crate's; here is waiting without burning the
//! processor.
#![expect(unsafe_code, reason = "devices are given addresses of memory")]

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::Ordering;

use guest_abi::layout::PAGE_SIZE;
use virtio_drivers::queue::VirtQueue;

use super::DeviceError;
use super::buffer::{BOUNCE, BOUNCE_HALF, Source, Target, new_bounce, runs, runs_mut};
use super::memory::Memory;
use super::wire::Bell;
use crate::memory::Extent;
use crate::{Nanos, platform, time};

/// Descriptors of a queue.
pub(super) const QUEUE_SIZE: usize = 64;
/// Most pieces of a request in one direction.
const PIECES_MAX: usize = 16;
/// Most runs of physical memory of a request in one direction.
const RUNS_MAX: usize = QUEUE_SIZE;

/// How often to look at a device that does not interrupt.
const LOOK_EVERY: Nanos = Nanos(1_000_000);
/// Bytes of a buffer that a device fills.
const RECEIVE_SIZE: u64 = PAGE_SIZE;

/// A queue of one device, not used for anything yet.
pub struct Queue {
    pub(super) queue: VirtQueue<Memory, QUEUE_SIZE>,
    pub(super) bell: Bell,
    /// Whether the device does not interrupt.
    polled: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("bell", &self.bell)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) const fn new(
        queue: VirtQueue<Memory, QUEUE_SIZE>,
        bell: Bell,
        polled: bool,
    ) -> Self {
        Self {
            queue,
            bell,
            polled,
        }
    }

    /// When to look again although nothing happened.
    pub(super) fn look_again(&self) -> Option<Nanos> {
        self.polled
            .then(|| time::monotonic().saturating_add(LOOK_EVERY))
    }
}

/// A queue on which a driver sends requests and waits for the answers.
#[derive(Debug)]
pub struct RequestQueue(Queue);

impl From<Queue> for RequestQueue {
    fn from(queue: Queue) -> Self {
        Self(queue)
    }
}

impl RequestQueue {
    /// Sends a request and waits for the answer; returns how many bytes it has.
    /// `woken` is called whenever something else happened meanwhile.
    ///
    /// # Errors
    /// When the device answers something that was not asked, or there are too many pieces.
    pub fn call(
        &mut self,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        if send.len() > PIECES_MAX || receive.len() > PIECES_MAX {
            return Err(DeviceError);
        }
        let mut inputs: [&[u8]; RUNS_MAX] = [&[]; RUNS_MAX];
        let mut outputs: [&mut [u8]; RUNS_MAX] = core::array::from_fn(|_| Default::default());
        let sent = runs(send.iter().map(Source::bytes), &mut inputs);
        let received = runs_mut(receive.iter_mut().map(Target::bytes), &mut outputs);
        match (sent, received) {
            (Some(sent), Some(received)) if sent + received <= QUEUE_SIZE => {
                self.exchange(&inputs[..sent], &mut outputs[..received], woken)
            }
            _ => self.call_by_copy(send, receive, woken),
        }
    }

    /// As [`RequestQueue::call`], for memory that lies in too many pieces.
    fn call_by_copy(
        &mut self,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        let bounce = BOUNCE.lock().take();
        let bounce = bounce.or_else(new_bounce).ok_or(DeviceError)?;
        let result = self.call_through(&bounce, send, receive, woken);
        *BOUNCE.lock() = Some(bounce);
        result
    }

    fn call_through(
        &mut self,
        bounce: &Extent,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        let mut sent = 0;
        for piece in send {
            let bytes = piece.bytes();
            let end = sent + bytes.len() as u64;
            if end > BOUNCE_HALF {
                return Err(DeviceError);
            }
            bounce.write(sent, bytes);
            sent = end;
        }
        let wanted: usize = receive.iter_mut().map(|piece| piece.bytes().len()).sum();
        if wanted as u64 > BOUNCE_HALF {
            return Err(DeviceError);
        }
        let inputs = [Source::Extent(bounce, 0, sent)];
        let mut outputs = [Target::Extent(bounce, BOUNCE_HALF, wanted as u64)];
        let input: &[&[u8]] = &[inputs[0].bytes()];
        let output: &mut [&mut [u8]] = &mut [outputs[0].bytes()];
        let length = self.exchange(input, output, woken)?;
        let mut done = 0;
        for piece in receive {
            let bytes = piece.bytes();
            let count = bytes.len().min(length.saturating_sub(done));
            if let Some(part) = bytes.get_mut(..count) {
                bounce.read(BOUNCE_HALF + done as u64, part);
            }
            done += count;
        }
        Ok(length)
    }

    fn exchange<'a>(
        &mut self,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&'a mut [u8]],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        let (inputs, outputs) = (as_static(inputs), as_static_mut(outputs));
        let Queue { queue, bell, .. } = &mut self.0;
        // SAFETY: this function does not return before the device has answered, or has
        // proved broken, so the buffers outlive the request.
        let token = unsafe { queue.add(inputs, outputs) }.map_err(|_| DeviceError)?;
        crate::report::counters()
            .requests
            .fetch_add(1, Ordering::Relaxed);
        bell.ring();
        self.await_answer(woken);
        // SAFETY: the same buffers as were added under this token.
        let length = unsafe { self.0.queue.pop_used(token, inputs, outputs) };
        length
            .map(|length| length as usize)
            .map_err(|_| DeviceError)
    }

    fn await_answer(&self, woken: &mut dyn FnMut()) {
        loop {
            let ticket = platform().ticket();
            if self.0.queue.can_pop() {
                return;
            }
            crate::context::wait_for_event(ticket, self.0.look_again());
            if !self.0.queue.can_pop() {
                woken();
            }
        }
    }
}

/// A queue on which a device says something from time to time.
pub struct ReceiveQueue {
    queue: Queue,
    /// Never given back: the device may write to it at any time.
    buffer: &'static Extent,
    /// What the buffer was posted under, while it is the device's.
    posted: Option<u16>,
    /// What of the buffer has come and was not taken.
    ready: Range<usize>,
}

impl fmt::Debug for ReceiveQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveQueue")
            .field("queue", &self.queue)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl ReceiveQueue {
    /// Gives the device a buffer to fill.
    ///
    /// # Errors
    /// When there is no memory, or the device does not behave.
    pub fn new(queue: Queue) -> Result<Self, DeviceError> {
        let buffer = Extent::allocate(RECEIVE_SIZE, PAGE_SIZE, None).ok_or(DeviceError)?;
        let mut receiver = Self {
            queue,
            buffer: Box::leak(Box::new(buffer)),
            posted: None,
            ready: 0..0,
        };
        receiver.post()?;
        Ok(receiver)
    }

    /// Takes what has come, as far as there is room; how much that is.
    ///
    /// # Errors
    /// When the device does not behave.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<usize, DeviceError> {
        if !self.has_input()? {
            return Ok(0);
        }
        let count = self.ready.len().min(into.len());
        if let Some(part) = into.get_mut(..count) {
            self.buffer.read(self.ready.start as u64, part);
        }
        self.ready.start += count;
        if self.ready.is_empty() {
            self.post()?;
        }
        Ok(count)
    }

    /// Whether something has come.
    ///
    /// # Errors
    /// When the device does not behave.
    pub fn has_input(&mut self) -> Result<bool, DeviceError> {
        self.collect()?;
        Ok(!self.ready.is_empty())
    }

    /// When to look again although nothing happened; `None` for a device that interrupts.
    #[must_use]
    pub fn look_again(&self) -> Option<Nanos> {
        self.queue.look_again()
    }

    fn post(&mut self) -> Result<(), DeviceError> {
        let buffer = self.buffer.raw(0, RECEIVE_SIZE);
        // SAFETY: the extent is this queue's alone, and nobody looks at it while it is posted.
        let mut outputs = [unsafe { &mut *buffer }];
        // SAFETY: the buffer is there for ever.
        let token = unsafe { self.queue.queue.add(&[], &mut outputs) };
        self.posted = Some(token.map_err(|_| DeviceError)?);
        self.queue.bell.ring();
        Ok(())
    }

    fn collect(&mut self) -> Result<(), DeviceError> {
        let Some(token) = self.posted.filter(|_| self.queue.queue.can_pop()) else {
            return Ok(());
        };
        self.posted = None;
        let buffer = self.buffer.raw(0, RECEIVE_SIZE);
        // SAFETY: as in `post`.
        let mut outputs = [unsafe { &mut *buffer }];
        // SAFETY: the same buffer as was added under this token.
        let length = unsafe { self.queue.queue.pop_used(token, &[], &mut outputs) };
        let length = length.map_err(|_| DeviceError)?;
        self.ready = 0..length.min(RECEIVE_SIZE as u32) as usize;
        if length == 0 {
            return self.post();
        }
        Ok(())
    }
}

/// The queue's functions ask for one lifetime for list and buffers.
fn as_static<'a>(list: &'a [&'a [u8]]) -> &'a [&'a [u8]] {
    list
}

fn as_static_mut<'a>(list: &'a mut [&'a mut [u8]]) -> &'a mut [&'a mut [u8]] {
    list
}
