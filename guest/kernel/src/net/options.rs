//! Options that all sockets have (`SOL_SOCKET`).

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_hal::Nanos;

use crate::{Errno, Result};

/// Bytes of a buffer unless told otherwise (Linux' `net.core.wmem_default`).
pub const BUFFER: u32 = 212_992;
/// The most that a program may ask for (Linux' `net.core.wmem_max`), before it is doubled.
pub const BUFFER_MAX: u32 = 212_992;
/// The least, after it is doubled.
const BUFFER_MIN: u32 = 4608;

/// The options.
#[derive(Debug)]
pub struct Options {
    /// `SO_REUSEADDR`.
    pub reuse_address: AtomicBool,
    /// `SO_REUSEPORT`.
    pub reuse_port: AtomicBool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: AtomicBool,
    /// `SO_BROADCAST`.
    pub broadcast: AtomicBool,
    /// `SO_OOBINLINE`.
    pub inline_urgent: AtomicBool,
    /// `SO_PASSCRED`.
    pub pass_credentials: AtomicBool,
    /// `SO_DONTROUTE`.
    pub dont_route: AtomicBool,
    /// `SO_TIMESTAMP`.
    pub timestamp: AtomicBool,
    /// `SO_PRIORITY`.
    pub priority: AtomicU32,
    /// `SO_MARK`.
    pub mark: AtomicU32,
    /// `SO_RCVLOWAT`.
    pub receive_low: AtomicU32,
    /// `SO_BUSY_POLL`.
    pub busy_poll: AtomicU32,
    /// `SO_LINGER`: seconds plus one; zero: off.
    pub linger: AtomicU32,
    /// `SO_SNDBUF` and `SO_RCVBUF`, as reported; and whether the program set them.
    send_buffer: AtomicU32,
    receive_buffer: AtomicU32,
    buffers_set: AtomicU32,
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO` in nanoseconds; zero: none.
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reuse_address: AtomicBool::new(false),
            reuse_port: AtomicBool::new(false),
            keep_alive: AtomicBool::new(false),
            broadcast: AtomicBool::new(false),
            inline_urgent: AtomicBool::new(false),
            pass_credentials: AtomicBool::new(false),
            dont_route: AtomicBool::new(false),
            timestamp: AtomicBool::new(false),
            priority: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            receive_low: AtomicU32::new(1),
            busy_poll: AtomicU32::new(0),
            linger: AtomicU32::new(0),
            send_buffer: AtomicU32::new(BUFFER),
            receive_buffer: AtomicU32::new(BUFFER),
            buffers_set: AtomicU32::new(0),
            receive_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
        }
    }
}

/// A time-out; `None`: for ever.
fn timeout(nanos: &AtomicU64) -> Option<Nanos> {
    Some(Nanos(nanos.load(Ordering::Relaxed))).filter(|nanos| nanos.0 != 0)
}

impl Options {
    /// `SO_SNDBUF`.
    pub fn send_buffer(&self) -> u32 {
        self.send_buffer.load(Ordering::Relaxed)
    }

    /// `SO_RCVBUF`.
    pub fn receive_buffer(&self) -> u32 {
        self.receive_buffer.load(Ordering::Relaxed)
    }

    /// Whether the program said how large the buffers are: sending, receiving.
    pub fn buffers_set(&self) -> (bool, bool) {
        let set = self.buffers_set.load(Ordering::Relaxed);
        (set & 1 != 0, set & 2 != 0)
    }

    /// Sets `SO_SNDBUF` (or `SO_RCVBUF`): twice what is asked, as on Linux.
    pub fn set_buffer(&self, sending: bool, bytes: u32) {
        let doubled = (bytes.min(BUFFER_MAX) * 2).max(BUFFER_MIN);
        let (slot, bit) = if sending {
            (&self.send_buffer, 1)
        } else {
            (&self.receive_buffer, 2)
        };
        slot.store(doubled, Ordering::Relaxed);
        self.buffers_set.fetch_or(bit, Ordering::Relaxed);
    }

    /// Says what the buffers of a family are when the program says nothing.
    pub fn set_default_buffers(&self, send: u32, receive: u32) {
        self.send_buffer.store(send, Ordering::Relaxed);
        self.receive_buffer.store(receive, Ordering::Relaxed);
    }

    /// `SO_RCVTIMEO`.
    pub fn receive_timeout(&self) -> Option<Nanos> {
        timeout(&self.receive_timeout)
    }

    /// `SO_SNDTIMEO`.
    pub fn send_timeout(&self) -> Option<Nanos> {
        timeout(&self.send_timeout)
    }

    /// Sets `SO_SNDTIMEO` (or `SO_RCVTIMEO`); zero: none.
    pub fn set_timeout(&self, sending: bool, timeout: Nanos) {
        let slot = if sending {
            &self.send_timeout
        } else {
            &self.receive_timeout
        };
        slot.store(timeout.0, Ordering::Relaxed);
    }

    /// `SO_LINGER` in seconds; `None`: off.
    pub fn linger(&self) -> Option<u32> {
        self.linger.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Sets `SO_LINGER`.
    pub fn set_linger(&self, seconds: Option<u32>) {
        let value = seconds.map_or(0, |seconds| seconds.min(i32::MAX as u32) + 1);
        self.linger.store(value, Ordering::Relaxed);
    }
}

/// The first `i32` of an option's value.
///
/// # Errors
/// `EINVAL` when it is shorter.
pub fn number(value: &[u8]) -> Result<i32> {
    let bytes = value.first_chunk().ok_or(Errno::EINVAL)?;
    Ok(i32::from_le_bytes(*bytes))
}
