//! What is left of a connection that is over, for segments that come late (RFC 9293, 3.6; RFC 6191).

use crate::seq::Seq;
use crate::time::Nanos;
use crate::wire::tcp::{Flags, Options, Segment};

/// As Linux' `TCP_TIMEWAIT_LEN`.
pub(crate) const DURATION: Nanos = Nanos::from_secs(60);

/// The little that must be known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    pub(crate) send_next: Seq,
    pub(crate) receive_next: Seq,
    pub(crate) window: u16,
    /// The peer's last timestamp, and what is added to our clock.
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) until: Nanos,
}

/// What becomes of a late segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Acknowledge,
    /// A new connection, which cannot be mistaken for the old one.
    Reuse,
}

impl Remains {
    pub(crate) fn input(&mut self, segment: &Segment, now: Nanos) -> Verdict {
        let flags = segment.flags;
        if flags.has(Flags::RST) {
            // It could be an accident or an assassin (RFC 1337).
            return Verdict::Drop;
        }
        if flags.has(Flags::SYN) && !flags.has(Flags::ACK) && self.is_newer(segment) {
            return Verdict::Reuse;
        }
        if flags.has(Flags::FIN) {
            self.until = now + DURATION;
        }
        let is_plain = segment.space() == 0 && segment.seq == self.receive_next;
        if is_plain {
            Verdict::Drop
        } else {
            Verdict::Acknowledge
        }
    }

    fn is_newer(&self, segment: &Segment) -> bool {
        match (self.timestamps, segment.options.timestamps) {
            (Some((old, _)), Some((new, _))) if old != new => Seq(new).after(Seq(old)),
            _ => segment.seq.after(self.receive_next),
        }
    }

    /// Whether our own new connection cannot be mistaken for this one (`tcp_tw_reuse`).
    pub(crate) fn can_be_followed(&self, now: Nanos) -> bool {
        let age = DURATION - (self.until - now);
        self.timestamps.is_some() && age >= Nanos::from_secs(1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the clock wraps")]
    pub(crate) fn acknowledgement(&self, now: Nanos) -> Segment {
        Segment {
            seq: self.send_next,
            ack: self.receive_next,
            flags: Flags::ACK,
            window: self.window,
            options: Options {
                timestamps: self
                    .timestamps
                    .map(|(recent, offset)| ((now.millis() as u32).wrapping_add(offset), recent)),
                ..Options::default()
            },
            ..Segment::default()
        }
    }
}
