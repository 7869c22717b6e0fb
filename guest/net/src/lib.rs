//! The kernel's TCP/IP stack, as a function of frames, socket calls and time.
//!
//! A [`Stack`] is a plain value. It has no lock, no clock, no thread and no driver: frames go in
//! by [`Stack::receive`] and come out by [`Stack::transmit`], what programs do are calls on it,
//! and every call that can start or stop a timer is told the time. Whoever owns a stack does:
//!
//! ```text
//! a frame came          stack.receive(interface, frame, &RxMeta, now)
//! a program calls       stack.connect / write / read / send_datagram / ... (never wait)
//! a timer is due        (part of poll)
//! after any of these    stack.poll(now);
//!                       while let Some(handle) = stack.next_changed() { wake its waiters }
//!                       for interfaces where stack.wants_transmit(id): stack.transmit(id, ..)
//!                       set the timer to stack.next_deadline()
//! ```
//!
//! * [`Stack`]: interfaces, addresses, routes, sockets.
//! * [`Handle`]: names a socket; stale ones are recognized by their generation.
//! * [`Options`]: what `setsockopt` sets; [`Readiness`]: what `poll` wants to know;
//!   [`Error`]: what the layer above maps to error numbers.
//! * [`OutFrame`] and [`RxMeta`]: a frame with what a device may do of its checksums and
//!   segmentation (virtio 1.2, 5.1.6).
//!
//! Nothing here is linear in the number of sockets but the end of their programs: a segment finds its socket by a keyed hash, a
//! socket with something to send stands in the queue of its interface, one with a timer in an
//! ordered set, one whose readiness changed in a list. Payload is copied once on its way in, from
//! the frame to the socket's buffer, and not at all on its way out. Buffers grow with what is
//! queued, within a limit a socket and one for all.
//!
//! Inside: `wire` has the formats, as functions of bytes that trust nothing; `tcp` a connection,
//! which knows neither addresses nor interfaces; `neighbor`, `route`, `reassembly`, `dhcp` are
//! machines of their own; files called after a verb (`input`, `output`, `transmit`) tie them to
//! the [`Stack`].
//!
//! It knows no Linux, but takes its limits and habits where the standards leave a choice. It does
//! not forward packets, and does not detect duplicate addresses.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod addresses;
mod bytes;
mod checksum;
mod connecting;
mod datagram;
mod datagram_calls;
mod dhcp;
mod discovery;
mod egress;
mod error;
mod frame;
mod handshakes;
mod icmp;
mod ingress;
mod interface;
mod leaving;
mod limit;
mod memory;
mod multicast;
mod neighbour;
mod packet;
mod ports;
mod reassembly;
mod report;
mod route;
mod segments;
mod seq;
mod settle;
mod siphash;
mod slab;
mod socket;
mod sockets;
mod stack;
mod streams;
mod tcp;
mod time;
mod timers;
mod transmit;
mod wire;

pub use dhcp::Lease;
pub use error::{Error, Result};
pub use frame::{Gso, GsoKind, OutFrame, PartialChecksum, RxMeta};
pub use interface::{
    Counters, Interface, InterfaceAddress, InterfaceConfig, InterfaceId, Mac, Offloads,
};
pub use report::Listed;
pub use route::{Route, RouteOrigin};
pub use socket::{
    DatagramInfo, Family, Handle, Kind, Message, Options, Readiness, Shutdown, TcpInfo, TcpState,
    WriteFlags,
};
pub use stack::{Config, Stack};
pub use time::Nanos;
