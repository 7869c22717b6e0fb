//! What an acknowledgement tells, and what is lost (RFC 5681, RFC 6675).

use super::sender::{MOST_REORDERING, REORDERING, Recovery};
use super::{Context, Tcp};
use crate::error::Error;
use crate::seq::Seq;
use crate::socket::TcpState;
use crate::time::Nanos;
use crate::wire::tcp::Segment;

impl Tcp {
    /// Takes the acknowledgement, the window and the selective acknowledgements of a segment.
    pub(super) fn acknowledge(&mut self, segment: &Segment, cx: &mut Context<'_>) {
        self.count.probes = 0;
        self.arm_keep_alive(cx.now);
        self.take_duplicate_sack(segment);
        let sacked = self.take_sack(segment);
        let ack = segment.ack;
        if ack.after(self.sender.unacknowledged) {
            self.advance(segment, cx);
        } else if ack == self.sender.unacknowledged {
            self.count_duplicate(segment, sacked);
        }
        self.update_window(segment);
        if self.state == TcpState::Closed {
            return;
        }
        self.detect_loss(cx.now);
        self.arm_retransmission(cx.now);
    }

    fn update_window(&mut self, segment: &Segment) {
        let (seq, ack) = self.sender.window_from;
        let newer = seq.before(segment.seq)
            || seq == segment.seq && ack.at_most(segment.ack)
            || ack.before(segment.ack);
        if newer && segment.ack.at_least(self.sender.unacknowledged) {
            self.set_send_window(segment, self.sender.scale);
        }
    }

    /// Something new is acknowledged.
    fn advance(&mut self, segment: &Segment, cx: &mut Context<'_>) {
        let bytes = segment.ack.since(self.sender.unacknowledged);
        self.sample(segment, cx.now);
        let sender = &mut self.sender;
        let data = bytes.min(sender.ring.len());
        sender.ring.drop_front(data);
        sender.ring.shrink(cx.memory);
        sender.unacknowledged = segment.ack;
        sender.sacked.drop_before(segment.ack);
        sender.sacked_bytes = sender.sacked.covered(segment.ack, sender.next);
        sender.duplicates = 0;
        sender.progress_at = cx.now;
        sender.tail_sent = false;
        sender.urgent = sender.urgent.filter(|end| end.after(segment.ack));
        for mark in [
            &mut sender.lost_below,
            &mut sender.resent_below,
            &mut sender.resent_at,
        ] {
            *mark = mark.max(segment.ack);
        }
        self.count.bytes_acknowledged += data as u64;
        self.rtt.backoff = 0;
        self.count.soft_error = None;
        self.grow_or_recover(bytes, cx.now);
        if self.sender.starved && self.has_room() {
            self.sender.starved = false;
            self.changed = true;
        }
        if bytes > data && self.sender.fin_sent {
            self.sender.fin_acknowledged = true;
            self.fin_was_acknowledged(cx);
        }
    }

    fn sample(&mut self, segment: &Segment, now: Nanos) {
        match self.sender.timed {
            Some((end, at)) if segment.ack.at_least(end) => {
                self.rtt.sample(now - at);
                self.sender.timed = None;
            }
            Some(_) => {}
            None => {
                if let Some(rtt) = self.echoed(segment, now) {
                    self.rtt.sample(rtt.max(Nanos::from_millis(1)));
                }
            }
        }
    }

    fn grow_or_recover(&mut self, bytes: usize, now: Nanos) {
        match self.sender.recovery {
            Recovery::None => {
                if self.sender.limited {
                    self.congestion.acknowledged(bytes, now, self.rtt.smoothed);
                }
            }
            Recovery::Fast(point) | Recovery::Timeout(point)
                if self.sender.unacknowledged.at_least(point) =>
            {
                self.sender.recovery = Recovery::None;
            }
            Recovery::Timeout(_) => {
                self.congestion.acknowledged(bytes, now, self.rtt.smoothed);
            }
            Recovery::Fast(_) if !self.sack => {
                // NewReno (RFC 6582): the next segment is lost, too.
                let sender = &mut self.sender;
                sender.lost_below = sender.unacknowledged.plus(sender.mss).min(sender.next);
                sender.resent_below = sender.unacknowledged;
                sender.sacked_bytes = sender.sacked_bytes.saturating_sub(bytes);
            }
            Recovery::Fast(_) => {}
        }
    }

    fn fin_was_acknowledged(&mut self, cx: &mut Context<'_>) {
        match self.state {
            TcpState::FinWait1 => {
                self.state = TcpState::FinWait2;
                self.changed = true;
                if self.orphan {
                    self.deadlines.end = cx.now + self.common.options.fin_timeout;
                }
            }
            TcpState::Closing => self.enter_time_wait(),
            TcpState::LastAck => self.end(None, cx.memory),
            _ => {}
        }
    }

    pub(super) fn enter_time_wait(&mut self) {
        self.state = TcpState::TimeWait;
        self.deadlines = super::timers::Deadlines::default();
        self.changed = true;
    }

    /// The peer had already what was sent again (RFC 2883): it was not lost but late. When that is
    /// so of all of it, the window was made smaller for nothing.
    fn take_duplicate_sack(&mut self, segment: &Segment) {
        let Some((start, end)) = segment.options.sack_blocks().first().copied() else {
            return;
        };
        let is_duplicate = end.at_most(segment.ack) && start.before(end);
        if !self.sack || !is_duplicate || self.count.retransmits == 0 {
            return;
        }
        let sender = &mut self.sender;
        let Some((before, again)) = &mut sender.undo else {
            return;
        };
        let segments = end.since(start).div_ceil(sender.mss.max(1));
        *again = again.saturating_sub(segments);
        if *again == 0 {
            sender.reordering = (sender.reordering * 2).min(MOST_REORDERING);
            before.window = before.window.max(self.congestion.window);
            self.congestion = *before;
            sender.undo = None;
            sender.recovery = Recovery::None;
            sender.resent_below = sender.lost_below;
        }
    }

    /// Takes the selective acknowledgements; whether there was news.
    fn take_sack(&mut self, segment: &Segment) -> bool {
        if !self.sack {
            return false;
        }
        let sender = &mut self.sender;
        let before = sender.sacked_bytes;
        for (start, end) in segment.options.sack_blocks() {
            let is_sane = start.before(*end)
                && start.at_least(sender.unacknowledged)
                && start.at_least(segment.ack)
                && end.at_most(sender.next);
            if is_sane {
                sender.sacked.insert((*start, *end));
            }
        }
        if segment.options.sack_count > 0 {
            sender.sacked_bytes = sender.sacked.covered(sender.unacknowledged, sender.next);
        }
        sender.sacked_bytes > before
    }

    /// An acknowledgement of nothing new (RFC 5681, 2).
    fn count_duplicate(&mut self, segment: &Segment, sacked: bool) {
        let sender = &mut self.sender;
        let is_duplicate = segment.length == 0
            && sender.outstanding() > 0
            && segment.space() == 0
            && usize::from(segment.window) << sender.scale == sender.window;
        if is_duplicate && !self.sack {
            sender.duplicates += 1;
            // Each tells that a segment has left the path.
            sender.sacked_bytes = (sender.sacked_bytes + sender.mss).min(sender.outstanding());
        } else if sacked {
            sender.duplicates += 1;
        }
    }

    /// What the news say is lost.
    fn detect_loss(&mut self, now: Nanos) {
        let lost_below = if self.sack {
            self.lost_by_sack()
        } else {
            self.lost_by_duplicates()
        };
        let sender = &mut self.sender;
        if lost_below.after(sender.lost_below) {
            sender.lost_below = lost_below;
        }
        if sender.recovery == Recovery::None && sender.lost() > 0 {
            sender.recovery = Recovery::Fast(sender.next);
            sender.timed = None;
            sender.undo = Some((self.congestion, 0));
            self.congestion.lost();
        }
        self.detect_lost_again(now);
    }

    fn lost_by_sack(&self) -> Seq {
        let sender = &self.sender;
        let Some((start, end)) = sender.sacked.last() else {
            return sender.unacknowledged;
        };
        let beyond = (sender.reordering * sender.mss)
            .min(sender.outstanding().saturating_sub(sender.mss).max(1));
        // Below where enough was acknowledged beyond, counted from the end.
        let mut found = 0;
        if sender.tail_sent && end == sender.next {
            return start;
        }
        for (start, end) in sender.sacked.as_slice().iter().rev() {
            found += end.since(*start);
            if found >= beyond {
                return *start;
            }
        }
        if sender.sacked.as_slice().len() >= sender.reordering {
            let from_end = sender
                .sacked
                .as_slice()
                .iter()
                .rev()
                .nth(sender.reordering - 1);
            return from_end.map_or(sender.unacknowledged, |(start, _)| *start);
        }
        sender.unacknowledged
    }

    fn lost_by_duplicates(&self) -> Seq {
        let sender = &self.sender;
        if sender.duplicates >= 3 && sender.recovery == Recovery::None {
            sender.unacknowledged.plus(sender.mss).min(sender.next)
        } else {
            sender.unacknowledged
        }
    }

    /// What was sent after something was sent again has arrived: that was lost again.
    fn detect_lost_again(&mut self, _: Nanos) {
        let sender = &mut self.sender;
        let in_recovery = sender.recovery != Recovery::None;
        let Some((_, end)) = sender.sacked.last().filter(|_| in_recovery) else {
            return;
        };
        let beyond = sender.resent_at.plus(sender.reordering * sender.mss);
        if end.at_least(beyond) && sender.resent_below.after(sender.unacknowledged) {
            sender.resent_below = sender.unacknowledged;
        }
    }

    /// The peer has answered nothing for a whole timeout.
    pub(super) fn timed_out(&mut self, now: Nanos) {
        let first = !matches!(self.sender.recovery, Recovery::Timeout(_));
        let sender = &mut self.sender;
        if first {
            sender.undo = None;
        }
        sender.recovery = Recovery::Timeout(sender.next);
        sender.lost_below = sender.next;
        sender.resent_below = sender.unacknowledged;
        sender.timed = None;
        sender.tail_sent = false;
        sender.reordering = REORDERING;
        if self.rtt.backoff >= 2 {
            // The peer may have forgotten what it had (RFC 2018, 8).
            sender.sacked.clear();
            sender.sacked_bytes = 0;
        }
        if !self.sack {
            sender.sacked_bytes = 0;
        }
        sender.duplicates = 0;
        self.congestion.timed_out(first);
        self.rtt.backoff = (self.rtt.backoff + 1).min(32);
        self.deadlines.retransmit = now + self.rtt.timeout();
    }

    /// Gives up, with what a router said or that it took too long.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>) {
        let error = self.count.soft_error.unwrap_or(Error::TimedOut);
        self.end(Some(error), cx.memory);
    }
}
