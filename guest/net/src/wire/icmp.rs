//! ICMP for both versions of IP (RFC 792, RFC 4443).

use core::net::IpAddr;

use super::ip::{ICMP, ICMPV6, IpHeader};
use crate::bytes::{get_u8, get_u16, get_u32};
use crate::checksum::{Sum, checksum};

pub(crate) const HEADER: usize = 8;
pub(crate) const ECHO_REPLY_V4: u8 = 0;
pub(crate) const ECHO_REQUEST_V4: u8 = 8;
pub(crate) const ECHO_REQUEST_V6: u8 = 128;
pub(crate) const ECHO_REPLY_V6: u8 = 129;

/// What went wrong with a packet, as its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Network,
    Host,
    Protocol,
    Port,
    /// Larger than the next link takes, which is this if the router says so.
    TooBig(u32),
    Prohibited,
    TimeExceeded,
    Parameter,
}

/// A message in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Request(&'a [u8]),
    Reply {
        id: u16,
        body: &'a [u8],
    },
    /// With the start of the packet that is spoken of.
    Error(Problem, &'a [u8]),
    /// What else there is: group queries, neighbour discovery.
    Other(u8, &'a [u8]),
}

/// `bytes` is all of the message, and so is the payload of requests and replies.
pub(crate) fn parse<'a>(ip: &IpHeader, bytes: &'a [u8]) -> Option<Message<'a>> {
    let sum = match ip.source {
        IpAddr::V4(_) => checksum(bytes),
        IpAddr::V6(_) => {
            let mut sum = Sum::pseudo(ip.source, ip.destination, ICMPV6, bytes.len());
            sum.add(bytes);
            sum.finish()
        }
    };
    let body = bytes.get(HEADER..)?;
    if sum != 0 {
        return None;
    }
    let (kind, code) = (get_u8(bytes, 0)?, get_u8(bytes, 1)?);
    let problem = match ip.source {
        IpAddr::V4(_) => problem_v4(kind, code, get_u32(bytes, 4)?),
        IpAddr::V6(_) => problem_v6(kind, code, get_u32(bytes, 4)?),
    };
    let id = get_u16(bytes, 4)?;
    Some(match (ip.source.is_ipv4(), kind, problem) {
        (_, _, Some(problem)) => Message::Error(problem, body),
        (true, ECHO_REQUEST_V4, _) | (false, ECHO_REQUEST_V6, _) => Message::Request(bytes),
        (true, ECHO_REPLY_V4, _) | (false, ECHO_REPLY_V6, _) => Message::Reply { id, body: bytes },
        _ => Message::Other(kind, bytes),
    })
}

const fn problem_v4(kind: u8, code: u8, rest: u32) -> Option<Problem> {
    Some(match (kind, code) {
        (3, 2) => Problem::Protocol,
        (3, 3) => Problem::Port,
        (3, 4) => Problem::TooBig(rest & 0xffff),
        (3, 0 | 6 | 11) => Problem::Network,
        (3, 9 | 10 | 13) => Problem::Prohibited,
        (3, _) => Problem::Host,
        (11, _) => Problem::TimeExceeded,
        (12, _) => Problem::Parameter,
        _ => return None,
    })
}

const fn problem_v6(kind: u8, code: u8, rest: u32) -> Option<Problem> {
    Some(match (kind, code) {
        (1, 0) => Problem::Network,
        (1, 1 | 5 | 6) => Problem::Prohibited,
        (1, 4) => Problem::Port,
        (1, _) => Problem::Host,
        (2, _) => Problem::TooBig(rest),
        (3, _) => Problem::TimeExceeded,
        (4, 1) => Problem::Protocol,
        (4, _) => Problem::Parameter,
        _ => return None,
    })
}

/// The first eight bytes of an error message, without the checksum.
pub(crate) fn error_header(is_v4: bool, problem: Problem) -> [u8; HEADER] {
    let (kind, code, rest) = match (is_v4, problem) {
        (true, Problem::Network) => (3, 0, 0),
        (true, Problem::Host) => (3, 1, 0),
        (true, Problem::Protocol) => (3, 2, 0),
        (true, Problem::Port) => (3, 3, 0),
        (true, Problem::TooBig(mtu)) => (3, 4, mtu & 0xffff),
        (true, Problem::Prohibited) => (3, 13, 0),
        (true, Problem::TimeExceeded) => (11, 1, 0),
        (true, Problem::Parameter) => (12, 0, 0),
        (false, Problem::Network) => (1, 0, 0),
        (false, Problem::Host) => (1, 3, 0),
        (false, Problem::Protocol) => (4, 1, 40),
        (false, Problem::Port) => (1, 4, 0),
        (false, Problem::TooBig(mtu)) => (2, 0, mtu),
        (false, Problem::Prohibited) => (1, 1, 0),
        (false, Problem::TimeExceeded) => (3, 1, 0),
        (false, Problem::Parameter) => (4, 0, 0),
    };
    let [a, b, c, d] = u32::to_be_bytes(rest);
    [kind, code, 0, 0, a, b, c, d]
}

/// Completes a message whose checksum field is zero.
pub(crate) fn fill_checksum(ip: &IpHeader, message: &mut [u8]) {
    let sum = match ip.source {
        IpAddr::V4(_) => checksum(message),
        IpAddr::V6(_) => {
            let mut sum = Sum::pseudo(ip.source, ip.destination, ICMPV6, message.len());
            sum.add(message);
            sum.finish()
        }
    };
    crate::bytes::put_u16(message, 2, sum);
}

/// The protocol's number in this family.
pub(crate) const fn protocol(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => ICMP,
        IpAddr::V6(_) => ICMPV6,
    }
}
