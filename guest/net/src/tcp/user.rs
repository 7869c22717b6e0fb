//! What programs call.

use super::receiver::MOST_LIMIT;
use super::{Context, Tcp};
use crate::error::{Error, Result};
use crate::socket::{Readiness, TcpState, WriteFlags};
use crate::time::Nanos;

/// What the send buffer may hold at least and at most, if the program does not say.
const LEAST_SEND: usize = 256 << 10;
const MOST_SEND: usize = 4 << 20;

impl Tcp {
    /// What the send buffer may hold.
    fn send_limit(&self) -> usize {
        match self.common.options.send_buffer {
            0 => (2 * self.congestion.window.min(MOST_SEND)).clamp(LEAST_SEND, MOST_SEND),
            wish => (wish as usize).max(4_608),
        }
    }

    fn send_room(&self) -> usize {
        self.send_limit().saturating_sub(self.sender.ring.len())
    }

    /// Whether there is so much room that a writer is to be woken (a third of the buffer, as Linux).
    pub(super) fn has_room(&self) -> bool {
        self.send_room() >= self.send_limit() / 3
    }

    /// Takes up to `length` bytes, which `fill` puts where it is told and says how many it did.
    pub(crate) fn write(
        &mut self,
        length: usize,
        flags: WriteFlags,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
        cx: &mut Context<'_>,
    ) -> Result<usize> {
        if let Some(error) = self.common.error.take() {
            return Err(error);
        }
        if self.common.write_closed || self.is_synchronized() && !self.may_send() {
            return Err(Error::Pipe);
        }
        match self.state {
            TcpState::Closed | TcpState::Listen => return Err(self.closed_error()),
            TcpState::SynSent | TcpState::SynReceived => return self.starve(),
            _ => {}
        }
        let wanted = length.min(self.send_room());
        if wanted == 0 && length > 0 {
            return self.starve();
        }
        let before = self.sender.ring.len();
        if self
            .sender
            .ring
            .reserve(before + wanted, cx.memory)
            .is_err()
        {
            self.sender.starved = true;
            return Err(Error::NoBuffers);
        }
        let done = self.fill_ring(wanted, fill);
        // Whoever finds no room, here or by asking, is told when there is some.
        self.sender.starved |= wanted < length || !self.has_room();
        self.sender.more = flags.more;
        if flags.urgent && done == length && done > 0 {
            self.sender.urgent = Some(self.data_end_after_write());
        }
        Ok(done)
    }

    fn closed_error(&self) -> Error {
        if self.common.remote.is_some() {
            Error::Pipe
        } else {
            Error::NotConnected
        }
    }

    fn starve(&mut self) -> Result<usize> {
        self.sender.starved = true;
        Err(Error::WouldBlock)
    }

    fn fill_ring(&mut self, wanted: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> usize {
        let mut done = 0;
        while done < wanted {
            let room = self.sender.ring.room(wanted - done);
            let length = room.len();
            let filled = fill(room).min(length);
            self.sender.ring.extend(filled);
            done += filled;
            if filled < length || length == 0 {
                break;
            }
        }
        done
    }

    fn data_end_after_write(&self) -> crate::seq::Seq {
        self.sender.unacknowledged.plus(self.sender.ring.len())
    }

    /// Bytes that can be read, before an urgent one if that does not stay in the stream.
    fn readable(&self) -> usize {
        let length = self.receiver.ring.len();
        match self.urgent_offset() {
            Some(0) if length > 0 => length.min(1),
            Some(offset) if offset < length => offset,
            _ => length,
        }
    }

    /// Where in the buffer the urgent byte is.
    fn urgent_offset(&self) -> Option<usize> {
        let urgent = self.receiver.urgent.as_ref()?;
        let start = self.stream_start();
        urgent.at.at_least(start).then(|| urgent.at.since(start))
    }

    fn stream_start(&self) -> crate::seq::Seq {
        let receiver = &self.receiver;
        let fin = usize::from(receiver.fin.is_some_and(|fin| fin.before(receiver.next)));
        let behind = receiver.ring.len() + fin;
        receiver.next.minus(crate::bytes::length32(behind))
    }

    /// Whether the next byte to be read is the urgent one (`SIOCATMARK`).
    pub(crate) fn is_at_mark(&self) -> bool {
        self.urgent_offset() == Some(0)
    }

    /// The urgent byte, outside the stream (`MSG_OOB`).
    pub(crate) fn read_urgent(&mut self, peek: bool) -> Result<u8> {
        if self.common.options.urgent_inline {
            return Err(Error::Invalid);
        }
        let is_open = self.is_synchronized();
        let urgent = self.receiver.urgent.as_mut().filter(|urgent| !urgent.taken);
        let urgent = urgent.ok_or(if is_open {
            Error::Invalid
        } else {
            Error::NotConnected
        })?;
        let byte = urgent.byte.ok_or(Error::WouldBlock)?;
        urgent.taken |= !peek;
        Ok(byte)
    }

    /// Gives what is there to `take`, which says how much it took. 0: the end.
    pub(crate) fn read(
        &mut self,
        length: usize,
        peek: bool,
        take: &mut dyn FnMut(&[u8]) -> usize,
        cx: &mut Context<'_>,
    ) -> Result<usize> {
        self.skip_urgent();
        let mark = if self.common.options.urgent_inline && self.is_at_mark() {
            usize::MAX
        } else {
            self.readable()
        };
        let available = self.receiver.ring.len().min(length).min(mark);
        if available == 0 {
            return self.nothing_to_read(length);
        }
        let mut done = 0;
        for part in self.receiver.ring.slices(0, available) {
            if part.is_empty() {
                continue;
            }
            let taken = take(part).min(part.len());
            done += taken;
            if taken < part.len() {
                break;
            }
        }
        if !peek {
            self.consume(done, cx);
        }
        Ok(done)
    }

    /// The byte at the mark is not part of the stream.
    fn skip_urgent(&mut self) {
        let inline = self.common.options.urgent_inline;
        let has_byte = self
            .receiver
            .urgent
            .is_some_and(|urgent| urgent.byte.is_some());
        if self.is_at_mark() && has_byte && !inline {
            self.receiver.ring.drop_front(1);
        }
    }

    fn nothing_to_read(&mut self, length: usize) -> Result<usize> {
        if let Some(error) = self.common.error.take() {
            return Err(error);
        }
        if self.common.read_closed || length == 0 {
            return Ok(0);
        }
        match self.state {
            TcpState::Closed if self.common.remote.is_none() => Err(Error::NotConnected),
            TcpState::SynSent | TcpState::SynReceived => Err(Error::WouldBlock),
            TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2 => {
                Err(Error::WouldBlock)
            }
            TcpState::Listen => Err(Error::NotConnected),
            _ => Ok(0),
        }
    }

    fn consume(&mut self, length: usize, cx: &mut Context<'_>) {
        let receiver = &mut self.receiver;
        receiver.ring.drop_front(length);
        if receiver.ring.is_empty() && receiver.out_of_order.is_empty() {
            receiver.ring.release(cx.memory);
        }
        self.tune(length, cx.now);
        if !self.may_receive() {
            return;
        }
        let receiver = &mut self.receiver;
        let gained = receiver.window_end().since(receiver.advertised);
        if gained > 0 && gained >= (receiver.limit / 2).min(2 * receiver.mss) {
            receiver.ack_now = true;
        }
    }

    /// A program that reads half a buffer in two round trips is worth a larger one.
    fn tune(&mut self, length: usize, now: Nanos) {
        let receiver = &mut self.receiver;
        if receiver.is_fixed {
            return;
        }
        let round = self.rtt.smoothed.times(2).max(Nanos::from_millis(1));
        let (since, read) = &mut receiver.tuning;
        if now - *since > round {
            *since = now;
            *read = 0;
        }
        *read += length;
        if *read >= receiver.limit / 2 {
            receiver.limit = (receiver.limit * 2).min(MOST_LIMIT);
            receiver.tuning = (now, 0);
        }
    }

    /// Writes no more; what is queued is still sent.
    pub(crate) fn close_write(&mut self) {
        if self.common.write_closed {
            return;
        }
        self.common.write_closed = true;
        match self.state {
            // The end is queued, and follows once the connection is open.
            TcpState::SynSent | TcpState::SynReceived => {}
            TcpState::Established => self.state = TcpState::FinWait1,
            TcpState::CloseWait => self.state = TcpState::LastAck,
            _ => return,
        }
        self.sender.fin = true;
        self.changed = true;
    }

    /// Reads no more: what comes is thrown away.
    pub(crate) fn close_read(&mut self) {
        self.common.read_closed = true;
        self.changed = true;
    }

    /// No program has it any more. Whether it lives on to send what is queued.
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>) -> bool {
        let unread = !self.receiver.ring.is_empty();
        self.orphan = true;
        self.receiver.ring.release(cx.memory);
        self.receiver.out_of_order.clear();
        if !self.is_synchronized() || self.state == TcpState::TimeWait {
            self.end(None, cx.memory);
            return false;
        }
        if unread || self.common.options.linger == Some(Nanos::ZERO) {
            // The peer is to know that not all was read (RFC 2525, 2.17).
            self.count.reset_due = true;
            self.end(None, cx.memory);
            return false;
        }
        self.close_write();
        self.close_read();
        if self.state == TcpState::FinWait2 {
            self.deadlines.end = cx.now + self.common.options.fin_timeout;
        }
        true
    }

    /// Bytes that the peer has not acknowledged; its end counts as one.
    pub(crate) fn undelivered(&self) -> usize {
        let end = self.sender.fin && !self.sender.fin_acknowledged;
        if self.state == TcpState::Closed {
            return 0;
        }
        self.sender.ring.len() + usize::from(end)
    }

    /// Asks the peer what it takes, and gives it what it does, be it little.
    pub(crate) fn probe(&mut self) {
        self.sender.probe_due = true;
        self.sender.force = self.sender.window > 0;
    }

    /// Ends the connection so that the peer learns of it.
    pub(crate) fn abort(&mut self, error: Option<Error>, cx: &mut Context<'_>) {
        let tells = self.is_synchronized() && self.state != TcpState::TimeWait
            || self.state == TcpState::SynReceived;
        self.count.reset_due = tells;
        self.end(error, cx.memory);
    }

    /// Options were set.
    pub(crate) fn options_changed(&mut self, old_receive: u32, now: Nanos) {
        let wish = self.common.options.receive_buffer;
        if wish != old_receive {
            self.receiver.set_limit(wish);
        }
        if self.common.options.quick_ack && self.receiver.pending > 0 {
            self.receiver.ack_now = true;
        }
        if self.common.options.no_delay && !self.common.options.cork {
            self.sender.force = self.sender.unsent() > 0;
        }
        self.arm_keep_alive(now);
    }

    /// What `poll` wants to know.
    pub(crate) fn readiness(&self) -> Readiness {
        let is_closed = self.state == TcpState::Closed;
        let was_open = self.common.remote.is_some();
        let end = matches!(
            self.state,
            TcpState::CloseWait | TcpState::LastAck | TcpState::Closing | TcpState::TimeWait
        ) || is_closed;
        let read_closed = self.common.read_closed || end && (was_open || !is_closed);
        let length = self.receiver.ring.len();
        let skipped = usize::from(self.is_at_mark() && !self.common.options.urgent_inline);
        let readable_bytes = length.saturating_sub(skipped);
        let is_asking = matches!(self.state, TcpState::SynSent | TcpState::SynReceived);
        let write_closed = self.common.write_closed || is_closed;
        let error = self.common.error.is_some();
        Readiness {
            readable: readable_bytes > 0 || read_closed || error,
            writable: !is_asking && (self.has_room() || write_closed || error),
            urgent: self
                .receiver
                .urgent
                .is_some_and(|u| u.byte.is_some() && !u.taken),
            read_closed: read_closed && !is_asking,
            hang_up: is_closed || read_closed && write_closed && !is_asking,
            error,
            readable_bytes,
            writable_bytes: if is_asking || write_closed {
                0
            } else {
                self.send_room()
            },
            unsent_bytes: self.sender.ring.len(),
        }
    }
}
