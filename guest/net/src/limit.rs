//! So many a second and no more.

use crate::time::Nanos;

/// Tokens that come at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    tokens: u32,
    most: u32,
    interval: Nanos,
    at: Nanos,
}

impl Limit {
    /// So many a second, and as many at once.
    pub(crate) const fn per_second(count: u32) -> Self {
        Self {
            tokens: count,
            most: count,
            interval: Nanos(1_000_000_000 / count as u64),
            at: Nanos::ZERO,
        }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Nanos) -> bool {
        let came = (now - self.at).0.checked_div(self.interval.0).unwrap_or(0);
        if came > 0 {
            let more = u32::try_from(came).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(more).min(self.most);
            self.at = now;
        }
        let is_allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_cut_and_time_brings_more() {
        let mut limit = Limit::per_second(10);
        assert_eq!((0..100).filter(|_| limit.take(Nanos(1))).count(), 10);
        assert!(!limit.take(Nanos::from_millis(99)));
        assert!(limit.take(Nanos::from_millis(201)));
    }
}
