//! The little network between guest and host, fixed by convention so that a kernel can be
//! configured without asking.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest IP packet. One byte more for lengths that are multiples of eight, and the
/// Ethernet header would not fit into 64 KiB.
pub const MTU: u16 = 65_520;

/// The guest.
pub const GUEST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The gateway, which is the host where that is allowed.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Answers for the host's resolvers.
pub const DNS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// Length of the network's prefix.
pub const PREFIX_V4: u8 = 24;

/// The network's prefix; its length is 64. The letters are "husk".
pub const NETWORK_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x6875, 0x736b, 0, 0, 0, 0, 0);
/// Length of that prefix.
pub const PREFIX_V6: u8 = 64;
/// The guest, if it does not choose an address of its own.
pub const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x6875, 0x736b, 0, 0, 0, 0, 0x15);
/// The gateway.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x6875, 0x736b, 0, 0, 0, 0, 2);
/// Answers for the host's resolvers.
pub const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x6875, 0x736b, 0, 0, 0, 0, 3);
/// The gateway on its link.
pub const GATEWAY_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// The gateway's Ethernet address; the resolver shares it.
pub const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
/// The guest's, if nobody says another.
pub const GUEST_MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 15];

/// What an address of the little network stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Gateway,
    Dns,
    /// Nobody.
    Unused,
    /// Not of this network.
    Elsewhere,
}

pub(super) fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(GATEWAY_V4) | IpAddr::V6(GATEWAY_V6 | GATEWAY_LINK) => Place::Gateway,
        IpAddr::V4(DNS_V4) | IpAddr::V6(DNS_V6) => Place::Dns,
        IpAddr::V4(address) if address.octets().starts_with(&[10, 0, 2]) => Place::Unused,
        IpAddr::V6(address) if address.octets().starts_with(&NETWORK_V6.octets()[..8]) => {
            Place::Unused
        }
        _ => Place::Elsewhere,
    }
}
