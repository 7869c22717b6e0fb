//! IPv4 (RFC 791).

use core::net::{IpAddr, Ipv4Addr};

use super::ip::{Fragment, IpHeader, Packet, Sending};
use crate::bytes::{Header, get_u8, get_u16, get_v4, length16, put_u16};
use crate::checksum::checksum;

pub(crate) const HEADER: usize = 20;
const MORE: u16 = 0x2000;
const DONT: u16 = 0x4000;

pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let first = get_u8(bytes, 0)?;
    let header = usize::from(first & 0xf) * 4;
    let total = usize::from(get_u16(bytes, 2)?);
    let options = bytes.get(..header)?;
    if first >> 4 != 4 || header < HEADER || total < header || checksum(options) != 0 {
        return None;
    }
    let whole = bytes.get(..total)?;
    let (source, destination) = (get_v4(bytes, 12)?, get_v4(bytes, 16)?);
    Some(Packet {
        header: IpHeader {
            source: IpAddr::V4(source),
            destination: IpAddr::V4(destination),
            protocol: get_u8(bytes, 9)?,
            hop_limit: get_u8(bytes, 8)?,
            traffic_class: get_u8(bytes, 1)?,
        },
        fragment: fragment(bytes)?,
        payload: whole.get(header..)?,
        whole,
    })
}

#[expect(clippy::option_option, reason = "outside: whether there are bytes")]
fn fragment(bytes: &[u8]) -> Option<Option<Fragment>> {
    let (id, field) = (get_u16(bytes, 4)?, get_u16(bytes, 6)?);
    let offset = usize::from(field & 0x1fff) * 8;
    let more = field & MORE != 0;
    let id = u32::from(id);
    Some((more || offset > 0).then_some(Fragment { id, offset, more }))
}

pub(crate) fn push(
    into: &mut Header,
    header: &IpHeader,
    (source, destination): (Ipv4Addr, Ipv4Addr),
    payload: usize,
    sending: Sending,
) {
    let start = into.len();
    let options: &[u8] = if sending.router_alert {
        &[0x94, 4, 0, 0]
    } else {
        &[]
    };
    let words = if sending.router_alert { 6 } else { 5 };
    into.push(&[0x40 | words, header.traffic_class]);
    into.push_u16(length16(HEADER + options.len() + payload));
    let id = sending.fragment.map_or(sending.id, |fragment| fragment.id);
    into.push_u16(u16::try_from(id & 0xffff).unwrap_or(0));
    let dont = if sending.dont_fragment { DONT } else { 0 };
    let fragment = sending.fragment.map_or(0, |fragment| {
        let more = if fragment.more { MORE } else { 0 };
        more | length16(fragment.offset / 8)
    });
    into.push_u16(dont | fragment);
    into.push(&[header.hop_limit, header.protocol, 0, 0]);
    into.push(&source.octets());
    into.push(&destination.octets());
    into.push(options);
    let Some(bytes) = into.as_mut_slice().get_mut(start..) else {
        return;
    };
    let sum = checksum(bytes);
    put_u16(bytes, 10, sum);
}
