//! UDP and ICMP echo: flows of datagrams, each with a socket of the host, and the ports that
//! callers of the guest share.

mod flow;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use super::addresses::{GATEWAY_V4, GUEST_V4};
use super::common::{About, Common, Target};
use super::icmp;
use super::packet::{Datagram, Packet, UDP};
use super::slab::{Id, Slab};
use crate::network::{Guest, Source};
use flow::{
    ANSWERED, BATCH, Flow, Key, Turn, UNANSWERED, Way, failed, is_dns, prohibited, route, turn,
};

/// Flows at once.
const FLOWS_MAX: usize = 4096;
/// How often flows are looked at for their age.
const LOOK: u64 = 5_000_000_000;
/// Bytes of a forbidden datagram that its sender gets back (RFC 1812, 4.3.2.3).
const QUOTED: usize = 520;
/// Longest datagram from a caller of the guest.
const CALL_MAX: usize = 65_507;

/// A published port.
#[derive(Debug)]
struct Port {
    socket: Arc<OwnedFd>,
    guest: u16,
    number: u32,
}

#[derive(Default)]
pub(super) struct Udp {
    flows: Slab<Flow>,
    keys: HashMap<Key, Id>,
    callers: HashMap<(u32, SocketAddr), Id>,
    ports: Vec<Port>,
    ready: VecDeque<Id>,
    /// The oldest first; looked at from time to time.
    ages: VecDeque<Id>,
    look: u64,
    next_port: u16,
    most: usize,
}

/// Where a datagram came from.
pub(super) struct Origin<'a> {
    pub(super) guest: &'a dyn Guest,
    pub(super) pair: usize,
    pub(super) mac: [u8; 6],
}

impl Udp {
    /// With at most so many flows.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.clamp(1, FLOWS_MAX),
            ..Self::default()
        }
    }

    pub(super) fn publish(&mut self, socket: Arc<OwnedFd>, guest: u16, number: u32) {
        self.ports.push(Port {
            socket,
            guest,
            number,
        });
    }

    /// A datagram of the guest.
    pub(super) fn input(
        &mut self,
        common: &mut Common,
        origin: &Origin<'_>,
        (packet, datagram): (&Packet, Datagram),
        source: &mut dyn Source,
    ) {
        let key = Key {
            protocol: UDP,
            guest: SocketAddr::new(packet.source, datagram.source),
            remote: SocketAddr::new(packet.destination, datagram.destination),
        };
        let Some(id) = self.find_or_open(common, origin, key) else {
            let quoted = packet.payload(source, QUOTED);
            return prohibited(common, origin, key, &quoted);
        };
        source.skip(packet.start + 8);
        self.send(common, origin, id, source, datagram.length);
    }

    /// An echo request of the guest.
    pub(super) fn echo(
        &mut self,
        common: &mut Common,
        origin: &Origin<'_>,
        packet: &Packet,
        source: &mut dyn Source,
    ) {
        let message = packet.payload(source, 8);
        let (request, _) = icmp::echo_kinds(packet.source.is_ipv4());
        let identifier = super::packet::array(&message, 4).map(u16::from_be_bytes);
        let (true, Some(identifier)) = (message.first() == Some(&request), identifier) else {
            return;
        };
        let key = Key {
            protocol: packet.protocol,
            guest: SocketAddr::new(packet.source, identifier),
            // The policy knows no port zero.
            remote: SocketAddr::new(packet.destination, 1),
        };
        let Some(id) = self.find_or_open(common, origin, key) else {
            return prohibited(common, origin, key, &message);
        };
        source.skip(packet.start);
        self.send(common, origin, id, source, packet.length);
    }

    fn find_or_open(&mut self, common: &mut Common, origin: &Origin<'_>, key: Key) -> Option<Id> {
        if let Some(id) = self.keys.get(&key) {
            return Some(*id);
        }
        let Target::Host(to) = common.target(key.remote) else {
            return None;
        };
        self.make_room(common);
        let socket = match key.protocol {
            UDP => common.sockets.datagram(to),
            _ => common.sockets.echo(to.ip()),
        };
        let flow = Flow {
            key,
            way: Way::Own(socket.ok()?),
            mac: origin.mac,
            pair: origin.pair,
            until: common.now + UNANSWERED,
            answered: false,
            is_ready: false,
        };
        let id = self.insert(flow);
        if let Some(flow) = self.flows.get_mut(id)
            && let Way::Own(socket) = &flow.way
            && common.watch(socket, About::Udp(id)).is_err()
        {
            self.remove(id);
            return None;
        }
        Some(id)
    }

    fn insert(&mut self, flow: Flow) -> Id {
        let key = flow.key;
        let id = self.flows.insert(flow);
        self.keys.insert(key, id);
        self.ages.push_back(id);
        id
    }

    fn remove(&mut self, id: Id) {
        if let Some(flow) = self.flows.remove(id) {
            self.keys.remove(&flow.key);
            if let Way::Published(_, number, caller) = flow.way {
                self.callers.remove(&(number, caller));
            }
        }
    }

    /// The oldest flow goes when there are too many.
    fn make_room(&mut self, common: &mut Common) {
        while self.flows.len() >= self.most
            && let Some(id) = self.ages.pop_front()
        {
            common.counters.limited += 1;
            self.remove(id);
        }
    }

    fn send(
        &mut self,
        common: &mut Common,
        origin: &Origin<'_>,
        id: Id,
        source: &mut dyn Source,
        length: usize,
    ) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.pair = origin.pair;
        let patience = if flow.answered { ANSWERED } else { UNANSWERED };
        flow.until = common.now + patience;
        let sent = match &flow.way {
            Way::Own(socket) => source.send(socket.as_fd(), length).map(drop),
            Way::Published(socket, _, caller) => {
                let mut bytes = vec![0; length];
                source.peek(&mut bytes);
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                sendto(socket, &bytes, flags, caller)
                    .map(drop)
                    .map_err(io::Error::from)
            }
        };
        if let Err(error) = sent {
            failed(common, origin.guest, flow, &error);
        }
    }

    /// Something came for a flow.
    pub(super) fn event(&mut self, id: Id) {
        if let Some(flow) = self.flows.get_mut(id)
            && !flow.is_ready
        {
            flow.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Delivers what has come, as far as the guest has buffers; whether there is more to do.
    pub(super) fn pump(&mut self, common: &mut Common, guest: &dyn Guest) -> bool {
        for _ in 0..4 {
            let Some(id) = self.ready.pop_front() else {
                return false;
            };
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            flow.is_ready = false;
            match turn(common, flow, guest) {
                Turn::Idle => {}
                Turn::More => self.event(id),
                Turn::NoRoom => {
                    flow.is_ready = true;
                    self.ready.push_front(id);
                    return false;
                }
            }
        }
        !self.ready.is_empty()
    }

    /// Somebody calls a published port.
    pub(super) fn called(&mut self, common: &mut Common, guest: &dyn Guest, number: u32) -> bool {
        let port = self.ports.iter().find(|port| port.number == number);
        let Some((socket, to)) = port.map(|port| (Arc::clone(&port.socket), port.guest)) else {
            return false;
        };
        let mut bytes = vec![0; CALL_MAX];
        for _ in 0..BATCH {
            let got = recvfrom(&socket, &mut bytes[..], RecvFlags::DONTWAIT);
            let Ok((count, _, Some(caller))) = got else {
                return false;
            };
            let Ok(caller) = SocketAddr::try_from(caller) else {
                continue;
            };
            let payload = bytes.get(..count).unwrap_or_default();
            if let Some(id) = self.caller(common, (number, &socket), caller, to)
                && let Some(flow) = self.flows.get_mut(id)
            {
                flow.answered = true;
                flow.until = common.now + ANSWERED;
                let (key, mac, pair) = (flow.key, flow.mac, flow.pair);
                let route = route(key, mac);
                let head = route.udp(key.remote.port(), key.guest.port(), payload.len());
                common.say(guest, pair, head, payload);
            }
        }
        true
    }

    /// The flow of a caller.
    fn caller(
        &mut self,
        common: &mut Common,
        (number, socket): (u32, &Arc<OwnedFd>),
        caller: SocketAddr,
        to: u16,
    ) -> Option<Id> {
        if let Some(id) = self.callers.get(&(number, caller)) {
            return Some(*id);
        }
        self.make_room(common);
        let mut port = caller.port();
        let key = loop {
            let key = Key {
                protocol: UDP,
                guest: SocketAddr::new(IpAddr::V4(GUEST_V4), to),
                remote: SocketAddr::new(IpAddr::V4(GATEWAY_V4), port),
            };
            if port != 0 && !self.keys.contains_key(&key) {
                break key;
            }
            // There are fewer flows than ports.
            self.next_port = self.next_port.wrapping_add(1).max(32_768);
            port = self.next_port;
        };
        let id = self.insert(Flow {
            key,
            way: Way::Published(Arc::clone(socket), number, caller),
            mac: common.mac,
            pair: 0,
            until: common.now + ANSWERED,
            answered: true,
            is_ready: false,
        });
        self.callers.insert((number, caller), id);
        Some(id)
    }

    /// When flows are to be looked at for their age.
    pub(super) fn next_deadline(&self) -> u64 {
        if self.keys.is_empty() {
            u64::MAX
        } else {
            self.look
        }
    }

    /// Forgets flows that nobody uses.
    pub(super) fn expire(&mut self, common: &mut Common) {
        if self.look > common.now {
            return;
        }
        self.look = common.now + LOOK;
        for id in std::mem::take(&mut self.ages) {
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            if flow.until > common.now {
                self.ages.push_back(id);
                continue;
            }
            if !flow.answered && is_dns(&flow.key) {
                // A resolver that does not answer: others may.
                common.resolver = common.resolver.wrapping_add(1);
            }
            self.remove(id);
        }
    }

    pub(super) fn clear(&mut self) {
        for id in self.keys.drain().map(|(_, id)| id) {
            self.flows.remove(id);
        }
        self.callers.clear();
        self.ready.clear();
        self.ages.clear();
    }
}
