//! The host ends of network devices.
//!
//! * [`Network`]: what a device calls; frames are [`Source`]s in guest memory, and go to a
//!   [`Guest`], both of which the device implements, so that bytes move between guest
//!   memory and the host's sockets without a copy in between.
//! * [`User`]: needs no privilege; the guest's connections are sockets of this process.
//!   [`Policy`], [`Publish`]: whom the guest may reach, and where it can be reached.
//! * [`Tap`]: an interface of the host. [`Nothing`]: nobody.
//!
//! What is not here: no rings, no guest memory. The guest's frames are hostile: whatever they
//! say, they are counted and the host's sockets see bytes, ports and addresses only.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod checksum;
pub mod header;
mod network;
mod none;
mod policy;
mod publish;
pub mod resolvers;
mod tap;
pub mod user;
mod watch;

pub use network::{
    Abilities, Body, Delivery, FRAME_MAX, Guest, HEAD_MAX, Head, Network, Offload, PartialChecksum,
    Segments, Source,
};
pub use none::Nothing;
pub use policy::{Allowed, Cidr, Policy};
pub use publish::{Listener, Publish, PublishError, listen_on};
pub use tap::{Tap, TapError};
pub use user::User;
