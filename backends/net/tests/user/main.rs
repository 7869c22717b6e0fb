//! The user network under a guest with a TCP/IP stack of its own, against sockets of this host.

mod endings;
mod limits;
mod peer;
mod services;
mod streams;
mod wire;
