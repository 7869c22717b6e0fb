//! virtio devices as the machine sees them.
//!
//! * [`fs`]: a file system (virtio 1.2, 5.11): FUSE requests on virtqueues, answered by
//!   a [`backend_fs::service::FuseService`].
//!
//! The rings are the `virtio-queue` crate's. Everything a driver writes is checked
//! before use; a driver that breaks the rules gets a device that stops answering, and
//! the monitor goes on.
#![forbid(unsafe_code)]

pub mod fs;
