//! What has arrived, and how much more may.

use crate::memory::Ring;
use crate::seq::{Range, Ranges, Seq};
use crate::socket::Options;
use crate::time::Nanos;

/// What buffers start with and grow to.
pub(crate) const INITIAL_LIMIT: usize = 65_535;
pub(crate) const MOST_LIMIT: usize = 6 << 20;

/// An urgent byte (RFC 6093).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Urgent {
    pub(crate) at: Seq,
    pub(crate) byte: Option<u8>,
    /// The program has it.
    pub(crate) taken: bool,
}

/// The receiving half. `ring` has what ends before `next`, and behind its end what is out of order.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) ring: Ring,
    pub(crate) next: Seq,
    pub(crate) initial: Seq,
    /// The end of the window that the peer was told.
    pub(crate) advertised: Seq,
    pub(crate) scale: u8,
    pub(crate) out_of_order: Ranges,
    /// The range that a segment out of order joined last.
    pub(crate) latest: Range,
    pub(crate) duplicate: Option<Range>,
    pub(crate) fin: Option<Seq>,
    pub(crate) urgent: Option<Urgent>,
    /// What may be in the buffer.
    pub(crate) limit: usize,
    pub(crate) is_fixed: bool,
    pub(crate) timestamp_recent: u32,
    pub(crate) timestamp_at: Nanos,
    pub(crate) acknowledged: Seq,
    /// Payload of the largest segment.
    pub(crate) mss: usize,
    /// Segments that were not acknowledged.
    pub(crate) pending: usize,
    pub(crate) ack_now: bool,
    /// So many more segments are acknowledged at once.
    pub(crate) quick: u8,
    /// Answers follow questions: acknowledgements travel with them.
    pub(crate) interactive: bool,
    pub(crate) at: Nanos,
    /// Since when, and how many bytes, the program has read.
    pub(crate) tuning: (Nanos, usize),
}

impl Receiver {
    pub(crate) fn new(options: &Options) -> Self {
        let mut receiver = Self {
            ring: Ring::default(),
            next: Seq(0),
            initial: Seq(0),
            advertised: Seq(0),
            scale: 0,
            out_of_order: Ranges::default(),
            latest: (Seq(0), Seq(0)),
            duplicate: None,
            fin: None,
            urgent: None,
            limit: INITIAL_LIMIT,
            is_fixed: false,
            timestamp_recent: 0,
            timestamp_at: Nanos::ZERO,
            acknowledged: Seq(0),
            mss: 536,
            pending: 0,
            ack_now: false,
            quick: 16,
            interactive: false,
            at: Nanos::ZERO,
            tuning: (Nanos::ZERO, 0),
        };
        receiver.set_limit(options.receive_buffer);
        receiver
    }

    /// The program's wish; zero: none.
    pub(crate) fn set_limit(&mut self, wish: u32) {
        self.is_fixed = wish > 0;
        if wish > 0 {
            self.limit = (wish as usize).clamp(2_304, 1 << 30);
        }
    }

    /// The scale to offer, by which the largest window can be told.
    pub(crate) fn scale_to_offer(&self) -> u8 {
        let most = if self.is_fixed {
            self.limit
        } else {
            MOST_LIMIT
        };
        (0..14).find(|scale| most >> scale <= 65_535).unwrap_or(14)
    }

    /// What more fits, if the peer is to be told anew.
    pub(crate) fn free(&self) -> usize {
        self.limit.saturating_sub(self.ring.len())
    }

    /// Where the window ends: never before where it ended, and further only by what is worth it.
    pub(crate) fn window_end(&self) -> Seq {
        let free = self.free();
        let least = self.mss.min(self.limit / 2);
        let end = self.next.plus(free);
        if end.after(self.advertised.plus(least)) || self.advertised.before(self.next) {
            end.max(self.advertised).max(self.next)
        } else {
            self.advertised
        }
    }

    /// The window as the header has it.
    pub(crate) fn window_field(&self) -> u16 {
        let window = self.window_end().since(self.next);
        u16::try_from(window.div_ceil(1 << self.scale)).unwrap_or(u16::MAX)
    }

    /// How many bytes the peer may still send as it was told.
    pub(crate) fn window_left(&self) -> usize {
        self.advertised.since(self.next)
    }
}
