//! The file system device (virtio 1.2, 5.11): FUSE requests on virtqueues, answered by a
//! [`FuseService`](backend_fs::service::FuseService).
//!
//! [`FileSystem`] is the device behind a transport; [`FsDevice`] is the one of machines whose
//! kernel shares pages with the monitor. They differ in who waits and how; a chain is
//! answered the same way.

mod chain;
mod device;
mod page;

pub use device::FileSystem;
pub use page::{FsDevice, FsQueue};

/// Queue of urgent requests.
pub const QUEUE_URGENT: u16 = 0;
/// Queue of ordinary requests.
pub const QUEUE_REQUESTS: u16 = 1;

/// Bytes of the tag, by which a driver knows the device.
const TAG_SIZE: usize = 36;

/// A tag as the configuration has it: filled up with zeros, cut if it is too long.
fn tag_bytes(tag: &str) -> [u8; TAG_SIZE] {
    let mut bytes = [0; TAG_SIZE];
    for (to, from) in bytes.iter_mut().zip(tag.bytes()) {
        *to = from;
    }
    bytes
}
