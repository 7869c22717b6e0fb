//! The machine's time, and the ticks of oscillators in it.

use machine_bus::Nanos;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Arithmetic of moments. They count from an origin that stays the same for the life of
/// the machine.
pub(crate) trait Elapsing: Sized {
    /// How many nanoseconds lie between `earlier` and this; zero if it is not earlier.
    fn since(self, earlier: Self) -> u64;

    /// This many nanoseconds later, unless time ends before.
    fn checked_add(self, nanos: u64) -> Option<Self>;
}

impl Elapsing for Nanos {
    fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    fn checked_add(self, nanos: u64) -> Option<Self> {
        self.0.checked_add(nanos).map(Self)
    }
}

/// An oscillator that ticks `0`-based from the origin of time: tick `n` is the first moment
/// at which `n` whole periods have passed. No rounding ever adds up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oscillator {
    pub(crate) hertz: u32,
}

impl Oscillator {
    /// Ticks until `now`. The frequency is below 1 GHz, so they are fewer than nanoseconds.
    pub(crate) fn ticks(self, now: Nanos) -> u64 {
        let ticks = u128::from(now.0) * u128::from(self.hertz) / NANOS_PER_SECOND;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The first moment at which `ticks` have passed; `None` after the end of time.
    pub(crate) fn moment(self, ticks: u64) -> Option<Nanos> {
        let nanos = (u128::from(ticks) * NANOS_PER_SECOND).div_ceil(u128::from(self.hertz));
        u64::try_from(nanos).ok().map(Nanos)
    }
}
