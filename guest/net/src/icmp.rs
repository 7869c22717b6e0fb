//! ICMP: echoes are answered, problems told to who caused them, and heard by the sockets that did.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addresses::{Reach, Wish};
use crate::bytes::{get_u16, get_u32};
use crate::error::Error;
use crate::ingress::Arrival;
use crate::seq::Seq;
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::{Endpoint, Tuple};
use crate::wire::icmp::{self, Message, Problem};
use crate::wire::ip::{self, IpHeader, Packet, Sending};
use crate::wire::{ipv4, ipv6};

/// The least that a router can be believed to take (RFC 791; RFC 8200, 5).
const LEAST_V4: u32 = 576;
const LEAST_V6: u32 = 1_280;

impl Problem {
    /// The error, and whether a connection being made ends by it (RFC 1122, 4.2.3.9; RFC 5927).
    const fn error(self) -> (Error, bool) {
        match self {
            Self::Port => (Error::Refused, true),
            Self::Protocol => (Error::ProtocolUnreachable, true),
            Self::Prohibited => (Error::HostUnreachable, true),
            Self::Network => (Error::NetworkUnreachable, false),
            Self::Host | Self::TimeExceeded => (Error::HostUnreachable, false),
            Self::TooBig(_) => (Error::MessageSize, false),
            Self::Parameter => (Error::ProtocolUnreachable, true),
        }
    }
}

impl Stack {
    pub(crate) fn input_icmp(&mut self, packet: &Packet<'_>, arrival: Arrival) {
        let Some(message) = icmp::parse(&packet.header, packet.payload) else {
            return self.count_error(arrival.interface);
        };
        match message {
            Message::Request(bytes) => self.answer_echo(&packet.header, bytes, arrival),
            Message::Reply { id, body } => self.deliver_echo(packet, id, body, arrival),
            Message::Error(problem, about) => self.hear_problem(problem, about),
            Message::Other(kind, bytes) if packet.header.source.is_ipv6() => {
                self.input_discovery(&packet.header, kind, bytes, arrival.interface);
            }
            Message::Other(..) => {}
        }
    }

    fn answer_echo(&mut self, header: &IpHeader, request: &[u8], arrival: Arrival) {
        let is_v4 = header.source.is_ipv4();
        if header.source.is_unspecified() || is_v4 && arrival.reach != Reach::Local {
            return;
        }
        let source = (arrival.reach == Reach::Local).then_some(header.destination);
        let wish = Wish {
            source,
            interface: self.scope(header.source, arrival),
        };
        let Ok(path) = self.path(header.source, wish, self.now) else {
            return;
        };
        let answer = IpHeader {
            source: path.source,
            destination: header.source,
            protocol: header.protocol,
            hop_limit: self.hop_limit(path.interface),
            traffic_class: header.traffic_class,
        };
        let mut message = Vec::from(request);
        let kind = if is_v4 {
            icmp::ECHO_REPLY_V4
        } else {
            icmp::ECHO_REPLY_V6
        };
        crate::bytes::put(&mut message, 0, &[kind, 0, 0, 0]);
        icmp::fill_checksum(&answer, &mut message);
        self.send_ip(&path, &answer, Sending::default(), &message);
    }

    /// The interface by which an answer must go, if the address means something only there.
    pub(crate) fn scope(
        &self,
        to: IpAddr,
        arrival: Arrival,
    ) -> Option<crate::interface::InterfaceId> {
        crate::address::is_link_local(to).then_some(arrival.interface)
    }

    pub(crate) fn hop_limit(&self, id: crate::interface::InterfaceId) -> u8 {
        self.interface(id)
            .map_or(64, |interface| interface.hop_limit)
    }

    /// Tells the sender of a packet what was wrong with it (RFC 1122, 3.2.2; RFC 4443, 2.4).
    pub(crate) fn complain(&mut self, packet: &Packet<'_>, arrival: Arrival, problem: Problem) {
        let header = &packet.header;
        let is_allowed = arrival.reach == Reach::Local
            && !header.source.is_unspecified()
            && !header.source.is_multicast()
            && self.limits.icmp.take(self.now);
        if !is_allowed {
            return;
        }
        let wish = Wish {
            source: Some(header.destination),
            interface: self.scope(header.source, arrival),
        };
        let Ok(path) = self.path(header.source, wish, self.now) else {
            return;
        };
        let is_v4 = header.source.is_ipv4();
        let most = if is_v4 { 548 } else { 1_232 };
        let answer = IpHeader {
            source: path.source,
            destination: header.source,
            protocol: icmp::protocol(header.source),
            hop_limit: self.hop_limit(path.interface),
            traffic_class: 0xc0,
        };
        let mut message = Vec::from(icmp::error_header(is_v4, problem));
        message.extend_from_slice(packet.whole.get(..most).unwrap_or(packet.whole));
        icmp::fill_checksum(&answer, &mut message);
        self.send_ip(&path, &answer, Sending::default(), &message);
    }

    /// A router or a host says something about a packet of ours, of which it sends the start.
    fn hear_problem(&mut self, problem: Problem, about: &[u8]) {
        let Some((header, rest)) = quoted(about) else {
            return;
        };
        if !self.is_local(header.source) {
            return;
        }
        let (Some(from), Some(to)) = (get_u16(rest, 0), get_u16(rest, 2)) else {
            return;
        };
        let tuple = Tuple {
            local: Endpoint::new(header.source, from),
            remote: Endpoint::new(header.destination, to),
        };
        match header.protocol {
            ip::TCP => {
                if let Some(seq) = get_u32(rest, 4) {
                    self.tell_connection(&tuple, Seq(seq), problem);
                }
            }
            ip::UDP => {
                self.hear_size(header.destination, problem);
                self.tell_datagram(&tuple, problem.error().0);
            }
            ip::ICMP | ip::ICMPV6 => {
                self.hear_size(header.destination, problem);
                if let Some(id) = get_u16(rest, 4) {
                    self.tell_echo(&header, id, problem.error());
                }
            }
            _ => {}
        }
    }

    fn tell_connection(&mut self, tuple: &Tuple, seq: Seq, problem: Problem) {
        let Some(Connection::Open(handle)) = self.connections.get(tuple) else {
            return;
        };
        let handle = *handle;
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        if !tcp.has_outstanding(seq) {
            return;
        }
        if matches!(problem, Problem::TooBig(_)) {
            self.hear_size(tuple.remote.address, problem);
            self.refresh_path(handle);
            if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
                tcp.resend_all();
            }
        } else {
            let (error, is_hard) = problem.error();
            tcp.input_problem(seq, error, is_hard, &mut self.memory);
        }
        self.settle(handle);
    }

    /// A path takes less than its first link (RFC 1191, RFC 8201).
    fn hear_size(&mut self, to: IpAddr, problem: Problem) {
        let Problem::TooBig(mtu) = problem else {
            return;
        };
        let least = if to.is_ipv4() { LEAST_V4 } else { LEAST_V6 };
        let mtu = u16::try_from(mtu.max(least)).unwrap_or(u16::MAX);
        let known = self
            .path(to, Wish::default(), self.now)
            .map_or(0, |path| path.mtu);
        if mtu < known {
            self.routes.learn_mtu(to, mtu, self.now);
        }
    }
}

/// The header of a packet of which only the start is there, and what follows it.
fn quoted(bytes: &[u8]) -> Option<(IpHeader, &[u8])> {
    let first = *bytes.first()?;
    if first >> 4 == 4 {
        let start = usize::from(first & 0xf) * 4;
        let header = IpHeader {
            source: IpAddr::V4(crate::bytes::get_v4(bytes, 12)?),
            destination: IpAddr::V4(crate::bytes::get_v4(bytes, 16)?),
            protocol: crate::bytes::get_u8(bytes, 9)?,
            hop_limit: 0,
            traffic_class: 0,
        };
        return Some((header, bytes.get(start.max(ipv4::HEADER)..)?));
    }
    let header = IpHeader {
        source: IpAddr::V6(crate::bytes::get_v6(bytes, 8)?),
        destination: IpAddr::V6(crate::bytes::get_v6(bytes, 24)?),
        protocol: crate::bytes::get_u8(bytes, 6)?,
        hop_limit: 0,
        traffic_class: 0,
    };
    Some((header, bytes.get(ipv6::HEADER..)?))
}
