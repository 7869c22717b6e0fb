//! What becomes of a segment, in the order of RFC 9293, 3.10.7.

use super::{Context, Tcp};
use crate::error::Error;
use crate::memory::Memory;
use crate::seq::Seq;
use crate::socket::TcpState;
use crate::time::Nanos;
use crate::wire::tcp::{Flags, Segment};

/// What is to be sent besides what [`Tcp::next_segment`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reply {
    #[default]
    None,
    /// A reset, for the segment that came.
    Reset,
    /// An acknowledgement to a segment that may be an attack (RFC 5961), if not too many were sent.
    Challenge,
}

impl Tcp {
    /// A segment of this connection came. `payload` is what it carries.
    pub(crate) fn input(
        &mut self,
        segment: &Segment,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Reply {
        self.count.segments_in = self.count.segments_in.wrapping_add(1);
        match self.state {
            TcpState::Closed | TcpState::Listen | TcpState::TimeWait => Reply::Reset,
            TcpState::SynSent => self.input_syn_sent(segment, payload, cx),
            TcpState::SynReceived if self.is_answer_to_both(segment) => {
                let rest = Segment {
                    seq: segment.seq.plus(1),
                    flags: segment.flags.without(Flags::SYN),
                    ..*segment
                };
                self.receiver.ack_now = true;
                self.input_synchronized(&rest, payload, cx)
            }
            _ => self.input_synchronized(segment, payload, cx),
        }
    }

    /// Both sides asked at once and now answer at once (RFC 9293, figure 8).
    fn is_answer_to_both(&self, segment: &Segment) -> bool {
        let flags = segment.flags;
        flags.has(Flags::SYN) && flags.has(Flags::ACK) && segment.seq == self.receiver.initial
    }

    fn input_syn_sent(&mut self, segment: &Segment, payload: &[u8], cx: &mut Context<'_>) -> Reply {
        let flags = segment.flags;
        let acceptable = flags.has(Flags::ACK)
            && segment.ack.after(self.sender.initial)
            && segment.ack.at_most(self.sender.next);
        if flags.has(Flags::ACK) && !acceptable {
            return if flags.has(Flags::RST) {
                Reply::None
            } else {
                Reply::Reset
            };
        }
        if flags.has(Flags::RST) {
            if acceptable {
                self.end(Some(Error::Refused), cx.memory);
            }
            return Reply::None;
        }
        if !flags.has(Flags::SYN) {
            return Reply::None;
        }
        self.accept_offer(segment.seq, &(&segment.options).into(), cx.now);
        if acceptable {
            self.sample_handshake(segment, cx.now);
            self.sender.unacknowledged = segment.ack;
            self.establish(cx);
            self.set_send_window(segment, 0);
            self.receiver.advertised = self.receiver.next.plus(self.receiver.free().min(65_535));
            self.receiver.ack_now = true;
            let rest = Segment {
                seq: segment.seq.plus(1),
                flags: flags.without(Flags::SYN),
                ..*segment
            };
            self.receive(&rest, payload, cx);
        } else {
            // Both ask at once.
            self.state = TcpState::SynReceived;
            self.set_send_window(segment, 0);
            self.sender.syn_due = true;
        }
        Reply::None
    }

    fn sample_handshake(&mut self, segment: &Segment, now: Nanos) {
        if let Some((_, at)) = self.sender.timed.take() {
            self.rtt.sample(now - at);
        } else if let Some(rtt) = self.echoed(segment, now) {
            self.rtt.sample(rtt);
        }
        self.rtt.backoff = 0;
    }

    fn input_synchronized(
        &mut self,
        segment: &Segment,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Reply {
        let flags = segment.flags;
        if self.is_stale(segment, cx.now) && !flags.has(Flags::RST) {
            self.receiver.ack_now = true;
            return Reply::None;
        }
        if !self.is_acceptable(segment) {
            return self.refuse(segment);
        }
        if flags.has(Flags::RST) {
            return self.input_reset(segment, cx);
        }
        if flags.has(Flags::SYN) && segment.seq.at_least(self.receiver.next) {
            return Reply::Challenge;
        }
        if !flags.has(Flags::ACK) {
            return Reply::None;
        }
        if self.state == TcpState::SynReceived {
            let ours = segment.ack.after(self.sender.unacknowledged)
                && segment.ack.at_most(self.sender.next);
            if !ours {
                return Reply::Reset;
            }
            self.sample_handshake(segment, cx.now);
            self.sender.unacknowledged = self.sender.initial.plus(1);
            self.establish(cx);
            self.set_send_window(segment, self.sender.scale);
        }
        let oldest = self
            .sender
            .unacknowledged
            .minus(crate::bytes::length32(self.sender.window_most));
        if segment.ack.after(self.sender.next) || segment.ack.before(oldest) {
            return Reply::Challenge;
        }
        self.remember_timestamp(segment, cx.now);
        self.acknowledge(segment, cx);
        if self.state != TcpState::Closed {
            self.receive(segment, payload, cx);
        }
        Reply::None
    }

    /// A segment outside the window.
    fn refuse(&mut self, segment: &Segment) -> Reply {
        if segment.flags.has(Flags::RST) {
            return Reply::None;
        }
        if self.state == TcpState::SynReceived && segment.flags.has(Flags::SYN) {
            self.sender.syn_due |= segment.seq == self.receiver.initial;
            return Reply::None;
        }
        if segment.flags.has(Flags::SYN) {
            return Reply::Challenge;
        }
        self.note_duplicate(segment);
        self.receiver.ack_now = true;
        Reply::None
    }

    fn input_reset(&mut self, segment: &Segment, cx: &mut Context<'_>) -> Reply {
        if segment.seq != self.receiver.next {
            return Reply::Challenge;
        }
        let error = match self.state {
            TcpState::SynReceived => Error::Refused,
            TcpState::CloseWait => Error::Pipe,
            _ => Error::Reset,
        };
        self.end(Some(error), cx.memory);
        Reply::None
    }

    /// RFC 9293, 3.10.7.4: some of it lies in the window, or it is empty and at its edge.
    fn is_acceptable(&self, segment: &Segment) -> bool {
        let next = self.receiver.next;
        let end = self.receiver.advertised.max(next);
        let last = segment.seq.plus(segment.space());
        if segment.space() == 0 || end == next {
            // Beyond a closed window the numbers of probes are still good for their acknowledgements.
            return segment.seq.at_least(next) && segment.seq.at_most(end);
        }
        segment.seq.before(end) && last.after(next)
    }

    /// An old timestamp: a segment of long ago (PAWS, RFC 7323, 5).
    fn is_stale(&self, segment: &Segment, now: Nanos) -> bool {
        let Some((value, _)) = segment.options.timestamps.filter(|_| self.timestamps) else {
            return false;
        };
        let idle = now - self.receiver.timestamp_at > Nanos::from_secs(24 * 86_400);
        !idle && Seq(value).before(Seq(self.receiver.timestamp_recent))
    }

    /// RFC 7323, 4.3: what is echoed is of the segment that the last acknowledgement was for.
    fn remember_timestamp(&mut self, segment: &Segment, now: Nanos) {
        let receiver = &mut self.receiver;
        if let Some((value, _)) = segment.options.timestamps.filter(|_| self.timestamps)
            && segment.seq.at_most(receiver.acknowledged)
            && Seq(value).at_least(Seq(receiver.timestamp_recent))
        {
            receiver.timestamp_recent = value;
            receiver.timestamp_at = now;
        }
    }

    /// How long ago the segment that this one answers was sent, by its echo.
    pub(super) fn echoed(&self, segment: &Segment, now: Nanos) -> Option<Nanos> {
        let (_, echo) = segment.options.timestamps.filter(|_| self.timestamps)?;
        let millis = Seq(self.timestamp(now)).since(Seq(echo));
        (echo != 0 && millis < 600_000).then(|| Nanos::from_millis(millis as u64))
    }

    /// The window that the segment tells (RFC 9293, 3.10.7.4).
    pub(super) fn set_send_window(&mut self, segment: &Segment, scale: u8) {
        let sender = &mut self.sender;
        let window = usize::from(segment.window) << scale;
        sender.window = window;
        sender.window_most = sender.window_most.max(window);
        sender.window_from = (segment.seq, segment.ack);
    }

    /// A router says something about a segment with this number.
    pub(crate) fn input_problem(
        &mut self,
        seq: Seq,
        error: Error,
        is_hard: bool,
        memory: &mut Memory,
    ) {
        let is_ours = seq.at_least(self.sender.unacknowledged) && seq.at_most(self.sender.next);
        if !is_ours {
            return;
        }
        if self.state == TcpState::SynSent && is_hard {
            self.end(Some(error), memory);
        } else {
            self.count.soft_error = Some(error);
        }
    }

    /// Whether a router can speak of this segment.
    pub(crate) fn has_outstanding(&self, seq: Seq) -> bool {
        seq.at_least(self.sender.unacknowledged) && seq.at_most(self.sender.next)
    }

    /// Segments were too large and are gone: they are sent again, smaller.
    pub(crate) fn resend_all(&mut self) {
        if self.is_synchronized() {
            self.sender.lost_below = self.sender.next;
            self.sender.resent_below = self.sender.unacknowledged;
        }
    }
}
