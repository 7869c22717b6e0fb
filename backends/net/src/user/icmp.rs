//! ICMP: messages about what cannot be delivered, and the gateway's echo (RFC 792, 4443).

use super::common::Common;
use super::frame::Route;
use super::packet::Packet;
use crate::checksum::Sum;
use crate::network::{Guest, Source};

/// Why a packet is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Network,
    Host,
    Port,
    Prohibited,
}

impl Why {
    const fn code_v4(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Host => 1,
            Self::Port => 3,
            Self::Prohibited => 13,
        }
    }

    const fn code_v6(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Host => 3,
            Self::Port => 4,
            Self::Prohibited => 1,
        }
    }
}

/// What was not delivered.
pub(super) struct Undelivered<'q> {
    /// The way back to who sent it.
    pub(super) back: Route,
    pub(super) protocol: u8,
    /// What the packet's payload began with.
    pub(super) quoted: &'q [u8],
    pub(super) why: Why,
}

/// Tells the guest that something that it sent was not delivered.
pub(super) fn unreachable(
    common: &mut Common,
    guest: &dyn Guest,
    pair: usize,
    what: &Undelivered<'_>,
) {
    let Undelivered {
        back, quoted, why, ..
    } = what;
    let there = Route {
        source: back.destination,
        destination: back.source,
        ..*back
    };
    let header = there.start(what.protocol, quoted.len());
    let first = match back.source {
        std::net::IpAddr::V4(_) => [3, why.code_v4()],
        std::net::IpAddr::V6(_) => [1, why.code_v6()],
    };
    let mut message = [&first[..], &[0; 6]].concat();
    let header = header.bytes().get(super::packet::ETHERNET..);
    message.extend(header.unwrap_or_default());
    message.extend(*quoted);
    let head = back.icmp(&mut message);
    common.say(guest, pair, head, &message);
}

/// The kinds of request and answer of an echo.
pub(super) const fn echo_kinds(is_v4: bool) -> (u8, u8) {
    if is_v4 { (8, 0) } else { (128, 129) }
}

/// The gateway answers for itself.
pub(super) fn answer_echo(
    common: &mut Common,
    guest: &dyn Guest,
    (pair, mac): (usize, [u8; 6]),
    packet: &Packet,
    frame: &dyn Source,
) {
    let mut message = packet.payload(frame, usize::from(u16::MAX));
    let (_, answer) = echo_kinds(packet.source.is_ipv4());
    if let Some(kind) = message.first_mut() {
        *kind = answer;
    }
    let back = Route {
        mac,
        source: packet.destination,
        destination: packet.source,
    };
    let head = back.icmp(&mut message);
    common.say(guest, pair, head, &message);
}

/// Puts another identifier into an answer to an echo over IPv4, and what follows from it.
pub(super) fn set_identifier(message: &mut [u8], identifier: u16) {
    if let Some(field) = message.get_mut(4..6) {
        field.copy_from_slice(&identifier.to_be_bytes());
    }
    if let Some(field) = message.get_mut(2..4) {
        field.fill(0);
    }
    let sum = Sum::default().with(message).finish();
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
