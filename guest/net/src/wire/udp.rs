//! UDP (RFC 768).

use core::net::IpAddr;

use super::ip::{IpHeader, UDP};
use crate::bytes::{Header, get_u16, length16};
use crate::checksum::Sum;

pub(crate) const HEADER: usize = 8;

/// A datagram in its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn parse<'a>(ip: &IpHeader, bytes: &'a [u8], valid: bool) -> Option<Datagram<'a>> {
    let length = usize::from(get_u16(bytes, 4)?);
    let bytes = bytes.get(..length)?;
    let sum = get_u16(bytes, 6)?;
    let has_sum = sum != 0 || matches!(ip.source, IpAddr::V6(_));
    if has_sum && !valid {
        let mut sum = Sum::pseudo(ip.source, ip.destination, UDP, length);
        sum.add(bytes);
        if sum.finish() != 0 {
            return None;
        }
    }
    Some(Datagram {
        source: get_u16(bytes, 0)?,
        destination: get_u16(bytes, 2)?,
        payload: bytes.get(HEADER..)?,
    })
}

/// The header, without a checksum.
pub(crate) fn push(into: &mut Header, source: u16, destination: u16, payload: usize) {
    into.push_u16(source);
    into.push_u16(destination);
    into.push_u16(length16(HEADER + payload));
    into.push_u16(0);
}
