//! Arithmetic of addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::interface::Mac;

/// The address as 128 bits, IPv4 ones mapped: as keys of tables want it.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether both are of one family and agree in the first bits.
pub(crate) fn same_prefix(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let prefix = match (one, other) {
        (IpAddr::V4(_), IpAddr::V4(_)) => u32::from(prefix) + 96,
        (IpAddr::V6(_), IpAddr::V6(_)) => u32::from(prefix),
        _ => return false,
    };
    let rest = 128_u32.saturating_sub(prefix);
    let differing = bits(one) ^ bits(other);
    differing.checked_shr(rest).unwrap_or(0) == 0
}

/// An IPv4 address that was mapped into IPv6 as itself.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// An IPv4 address as a socket of IPv6 shows it.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), v4.port())
        }
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

/// An address of the prefix's network that follows from the Ethernet address.
pub(crate) fn from_prefix_and_mac(prefix: Ipv6Addr, mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let low = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits((prefix.to_bits() >> 64 << 64) | u128::from(low))
}

/// The group in which a neighbour is asked for this address (RFC 4291, 2.7.1).
pub(crate) fn solicited_node(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let base = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
    let group = base | (v6.to_bits() & 0xff_ffff);
    Some(IpAddr::V6(Ipv6Addr::from_bits(group)))
}

/// Whether every host is in this group.
pub(crate) fn is_always_joined(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4 == Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1]),
    }
}

/// The Ethernet address of a group (RFC 1112, 6.4; RFC 2464, 7).
pub(crate) fn multicast_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            Mac([1, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            Mac([0x33, 0x33, a, b, c, d])
        }
    }
}

/// Whether the address only means something on one link.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || matches!(v6.segments(), [0xff02, ..]),
    }
}

/// The address of no host, of the same family.
pub(crate) const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
