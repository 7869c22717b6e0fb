//! Segments and the connections they are for.

use alloc::boxed::Box;
use core::net::SocketAddr;

use crate::addresses::Wish;
use crate::interface::InterfaceId;
use crate::seq::Seq;
use crate::socket::{Common, Handle, TcpState};
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::time_wait::Verdict;
use crate::tcp::{Context, Offer, Reply, Tcp, Tuple, cookies};
use crate::time::Nanos;
use crate::timers::Timer;
use crate::wire::ip;
use crate::wire::tcp::{Flags, Options, Segment};

/// As Linux' `tcp_max_tw_buckets` of a small machine.
const MOST_TIME_WAITS: usize = 65_536;

impl Stack {
    pub(crate) fn input_segment(
        &mut self,
        tuple: Tuple,
        segment: &Segment,
        payload: &[u8],
        id: InterfaceId,
    ) {
        match self.connections.get_mut(&tuple) {
            Some(Connection::Open(handle)) => {
                let handle = *handle;
                self.input_connection(handle, segment, payload, id);
            }
            Some(Connection::TimeWait(remains)) => match remains.input(segment, self.now) {
                Verdict::Drop => {}
                Verdict::Acknowledge => {
                    let answer = remains.acknowledgement(self.now);
                    if self.limits.challenge.take(self.now) {
                        self.send_control(&tuple, &answer, Some(id));
                    }
                }
                Verdict::Reuse => {
                    // The new connection's numbers lie beyond the old one's.
                    let floor = remains.send_next.plus(65_537);
                    self.forget_connection(&tuple);
                    self.input_listener(tuple, segment, payload, id, Some(floor));
                }
            },
            None => self.input_listener(tuple, segment, payload, id, None),
        }
    }

    fn input_connection(
        &mut self,
        handle: Handle,
        segment: &Segment,
        payload: &[u8],
        id: InterfaceId,
    ) {
        if self.is_turned_away(handle, segment) {
            self.keep_answer(handle, segment);
            return self.settle(handle);
        }
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let tuple = tcp.tuple;
        let was = tcp.state;
        let mut cx = Context {
            now: self.now,
            memory: &mut self.memory,
        };
        let reply = tcp.input(segment, payload, &mut cx);
        let challenge = tcp.challenge(self.now);
        let is_done = was == TcpState::SynReceived && tcp.is_synchronized();
        match reply {
            Reply::None => {}
            Reply::Reset => self.send_reset(&tuple, segment, Some(id)),
            Reply::Challenge => {
                if self.limits.challenge.take(self.now) {
                    self.send_control(&tuple, &challenge, Some(id));
                }
            }
        }
        if is_done {
            self.hand_to_listener(handle);
        }
        self.settle(handle);
    }

    /// The last step of a handshake waits while its listener's queue is full: the peer will
    /// repeat it.
    fn is_turned_away(&self, handle: Handle, segment: &Segment) -> bool {
        let Some(Socket::Stream(tcp)) = self.sockets.get(handle) else {
            return true;
        };
        let (Some(parent), TcpState::SynReceived) = (tcp.parent, tcp.state) else {
            return false;
        };
        let is_full = matches!(self.sockets.get(parent), Some(Socket::Listener(listener)) if listener.is_full());
        is_full && !segment.flags.has(Flags::RST)
    }

    /// Remembers the last step of a handshake, without its data, until the program accepts.
    fn keep_answer(&mut self, handle: Handle, segment: &Segment) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let is_answer = segment.flags.has(Flags::ACK) && !segment.flags.has(Flags::SYN);
        let Some(parent) = tcp.parent.filter(|_| is_answer && !tcp.answered) else {
            return;
        };
        tcp.answered = true;
        if let Some(Socket::Listener(listener)) = self.sockets.get_mut(parent) {
            let answer = Segment {
                length: 0,
                flags: Flags::ACK,
                ..*segment
            };
            listener.answers.push_back((handle, answer));
        }
    }

    /// There is room in a listener's queue: one that waited for it comes in.
    pub(crate) fn admit(&mut self, handle: Handle) {
        while let Some(Socket::Listener(listener)) = self.sockets.get_mut(handle) {
            if listener.is_full() {
                return;
            }
            let Some((child, answer)) = listener.answers.pop_front() else {
                return;
            };
            if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(child) {
                tcp.answered = false;
                self.input_connection(child, &answer, &[], InterfaceId::LOOPBACK);
            }
        }
    }

    /// A handshake is over: the connection can be accepted, if its listener is still there.
    fn hand_to_listener(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get(handle) else {
            return;
        };
        let Some(parent) = tcp.parent else { return };
        if let Some(Socket::Listener(listener)) = self.sockets.get_mut(parent) {
            listener.pending = listener.pending.saturating_sub(1);
            listener.ready.push_back(handle);
            self.note_changed(parent);
        } else if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
            let mut cx = Context {
                now: self.now,
                memory: &mut self.memory,
            };
            tcp.orphan = true;
            tcp.abort(None, &mut cx);
        }
    }

    /// A segment of no connection (RFC 9293, 3.10.7.1).
    fn input_listener(
        &mut self,
        tuple: Tuple,
        segment: &Segment,
        payload: &[u8],
        id: InterfaceId,
        floor: Option<Seq>,
    ) {
        let flags = segment.flags;
        let listener = self.best_bound(ip::TCP, &tuple, id, |stack, handle| {
            matches!(stack.sockets.get(handle), Some(Socket::Listener(_)))
        });
        let Some(handle) = listener else {
            return self.send_reset(&tuple, segment, Some(id));
        };
        if flags.has(Flags::RST) {
            return;
        }
        if flags.has(Flags::ACK) {
            self.input_cookie(handle, tuple, segment, payload, id);
        } else if flags.has(Flags::SYN) && !flags.has(Flags::FIN) {
            self.input_syn(handle, tuple, segment, id, floor);
        }
    }

    fn input_syn(
        &mut self,
        handle: Handle,
        tuple: Tuple,
        segment: &Segment,
        id: InterfaceId,
        floor: Option<Seq>,
    ) {
        let full = self.sockets.len() >= self.most_sockets;
        let Some(Socket::Listener(listener)) = self.sockets.get_mut(handle) else {
            return;
        };
        if listener.is_full() {
            return;
        }
        if listener.is_flooded() || full {
            listener.cookies_at = Some(self.now);
            let options = listener.common.options.clone();
            return self.answer_with_cookie(&tuple, segment, id, &options);
        }
        let initial = self.initial_sequence(&tuple);
        let initial = floor.map_or(initial, |floor| {
            if initial.before(floor) {
                floor
            } else {
                initial
            }
        });
        let offer = Offer::from(&segment.options);
        let Some(child) = self.make_child(handle, tuple, initial, id) else {
            return;
        };
        if let Some(Socket::Listener(listener)) = self.sockets.get_mut(handle) {
            listener.pending += 1;
        }
        if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(child) {
            tcp.answer(segment, &offer, self.now);
        }
        self.settle(child);
    }

    /// A connection that a listener's peer asks for.
    fn make_child(
        &mut self,
        parent: Handle,
        tuple: Tuple,
        initial: Seq,
        id: InterfaceId,
    ) -> Option<Handle> {
        let wish = Wish {
            source: Some(tuple.local.address),
            interface: crate::address::is_link_local(tuple.remote.address).then_some(id),
        };
        let path = self.path(tuple.remote.address, wish, self.now).ok()?;
        let Some(Socket::Listener(listener)) = self.sockets.get(parent) else {
            return None;
        };
        let mut common = Common::new(listener.common.family);
        common.options = listener.common.options.clone();
        common.local = tuple.local.socket_address();
        common.remote = Some(scoped(tuple.remote.socket_address(), id));
        let offset = self.timestamp_offset(&tuple);
        let mut tcp = Tcp::new(common, tuple, initial, offset);
        tcp.parent = Some(parent);
        tcp.set_path(path);
        let child = self.sockets.insert(Socket::Stream(Box::new(tcp)));
        self.register(child, tuple);
        Some(child)
    }

    fn answer_with_cookie(
        &mut self,
        tuple: &Tuple,
        segment: &Segment,
        id: InterfaceId,
        options: &crate::socket::Options,
    ) {
        let offer = Offer::from(&segment.options);
        let scale = crate::tcp::scale_to_offer(options);
        let seq = cookies::make(self.keys.cookie, tuple, segment.seq, &offer, self.now);
        let clock = self.clock(tuple);
        let mtu = self
            .interface(id)
            .map_or(1_500, |interface| interface.config.mtu);
        let headers = if tuple.local.address.is_ipv4() {
            40
        } else {
            60
        };
        let answer = Segment {
            seq,
            ack: segment.seq.plus(1),
            flags: Flags::SYN.with(Flags::ACK),
            window: 65_535,
            options: Options {
                mss: Some(mtu.saturating_sub(headers)),
                window_scale: offer.timestamp.and(offer.window_scale).map(|_| scale),
                sack_permitted: offer.sack && offer.timestamp.is_some(),
                timestamps: offer
                    .timestamp
                    .map(|peer| (cookies::timestamp(clock, &offer), peer)),
                ..Options::default()
            },
            ..Segment::default()
        };
        self.send_control(tuple, &answer, Some(id));
    }

    /// Perhaps the answer to a cookie.
    fn input_cookie(
        &mut self,
        handle: Handle,
        tuple: Tuple,
        segment: &Segment,
        payload: &[u8],
        id: InterfaceId,
    ) {
        let now = self.now;
        let Some(Socket::Listener(listener)) = self.sockets.get(handle) else {
            return;
        };
        let numbers = (segment.seq.minus(1), segment.ack.minus(1));
        let offer = listener
            .expects_cookies(now)
            .then(|| {
                cookies::open(
                    self.keys.cookie,
                    &tuple,
                    numbers,
                    segment.options.timestamps,
                    now,
                )
            })
            .flatten();
        let Some(offer) = offer else {
            return self.send_reset(&tuple, segment, Some(id));
        };
        // A full queue is no reason to forget a peer that has answered: it will be asked again.
        if listener.is_overrun() || self.sockets.len() >= self.most_sockets {
            return;
        }
        let Some(child) = self.make_child(handle, tuple, numbers.1, id) else {
            return;
        };
        if let Some(Socket::Listener(listener)) = self.sockets.get_mut(handle) {
            listener.pending += 1;
        }
        if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(child) {
            tcp.answer_from_cookie(segment, &offer, now);
        }
        self.input_connection(child, segment, payload, id);
    }

    /// Tells a peer that there is no such connection (RFC 9293, 3.10.7.1).
    fn send_reset(&mut self, tuple: &Tuple, segment: &Segment, scope: Option<InterfaceId>) {
        if segment.flags.has(Flags::RST) {
            return;
        }
        let reset = if segment.flags.has(Flags::ACK) {
            Segment {
                seq: segment.ack,
                flags: Flags::RST,
                ..Segment::default()
            }
        } else {
            Segment {
                ack: segment.end(),
                flags: Flags::RST.with(Flags::ACK),
                ..Segment::default()
            }
        };
        self.send_control(tuple, &reset, scope);
    }

    /// RFC 6528: a clock of 4 microseconds, and a keyed hash.
    #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
    pub(crate) fn initial_sequence(&self, tuple: &Tuple) -> Seq {
        let hash = tuple.keyed(self.keys.sequence, 0) as u32;
        Seq(hash.wrapping_add((self.now.0 / 4_000) as u32))
    }

    #[expect(clippy::cast_possible_truncation, reason = "timestamps wrap")]
    pub(crate) fn timestamp_offset(&self, tuple: &Tuple) -> u32 {
        tuple.keyed(self.keys.timestamp, 0) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "timestamps wrap")]
    fn clock(&self, tuple: &Tuple) -> u32 {
        (self.now.millis() as u32).wrapping_add(self.timestamp_offset(tuple))
    }

    /// Puts a connection into the tables.
    pub(crate) fn register(&mut self, handle: Handle, tuple: Tuple) {
        self.connections.insert(tuple, Connection::Open(handle));
        self.ports.connection_made(tuple.local.port);
        if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
            tcp.tuple = tuple;
            tcp.registered = true;
        }
    }

    pub(crate) fn forget_connection(&mut self, tuple: &Tuple) {
        if self.connections.remove(tuple).is_some() {
            self.ports.connection_gone(tuple.local.port);
        }
    }

    /// Looks the path up again if routes have changed.
    pub(crate) fn refresh_path(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get(handle) else {
            return;
        };
        let generation = self.routes.generation;
        if tcp.path.is_some_and(|path| path.generation == generation) {
            return;
        }
        let scope = tcp.common.remote.and_then(crate::datagram_calls::scope_of);
        let wish = Wish {
            source: Some(tcp.tuple.local.address),
            interface: tcp.common.options.interface.or(scope),
        };
        let path = self.path(tcp.tuple.remote.address, wish, self.now);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        match path {
            Ok(path) => tcp.set_path(path),
            Err(error) => {
                tcp.path = None;
                tcp.unreachable(error, &mut self.memory);
            }
        }
    }

    pub(crate) fn tick_socket(&mut self, handle: Handle) {
        self.refresh_path(handle);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        tcp.scheduled = Nanos::MAX;
        let mut cx = Context {
            now: self.now,
            memory: &mut self.memory,
        };
        tcp.tick(&mut cx);
        self.settle(handle);
    }

    /// Acts on what a connection wants after it was called.
    pub(crate) fn settle(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let tuple = tcp.tuple;
        if tcp.take_reset_due() {
            let segment = tcp.reset_segment();
            let scope = tcp.path.map(|path| path.interface);
            self.send_control(&tuple, &segment, scope);
        }
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        if core::mem::take(&mut tcp.changed) {
            self.note_changed(handle);
        }
        self.settle_state(handle, &tuple);
        self.settle_queue(handle);
    }

    fn settle_state(&mut self, handle: Handle, tuple: &Tuple) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        match tcp.state {
            TcpState::TimeWait if tcp.registered => {
                let remains = tcp.remains(self.now);
                tcp.registered = false;
                let is_orphan = tcp.orphan;
                self.send_control(tuple, &remains.acknowledgement(self.now), None);
                self.begin_time_wait(*tuple, remains);
                if is_orphan {
                    self.remove_socket(handle);
                }
            }
            TcpState::Closed => {
                if core::mem::take(&mut tcp.registered) {
                    self.forget_connection(tuple);
                }
                self.end_closed(handle);
            }
            _ => {}
        }
    }

    /// A closed connection that no program knows of is gone.
    fn end_closed(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let (is_orphan, parent) = (tcp.orphan, tcp.parent);
        if let Some(parent) = parent {
            if let Some(Socket::Listener(listener)) = self.sockets.get_mut(parent) {
                if listener.ready.contains(&handle) {
                    // It is accepted as it is: the program learns of the end when it reads.
                    return;
                }
                listener.pending = listener.pending.saturating_sub(1);
            }
            self.remove_socket(handle);
        } else if is_orphan {
            self.remove_socket(handle);
        }
    }

    fn begin_time_wait(&mut self, tuple: Tuple, remains: crate::tcp::time_wait::Remains) {
        if self.time_waits.len() >= MOST_TIME_WAITS
            && let Some((_, oldest)) = self.time_waits.pop_front()
            && matches!(self.connections.get(&oldest), Some(Connection::TimeWait(_)))
        {
            self.forget_connection(&oldest);
        }
        self.time_waits.push_back((remains.until, tuple));
        self.connections
            .insert(tuple, Connection::TimeWait(remains));
        let (mut at, until) = (self.time_wait_at, remains.until);
        self.timers.schedule(Timer::TimeWait, &mut at, until);
        self.time_wait_at = at;
    }

    pub(crate) fn end_time_waits(&mut self) {
        self.time_wait_at = Nanos::MAX;
        let now = self.now;
        while let Some((until, tuple)) = self.time_waits.front().copied() {
            if until > now {
                break;
            }
            self.time_waits.pop_front();
            match self.connections.get(&tuple) {
                Some(Connection::TimeWait(remains)) if remains.until <= now => {
                    self.forget_connection(&tuple)
                }
                Some(Connection::TimeWait(remains)) => {
                    self.time_waits.push_back((remains.until, tuple))
                }
                _ => {}
            }
        }
        if let Some((until, _)) = self.time_waits.front().copied() {
            let mut at = Nanos::MAX;
            self.timers.schedule(Timer::TimeWait, &mut at, until);
            self.time_wait_at = at;
        }
    }

    /// Puts a connection into the queue of its interface, and its deadline among the timers.
    fn settle_queue(&mut self, handle: Handle) {
        let now = self.now;
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        if !tcp.queued
            && tcp.has_output(now)
            && let Some(link) = tcp
                .path
                .and_then(|path| self.links.get_mut(path.interface.0 as usize))
        {
            tcp.queued = true;
            link.ready.push_back(handle);
        }
        let deadline = tcp.deadline();
        self.timers
            .schedule(Timer::Socket(handle), &mut tcp.scheduled, deadline);
    }
}

/// A link-local address with the interface on which it means something.
fn scoped(address: SocketAddr, id: InterfaceId) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) if crate::address::is_link_local(address.ip()) => {
            v6.set_scope_id(id.index());
            SocketAddr::V6(v6)
        }
        _ => address,
    }
}
