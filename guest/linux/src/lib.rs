//! The Linux system calls, a file a family.
//!
//! [`table`] names every call that is served, with its arguments' types; from it come
//! the dispatch, the trace and the coverage table. A family's function has the call's
//! name and arguments, gets what it needs of the process from
//! [`guest_kernel::process::current`], and returns what the call returns.
//!
//! [`dispatch::Linux`] is what the layer below calls; around the families stand the
//! signal frames, the patching of call sites and the trace.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod argument;
pub mod copy;
pub mod descriptor;
pub mod directory;
pub mod dispatch;
pub mod epoll;
pub mod event;
mod execute;
pub mod file;
pub mod futex;
pub mod inotify;
pub mod ioctl;
pub mod lock;
pub mod membarrier;
pub mod memory;
pub mod mount;
pub mod names;
mod patch;
pub mod path;
pub mod pidfd;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod rseq;
pub mod scheduling;
pub mod select;
mod signal_frame;
pub mod signals;
pub mod socket;
pub mod start;
pub mod stat;
pub mod table;
pub mod threads;
pub mod time;
mod trace;
pub mod xattr;

pub use guest_kernel::{Errno, Result};

/// What a system call gives back.
pub type Return = Result<u64>;
