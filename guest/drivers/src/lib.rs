//! Drivers of virtio devices.
//!
//! [`fuse`]: file systems of the host, and the standard streams as a Husk monitor serves them.
//! [`console`]: the standard streams where nobody serves them. [`net`]: the network. The queues' mechanics are
//! `guest-hal`'s, what the bytes mean is `guest-kernel`'s; a driver joins them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod console;
pub mod fuse;
pub mod net;

use alloc::sync::Arc;

use guest_hal::virtio;
use guest_kernel::Result;
use guest_kernel::fs::fuse::Transport;

/// Opens the device of a shared page; where there is none, the file system that is called
/// `tag`, or the machine's console if there is no name.
///
/// # Errors
/// `ENODEV`, `ENXIO` when there is no such device, or it does not behave.
pub fn open(number: u32, tag: Option<&[u8]>) -> Result<Arc<dyn Transport>> {
    match (virtio::numbered(number), tag) {
        (Some(_), _) => fuse::open(number),
        (None, Some(tag)) => fuse::open_tag(tag),
        (None, None) => console::open(),
    }
}
