//! Connections that listeners' peers ask for.

use alloc::boxed::Box;
use core::net::SocketAddr;

use crate::addresses::Wish;
use crate::interface::InterfaceId;
use crate::seq::Seq;
use crate::socket::{Common, Handle, TcpState};
use crate::stack::{Socket, Stack};
use crate::tcp::{Context, Offer, Tcp, Tuple, cookies};
use crate::wire::ip;
use crate::wire::tcp::{Flags, Options, Segment};

impl Stack {
    /// The last step of a handshake waits while its listener's queue is full: the peer will
    /// repeat it.
    pub(crate) fn is_turned_away(&self, handle: Handle, segment: &Segment) -> bool {
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
    pub(crate) fn keep_answer(&mut self, handle: Handle, segment: &Segment) {
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
    pub(crate) fn hand_to_listener(&mut self, handle: Handle) {
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
    pub(crate) fn input_listener(
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
        let flooded = listener.is_flooded() || full;
        if flooded || listener.was_flooded(self.now) {
            if flooded {
                listener.cookies_at = Some(self.now);
            }
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
