//! The host end of a machine's file systems.
//!
//! What: the seam between a virtio file device and whatever answers its FUSE requests
//! ([`service`]), and the main answerer, [`DirectoryService`], which serves one directory of
//! the host to one machine. [`memory`] implements the seam over plain vectors for tests and
//! fuzzing, [`wire`] is what every service needs to read requests and write replies, and
//! [`testing`] is a small client.
//!
//! Neighbours: `guest-abi` defines the protocol (`guest_abi::fuse`), a device in
//! `devices/virtio` implements [`Request`] and [`Reply`] over guest memory, `backends/console`
//! is the other service.
//!
//! What it does not do: no virtqueues, no guest memory, no threads, no cache (the host's page
//! cache is the cache), no DAX window, no extended attributes.

mod appearance;
mod confine;
mod directory;
mod handles;
mod locks;
pub mod memory;
mod nodes;
pub mod service;
pub mod testing;
pub mod wire;

pub use directory::{Access, DirectoryService, Error, Export, Limits, Locks, Owner};
pub use service::{FuseService, HandOver, Reply, Request};
