//! Interfaces: what is attached, its addresses and counters.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address;

/// Names an interface. Its index as Linux counts is one more; the loopback is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u32);

impl InterfaceId {
    /// The loopback.
    pub const LOOPBACK: Self = Self(0);

    /// The index that programs see, and that is the scope of a link-local address.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0.saturating_add(1)
    }

    /// That of an index.
    #[must_use]
    pub const fn from_index(index: u32) -> Option<Self> {
        match index.checked_sub(1) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group, as broadcast does.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// What the device does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// It completes TCP's and UDP's checksums of frames it sends.
    pub tx_checksum: bool,
    /// It cuts large TCP segments over IPv4.
    pub tso_v4: bool,
    /// It cuts large TCP segments over IPv6.
    pub tso_v6: bool,
    /// Bytes in the largest frame that it cuts, headers included; zero: 65,535.
    pub tso_max: u32,
}

/// How an interface is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Bytes in the largest packet, without the Ethernet header.
    pub mtu: u16,
    /// What the device does by itself.
    pub offloads: Offloads,
    /// Take addresses and routes from router advertisements.
    pub accept_advertisements: bool,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// How many of its first bits are its network's.
    pub prefix: u8,
}

impl InterfaceAddress {
    /// With a prefix length, which is cut to what the family has.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.min(most);
        Self { address, prefix }
    }

    /// Whether `other` is in the same network.
    #[must_use]
    pub fn covers(&self, other: IpAddr) -> bool {
        address::same_prefix(self.address, other, self.prefix)
    }

    /// The network's broadcast address.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(address) = self.address else {
            return None;
        };
        let host = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        (self.prefix < 31).then(|| Ipv4Addr::from_bits(address.to_bits() | host))
    }
}

/// What an interface has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames that were malformed or had wrong checksums.
    pub rx_errors: u64,
    /// Frames that nobody wanted, or for which there was no room.
    pub rx_dropped: u64,
    /// Multicast frames received.
    pub multicast: u64,
    /// Frames sent; a large segment is one.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be queued.
    pub tx_dropped: u64,
}

/// An interface as others see it.
#[derive(Clone, Debug)]
pub struct Interface {
    /// How it was attached; the MTU may have changed since.
    pub config: InterfaceConfig,
    /// Whether frames pass.
    pub up: bool,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// What it has seen.
    pub counters: Counters,
    /// Hop limit that a router asked for.
    pub(crate) hop_limit: u8,
    /// Multicast groups and how many sockets joined each.
    pub(crate) groups: Vec<(IpAddr, u32)>,
}

impl Interface {
    pub(crate) fn new(config: InterfaceConfig) -> Self {
        Self {
            config,
            up: true,
            addresses: Vec::new(),
            counters: Counters::default(),
            hop_limit: 64,
            groups: Vec::new(),
        }
    }

    /// Whether this address is the interface's own.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// The link-local IPv6 address that follows from the Ethernet address (RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        address::from_prefix_and_mac(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), self.config.mac)
    }

    /// Whether packets to this group are wanted.
    pub(crate) fn is_member(&self, group: IpAddr) -> bool {
        address::is_always_joined(group)
            || self.groups.iter().any(|(joined, _)| *joined == group)
            || self
                .addresses
                .iter()
                .any(|own| address::solicited_node(own.address) == Some(group))
    }

    /// Whether the address is one of its broadcast addresses.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self
                .addresses
                .iter()
                .any(|own| own.broadcast() == Some(address))
    }
}
