//! How connections begin: the guest calls, or somebody calls the guest.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::sockopt;

use super::super::addresses::{GATEWAY_V4, GUEST_V4};
use super::super::common::{About, Common, Target};
use super::super::frame::Route;
use super::super::icmp;
use super::super::packet::{self, ACK, RST, SYN, Segment};
use super::super::slab::Id;
use super::flow::{Flow, Key, State};
use super::stamp::Stamp;
use super::time::{CONNECT, Nanos, timeout};
use super::{Arrival, Tcp, refuse};
use crate::network::Guest;

/// First of the ports that callers of the guest get, if they cannot keep theirs.
const PORTS_FIRST: u16 = 32_768;

impl Tcp {
    /// The guest calls.
    pub(super) fn call_out(&mut self, common: &mut Common, arrival: &Arrival<'_>, key: Key) {
        let first = self.first_number(&key, common.now);
        let mut flow = Flow::new(key, State::Connecting, arrival.mac, first);
        flow.pair = arrival.pair;
        flow.expected = arrival.segment.sequence.wrapping_add(1);
        flow.acked = flow.expected;
        flow.edge = flow.expected;
        flow.lost = flow.expected;
        take_options(&mut flow, &arrival.segment);
        let Target::Host(to) = common.target(key.remote) else {
            return refuse(common, arrival.guest, &flow);
        };
        if self.is_full() {
            common.counters.limited += 1;
            return refuse(common, arrival.guest, &flow);
        }
        match common.sockets.stream(to) {
            Ok(socket) => {
                flow.attach(socket);
                self.begin(common, flow, CONNECT);
            }
            Err(error) => unreachable(common, arrival.guest, &flow, &error),
        }
    }

    /// Somebody calls the guest's port `port`.
    pub(in crate::user) fn call_in(
        &mut self,
        common: &mut Common,
        guest: &dyn Guest,
        (socket, caller): (OwnedFd, SocketAddr),
        port: u16,
    ) {
        let Some(key) = self.free_key(caller.port(), port) else {
            common.counters.limited += 1;
            return;
        };
        let first = self.first_number(&key, common.now);
        let mut flow = Flow::new(key, State::Calling, common.mac, first);
        flow.attach(socket);
        flow.next = flow.una.wrapping_add(1);
        flow.furthest = flow.next;
        if let Some(id) = self.begin(common, flow, timeout(0)) {
            self.greet(guest, id);
        }
    }

    /// A caller's ends: the gateway, with the caller's own port if nobody else has it.
    fn free_key(&mut self, port: u16, to: u16) -> Option<Key> {
        let key = |port| Key {
            guest: SocketAddr::new(IpAddr::V4(GUEST_V4), to),
            remote: SocketAddr::new(IpAddr::V4(GATEWAY_V4), port),
        };
        let own = key(port);
        if port != 0 && !self.keys.contains_key(&own) {
            return Some(own);
        }
        (0..=u16::MAX - PORTS_FIRST).find_map(|_| {
            self.next_port = self.next_port.wrapping_add(1).max(PORTS_FIRST);
            let other = key(self.next_port);
            (!self.keys.contains_key(&other)).then_some(other)
        })
    }

    fn begin(&mut self, common: &mut Common, mut flow: Flow, patience: Nanos) -> Option<Id> {
        flow.deadline = common.now + patience;
        let id = self.insert(flow);
        common.counters.connections += 1;
        let flow = self.flows.get_mut(id)?;
        let watched = flow
            .socket
            .as_ref()
            .map(|socket| common.watch(socket, About::Tcp(id)));
        if !matches!(watched, Some(Ok(()))) {
            self.remove(id);
            return None;
        }
        self.arm(id);
        Some(id)
    }

    /// Sends SYN, or SYN and ACK; again if need be. Where the guest has no buffer for it, it goes
    /// as soon as there is one.
    pub(super) fn greet(&mut self, guest: &dyn Guest, id: Id) {
        let waits = self
            .flows
            .get_mut(id)
            .is_some_and(|flow| !greeted(flow, guest));
        if waits {
            self.queue(id);
        }
    }

    /// The socket has arrived, or cannot.
    pub(super) fn connected(&mut self, common: &mut Common, guest: &dyn Guest, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let Some(socket) = &flow.socket else {
            return;
        };
        let outcome = sockopt::socket_error(socket);
        match outcome.and_then(|error| error) {
            Ok(()) => {
                flow.state = State::Answering;
                flow.next = flow.una.wrapping_add(1);
                flow.furthest = flow.next;
                flow.tries = 0;
                flow.deadline = common.now + timeout(0);
                self.arm(id);
                self.greet(guest, id);
            }
            Err(error) => {
                if let Some(flow) = self.remove(id) {
                    unreachable(common, guest, &flow, &error.into());
                }
            }
        }
    }

    /// The guest has answered a call.
    pub(super) fn answered(&mut self, common: &Common, id: Id, segment: &Segment) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.expected = segment.sequence.wrapping_add(1);
        flow.acked = flow.expected;
        flow.edge = flow.expected;
        flow.lost = flow.expected;
        flow.una = flow.next;
        take_options(flow, segment);
        flow.acks = 1;
        flow.readable = true;
        self.opened(common, id);
        self.queue(id);
    }
}

/// Sends SYN, or SYN and ACK; whether the guest had a buffer for it.
pub(super) fn greeted(flow: &mut Flow, guest: &dyn Guest) -> bool {
    let flags = if flow.state == State::Calling {
        SYN
    } else {
        SYN | ACK
    };
    let first = flow.una;
    flow.greeting_waits = !flow.say(guest, flags, first);
    !flow.greeting_waits
}

/// What the guest says once.
fn take_options(flow: &mut Flow, segment: &Segment) {
    flow.mss = segment.mss.unwrap_or(536).clamp(64, flow.mss_max());
    flow.shift = segment.shift;
    flow.window = u32::from(segment.window);
}

/// Says why nobody answers: a closed port resets, all else is a message.
fn unreachable(common: &mut Common, guest: &dyn Guest, flow: &Flow, error: &io::Error) {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    let why = match error.kind() {
        NetworkUnreachable => icmp::Why::Network,
        HostUnreachable | TimedOut => icmp::Why::Host,
        _ => return refuse(common, guest, flow),
    };
    let mut quoted = flow.key.guest.port().to_be_bytes().to_vec();
    quoted.extend(flow.key.remote.port().to_be_bytes());
    quoted.extend(flow.expected.wrapping_sub(1).to_be_bytes());
    let what = icmp::Undelivered {
        back: flow.route(),
        protocol: packet::TCP,
        quoted: &quoted,
        why,
    };
    icmp::unreachable(common, guest, flow.pair, &what);
}

/// Answers a segment that belongs to nothing.
pub(super) fn reset_stranger(common: &mut Common, arrival: &Arrival<'_>, key: Key) {
    let segment = &arrival.segment;
    let (flags, sequence, acknowledged) = if segment.has(ACK) {
        (RST, segment.acknowledged, 0)
    } else {
        let after = segment.sequence.wrapping_add(segment.span());
        (RST | ACK, 0, after)
    };
    let stamp = Stamp {
        route: Route {
            mac: arrival.mac,
            source: key.remote.ip(),
            destination: key.guest.ip(),
        },
        ports: [key.remote.port(), key.guest.port()],
        sequence,
        acknowledged,
        flags,
        window: 0,
        mss: 0,
        scale: false,
        cut: u16::MAX,
    };
    common.say(arrival.guest, arrival.pair, stamp.head(0), &[]);
}
