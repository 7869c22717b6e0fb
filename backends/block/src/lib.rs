//! The host end of a machine's disks.
//!
//! * [`Disk`]: what a block device calls; it moves bytes between [`Source`] or [`Sink`], which
//!   the device implements over guest memory, and whatever holds the disk's content.
//! * [`open`], [`Options`]: raw files and block devices of the host, and qcow2 images
//!   with backing files. A file that a machine writes is locked: a second machine cannot open
//!   it, and one that others only read cannot be opened for writing.
//! * [`testing`]: a disk in memory that fails when it is told to.
//!
//! Disks are called by several threads at once, and wait: a device has threads for that. What
//! was written is durable after [`Disk::flush`], not before.
//!
//! What is not here: no rings, no guest memory, no cache (the host's page cache is the cache),
//! no encryption.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod disk;
mod file;
mod open;
mod qcow2;
mod raw;
pub mod testing;

pub use disk::{Disk, DiskError, SECTOR, Sink, Source};
pub use open::{Backing, Format, OpenError, Options, Reason, open};
