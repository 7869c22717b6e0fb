//! `signalfd`: signals as something to read.

use alloc::sync::Arc;

use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as raw;

use super::buffer::Destination;
use super::file::{Events, File, Io};
use crate::process::current;
use crate::signal::{self, SignalInfo, UNBLOCKABLE};
use crate::wait::{self, WaitQueue};
use crate::{Errno, Result, thread};

/// Bytes of `struct signalfd_siginfo`.
const SIZE: usize = 128;

/// A file of the signals in a mask, of whichever thread reads it.
#[derive(Debug)]
pub struct SignalFile(AtomicU64);

impl SignalFile {
    /// Of a mask.
    #[must_use]
    pub fn new(mask: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(mask & !UNBLOCKABLE)))
    }

    /// Changes the mask.
    pub fn set_mask(&self, mask: u64) {
        self.0.store(mask & !UNBLOCKABLE, Ordering::Relaxed);
        current().signal_queue.notify();
    }

    fn mask(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// `struct signalfd_siginfo` (`linux/signalfd.h`).
fn record(info: &SignalInfo) -> [u8; SIZE] {
    let word = |at: usize| -> u32 {
        let bytes = info.payload.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().map_or(0, u32::from_le_bytes)
    };
    let value = (u64::from(word(12)) << 32 | u64::from(word(8))).to_le_bytes();
    let mut record = [0; SIZE];
    let head = [info.number, 0, info.code as u32, word(0), word(4)].map(u32::to_le_bytes);
    // The value that came with it, as number and as pointer.
    let [a, b, c, d, ..] = value;
    let parts = [
        (0, head.as_flattened()),
        (44, &[a, b, c, d][..]),
        (48, &value[..]),
    ];
    for (at, bytes) in parts {
        let place = record.iter_mut().skip(at);
        place.zip(bytes).for_each(|(to, from)| *to = *from);
    }
    record
}

impl File for SignalFile {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        if into.remaining() < SIZE as u64 {
            return Err(Errno::EINVAL);
        }
        let mut take = || signal::take_from(self.mask());
        let mut next = take();
        if next.is_none() {
            if io.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            next = wait::until(&[&current().signal_queue], None, &mut take)?;
        }
        while let Some(info) = next {
            into.put(&record(&info))?;
            next = if into.remaining() >= SIZE as u64 {
                take()
            } else {
                None
            };
        }
        Ok(())
    }

    fn poll(&self) -> Events {
        let own = thread::current().signals.lock().pending.mask();
        let pending = own | current().signals.lock().pending.mask();
        if pending & self.mask() != 0 {
            raw::POLLIN | raw::POLLRDNORM
        } else {
            0
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&current().signal_queue)
    }
}
