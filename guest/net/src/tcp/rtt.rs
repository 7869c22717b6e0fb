//! Round-trip time and the retransmission timeout (RFC 6298).

use crate::time::Nanos;

/// What is known of the round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    pub(crate) smoothed: Nanos,
    pub(crate) variation: Nanos,
    pub(crate) least: Nanos,
    /// Doublings of the timeout.
    pub(crate) backoff: u32,
}

impl Rtt {
    const INITIAL: Nanos = Nanos::from_secs(1);
    const LEAST: Nanos = Nanos::from_millis(200);
    pub(crate) const MOST: Nanos = Nanos::from_secs(120);

    pub(crate) fn sample(&mut self, rtt: Nanos) {
        let rtt = Nanos(rtt.0.max(1_000));
        if self.smoothed == Nanos::ZERO {
            self.smoothed = rtt;
            self.variation = Nanos(rtt.0 / 2);
            self.least = rtt;
        } else {
            let difference = self.smoothed.0.abs_diff(rtt.0);
            self.variation = Nanos((self.variation.0 / 4).saturating_mul(3) + difference / 4);
            self.smoothed = Nanos((self.smoothed.0 / 8).saturating_mul(7) + rtt.0 / 8);
            self.least = self.least.min(rtt);
        }
        self.backoff = 0;
    }

    /// The timeout, with its doublings.
    pub(crate) fn timeout(&self) -> Nanos {
        let factor = 1_u64.checked_shl(self.backoff).unwrap_or(u64::MAX);
        self.base().times(factor).min(Self::MOST)
    }

    /// Without them.
    pub(crate) fn base(&self) -> Nanos {
        if self.smoothed == Nanos::ZERO {
            return Self::INITIAL;
        }
        self.smoothed + self.variation.times(4).max(Self::LEAST)
    }

    /// When to probe for a lost tail: two round trips, and time for a delayed acknowledgement if
    /// only one segment is on its way (RFC 8985, 7.2).
    pub(crate) fn probe_timeout(&self, is_single: bool) -> Nanos {
        let delay = if is_single { Self::LEAST } else { Nanos::ZERO };
        let twice = self.smoothed.times(2).max(Nanos::from_millis(2));
        (twice + delay).min(self.timeout())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_rfc_6298() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), Nanos::from_secs(1));
        rtt.sample(Nanos::from_millis(100));
        assert_eq!(rtt.timeout(), Nanos::from_millis(300));
        for _ in 0..100 {
            rtt.sample(Nanos::from_millis(100));
        }
        assert!(rtt.timeout() <= Nanos::from_millis(301));
        rtt.backoff = 3;
        assert!(rtt.timeout() >= Nanos::from_millis(2_390));
        rtt.backoff = 70;
        assert_eq!(rtt.timeout(), Rtt::MOST);
    }
}
