//! Sockets of datagrams: UDP, ICMP echoes, raw packets. What they hold, and what arrives for them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::addresses::Reach;
use crate::error::Error;
use crate::ingress::Arrival;
use crate::interface::InterfaceId;
use crate::memory::Memory;
use crate::socket::{Common, DatagramInfo, Handle, Kind, Readiness};
use crate::stack::{Socket, Stack};
use crate::tcp::{Endpoint, Tuple};
use crate::wire::ip::{self, IpHeader, Packet};
use crate::wire::{icmp, udp};

/// What buffers hold if the program does not say (`rmem_default`).
pub(crate) const DEFAULT_BUFFER: usize = 212_992;
/// What a queued datagram costs besides its bytes.
const OVERHEAD: usize = 256;

/// A datagram in a queue.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) info: DatagramInfo,
    pub(crate) bytes: Vec<u8>,
}

/// A socket of datagrams.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) common: Common,
    pub(crate) kind: Kind,
    pub(crate) queue: VecDeque<Received>,
    queued: usize,
    /// Bytes that wait for a device.
    sending: usize,
    pub(crate) starved: bool,
    pub(crate) groups: Vec<(IpAddr, InterfaceId)>,
    /// Its entry in the table of connected ones.
    pub(crate) tuple: Option<Tuple>,
}

impl Datagram {
    pub(crate) fn new(kind: Kind, common: Common) -> Self {
        Self {
            common,
            kind,
            queue: VecDeque::new(),
            queued: 0,
            sending: 0,
            starved: false,
            groups: Vec::new(),
            tuple: None,
        }
    }

    /// Bytes that its queue takes.
    pub(crate) const fn queued(&self) -> usize {
        self.queued
    }

    /// The protocol whose ports it uses.
    pub(crate) const fn protocol(&self, is_v4: bool) -> u8 {
        match self.kind {
            Kind::Echo if is_v4 => ip::ICMP,
            Kind::Echo => ip::ICMPV6,
            Kind::Raw(protocol) => protocol,
            Kind::Datagram | Kind::Stream => ip::UDP,
        }
    }

    fn limit(wish: u32) -> usize {
        if wish == 0 {
            DEFAULT_BUFFER
        } else {
            (wish as usize).max(2_304)
        }
    }

    pub(crate) fn send_room(&self) -> usize {
        Self::limit(self.common.options.send_buffer).saturating_sub(self.sending)
    }

    pub(crate) fn charge_sending(&mut self, length: usize) {
        self.sending += length;
        // Whoever asks is told when there is room again.
        self.starved |= self.send_room() == 0;
    }

    /// A packet has left; whether a writer is to be woken.
    pub(crate) fn credit_sending(&mut self, length: usize) -> bool {
        self.sending = self.sending.saturating_sub(length);
        let wakes = self.starved && self.send_room() > 0;
        self.starved &= !wakes;
        wakes
    }

    fn push(&mut self, info: DatagramInfo, bytes: Vec<u8>, memory: &mut Memory) -> bool {
        let cost = bytes.len() + OVERHEAD;
        let limit = Self::limit(self.common.options.receive_buffer);
        let is_full = self.queued > 0 && self.queued + cost > limit;
        if self.common.read_closed || is_full || memory.charge(cost).is_err() {
            return false;
        }
        self.queued += cost;
        self.queue.push_back(Received { info, bytes });
        true
    }

    pub(crate) fn pop(&mut self, memory: &mut Memory) -> Option<Received> {
        let received = self.queue.pop_front()?;
        let cost = received.bytes.len() + OVERHEAD;
        self.queued = self.queued.saturating_sub(cost);
        memory.credit(cost);
        Some(received)
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let error = self.common.error.is_some();
        let room = self.send_room();
        Readiness {
            readable: !self.queue.is_empty() || self.common.read_closed || error,
            writable: room > 0 || error,
            urgent: false,
            read_closed: self.common.read_closed,
            hang_up: self.common.read_closed && self.common.write_closed,
            error,
            readable_bytes: self.queue.front().map_or(0, |first| first.bytes.len()),
            writable_bytes: room,
            unsent_bytes: self.sending,
        }
    }

    /// Whether a packet from there is one that it wants.
    fn hears(&self, from: SocketAddr) -> bool {
        match self.common.remote {
            None => true,
            Some(remote) => remote.ip() == from.ip() && remote.port() == from.port(),
        }
    }

    fn is_member(&self, group: IpAddr, interface: InterfaceId) -> bool {
        crate::address::is_always_joined(group) || self.groups.contains(&(group, interface))
    }
}

impl Stack {
    fn info(&self, header: &IpHeader, port: u16, arrival: Arrival) -> DatagramInfo {
        let mut from = SocketAddr::new(header.source, port);
        if let SocketAddr::V6(v6) = &mut from
            && crate::address::is_link_local(header.source)
        {
            v6.set_scope_id(arrival.interface.index());
        }
        DatagramInfo {
            from,
            to: header.destination,
            interface: arrival.interface,
            hop_limit: header.hop_limit,
            traffic_class: header.traffic_class,
            at: self.now,
        }
    }

    pub(crate) fn input_udp(&mut self, packet: &Packet<'_>, arrival: Arrival) {
        let header = &packet.header;
        let Some(datagram) = udp::parse(header, packet.payload, arrival.valid) else {
            return self.count_error(arrival.interface);
        };
        if self.take_dhcp(arrival.interface, &datagram) {
            return;
        }
        let info = self.info(header, datagram.source, arrival);
        let local = Endpoint::new(header.destination, datagram.destination);
        if arrival.reach == Reach::Local {
            match self.find_datagram(local, info.from, arrival.interface) {
                Some(handle) => self.push_datagram(handle, info, datagram.payload),
                None => self.complain(packet, arrival, icmp::Problem::Port),
            }
        } else {
            self.push_to_all(local, info, datagram.payload, arrival.reach);
        }
    }

    /// The socket that a datagram is for: one connected to the sender, or the one that fits best.
    fn find_datagram(
        &self,
        local: Endpoint,
        from: SocketAddr,
        interface: InterfaceId,
    ) -> Option<Handle> {
        let tuple = Tuple {
            local,
            remote: Endpoint::new(from.ip(), from.port()),
        };
        if let Some(handle) = self.peers.get(&tuple) {
            return Some(*handle);
        }
        self.best_bound(ip::UDP, &tuple, interface, |stack, handle| {
            matches!(stack.sockets.get(handle), Some(Socket::Datagram(datagram)) if datagram.hears(from))
        })
    }

    /// Everybody who has the port and wants it.
    fn push_to_all(&mut self, local: Endpoint, info: DatagramInfo, payload: &[u8], reach: Reach) {
        let bound = self.ports.get(ip::UDP, local.port).iter();
        let fits = bound.filter(|bound| bound.score(local.address, info.interface).is_some());
        let handles: Vec<Handle> = fits.map(|bound| bound.handle).collect();
        for handle in handles {
            let wanted = match self.sockets.get(handle) {
                Some(Socket::Datagram(datagram)) => {
                    let is_member = datagram.is_member(local.address, info.interface);
                    datagram.hears(info.from) && (reach != Reach::Multicast || is_member)
                }
                _ => false,
            };
            if wanted {
                self.push_datagram(handle, info, payload);
            }
        }
    }

    pub(crate) fn push_datagram(&mut self, handle: Handle, info: DatagramInfo, payload: &[u8]) {
        let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) else {
            return;
        };
        if datagram.push(info, Vec::from(payload), &mut self.memory) {
            self.note_changed(handle);
        } else {
            self.count_dropped(info.interface);
        }
    }

    /// Gives a packet to the raw sockets of its protocol; whether there was one.
    pub(crate) fn input_raw(&mut self, packet: &Packet<'_>, arrival: Arrival) -> bool {
        if self.raw.is_empty() {
            return false;
        }
        let info = self.info(&packet.header, 0, arrival);
        let wants = |handle: &Handle| match self.sockets.get(*handle) {
            Some(Socket::Datagram(datagram)) => {
                let local = datagram.common.local.ip();
                datagram.kind == Kind::Raw(packet.header.protocol)
                    && datagram.common.speaks(info.from.ip())
                    && datagram.common.local.is_ipv4() == info.to.is_ipv4()
                    && (local.is_unspecified() || local == info.to)
                    && datagram
                        .common
                        .remote
                        .is_none_or(|remote| remote.ip() == info.from.ip())
            }
            _ => false,
        };
        let handles: Vec<Handle> = self
            .raw
            .iter()
            .copied()
            .filter(|handle| wants(handle))
            .collect();
        // IPv4's sockets see the header, IPv6's do not (RFC 3542, 3).
        let bytes = if info.to.is_ipv4() {
            packet.whole
        } else {
            packet.payload
        };
        for handle in &handles {
            self.push_datagram(*handle, info, bytes);
        }
        !handles.is_empty()
    }

    pub(crate) fn deliver_echo(
        &mut self,
        packet: &Packet<'_>,
        id: u16,
        body: &[u8],
        arrival: Arrival,
    ) {
        let info = self.info(&packet.header, 0, arrival);
        let protocol = packet.header.protocol;
        let found = self.ports.get(protocol, id).iter();
        let mut found = found.filter(|bound| bound.score(info.to, info.interface).is_some());
        if let Some(handle) = found.next().map(|bound| bound.handle) {
            self.push_datagram(handle, info, body);
        }
    }

    /// A datagram of ours met a problem.
    pub(crate) fn tell_datagram(&mut self, tuple: &Tuple, error: Error) {
        let from = tuple.remote.socket_address();
        let found = self.find_datagram(tuple.local, from, InterfaceId::LOOPBACK);
        // Only who is connected can be told whom it is about (udp(7)).
        let is_connected = |socket: &Socket| socket.common().remote.is_some();
        if let Some(handle) =
            found.filter(|handle| self.sockets.get(*handle).is_some_and(is_connected))
        {
            self.set_error(handle, error);
        }
    }

    pub(crate) fn tell_echo(
        &mut self,
        header: &IpHeader,
        id: u16,
        (error, is_hard): (Error, bool),
    ) {
        let found = self
            .ports
            .get(header.protocol, id)
            .first()
            .map(|bound| bound.handle);
        if let Some(handle) = found.filter(|_| is_hard || error == Error::HostUnreachable) {
            self.set_error(handle, error);
        }
    }

    fn set_error(&mut self, handle: Handle, error: Error) {
        if let Some(socket) = self.sockets.get_mut(handle) {
            socket.common_mut().error = Some(error);
            self.note_changed(handle);
        }
    }

    /// The bound socket that fits a packet best; of several that share a port, one by the hash of
    /// whom it is from.
    pub(crate) fn best_bound(
        &self,
        protocol: u8,
        tuple: &Tuple,
        interface: InterfaceId,
        wanted: impl Fn(&Self, Handle) -> bool,
    ) -> Option<Handle> {
        let bound = self.ports.get(protocol, tuple.local.port);
        let score = |at: &crate::ports::Bound| at.score(tuple.local.address, interface);
        let fits = || bound.iter().filter(|at| wanted(self, at.handle));
        let best = fits().filter_map(score).max()?;
        let mut group = fits().filter(|at| score(at) == Some(best));
        let first = group.next()?;
        if !first.reuse_port || bound.len() == 1 {
            return Some(first.handle);
        }
        let members = || fits().filter(|at| score(at) == Some(best) && at.reuse_port);
        let count = members().count() as u64;
        let hash = tuple.keyed(self.keys.listeners, 0);
        let at = usize::try_from(hash.checked_rem(count).unwrap_or(0)).unwrap_or(0);
        members().nth(at).map(|at| at.handle)
    }
}
