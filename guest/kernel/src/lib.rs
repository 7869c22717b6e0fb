//! The kernel's upper half: what a process is, independent of how a program asks.
//!
//! * [`mm`]: the program's address space, and copies from and to it.
//! * [`fs`]: files: the tree of mounts, in-memory files, open files, descriptors.
//! * [`exec`]: starting a program.
//! * [`process`]: the process: its credentials, limits, descriptors, signals.
//! * [`signal`]: which signals are pending, blocked and handled, and how they are delivered.
//! * [`time`]: clocks and timers.
//! * [`wait`]: how to wait for something without burning the processor.
//!
//! It speaks Linux' terms (error numbers, mode bits, signals), since Linux programs are
//! what it serves, but knows no system call: those are `guest/linux`. It has no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod errno;
pub mod exec;
pub mod fs;
pub mod futex;
pub mod mm;
pub mod net;
pub mod process;
pub mod random;
pub mod sched;
pub mod signal;
pub mod thread;
pub mod time;
pub mod uaccess;
pub mod wait;

pub use errno::{Errno, Result};
