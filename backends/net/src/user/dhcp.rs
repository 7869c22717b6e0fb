//! A DHCP server with one address to give (RFC 2131, 2132).

use std::net::IpAddr;

use super::addresses::{DNS_V4, GATEWAY_V4, GUEST_V4, MTU, PREFIX_V4};
use super::frame::Route;
use super::packet::array;
use crate::network::Head;

pub(super) const PORT_SERVER: u16 = 67;
const PORT_CLIENT: u16 = 68;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// Where options begin.
const OPTIONS: usize = 240;
/// Seconds that the address is the guest's; nobody else wants it.
const LEASE: u32 = 86_400;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACKNOWLEDGE: u8 = 5;
const REFUSE: u8 = 6;
const INFORM: u8 = 8;

/// An option's content.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [kind, length, rest @ ..] if *kind != 255 => {
                let length = usize::from(*length);
                if *kind == wanted {
                    return rest.get(..length);
                }
                options = rest.get(length..)?;
            }
            _ => return None,
        }
    }
}

/// What to answer: the message's kind.
fn kind_of_answer(options: &[u8], client: [u8; 4]) -> Option<u8> {
    let ours = GUEST_V4.octets();
    match *option(options, 53)?.first()? {
        DISCOVER => Some(OFFER),
        REQUEST => {
            // Another server was chosen.
            if option(options, 54).is_some_and(|server| server != GATEWAY_V4.octets()) {
                return None;
            }
            let wanted = option(options, 50).unwrap_or(&client);
            Some(if wanted == ours { ACKNOWLEDGE } else { REFUSE })
        }
        INFORM => Some(ACKNOWLEDGE),
        _ => None,
    }
}

/// The answer to a client's message, as a frame.
pub(super) fn answer(message: &[u8], mac: [u8; 6], host_name: &str) -> Option<(Head, Vec<u8>)> {
    let options = message.get(OPTIONS..)?;
    let is_request = message.first() == Some(&1) && array(message, 236) == Some(COOKIE);
    let client: [u8; 4] = array(message, 12)?;
    let kind = is_request
        .then(|| kind_of_answer(options, client))
        .flatten()?;
    // An answer; Ethernet; the client's number, seconds and flags come back.
    let mut reply = vec![2, 1, 6, 0];
    reply.extend(array::<8>(message, 4)?);
    reply.extend(client);
    reply.extend(if kind == REFUSE {
        [0; 4]
    } else {
        GUEST_V4.octets()
    });
    reply.extend(GATEWAY_V4.octets());
    reply.extend([0; 4]);
    reply.extend(array::<16>(message, 28)?);
    reply.resize(OPTIONS - 4, 0);
    reply.extend(COOKIE);
    reply.extend([53, 1, kind]);
    push(&mut reply, 54, &GATEWAY_V4.octets());
    if kind != REFUSE {
        push(&mut reply, 51, &LEASE.to_be_bytes());
        let mask = u32::MAX << (32 - PREFIX_V4);
        push(&mut reply, 1, &mask.to_be_bytes());
        push(&mut reply, 3, &GATEWAY_V4.octets());
        push(&mut reply, 6, &DNS_V4.octets());
        push(&mut reply, 26, &MTU.to_be_bytes());
        if !host_name.is_empty() {
            push(&mut reply, 12, host_name.as_bytes());
        }
    }
    reply.push(255);
    // Clients of old expect at least so many bytes (RFC 1542, 2.1).
    reply.resize(reply.len().max(300), 0);
    let route = Route {
        mac,
        source: IpAddr::V4(GATEWAY_V4),
        destination: IpAddr::V4(destination(message, client)),
    };
    let head = route.udp(PORT_SERVER, PORT_CLIENT, reply.len());
    Some((head, reply))
}

/// To whom: a client that has no address yet, or says so, hears what all hear.
fn destination(message: &[u8], client: [u8; 4]) -> std::net::Ipv4Addr {
    let broadcast = message.get(10).is_some_and(|flags| flags & 0x80 != 0);
    if client == GUEST_V4.octets() && !broadcast {
        return GUEST_V4;
    }
    std::net::Ipv4Addr::BROADCAST
}

fn push(reply: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    let length = bytes.len().min(255);
    reply.extend([kind, length as u8]);
    reply.extend(bytes.iter().take(length));
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]
mod tests {
    use super::*;

    fn request(kind: u8, more: &[u8]) -> Vec<u8> {
        let mut message = vec![1, 1, 6, 0, 1, 2, 3, 4];
        message.resize(OPTIONS - 4, 0);
        message.extend(COOKIE);
        message.extend([53, 1, kind]);
        message.extend(more);
        message.push(255);
        message
    }

    fn kind(message: &[u8]) -> Option<u8> {
        let (_, reply) = answer(message, [2; 6], "guest")?;
        assert_eq!(reply[4..8], [1, 2, 3, 4]);
        option(&reply[OPTIONS..], 53).map(|kind| kind[0])
    }

    #[test]
    fn whoever_asks_gets_the_one_address() {
        assert_eq!(kind(&request(DISCOVER, &[])), Some(OFFER));
        assert_eq!(
            kind(&request(REQUEST, &[50, 4, 10, 0, 2, 15])),
            Some(ACKNOWLEDGE)
        );
        assert_eq!(
            kind(&request(REQUEST, &[50, 4, 10, 0, 2, 16])),
            Some(REFUSE)
        );
        assert_eq!(kind(&request(REQUEST, &[54, 4, 10, 0, 2, 9])), None);
        assert_eq!(kind(&request(7, &[])), None);
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        let good = request(DISCOVER, &[]);
        for length in 0..good.len() - 1 {
            // Cut anywhere, it may be answered or not, but nothing is read past its end.
            let _ = answer(&good[..length], [2; 6], "");
        }
        assert_eq!(kind(&[0; 300]), None);
    }
}
