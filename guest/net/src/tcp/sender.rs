//! What is to be sent, what was, and what of it the peer has.

use super::congestion::Congestion;
use crate::memory::{Memory, Ring};
use crate::seq::{Ranges, Seq};
use crate::time::Nanos;

/// What [`Sender::reordering`] is at first and at most.
pub(crate) const REORDERING: usize = 3;
pub(crate) const MOST_REORDERING: usize = 64;

/// Why segments are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    None,
    /// After acknowledgements that told of a loss, until this is acknowledged.
    Fast(Seq),
    /// After a timeout.
    Timeout(Seq),
}

/// The sending half. `ring` has what follows `unacknowledged`, or the SYN until that is acknowledged.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing to be sent")]
pub(crate) struct Sender {
    pub(crate) ring: Ring,
    pub(crate) initial: Seq,
    pub(crate) unacknowledged: Seq,
    pub(crate) next: Seq,
    /// The peer's window, in bytes.
    pub(crate) window: usize,
    pub(crate) window_most: usize,
    pub(crate) scale: u8,
    /// The segment that told the window: its sequence and acknowledgement numbers.
    pub(crate) window_from: (Seq, Seq),
    /// What the peer takes at most in a segment, with options.
    pub(crate) peer_mss: usize,
    /// Payload of a full segment.
    pub(crate) mss: usize,
    pub(crate) sacked: Ranges,
    pub(crate) sacked_bytes: usize,
    pub(crate) recovery: Recovery,
    /// What of the data before this is not acknowledged is held to be lost.
    pub(crate) lost_below: Seq,
    /// What is lost before this was sent again.
    pub(crate) resent_below: Seq,
    /// `next` when something was sent again last.
    pub(crate) resent_at: Seq,
    pub(crate) duplicates: u32,
    /// So many segments beyond a gap make it a loss; more when that was wrong before.
    pub(crate) reordering: usize,
    /// What the window was before the last loss, and how many segments were sent again since.
    pub(crate) undo: Option<(Congestion, usize)>,
    /// The end of the last segment that was not full.
    pub(crate) small: Seq,
    /// The end of the urgent data.
    pub(crate) urgent: Option<Seq>,
    pub(crate) syn_due: bool,
    pub(crate) fin: bool,
    pub(crate) fin_sent: bool,
    pub(crate) fin_acknowledged: bool,
    /// More is coming at once.
    pub(crate) more: bool,
    /// What is held back is to be sent nevertheless.
    pub(crate) force: bool,
    pub(crate) probe_due: bool,
    pub(crate) tail_due: bool,
    pub(crate) tail_sent: bool,
    /// The congestion window was what stopped us.
    pub(crate) limited: bool,
    /// A writer was told that there is no room.
    pub(crate) starved: bool,
    /// A segment whose round trip is measured: its end, and when it was sent.
    pub(crate) timed: Option<(Seq, Nanos)>,
    pub(crate) sent_at: Nanos,
    pub(crate) progress_at: Nanos,
}

impl Sender {
    pub(crate) fn new(initial: Seq) -> Self {
        Self {
            ring: Ring::default(),
            initial,
            unacknowledged: initial,
            next: initial,
            window: 0,
            window_most: 0,
            scale: 0,
            window_from: (Seq(0), Seq(0)),
            peer_mss: 536,
            mss: 536,
            sacked: Ranges::default(),
            sacked_bytes: 0,
            recovery: Recovery::None,
            lost_below: initial,
            resent_below: initial,
            resent_at: initial,
            duplicates: 0,
            reordering: REORDERING,
            undo: None,
            small: initial,
            urgent: None,
            syn_due: false,
            fin: false,
            fin_sent: false,
            fin_acknowledged: false,
            more: false,
            force: false,
            probe_due: false,
            tail_due: false,
            tail_sent: false,
            limited: false,
            starved: false,
            timed: None,
            sent_at: Nanos::ZERO,
            progress_at: Nanos::ZERO,
        }
    }

    pub(crate) fn release(&mut self, memory: &mut Memory) {
        self.ring.release(memory);
        self.sacked.clear();
        self.sacked_bytes = 0;
    }

    /// Bytes sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> usize {
        self.next.since(self.unacknowledged)
    }

    /// Bytes of the buffer not sent yet.
    pub(crate) fn unsent(&self) -> usize {
        let sent = self.outstanding()
            - usize::from(self.fin_sent && !self.fin_acknowledged).min(self.outstanding());
        self.ring.len().saturating_sub(sent)
    }

    /// Bytes held to be lost and not sent again.
    pub(crate) fn lost(&self) -> usize {
        let from = self.resent_below.max(self.unacknowledged);
        self.lost_below.since(from) - self.sacked.covered(from, self.lost_below)
    }

    /// Bytes held to be on their way (RFC 6675, 4).
    pub(crate) fn pipe(&self) -> usize {
        self.outstanding()
            .saturating_sub(self.sacked_bytes)
            .saturating_sub(self.lost())
    }

    /// The end of what the peer's window allows.
    pub(crate) fn window_end(&self) -> Seq {
        self.unacknowledged.plus(self.window)
    }
}
