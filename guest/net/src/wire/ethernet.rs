//! Ethernet frames (RFC 894).

use crate::bytes::{array, get_u16};
use crate::interface::Mac;

pub(crate) const HEADER: usize = 14;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;

/// A frame in its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) destination: Mac,
    pub(crate) kind: u16,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    Some(Frame {
        destination: Mac(array(bytes, 0)?),
        kind: get_u16(bytes, 12)?,
        payload: bytes.get(HEADER..)?,
    })
}

pub(crate) fn header(destination: Mac, source: Mac, kind: u16) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let fields = destination.0.iter().chain(&source.0);
    let bytes = fields.copied().chain(kind.to_be_bytes());
    for (to, from) in header.iter_mut().zip(bytes) {
        *to = from;
    }
    header
}
