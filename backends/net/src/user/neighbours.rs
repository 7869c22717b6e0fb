//! Who is where on the link: ARP (RFC 826), and for IPv6 neighbours and the router (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use super::addresses::{DNS_V6, GATEWAY_LINK, GATEWAY_MAC, MTU, NETWORK_V6, Place, place};
use super::common::Common;
use super::frame::{Route, arp_reply};
use super::packet::{ETHERNET, Front, Packet, array};
use crate::network::{Guest, Source};

const SOLICIT_ROUTER: u8 = 133;
const ADVERTISE_ROUTER: u8 = 134;
const SOLICIT_NEIGHBOUR: u8 = 135;
const ADVERTISE_NEIGHBOUR: u8 = 136;
/// Seconds that the router and its prefix are good for.
const LIFETIME: u16 = 9000;

fn is_ours(address: IpAddr) -> bool {
    matches!(place(address), Place::Gateway | Place::Dns)
}

/// Answers "who has", and learns who asks.
pub(super) fn arp(common: &mut Common, guest: &dyn Guest, pair: usize, front: &Front) {
    let at = ETHERNET;
    let expected = [0, 1, 8, 0, 6, 4, 0, 1];
    let (Some(mac), Some(asking), Some(asked)) = (
        front.array::<6>(at + 8),
        front.array::<4>(at + 14),
        front.array::<4>(at + 24),
    ) else {
        common.counters.malformed += 1;
        return;
    };
    if front.array(at) == Some(expected) && is_ours(IpAddr::from(asked)) {
        common.say(guest, pair, arp_reply(mac, asked, asking), &[]);
    }
}

/// Whether a message of ICMPv6 was one of these.
pub(super) fn input(
    common: &mut Common,
    guest: &dyn Guest,
    (pair, mac): (usize, [u8; 6]),
    packet: &Packet,
    frame: &dyn Source,
) -> bool {
    let message = packet.payload(frame, 256);
    match message.first() {
        Some(&SOLICIT_ROUTER) => advertise_router(common, guest, (pair, mac), packet),
        Some(&SOLICIT_NEIGHBOUR) => {
            let asked = array::<16>(&message, 8).map(Ipv6Addr::from);
            if let Some(asked) = asked
                && is_ours(IpAddr::V6(asked))
            {
                advertise(common, guest, (pair, mac), packet, asked);
            }
        }
        Some(130..=137 | 143) => {}
        _ => return false,
    }
    true
}

/// Everyone on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An answer to whoever asked; one without an address yet hears it with all others.
fn back(mac: [u8; 6], source: Ipv6Addr, to: IpAddr) -> Route {
    let destination = if to.is_unspecified() {
        IpAddr::V6(ALL_NODES)
    } else {
        to
    };
    Route {
        mac,
        source: IpAddr::V6(source),
        destination,
    }
}

fn advertise(
    common: &mut Common,
    guest: &dyn Guest,
    (pair, mac): (usize, [u8; 6]),
    packet: &Packet,
    asked: Ipv6Addr,
) {
    // A router, asked for, in place of what was known.
    let mut message = vec![ADVERTISE_NEIGHBOUR, 0, 0, 0, 0xe0, 0, 0, 0];
    message.extend(asked.octets());
    message.extend([2, 1]);
    message.extend(GATEWAY_MAC);
    let head = back(mac, asked, packet.source).icmp(&mut message);
    common.say(guest, pair, head, &message);
}

fn advertise_router(
    common: &mut Common,
    guest: &dyn Guest,
    (pair, mac): (usize, [u8; 6]),
    packet: &Packet,
) {
    let [high, low] = LIFETIME.to_be_bytes();
    // 64 hops, no other configuration.
    let mut message = vec![ADVERTISE_ROUTER, 0, 0, 0, 64, 0, high, low];
    message.extend([0; 8]);
    message.extend([1, 1]);
    message.extend(GATEWAY_MAC);
    message.extend([5, 1, 0, 0]);
    message.extend(u32::from(MTU).to_be_bytes());
    // The prefix is on the link, and for choosing an address.
    message.extend([3, 4, 64, 0xc0]);
    message.extend(u32::from(LIFETIME).to_be_bytes());
    message.extend(u32::from(LIFETIME).to_be_bytes());
    message.extend([0; 4]);
    message.extend(NETWORK_V6.octets());
    // The resolver (RFC 8106).
    message.extend([25, 3, 0, 0]);
    message.extend(u32::from(LIFETIME).to_be_bytes());
    message.extend(DNS_V6.octets());
    let head = back(mac, GATEWAY_LINK, packet.source).icmp(&mut message);
    common.say(guest, pair, head, &message);
}
