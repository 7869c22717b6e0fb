//! The machine's standard streams.
//!
//! What: [`ConsoleService`] serves standard input, output, error and the kernel's log as the
//! FUSE nodes `STDIN`, `STDOUT`, `STDERR` and `LOG` of `guest_abi::fuse`. Every operation is
//! carried out on the host's own descriptor, so that a program in the machine sees what it
//! would see outside: partial counts, `EPIPE`, `ENOSPC`, a terminal's modes, the shared
//! position of a redirected file. Bytes are never looked at. [`Interrupter`] ends a blocked
//! read or write from another thread.
//!
//! A service serves one request at a time, and a read of a terminal may take for ever; so the
//! device gives each of its queues a service of its own, by [`ConsoleService::try_clone`].
//!
//! Neighbours: `backends/fs` has the seam (`FuseService`) and the framing; a device in
//! `devices/virtio` calls this; the monitor hands the descriptors over and restores the
//! terminal's modes at the end.
//!
//! What it does not do: no buffering, no line discipline, no escape sequences, no window-change
//! signals (those are the monitor's), and never `O_NONBLOCK` on a description that others share.

mod interrupt;
mod service;
mod stream;
mod terminal;
pub mod testing;

pub use interrupt::Interrupter;
pub use service::{ConsoleService, Streams};
