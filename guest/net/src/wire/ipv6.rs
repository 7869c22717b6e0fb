//! IPv6 (RFC 8200). Of extension headers, hop-by-hop and destination options are skipped, a fragment
//! header is understood, a routing header must have nothing left to do.

use core::net::{IpAddr, Ipv6Addr};

use super::ip::{Fragment, IpHeader, Packet, Sending};
use crate::bytes::{Header, get_u8, get_u16, get_u32, get_v6, length16};

pub(crate) const HEADER: usize = 40;
pub(crate) const FRAGMENT_HEADER: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MOST_EXTENSIONS: usize = 8;

pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let first = get_u16(bytes, 0)?;
    if first >> 12 != 6 {
        return None;
    }
    let length = usize::from(get_u16(bytes, 4)?);
    let whole = bytes.get(..HEADER + length)?;
    let (protocol, payload, fragment) = extensions(get_u8(bytes, 6)?, whole.get(HEADER..)?)?;
    Some(Packet {
        header: IpHeader {
            source: IpAddr::V6(get_v6(bytes, 8)?),
            destination: IpAddr::V6(get_v6(bytes, 24)?),
            protocol,
            hop_limit: get_u8(bytes, 7)?,
            traffic_class: u8::try_from((first >> 4) & 0xff).ok()?,
        },
        fragment,
        payload,
        whole,
    })
}

/// Walks the extension headers to the payload, or to a fragment's.
fn extensions(mut next: u8, mut bytes: &[u8]) -> Option<(u8, &[u8], Option<Fragment>)> {
    for _ in 0..MOST_EXTENSIONS {
        match next {
            HOP_BY_HOP | DESTINATION => {}
            ROUTING if get_u8(bytes, 3)? == 0 => {}
            FRAGMENT => return fragment(bytes),
            ROUTING => return None,
            _ => return Some((next, bytes, None)),
        }
        next = get_u8(bytes, 0)?;
        let length = (usize::from(get_u8(bytes, 1)?) + 1) * 8;
        bytes = bytes.get(length..)?;
    }
    None
}

fn fragment(bytes: &[u8]) -> Option<(u8, &[u8], Option<Fragment>)> {
    let next = get_u8(bytes, 0)?;
    let field = get_u16(bytes, 2)?;
    let fragment = Fragment {
        id: get_u32(bytes, 4)?,
        offset: usize::from(field & 0xfff8),
        more: field & 1 != 0,
    };
    let payload = bytes.get(FRAGMENT_HEADER..)?;
    // All of it in one fragment: nothing to wait for (RFC 6946). Further extensions are refused.
    if fragment.offset == 0 && !fragment.more {
        return Some((next, payload, None));
    }
    Some((next, payload, Some(fragment)))
}

pub(crate) fn push(
    into: &mut Header,
    header: &IpHeader,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    payload: usize,
    sending: Sending,
) {
    into.push_u32(0x6000_0000 | u32::from(header.traffic_class) << 20);
    let alert: &[u8] = if sending.router_alert {
        &[header.protocol, 0, 5, 2, 0, 0, 1, 0]
    } else {
        &[]
    };
    let fragment = sending.fragment.map_or(0, |_| FRAGMENT_HEADER);
    into.push_u16(length16(payload + alert.len() + fragment));
    let next = match (sending.router_alert, sending.fragment) {
        (true, _) => HOP_BY_HOP,
        (false, Some(_)) => FRAGMENT,
        (false, None) => header.protocol,
    };
    into.push(&[next, header.hop_limit]);
    into.push(&source.octets());
    into.push(&destination.octets());
    into.push(alert);
    if let Some(fragment) = sending.fragment {
        into.push(&[header.protocol, 0]);
        into.push_u16(length16(fragment.offset & 0xfff8) | u16::from(fragment.more));
        into.push_u32(fragment.id);
    }
}
