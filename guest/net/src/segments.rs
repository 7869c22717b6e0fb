//! Segments and the connections they are for.

use crate::interface::InterfaceId;
use crate::seq::Seq;
use crate::socket::{Handle, TcpState};
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::time_wait::Verdict;
use crate::tcp::{Context, Reply, Tuple};
use crate::wire::tcp::{Flags, Segment};

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

    pub(crate) fn input_connection(
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

    /// Tells a peer that there is no such connection (RFC 9293, 3.10.7.1).
    pub(crate) fn send_reset(
        &mut self,
        tuple: &Tuple,
        segment: &Segment,
        scope: Option<InterfaceId>,
    ) {
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
    pub(crate) fn clock(&self, tuple: &Tuple) -> u32 {
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
}
