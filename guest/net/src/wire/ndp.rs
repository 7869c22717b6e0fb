//! Neighbour discovery (RFC 4861), and the DNS servers that routers name (RFC 8106).

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::bytes::{array, get_u8, get_u16, get_u32, get_v6};
use crate::interface::Mac;

pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// A prefix that a router advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) address: Ipv6Addr,
    pub(crate) length: u8,
    pub(crate) on_link: bool,
    pub(crate) autonomous: bool,
    /// In seconds; all ones: for ever.
    pub(crate) valid: u32,
}

/// A router advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) hop_limit: u8,
    /// In seconds; zero: no default router.
    pub(crate) lifetime: u16,
    pub(crate) mtu: Option<u32>,
    pub(crate) source: Option<Mac>,
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) dns_servers: Vec<Ipv6Addr>,
}

/// Of neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Solicit {
        target: Ipv6Addr,
        source: Option<Mac>,
    },
    Advertise {
        target: Ipv6Addr,
        mac: Option<Mac>,
        solicited: bool,
        overriding: bool,
    },
    Router(Advertisement),
}

/// `bytes` is a whole ICMPv6 message.
pub(crate) fn parse(kind: u8, bytes: &[u8]) -> Option<Message> {
    match kind {
        NEIGHBOUR_SOLICITATION => Some(Message::Solicit {
            target: unicast(bytes)?,
            source: link_address(bytes.get(24..)?, 1),
        }),
        NEIGHBOUR_ADVERTISEMENT => {
            let flags = get_u8(bytes, 4)?;
            Some(Message::Advertise {
                target: unicast(bytes)?,
                mac: link_address(bytes.get(24..)?, 2),
                solicited: flags & 0x40 != 0,
                overriding: flags & 0x20 != 0,
            })
        }
        ROUTER_ADVERTISEMENT => Some(Message::Router(advertisement(bytes)?)),
        _ => None,
    }
}

fn unicast(bytes: &[u8]) -> Option<Ipv6Addr> {
    get_v6(bytes, 8).filter(|target| !target.is_multicast())
}

fn link_address(bytes: &[u8], kind: u8) -> Option<Mac> {
    let option = options(bytes).find(|(found, _)| *found == kind)?;
    array(option.1, 2).map(Mac)
}

/// The options: kind and all of its bytes. Ends at the first that makes no sense.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        let kind = get_u8(bytes, 0)?;
        let length = usize::from(get_u8(bytes, 1)?) * 8;
        if length == 0 {
            return None;
        }
        let (option, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some((kind, option))
    })
}

fn advertisement(bytes: &[u8]) -> Option<Advertisement> {
    let mut found = Advertisement {
        hop_limit: get_u8(bytes, 4)?,
        lifetime: get_u16(bytes, 6)?,
        ..Advertisement::default()
    };
    for (kind, option) in options(bytes.get(16..)?) {
        match kind {
            1 => found.source = array(option, 2).map(Mac),
            3 => found.prefixes.extend(prefix(option)),
            5 => found.mtu = get_u32(option, 4),
            25 => {
                let servers = option.get(8..).unwrap_or(&[]).as_chunks::<16>().0;
                found
                    .dns_servers
                    .extend(servers.iter().map(|octets| Ipv6Addr::from(*octets)));
            }
            _ => {}
        }
    }
    Some(found)
}

fn prefix(option: &[u8]) -> Option<Prefix> {
    let flags = get_u8(option, 3)?;
    Some(Prefix {
        length: get_u8(option, 2)?,
        on_link: flags & 0x80 != 0,
        autonomous: flags & 0x40 != 0,
        valid: get_u32(option, 4)?,
        address: get_v6(option, 16)?,
    })
}

/// A solicitation or advertisement of a neighbour, without its checksum.
pub(crate) fn neighbour(kind: u8, flags: u8, target: Ipv6Addr, mac: Mac) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = kind;
    bytes[4] = flags;
    crate::bytes::put(&mut bytes, 8, &target.octets());
    bytes[24] = if kind == NEIGHBOUR_SOLICITATION { 1 } else { 2 };
    bytes[25] = 1;
    crate::bytes::put(&mut bytes, 26, &mac.0);
    bytes
}

/// A question for routers, without its checksum.
pub(crate) fn router_solicitation(mac: Mac) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = ROUTER_SOLICITATION;
    bytes[8] = 1;
    bytes[9] = 1;
    crate::bytes::put(&mut bytes, 10, &mac.0);
    bytes
}
