//! ARP of IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::bytes::{Header, array, get_u16, get_v4};
use crate::interface::Mac;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) is_request: bool,
    pub(crate) sender: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Packet> {
    let kind: [u8; 6] = array(bytes, 0)?;
    if kind != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let is_request = match get_u16(bytes, 6)? {
        1 => true,
        2 => false,
        _ => return None,
    };
    Some(Packet {
        is_request,
        sender: (Mac(array(bytes, 8)?), get_v4(bytes, 14)?),
        target: (Mac(array(bytes, 18)?), get_v4(bytes, 24)?),
    })
}

impl Packet {
    pub(crate) fn push_to(&self, header: &mut Header) {
        header.push(&[0, 1, 8, 0, 6, 4]);
        header.push_u16(if self.is_request { 1 } else { 2 });
        for (mac, address) in [self.sender, self.target] {
            header.push(&mac.0);
            header.push(&address.octets());
        }
    }
}
