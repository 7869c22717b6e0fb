//! Sockets that wait for connections.

use alloc::collections::VecDeque;

use crate::socket::{Common, Handle, Readiness};
use crate::time::Nanos;
use crate::wire::tcp::Segment;

/// A listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) common: Common,
    backlog: usize,
    /// Connections to be accepted.
    pub(crate) ready: VecDeque<Handle>,
    /// The last steps of handshakes for which that queue had no room.
    pub(crate) answers: VecDeque<(Handle, Segment)>,
    /// Connections whose peers have not answered ours yet.
    pub(crate) pending: usize,
    /// When a cookie was sent last.
    pub(crate) cookies_at: Option<Nanos>,
}

/// Handshakes that a listener remembers at least and at most; the rest is done by cookies.
const LEAST_PENDING: usize = 128;
const MOST_PENDING: usize = 4_096;
/// How long after a flood requests of its time may still come again: as peers wait for answers.
const AFTERMATH: Nanos = Nanos::from_secs(3);
/// Linux' `somaxconn`.
const MOST_BACKLOG: usize = 4_096;

impl Listener {
    pub(crate) fn new(common: Common, backlog: usize) -> Self {
        Self {
            common,
            backlog: backlog.min(MOST_BACKLOG),
            ready: VecDeque::new(),
            answers: VecDeque::new(),
            pending: 0,
            cookies_at: None,
        }
    }

    pub(crate) fn set_backlog(&mut self, backlog: usize) {
        self.backlog = backlog.min(MOST_BACKLOG);
    }

    /// Nothing more can be accepted until the program accepts.
    pub(crate) fn is_full(&self) -> bool {
        self.ready.len() > self.backlog
    }

    /// New handshakes are not to be remembered.
    pub(crate) fn is_flooded(&self) -> bool {
        self.pending >= self.backlog.clamp(LEAST_PENDING, MOST_PENDING)
    }

    /// Not even peers that have answered are remembered.
    pub(crate) fn is_overrun(&self) -> bool {
        self.pending >= 4 * MOST_PENDING
    }

    /// Cookies are still given, so that a request that comes twice gets twice the same answer: a
    /// handshake that is remembered would refuse the answer to a cookie.
    pub(crate) fn was_flooded(&self, now: Nanos) -> bool {
        self.gave_cookies(now, AFTERMATH)
    }

    /// Whether an acknowledgement may be the answer to a cookie.
    pub(crate) fn expects_cookies(&self, now: Nanos) -> bool {
        self.gave_cookies(now, super::cookies::LIFETIME)
    }

    /// Whether there was a flood less than so long ago.
    fn gave_cookies(&self, now: Nanos, ago: Nanos) -> bool {
        self.cookies_at.is_some_and(|at| now - at < ago)
    }

    pub(crate) fn readiness(&self) -> Readiness {
        Readiness {
            readable: !self.ready.is_empty(),
            readable_bytes: self.ready.len(),
            ..Readiness::default()
        }
    }
}
