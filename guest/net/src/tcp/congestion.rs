//! CUBIC (RFC 9438) in integers: windows in bytes, time in milliseconds.

use crate::time::Nanos;

/// The congestion window and what moves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    /// Bytes that may be on their way.
    pub(crate) window: usize,
    pub(crate) threshold: usize,
    mss: usize,
    /// The window before the last reduction.
    most: usize,
    /// When growth after the last reduction began.
    epoch: Option<Nanos>,
    /// Milliseconds from there until `most` is reached again.
    plateau: u64,
    /// What Reno would have (RFC 9438, 4.3).
    friendly: usize,
    /// Bytes acknowledged that the window has not grown for.
    credit: usize,
}

impl Default for Congestion {
    fn default() -> Self {
        Self {
            window: 10 * 1_460,
            threshold: usize::MAX,
            mss: 1_460,
            most: 0,
            epoch: None,
            plateau: 0,
            friendly: 0,
            credit: 0,
        }
    }
}

impl Congestion {
    /// Ten segments (RFC 6928).
    pub(crate) fn start(&mut self, mss: usize) {
        self.mss = mss.max(1);
        self.window = 10 * self.mss;
    }

    /// The path takes other segments.
    pub(crate) fn set_mss(&mut self, mss: usize) {
        self.mss = mss.max(1);
        self.window = self.window.max(2 * self.mss);
    }

    pub(crate) const fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// So many bytes were acknowledged while the window was what limited us.
    pub(crate) fn acknowledged(&mut self, mut bytes: usize, now: Nanos, rtt: Nanos) {
        if self.in_slow_start() {
            let step = bytes.min(self.threshold.saturating_sub(self.window));
            self.window = self.window.saturating_add(step);
            bytes -= step;
        }
        if bytes > 0 {
            self.avoid(bytes, now, rtt);
        }
    }

    fn avoid(&mut self, bytes: usize, now: Nanos, rtt: Nanos) {
        let epoch = *self.epoch.get_or_insert(now);
        if epoch == now {
            self.begin_epoch();
        }
        let elapsed = (now - epoch + rtt).millis();
        let cubic = self.cubic(elapsed);
        self.friendly = self
            .friendly
            .saturating_add(scale(bytes, self.mss, self.friendly) / 2);
        let target = cubic
            .max(self.friendly)
            .min(self.window.saturating_mul(3) / 2);
        let gap = target.saturating_sub(self.window);
        let step = if gap == 0 {
            // Probe slowly, a hundredth of a segment a segment.
            scale(bytes, self.mss, self.window.saturating_mul(100))
        } else {
            scale(bytes, gap, self.window).max(1)
        };
        self.window = self.window.saturating_add(step);
    }

    fn begin_epoch(&mut self) {
        self.friendly = self.window;
        if self.most <= self.window {
            self.most = self.window;
            self.plateau = 0;
            return;
        }
        let segments = (self.most - self.window) as u64 * 1_000 / self.mss as u64;
        // K = cbrt(segments / 0.4) seconds, of thousandths of segments.
        self.plateau = cube_root(segments.saturating_mul(2_500_000));
    }

    /// The window that the curve has after so many milliseconds.
    fn cubic(&self, elapsed: u64) -> usize {
        let distance = elapsed.abs_diff(self.plateau).min(100_000);
        let cube = distance * distance * distance;
        // 0.4 segments a cubic second.
        let bytes = (cube / 1_000_000)
            .saturating_mul(self.mss as u64)
            .saturating_mul(4)
            / 10_000;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if elapsed >= self.plateau {
            self.most.saturating_add(bytes)
        } else {
            self.most.saturating_sub(bytes)
        }
    }

    /// A loss was noticed.
    pub(crate) fn lost(&mut self) {
        self.reduce();
        self.window = self.threshold;
    }

    /// Nothing was acknowledged for a whole timeout; so much was on its way.
    pub(crate) fn timed_out(&mut self, first: bool) {
        if first {
            self.reduce();
        }
        self.window = self.mss;
    }

    fn reduce(&mut self) {
        // Fast convergence (RFC 9438, 4.7).
        self.most = if self.window < self.most {
            self.window / 100 * 85
        } else {
            self.window
        };
        self.threshold = (self.window / 10 * 7).max(2 * self.mss);
        self.epoch = None;
        self.credit = 0;
    }

    /// Nothing was sent for a while: what is known of the path grows old (RFC 9293, 3.8.4 and RFC 2581, 4.1).
    pub(crate) fn idle(&mut self, silence: Nanos, timeout: Nanos) {
        let mut left = silence;
        let restart = (10 * self.mss).min(self.window);
        if left > timeout {
            self.threshold = self.threshold.max(self.window / 4 * 3);
            self.epoch = None;
        }
        while left > timeout && self.window > restart {
            left = left - timeout;
            self.window = (self.window / 2).max(restart);
        }
    }
}

/// `bytes * numerator / denominator`.
fn scale(bytes: usize, numerator: usize, denominator: usize) -> usize {
    bytes.saturating_mul(numerator) / denominator.max(1)
}

/// The largest number whose cube is at most this.
fn cube_root(value: u64) -> u64 {
    let (mut low, mut high) = (0_u64, 2_642_245);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if middle * middle * middle <= value {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots_are_exact() {
        for (value, root) in [
            (0, 0),
            (1, 1),
            (7, 1),
            (8, 2),
            (26, 2),
            (27, 3),
            (u64::MAX, 2_642_245),
        ] {
            assert_eq!(cube_root(value), root, "{value}");
        }
    }

    #[test]
    fn it_comes_back_to_where_it_lost_after_the_plateau() {
        let mut congestion = Congestion::default();
        congestion.start(1_000);
        congestion.window = 1_000_000;
        congestion.lost();
        assert_eq!(congestion.window, 700_000);
        // 300 segments: K = cbrt(750) = 9.08 seconds.
        let rtt = Nanos::from_millis(100);
        let mut now = Nanos::from_secs(1);
        while congestion.window < 990_000 {
            congestion.acknowledged(congestion.window, now, rtt);
            now = now + rtt;
        }
        let seconds = now.millis() / 1_000;
        assert!((5..10).contains(&seconds), "{seconds}");
    }

    #[test]
    fn slow_start_doubles() {
        let mut congestion = Congestion::default();
        congestion.start(1_000);
        congestion.acknowledged(10_000, Nanos(1), Nanos(1));
        assert_eq!(congestion.window, 20_000);
        congestion.timed_out(true);
        assert_eq!((congestion.window, congestion.threshold), (1_000, 14_000));
    }
}
