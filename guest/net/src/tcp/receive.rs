//! Data that arrives, in order or not.

use super::receiver::Urgent;
use super::{Context, Tcp};
use crate::seq::Seq;
use crate::socket::TcpState;
use crate::time::Nanos;
use crate::wire::tcp::{Flags, Segment};

const DELAY: Nanos = Nanos::from_millis(40);

impl Tcp {
    /// Takes the data and the end that a segment in the window carries.
    pub(super) fn receive(&mut self, segment: &Segment, payload: &[u8], cx: &mut Context<'_>) {
        if segment.space() == 0 {
            return;
        }
        if !self.may_receive() {
            // The end again, or data after it.
            self.receiver.ack_now = true;
            return;
        }
        self.note_urgent(segment);
        if !payload.is_empty() {
            if self.common.read_closed && self.orphan {
                self.refuse_data(cx);
                return;
            }
            self.receive_data(segment, payload, cx);
        }
        if segment.flags.has(Flags::FIN) {
            let end = segment.seq.plus(segment.length);
            if self.receiver.fin.is_none() && end.at_most(self.receiver.advertised.plus(1)) {
                self.receiver.fin = Some(end);
            }
            self.receiver.ack_now = true;
        }
        self.take_fin();
    }

    /// Nobody is there to read: the peer is to know that its data is lost (RFC 9293, 3.6.1).
    fn refuse_data(&mut self, cx: &mut Context<'_>) {
        self.count.reset_due = true;
        self.end(None, cx.memory);
    }

    fn receive_data(&mut self, segment: &Segment, payload: &[u8], cx: &mut Context<'_>) {
        let receiver = &mut self.receiver;
        let end = receiver.advertised.max(receiver.next);
        let skip = receiver.next.since(segment.seq);
        let start = segment.seq.max(receiver.next);
        let Some(fresh) = payload.get(skip..) else {
            self.note_duplicate(segment);
            self.receiver.ack_now = true;
            return;
        };
        let length = fresh.len().min(end.since(start));
        let Some(fresh) = fresh.get(..length).filter(|fresh| !fresh.is_empty()) else {
            self.receiver.ack_now = true;
            return;
        };
        let offset = start.since(receiver.next);
        let total = receiver.ring.len() + offset + length;
        if receiver.ring.reserve(total, cx.memory).is_err() {
            return;
        }
        if receiver.out_of_order.containing(start).is_some() {
            receiver.duplicate = Some((start, start.plus(length)));
        }
        receiver.ring.put_behind(offset, fresh);
        receiver.at = cx.now;
        if offset == 0 {
            self.take_in_order(length, segment, cx.now);
        } else {
            self.take_out_of_order(start, length);
        }
    }

    fn take_in_order(&mut self, length: usize, segment: &Segment, now: Nanos) {
        let receiver = &mut self.receiver;
        let mut end = receiver.next.plus(length);
        let had_gap = !receiver.out_of_order.is_empty();
        if had_gap {
            if let Some((_, further)) = receiver.out_of_order.containing(end) {
                end = end.max(further);
            }
            receiver.out_of_order.drop_before(end);
        }
        let taken = end.since(receiver.next);
        receiver.ring.extend(taken);
        receiver.next = end;
        self.count.bytes_received += taken as u64;
        self.changed = true;
        self.take_urgent_byte();
        let receiver = &mut self.receiver;
        receiver.mss = receiver.mss.max(length / segment.count.max(1)).min(65_535);
        receiver.pending += segment.count.max(1);
        let is_quick = receiver.quick > 0 && !receiver.interactive;
        receiver.quick = receiver.quick.saturating_sub(1);
        let at_once = had_gap || receiver.pending >= 2 || is_quick || self.common.options.quick_ack;
        if at_once {
            receiver.ack_now = true;
        } else if self.deadlines.acknowledge == Nanos::MAX {
            self.deadlines.acknowledge = now + DELAY;
        }
    }

    fn take_out_of_order(&mut self, start: Seq, length: usize) {
        let receiver = &mut self.receiver;
        receiver.ack_now = true;
        if let Some(range) = receiver.out_of_order.insert((start, start.plus(length))) {
            receiver.latest = range;
        }
    }

    /// The peer's end, once everything before it is here.
    fn take_fin(&mut self) {
        if self.receiver.fin != Some(self.receiver.next) {
            return;
        }
        self.receiver.next = self.receiver.next.plus(1);
        self.receiver.ack_now = true;
        self.receiver.out_of_order.clear();
        self.changed = true;
        match self.state {
            TcpState::Established => self.state = TcpState::CloseWait,
            TcpState::FinWait1 => self.state = TcpState::Closing,
            TcpState::FinWait2 => self.enter_time_wait(),
            _ => {}
        }
    }

    /// What came a second time is reported, so that the peer learns of it (RFC 2883).
    pub(super) fn note_duplicate(&mut self, segment: &Segment) {
        if segment.length > 0 {
            let end = segment.seq.plus(segment.length);
            self.receiver.duplicate = Some((segment.seq, end.min(self.receiver.next)));
        }
    }

    /// The byte before the one that the pointer names is urgent (RFC 6093, 3.1: as everybody does it).
    fn note_urgent(&mut self, segment: &Segment) {
        if !segment.flags.has(Flags::URG) || segment.urgent == 0 {
            return;
        }
        let at = segment.seq.plus(usize::from(segment.urgent) - 1);
        let is_news = self.receiver.urgent.is_none_or(|old| old.at.before(at));
        if is_news && at.at_least(self.receiver.next) {
            self.receiver.urgent = Some(Urgent {
                at,
                byte: None,
                taken: false,
            });
            self.changed = true;
        }
        self.take_urgent_byte();
    }

    /// The urgent byte, once it is here.
    fn take_urgent_byte(&mut self) {
        let receiver = &mut self.receiver;
        let Some(urgent) = &mut receiver.urgent else {
            return;
        };
        if urgent.byte.is_some() || urgent.at.at_least(receiver.next) {
            return;
        }
        let behind = receiver.next.since(urgent.at);
        let Some(offset) = receiver.ring.len().checked_sub(behind) else {
            return;
        };
        let [one, other] = receiver.ring.slices(offset, 1);
        urgent.byte = one.first().or(other.first()).copied();
        self.changed = true;
    }
}
