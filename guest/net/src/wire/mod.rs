//! Formats on the wire: each parser takes any bytes and gives what makes sense, or nothing.

pub(crate) mod arp;
pub(crate) mod ethernet;
pub(crate) mod icmp;
pub(crate) mod ip;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
pub(crate) mod ndp;
pub(crate) mod tcp;
pub(crate) mod udp;

#[cfg(test)]
mod tests;
