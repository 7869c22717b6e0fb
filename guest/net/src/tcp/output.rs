//! What is to be sent next.

use super::Tcp;
use super::sender::Recovery;
use crate::seq::Seq;
use crate::socket::TcpState;
use crate::time::Nanos;
use crate::wire::tcp::{Flags, Options, Segment};

/// What a frame can hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of TCP header and payload in the largest frame that the device cuts; zero: it cuts none.
    pub(crate) largest: usize,
}

/// A segment to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emission {
    pub(crate) segment: Segment,
    /// Where its payload starts in the buffer.
    pub(crate) offset: usize,
    /// Payload of each segment, if it is to be cut.
    pub(crate) gso: Option<u16>,
    kind: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Syn,
    Acknowledgement,
    Fresh,
    Again,
    Tail,
    Probe,
}

impl Tcp {
    /// What is to be sent now. Nothing changes until [`Tcp::sent`] is told that it was; but timers are
    /// set when something waits for its time.
    pub(crate) fn next_segment(&mut self, now: Nanos, limits: Limits) -> Option<Emission> {
        match self.state {
            TcpState::Closed | TcpState::Listen => return None,
            TcpState::SynSent | TcpState::SynReceived => {
                return self.sender.syn_due.then(|| self.emit_syn(now));
            }
            _ => {}
        }
        let has_gap = !self.receiver.out_of_order.is_empty() || self.receiver.duplicate.is_some();
        if self.receiver.ack_now && has_gap {
            return Some(self.emit_acknowledgement(now, What::Acknowledgement));
        }
        if self.sender.outstanding() == 0 && self.sender.unsent() > 0 {
            let silence = now - self.sender.sent_at;
            self.congestion.idle(silence, self.rtt.base());
        }
        self.lost_segment(now, limits)
            .or_else(|| self.tail_segment(now))
            .or_else(|| self.fresh_segment(now, limits))
            .or_else(|| self.probe_or_acknowledgement(now))
    }

    fn probe_or_acknowledgement(&self, now: Nanos) -> Option<Emission> {
        if self.sender.probe_due {
            return Some(self.emit_acknowledgement(now, What::Probe));
        }
        let due = self.receiver.ack_now;
        due.then(|| self.emit_acknowledgement(now, What::Acknowledgement))
    }

    fn emit_syn(&self, now: Nanos) -> Emission {
        Emission {
            segment: self.syn(now),
            offset: 0,
            gso: None,
            kind: What::Syn,
        }
    }

    /// Header fields that all but the first segments share.
    pub(super) fn header(&self, now: Nanos) -> Segment {
        Segment {
            seq: self.sender.next,
            ack: self.receiver.next,
            flags: Flags::ACK,
            window: self.receiver.window_field(),
            options: Options {
                timestamps: self
                    .timestamps
                    .then(|| (self.timestamp(now), self.receiver.timestamp_recent)),
                ..Options::default()
            },
            count: 1,
            ..Segment::default()
        }
    }

    fn emit_acknowledgement(&self, now: Nanos, kind: What) -> Emission {
        let mut segment = self.header(now);
        if kind == What::Probe {
            // What the peer has, so that it answers (RFC 9293, 3.8.4).
            segment.seq = self.sender.unacknowledged.minus(1);
        }
        self.add_sack(&mut segment.options);
        Emission {
            segment,
            offset: 0,
            gso: None,
            kind,
        }
    }

    /// What came out of order, the latest first, after what came twice (RFC 2018, 4; RFC 2883).
    fn add_sack(&self, options: &mut Options) {
        if !self.sack {
            return;
        }
        let receiver = &self.receiver;
        let latest = receiver.out_of_order.containing(receiver.latest.0);
        let others = receiver.out_of_order.as_slice().iter().copied();
        let ranges = receiver
            .duplicate
            .into_iter()
            .chain(latest)
            .chain(others.filter(|range| Some(*range) != latest));
        let most = if self.timestamps { 3 } else { 4 };
        for (place, range) in options.sack.iter_mut().zip(ranges).take(most) {
            *place = range;
            options.sack_count += 1;
        }
    }

    /// Where the data of the buffer ends.
    fn data_end(&self) -> Seq {
        self.sender.unacknowledged.plus(self.sender.ring.len())
    }

    /// How much payload fits a frame of `length` bytes of data: whole segments, or the rest.
    fn cut(&self, length: usize, limits: Limits) -> usize {
        let mss = self.sender.mss;
        let options = if self.timestamps { 12 } else { 0 };
        let largest = limits.largest.saturating_sub(20 + options);
        if largest <= mss || length <= mss {
            return length.min(mss);
        }
        let most = largest - largest % mss;
        // A part of the window at a time, so that acknowledgements keep coming.
        let part = (self.congestion.window / 2).max(2 * mss);
        let most = most.min(part - part % mss);
        if length > most { most } else { length }
    }

    fn emit_data(&self, from: Seq, length: usize, kind: What, now: Nanos) -> Emission {
        let sender = &self.sender;
        let mut segment = self.header(now);
        segment.seq = from;
        segment.length = length;
        segment.count = length.div_ceil(sender.mss.max(1)).max(1);
        let end = from.plus(length);
        if length > 0 && end == self.data_end() {
            segment.flags = segment.flags.with(Flags::PSH);
        }
        if end == self.data_end() && sender.fin && !sender.fin_acknowledged {
            let goes_along = kind != What::Fresh || sender.window_end().after(end) || length == 0;
            let was_sent = kind == What::Fresh || sender.fin_sent;
            if goes_along && was_sent {
                segment.flags = segment.flags.with(Flags::FIN);
            }
        }
        if let Some(urgent) = sender.urgent
            && urgent.after(from)
            && urgent.since(from) <= 65_535
        {
            segment.flags = segment.flags.with(Flags::URG);
            segment.urgent = crate::bytes::length16(urgent.since(from));
        }
        Emission {
            segment,
            offset: from.since(sender.unacknowledged),
            gso: (length > sender.mss).then(|| crate::bytes::length16(sender.mss)),
            kind,
        }
    }

    /// The first of what is lost.
    fn lost_segment(&self, now: Nanos, limits: Limits) -> Option<Emission> {
        let sender = &self.sender;
        let from = sender.resent_below.max(sender.unacknowledged);
        let (start, end) = sender.sacked.gap(from, sender.lost_below)?;
        let pipe = sender.pipe();
        let is_first = start == sender.unacknowledged;
        if !is_first && pipe.saturating_add(sender.mss) > self.congestion.window.max(sender.mss) {
            return None;
        }
        let data = end.min(self.data_end()).since(start);
        let end_is_out = sender.fin_sent && !sender.fin_acknowledged;
        if data == 0 && !end_is_out {
            return None;
        }
        let budget = self.congestion.window.saturating_sub(pipe).max(sender.mss);
        let window = sender.window.max(sender.mss);
        let length = self.cut(data.min(budget).min(window), limits);
        Some(self.emit_data(start, length, What::Again, now))
    }

    /// The last of what was sent, to hear whether it arrived (RFC 8985, 7).
    fn tail_segment(&mut self, now: Nanos) -> Option<Emission> {
        if !self.sender.tail_due {
            return None;
        }
        let sender = &self.sender;
        if sender.outstanding() == 0 || sender.recovery != Recovery::None {
            self.sender.tail_due = false;
            return None;
        }
        let sent = self.data_end().min(sender.next);
        let length = sent.since(sender.unacknowledged).min(sender.mss);
        let start = sent.minus(crate::bytes::length32(length));
        Some(self.emit_data(start, length, What::Tail, now))
    }

    /// Data that was not sent yet, and the end.
    fn fresh_segment(&mut self, now: Nanos, limits: Limits) -> Option<Emission> {
        let sender = &self.sender;
        let unsent = sender.unsent();
        if unsent == 0 {
            let end_due = sender.fin && !sender.fin_sent && sender.lost() == 0;
            return end_due.then(|| self.emit_data(sender.next, 0, What::Fresh, now));
        }
        let window = sender.window_end().since(sender.next);
        let budget = self.congestion.window.saturating_sub(sender.pipe());
        if budget < sender.mss.min(unsent) {
            self.sender.limited = true;
            return None;
        }
        let budget = budget.max(sender.mss);
        let length = unsent.min(window).min(budget);
        let length = self.cut(length, limits);
        let rest = length % sender.mss;
        // Several segments and a part: the part waits for more, if it is to wait.
        if rest > 0 && length < unsent && length > sender.mss && length != window {
            let whole = length - rest;
            return Some(self.emit_data(sender.next, whole, What::Fresh, now));
        }
        if length < sender.mss && !self.may_send_small(length, unsent, window, now) {
            return None;
        }
        Some(self.emit_data(self.sender.next, length, What::Fresh, now))
    }

    /// Whether a segment that is not full goes out (RFC 9293, 3.8.6.2.1; Nagle with Minshall's
    /// change), and what to wait for if not.
    fn may_send_small(&mut self, length: usize, unsent: usize, window: usize, now: Nanos) -> bool {
        let sender = &self.sender;
        if length < unsent && length == window {
            // The window is what is small.
            let is_worth = length > 0 && (sender.force || length >= sender.window_most / 2);
            if !is_worth && sender.outstanding() == 0 {
                self.arm_persistence(now);
            }
            return is_worth;
        }
        let options = &self.common.options;
        if sender.force || sender.fin || sender.urgent.is_some() {
            return length > 0;
        }
        if options.cork || sender.more {
            if self.deadlines.cork == Nanos::MAX {
                self.deadlines.cork = now + Nanos::from_millis(200);
            }
            return false;
        }
        let has_small = sender.small.after(sender.unacknowledged);
        length > 0 && (options.no_delay || !has_small || sender.outstanding() == 0)
    }

    /// The payload of an emission.
    pub(crate) fn payload(&self, emission: &Emission) -> [&[u8]; 2] {
        self.sender
            .ring
            .slices(emission.offset, emission.segment.length)
    }

    /// It was sent.
    pub(crate) fn sent(&mut self, emission: &Emission, now: Nanos) {
        let segment = &emission.segment;
        self.count.segments_out = self.count.segments_out.wrapping_add(1);
        self.count.bytes_sent += segment.length as u64;
        self.sent_acknowledgement(segment, now);
        match emission.kind {
            What::Syn => self.sent_syn(now),
            What::Acknowledgement => return,
            What::Probe => {
                self.sender.probe_due = false;
                return;
            }
            What::Fresh => self.sent_fresh(segment, now),
            What::Again | What::Tail => self.sent_again(emission, now),
        }
        if emission.kind != What::Again || self.deadlines.retransmit == Nanos::MAX {
            self.arm_after_sending(now);
        }
    }

    fn sent_acknowledgement(&mut self, segment: &Segment, now: Nanos) {
        if !segment.flags.has(Flags::ACK) || segment.flags.has(Flags::SYN) {
            return;
        }
        let receiver = &mut self.receiver;
        receiver.advertised = receiver
            .next
            .plus(usize::from(segment.window) << receiver.scale)
            .max(receiver.advertised);
        receiver.acknowledged = receiver.next;
        receiver.pending = 0;
        receiver.ack_now = false;
        receiver.duplicate = None;
        self.deadlines.acknowledge = Nanos::MAX;
        if segment.length > 0 {
            let soon = now - receiver.at < Nanos::from_millis(40);
            receiver.interactive |= soon && receiver.quick < 15;
        }
    }

    fn sent_syn(&mut self, now: Nanos) {
        let sender = &mut self.sender;
        sender.syn_due = false;
        if sender.next == sender.initial {
            sender.next = sender.initial.plus(1);
            sender.timed = Some((sender.next, now));
            for mark in [
                &mut sender.lost_below,
                &mut sender.resent_below,
                &mut sender.small,
            ] {
                *mark = sender.next;
            }
        } else {
            sender.timed = None;
        }
        let window = usize::from(u16::MAX).min(self.receiver.free());
        if self.state == TcpState::SynReceived {
            self.receiver.advertised = self.receiver.next.plus(window);
        }
    }

    fn sent_fresh(&mut self, segment: &Segment, now: Nanos) {
        let sender = &mut self.sender;
        let end = segment.end();
        if !segment.length.is_multiple_of(sender.mss.max(1)) {
            sender.small = end;
        }
        if sender.outstanding() == 0 {
            sender.progress_at = now;
        }
        sender.next = end;
        sender.sent_at = now;
        sender.force = false;
        sender.tail_due = false;
        sender.fin_sent |= segment.flags.has(Flags::FIN);
        if sender.recovery == Recovery::None && sender.lost_below.before(sender.unacknowledged) {
            sender.lost_below = sender.unacknowledged;
        }
        if sender.timed.is_none() {
            sender.timed = Some((end, now));
        }
        sender.limited = sender.pipe().saturating_add(sender.mss) > self.congestion.window / 2;
        self.deadlines.cork = Nanos::MAX;
    }

    fn sent_again(&mut self, emission: &Emission, now: Nanos) {
        let sender = &mut self.sender;
        sender.timed = None;
        sender.sent_at = now;
        self.count.retransmits = self.count.retransmits.wrapping_add(1);
        self.count.bytes_retransmitted += emission.segment.length as u64;
        if emission.kind == What::Tail {
            sender.tail_due = false;
            sender.tail_sent = true;
        } else {
            sender.resent_below = sender.resent_below.max(emission.segment.end());
            sender.resent_at = sender.next;
            if let Some((_, again)) = &mut sender.undo {
                *again += emission.segment.count;
            }
        }
    }
}

impl Tcp {
    /// Whether [`Tcp::next_segment`] has something.
    pub(crate) fn has_output(&mut self, now: Nanos) -> bool {
        self.next_segment(now, Limits { largest: 0 }).is_some()
    }
}
