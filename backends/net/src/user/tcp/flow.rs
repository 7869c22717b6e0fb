//! One TCP connection, between the guest's segments and a socket of the host.
//!
//! Towards the guest nothing is kept here: bytes stay in the socket's queue, are looked at from
//! `base` on, and are dropped from it when the guest has acknowledged them. From the guest only
//! what the socket took is acknowledged.
//!
//! Until the guest has said its end, closing the socket resets it: whatever ends the monitor, no
//! peer takes a stream that was cut off for one that is complete. Afterwards the host has all that
//! there is to send, and goes on by itself when the monitor is gone.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvFlags, Shutdown, shutdown};

use super::super::addresses::MTU;
use super::super::frame::{Route, ip_length};
use super::super::packet::{ACK, ETHERNET, FIN, SYN};
use super::super::sockets;
use super::stamp::{SHIFT, Stamp};
use super::time::{IDLE, LAZY, Nanos};
use crate::network::{Body, Delivery, Guest};

/// What is offered before it is known how much the socket takes.
pub(super) const ROOM_FIRST: u32 = 32 << 10;
/// Room that is worth waiting for, unless it is more than half of what the socket ever takes.
const ROOM_WORTH: u32 = 64 << 10;
/// Longest segments that the guest is asked for; a frame may hold several. Whoever has more to send
/// uses no window that is shorter than one, until a timer runs out (RFC 9293, 3.8.6.2.1).
const SEGMENT_MAX: u16 = 4 << 10;
/// Most that is offered.
const ROOM_MAX: u32 = 4 << 20;
/// Acknowledged bytes, and pieces, that may stay in the socket's queue.
const LAZY_BYTES: u32 = 4 << 10;
const LAZY_PIECES: u8 = 16;

/// The two ends as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::user) struct Key {
    pub(in crate::user) guest: SocketAddr,
    pub(in crate::user) remote: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::user) enum State {
    /// The socket is on its way; the guest waits for an answer.
    Connecting,
    /// The guest has its answer and has to confirm.
    Answering,
    /// The guest was called and has to answer.
    Calling,
    Open,
    /// Over; late segments are still answered.
    Lingering,
}

#[derive(Debug)]
pub(in crate::user) struct Flow {
    pub(in crate::user) key: Key,
    pub(in crate::user) mac: [u8; 6],
    pub(in crate::user) socket: Option<OwnedFd>,
    pub(in crate::user) pair: usize,
    pub(in crate::user) state: State,
    /// Whether the socket remembers how far it was looked at.
    pub(in crate::user) offsets: bool,

    /// Towards the guest. First byte in the socket's queue, first not acknowledged, next to
    /// send, and the furthest that ever was next.
    pub(super) base: u32,
    pub(super) una: u32,
    pub(super) next: u32,
    pub(super) furthest: u32,
    pub(super) window: u32,
    pub(super) shift: Option<u8>,
    pub(super) mss: u16,
    pub(super) lazy_pieces: u8,
    pub(super) duplicates: u8,
    /// There may be something in the queue behind `next`.
    pub(super) readable: bool,
    /// The last piece was short, as the next may be.
    pub(super) is_short: bool,
    pub(super) host_end: bool,
    pub(super) fin_sent: bool,
    pub(super) fin_acked: bool,
    /// What acknowledges the end.
    pub(super) fin_number: Option<u32>,
    /// The host has said that its end comes: a short look is not the last.
    pub(super) host_closing: bool,

    /// From the guest. Next expected, last acknowledged, right edge of what was offered.
    pub(super) expected: u32,
    pub(super) acked: u32,
    /// End of what came out of order.
    pub(super) lost: u32,
    pub(super) edge: u32,
    /// Free space of the socket, as far as known, and when it was last asked for.
    pub(super) room: u32,
    pub(super) room_asked: u32,
    /// What it ever takes.
    pub(super) room_most: u32,
    pub(super) guest_end: bool,
    /// The socket says when it has more room.
    pub(super) blocked: bool,
    /// It did not take all that the guest sent.
    pub(super) dropped: bool,
    /// The first segment could not be sent yet: the guest had no buffer.
    pub(super) greeting_waits: bool,
    /// Acknowledgements to send now; the time of the one that may wait.
    pub(super) acks: u8,
    pub(super) delayed: u64,

    /// When to do something, and when the table of timers looks here.
    pub(super) deadline: u64,
    pub(super) listed: u64,
    pub(super) tries: u8,
    /// Whether it is the guest that is waited for.
    pub(super) timing: bool,
    pub(super) is_ready: bool,
}

/// Whether `a` comes before `b`.
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Flow {
    pub(super) fn new(key: Key, state: State, mac: [u8; 6], first: u32) -> Self {
        let mut flow = Self {
            key,
            mac,
            socket: None,
            pair: 0,
            state,
            offsets: false,
            base: 0,
            una: 0,
            next: 0,
            furthest: 0,
            window: 0,
            shift: None,
            mss: 536,
            lazy_pieces: 0,
            duplicates: 0,
            readable: false,
            is_short: true,
            host_end: false,
            fin_sent: false,
            fin_acked: false,
            fin_number: None,
            host_closing: false,
            expected: 0,
            acked: 0,
            lost: 0,
            edge: 0,
            room: ROOM_FIRST,
            room_asked: 0,
            room_most: 0,
            guest_end: false,
            blocked: false,
            dropped: false,
            greeting_waits: false,
            acks: 0,
            delayed: 0,
            deadline: u64::MAX,
            listed: u64::MAX,
            tries: 0,
            timing: false,
            is_ready: false,
        };
        flow.number_from(first);
        flow
    }

    fn number_from(&mut self, first: u32) {
        self.una = first;
        self.next = first;
        self.furthest = first;
        self.base = first.wrapping_add(1);
    }

    pub(super) fn attach(&mut self, socket: OwnedFd) {
        sockets::reset_on_close(&socket, true);
        self.offsets = host::net::set_peek_offset(socket.as_fd(), 0).is_ok();
        self.socket = Some(socket);
    }

    /// Longest payload of a segment that is not to be cut.
    pub(super) fn mss_max(&self) -> u16 {
        MTU - ip_length(self.key.remote.ip()) as u16 - 20
    }

    /// Whether there is less room than is worth offering: the socket says when there is more.
    pub(super) fn is_cramped(&self) -> bool {
        self.room < ROOM_WORTH.min(self.room_most / 2)
    }

    /// Whether so much is used up that the rest is to be asked for.
    pub(super) fn is_room_to_be_asked(&self) -> bool {
        self.room_asked == 0 || self.room <= self.room_asked / 2 || self.is_cramped()
    }

    /// Whether something came that follows on what has not come.
    pub(super) const fn has_hole(&self) -> bool {
        before(self.expected, self.lost)
    }

    pub(super) fn route(&self) -> Route {
        Route {
            mac: self.mac,
            source: self.key.remote.ip(),
            destination: self.key.guest.ip(),
        }
    }

    pub(super) const fn in_flight(&self) -> u32 {
        self.next.wrapping_sub(self.una)
    }

    /// Whether the socket's queue holds bytes that the guest has.
    pub(super) const fn is_lazy(&self) -> bool {
        let count = self.una.wrapping_sub(self.base);
        count != 0 && count <= i32::MAX as u32 && !self.fin_acked
    }

    /// How many bytes the guest's window still takes.
    pub(super) fn usable(&self) -> u32 {
        self.window.saturating_sub(self.in_flight())
    }

    /// Whether nothing more comes or goes.
    pub(super) const fn is_over(&self) -> bool {
        self.guest_end && self.fin_acked
    }

    /// The window field, with the right edge that it means noted. That of a SYN has no scale.
    fn offer(&mut self, flags: u8) -> u16 {
        let edge = self.expected.wrapping_add(self.room.min(ROOM_MAX));
        // Until a hole is filled, whatever is sent beyond it is dropped as well.
        if before(self.edge, edge) && !self.has_hole() {
            self.edge = edge;
        }
        let window = self.edge.wrapping_sub(self.expected);
        let scaled = self.shift.is_some() && flags & SYN == 0;
        let shift = if scaled { SHIFT } else { 0 };
        u16::try_from(window >> shift).unwrap_or(u16::MAX)
    }

    /// The guest has said all, and the socket has it.
    pub(super) fn end_of_guest(&mut self, now: Nanos) {
        self.guest_end = true;
        if let Some(socket) = &self.socket {
            sockets::reset_on_close(socket, false);
            // One that is gone already says so when it is read.
            let _ = shutdown(socket, Shutdown::Write);
        }
        // One that fails is looked at again, and fails again.
        let _ = self.drop_acknowledged(true);
        if !self.timing {
            // Nothing is to be dropped later.
            self.rest(now);
        }
    }

    /// Waits for the guest no more, just for whatever comes next.
    pub(super) fn rest(&mut self, now: Nanos) {
        self.timing = false;
        self.deadline = now + if self.is_lazy() { LAZY } else { IDLE };
    }

    /// Looks whether a socket that took nothing has room for something worth sending.
    pub(super) fn look_for_room(&mut self) {
        self.ask_room();
        if self.is_cramped() {
            self.room = 0;
        } else {
            self.unblock();
        }
    }

    /// The socket has room again.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
        // Three more of the same make the guest send again what was dropped.
        let dropped = std::mem::take(&mut self.dropped);
        self.acks = if dropped { 4 } else { 1 };
    }

    /// Asks how much the socket takes.
    pub(super) fn ask_room(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        let memory = host::net::send_memory(socket.as_fd()).unwrap_or_default();
        // A quarter is the host's own overhead.
        let usable = |bytes: u32| (bytes / 4 * 3).min(ROOM_MAX);
        self.room = usable(memory.limit.saturating_sub(memory.used));
        self.room_most = usable(memory.limit);
        self.room_asked = self.room;
    }

    /// The bytes of the socket's queue that the guest has.
    pub(super) fn drop_acknowledged(&mut self, all: bool) -> io::Result<()> {
        let end = if self.fin_acked {
            self.una.wrapping_sub(1)
        } else {
            self.una
        };
        let count = end.wrapping_sub(self.base);
        // Before the first acknowledgement the base is ahead.
        if count == 0 || count > i32::MAX as u32 {
            return Ok(());
        }
        self.lazy_pieces = self.lazy_pieces.saturating_add(1);
        // What is left in a queue that is closed makes a reset of the end.
        let all = all || self.guest_end;
        if !all && count < LAZY_BYTES && self.lazy_pieces < LAZY_PIECES {
            return Ok(());
        }
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let dropped = discard(socket, count)?;
        self.base = self.base.wrapping_add(dropped);
        self.lazy_pieces = 0;
        Ok(())
    }

    /// Begins again with the first byte that the guest does not have.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.drop_acknowledged(true)?;
        self.next = self.una;
        self.fin_sent = self.fin_acked;
        self.host_end = self.fin_acked;
        self.readable = true;
        self.duplicates = 0;
        self.place_look()
    }

    /// Tells the socket where to look next.
    pub(super) fn place_look(&mut self) -> io::Result<()> {
        let offset = self.next.wrapping_sub(self.base);
        match &self.socket {
            Some(socket) if self.offsets && offset <= i32::MAX as u32 => {
                host::net::set_peek_offset(socket.as_fd(), offset)
            }
            _ => Ok(()),
        }
    }

    /// Sends a segment without payload.
    pub(super) fn say(&mut self, guest: &dyn Guest, flags: u8, sequence: u32) -> bool {
        let stamp = self.stamp(flags, sequence);
        let mut head = |count| Some(stamp.head(count));
        let length = self.head_length(flags);
        let said = guest.deliver(self.pair, length, Body::Bytes(&[]), &mut head);
        let said = !matches!(said, Ok(Delivery::NoRoom));
        if said && flags & ACK != 0 {
            self.was_acknowledged();
        }
        said
    }

    pub(super) fn was_acknowledged(&mut self) {
        self.acked = self.expected;
        self.acks = self.acks.saturating_sub(1);
        self.delayed = 0;
    }

    /// Sends what the socket has, at most `length` bytes.
    pub(super) fn say_data(
        &mut self,
        guest: &dyn Guest,
        flags: u8,
        length: usize,
    ) -> io::Result<Delivery> {
        let stamp = self.stamp(flags, self.next);
        let Some(socket) = &self.socket else {
            return Ok(Delivery::Lost);
        };
        let skip = if self.offsets {
            0
        } else {
            self.next.wrapping_sub(self.base) as usize
        };
        let body = Body::Peek {
            socket: socket.as_fd(),
            skip,
            length,
        };
        let head_length = self.head_length(flags);
        guest.deliver(self.pair, head_length, body, &mut |count| {
            Some(stamp.head(count))
        })
    }

    fn head_length(&self, flags: u8) -> usize {
        let options = if flags & SYN == 0 { 0 } else { 8 };
        ETHERNET + ip_length(self.key.remote.ip()) + 20 + options
    }

    fn stamp(&mut self, flags: u8, sequence: u32) -> Stamp {
        Stamp {
            route: self.route(),
            ports: [self.key.remote.port(), self.key.guest.port()],
            sequence,
            acknowledged: if flags & ACK == 0 { 0 } else { self.expected },
            flags,
            window: self.offer(flags),
            mss: self.mss_max().min(SEGMENT_MAX),
            scale: self.shift.is_some() || self.state == State::Calling,
            cut: self.mss,
        }
    }
}

/// Drops bytes from the front of a socket's queue.
fn discard(socket: &OwnedFd, count: u32) -> io::Result<u32> {
    match host::net::discard(socket.as_fd(), count as usize) {
        Ok(dropped) => Ok(dropped as u32),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        // Not TCP: the fake's sockets are not.
        Err(error) if error.raw_os_error() == Some(14) => {
            let mut into = [0; 4096];
            let most = into.len().min(count as usize);
            let into = into.get_mut(..most).unwrap_or_default();
            let (got, _) = rustix::net::recv(socket, into, RecvFlags::DONTWAIT)?;
            Ok(got as u32)
        }
        Err(error) => Err(error),
    }
}

/// The flags of an ordinary segment.
pub(super) const PLAIN: u8 = ACK;
/// The last one's.
pub(super) const LAST: u8 = ACK | FIN;

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let end = SocketAddr::from(([10, 0, 2, 15], 80));
        let key = Key {
            guest: end,
            remote: end,
        };
        Flow::new(key, State::Open, [2; 6], 1)
    }

    #[test]
    fn nothing_more_is_offered_beyond_a_hole() {
        let mut flow = flow();
        flow.room = 50_000;
        flow.offer(ACK);
        assert_eq!(flow.edge, 50_000);
        (flow.expected, flow.lost) = (10_000, 30_000);
        assert_eq!(flow.offer(ACK), 40_000);
        flow.expected = 30_000;
        flow.offer(ACK);
        assert_eq!(flow.edge, 80_000);
    }

    #[test]
    fn a_segment_is_no_longer_than_the_least_room_that_is_offered() {
        let mut flow = flow();
        let segment = u32::from(flow.stamp(SYN, 0).mss);
        // From the smallest queue that Linux makes by itself.
        for size in [16 << 10, 87 << 10, 4 << 20] {
            flow.room_most = size / 4 * 3;
            let least = (0..).find(|room| {
                flow.room = *room;
                !flow.is_cramped()
            });
            assert!(least >= Some(segment), "{least:?} of {size}");
        }
    }
}
