//! Drivers of virtio devices.
//!
//! [`fuse`]: file systems of the host and the standard streams. The queues' mechanics are
//! `guest-hal`'s, what the bytes mean is `guest-kernel`'s; a driver joins them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod fuse;
