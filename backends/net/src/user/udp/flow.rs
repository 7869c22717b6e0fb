//! One flow of datagrams: what comes for it, and what cannot be delivered.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::RecvFlags;

use super::super::addresses::{DNS_V4, DNS_V6, MTU};
use super::super::common::Common;
use super::super::frame::Route;
use super::super::icmp::{self, Undelivered, Why};
use super::super::packet::{ICMP, ICMP_V6, UDP};
use super::Origin;
use crate::network::{Body, Delivery, Guest};

/// How long one is kept that nobody uses (RFC 4787, 4.3): answered, and not.
pub(super) const ANSWERED: u64 = 120_000_000_000;
pub(super) const UNANSWERED: u64 = 30_000_000_000;
/// Datagrams taken from one socket at a time.
pub(super) const BATCH: usize = 32;
/// Both ends as the guest sees them. The echo's identifier is a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::user) struct Key {
    pub(in crate::user) protocol: u8,
    pub(in crate::user) guest: SocketAddr,
    pub(in crate::user) remote: SocketAddr,
}

/// How a flow reaches the other end.
#[derive(Debug)]
pub(super) enum Way {
    Own(OwnedFd),
    /// By a published port, to a caller.
    Published(Arc<OwnedFd>, u32, SocketAddr),
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: Key,
    pub(super) way: Way,
    pub(super) mac: [u8; 6],
    pub(super) pair: usize,
    pub(super) until: u64,
    pub(super) answered: bool,
    pub(super) is_ready: bool,
}

pub(super) enum Turn {
    Idle,
    More,
    NoRoom,
}

pub(super) fn is_dns(key: &Key) -> bool {
    let address = key.remote.ip();
    address == IpAddr::V4(DNS_V4) || address == IpAddr::V6(DNS_V6)
}

pub(super) fn route(key: Key, mac: [u8; 6]) -> Route {
    Route {
        mac,
        source: key.remote.ip(),
        destination: key.guest.ip(),
    }
}

/// Delivers what waits in a flow's socket.
pub(super) fn turn(common: &mut Common, flow: &mut Flow, guest: &dyn Guest) -> Turn {
    let Way::Own(socket) = &flow.way else {
        return Turn::Idle;
    };
    let (key, route) = (flow.key, route(flow.key, flow.mac));
    for _ in 0..BATCH {
        let delivered = if key.protocol == UDP {
            let length = usize::from(MTU) - 48;
            let socket = socket.as_fd();
            let body = Body::Datagram { socket, length };
            guest.deliver(flow.pair, route.payload() + 8, body, &mut |count| {
                Some(route.udp(key.remote.port(), key.guest.port(), count))
            })
        } else {
            echo_back(socket, key, route, guest, flow.pair)
        };
        match delivered {
            Ok(Delivery::NoRoom) => return Turn::NoRoom,
            Ok(Delivery::Lost) => common.counters.lost += 1,
            Ok(Delivery::Done { .. }) => {
                common.counters.to_guest += 1;
                flow.answered = true;
                flow.until = common.now + ANSWERED;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Idle,
            Err(error) => {
                failed(common, guest, flow, &error);
                return Turn::Idle;
            }
        }
    }
    Turn::More
}

/// An answer to an echo: the host's identifier is not the guest's.
fn echo_back(
    socket: &OwnedFd,
    key: Key,
    route: Route,
    guest: &dyn Guest,
    pair: usize,
) -> io::Result<Delivery> {
    let mut bytes = vec![0; usize::from(u16::MAX)];
    let (count, _) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?;
    bytes.truncate(count.min(usize::from(MTU) - 40));
    icmp::set_identifier(&mut bytes, key.guest.port());
    let head = route.icmp(&mut bytes);
    let length = head.bytes().len();
    guest.deliver(pair, length, Body::Bytes(&bytes), &mut |_| Some(head))
}

pub(super) fn prohibited(common: &mut Common, origin: &Origin<'_>, key: Key, quoted: &[u8]) {
    if key.guest.ip().is_unspecified() || key.remote.ip().is_multicast() {
        return;
    }
    let what = Undelivered {
        back: route(key, origin.mac),
        protocol: key.protocol,
        quoted,
        why: Why::Prohibited,
    };
    icmp::unreachable(common, origin.guest, origin.pair, &what);
}

/// Tells the guest what the host said of its datagrams.
pub(super) fn failed(common: &mut Common, guest: &dyn Guest, flow: &Flow, error: &io::Error) {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let why = match error.kind() {
        ConnectionRefused => Why::Port,
        HostUnreachable => Why::Host,
        NetworkUnreachable => Why::Network,
        // A full queue, or one too long: lost, as datagrams may be.
        _ => {
            common.counters.lost += 1;
            return;
        }
    };
    if is_dns(&flow.key) {
        common.resolver = common.resolver.wrapping_add(1);
    }
    if matches!(flow.key.protocol, ICMP | ICMP_V6) {
        return;
    }
    let ports = [flow.key.guest.port(), flow.key.remote.port(), 8, 0];
    let quoted = ports.map(u16::to_be_bytes).concat();
    let what = Undelivered {
        back: route(flow.key, flow.mac),
        protocol: flow.key.protocol,
        quoted: &quoted,
        why,
    };
    icmp::unreachable(common, guest, flow.pair, &what);
}
