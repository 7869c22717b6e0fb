//! What both versions of IP have.

use core::net::IpAddr;

use crate::bytes::Header;

pub(crate) const ICMP: u8 = 1;
pub(crate) const IGMP: u8 = 2;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// A packet, but for its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpHeader {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) traffic_class: u8,
}

/// Where in a larger packet a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) id: u32,
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

/// A packet in its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) header: IpHeader,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) payload: &'a [u8],
    /// Header and payload, without what Ethernet padded.
    pub(crate) whole: &'a [u8],
}

/// How a packet is to be sent, beyond what its header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) id: u32,
    pub(crate) dont_fragment: bool,
    pub(crate) fragment: Option<Fragment>,
    /// A router alert, which reports of group membership carry.
    pub(crate) router_alert: bool,
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => super::ipv4::parse(bytes),
        6 => super::ipv6::parse(bytes),
        _ => None,
    }
}

impl IpHeader {
    /// Bytes of the header without options.
    pub(crate) const fn len(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => super::ipv4::HEADER,
            IpAddr::V6(_) => super::ipv6::HEADER,
        }
    }

    pub(crate) fn push_to(&self, header: &mut Header, payload: usize, sending: Sending) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                super::ipv4::push(header, self, (source, destination), payload, sending);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                super::ipv6::push(header, self, (source, destination), payload, sending);
            }
            _ => {}
        }
    }
}
