//! The machine's clocks: the page from which the kernel computes time, kept in step with
//! the host's clocks.
//!
//! The page gives a rate and a base. The rate is the time-stamp counter's; every now and
//! then, ever more rarely, it is bent a little so that the machine's clock meets the
//! host's again without ever running backwards.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use engine_contract::VirtualTime;
use guest_abi::layout;
use guest_abi::vcpu::ClockPage;
use host::cpu::{tsc, tsc_frequency_or_measured};
use machine_memory::{GuestMemory, MemoryError, Page};
use rustix::time::{ClockId, clock_gettime};

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// First and longest time between two corrections.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(64));
/// How often the clocks are read to have a good reading.
const READINGS: u32 = 4;
/// A difference that is stepped over instead of slewed: the host was suspended, or set.
const STEP_NANOS: i64 = 100_000_000;

/// Keeps one machine's clock page.
pub(crate) struct Clock {
    page: Page<ClockPage>,
    nominal: u64,
}

/// All clocks at one moment.
struct Moment {
    tsc: u64,
    monotonic: u64,
    realtime: u64,
    boottime: u64,
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * NANOS_PER_SECOND as u64 + time.tv_nsec as u64
}

/// Counter and clock at one moment, as far as they can be read at once: another thread may have the
/// processor in between. The narrowest of a few readings counts.
fn counter_and_monotonic() -> (u64, u64) {
    let read = |_| {
        let before = tsc();
        let monotonic = nanos(ClockId::Monotonic);
        let gap = tsc().saturating_sub(before);
        (gap, before + gap / 2, monotonic)
    };
    let narrowest = (0..READINGS).map(read).min();
    let (_, tsc, monotonic) = narrowest.expect("there is more than one reading");
    (tsc, monotonic)
}

fn now() -> Moment {
    let (tsc, monotonic) = counter_and_monotonic();
    Moment {
        tsc,
        monotonic,
        realtime: nanos(ClockId::Realtime),
        boottime: nanos(ClockId::Boottime),
    }
}

impl Clock {
    /// Fills in the page.
    pub(crate) fn new(memory: &GuestMemory) -> Result<Self, MemoryError> {
        let nominal =
            ((NANOS_PER_SECOND << 32) / u128::from(tsc_frequency_or_measured().max(1))) as u64;
        let clock = Self {
            page: memory.page(layout::CLOCK_PAGE)?,
            nominal,
        };
        let moment = now();
        clock.set(&moment, moment.monotonic, nominal);
        clock.page.usable.store(1, Ordering::Release);
        Ok(clock)
    }

    /// Fills in the page of a machine whose counter counts nanoseconds of its own time, from zero. There is nothing to keep.
    pub(crate) fn set_virtual(
        memory: &GuestMemory,
        time: &dyn VirtualTime,
    ) -> Result<(), MemoryError> {
        let page = memory.page::<ClockPage>(layout::CLOCK_PAGE)?;
        page.multiplier.store(1 << 32, Ordering::Relaxed);
        page.realtime_offset
            .store(time.beginning(), Ordering::Relaxed);
        page.usable.store(1, Ordering::Release);
        Ok(())
    }

    fn set(&self, moment: &Moment, monotonic: u64, multiplier: u64) {
        let page = &self.page;
        page.sequence.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::Release);
        page.tsc_base.store(moment.tsc, Ordering::Relaxed);
        page.monotonic_base.store(monotonic, Ordering::Relaxed);
        page.multiplier.store(multiplier, Ordering::Relaxed);
        let ahead = |clock: u64| clock.wrapping_sub(moment.monotonic);
        page.realtime_offset
            .store(ahead(moment.realtime), Ordering::Relaxed);
        page.boottime_offset
            .store(ahead(moment.boottime), Ordering::Relaxed);
        page.sequence.fetch_add(1, Ordering::Release);
    }

    /// What the machine's monotonic clock shows at a moment.
    fn shown(&self, moment: &Moment) -> u64 {
        let ticks = moment
            .tsc
            .saturating_sub(self.page.tsc_base.load(Ordering::Relaxed));
        let multiplier = self.page.multiplier.load(Ordering::Relaxed);
        let elapsed = (u128::from(ticks) * u128::from(multiplier)) >> 32;
        self.page
            .monotonic_base
            .load(Ordering::Relaxed)
            .wrapping_add(elapsed as u64)
    }

    /// Keeps the page in step for ever; a thread's whole life.
    pub(crate) fn keep(&self) {
        let (mut pause, longest) = PAUSES;
        loop {
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
            let moment = now();
            let shown = self.shown(&moment);
            let behind = moment.monotonic.wrapping_sub(shown) as i64;
            if behind > STEP_NANOS {
                self.set(&moment, moment.monotonic, self.nominal);
            } else {
                self.set(&moment, shown, bend(self.nominal, behind, pause));
            }
        }
    }
}

/// A rate that makes up for `behind` nanoseconds within `pause`, at most 500 parts per
/// million from the nominal one.
fn bend(nominal: u64, behind: i64, pause: Duration) -> u64 {
    let most = nominal as i64 / 2000;
    let correction = i128::from(nominal) * i128::from(behind) / (pause.as_nanos() as i128).max(1);
    nominal.saturating_add_signed((correction as i64).clamp(-most, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_do_not_run_backwards() {
        let readings: Vec<_> = (0..100).map(|_| counter_and_monotonic()).collect();
        assert!(readings.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }

    #[test]
    fn a_clock_that_is_behind_runs_faster_within_bounds() {
        let nominal = 1 << 32;
        assert_eq!(bend(nominal, 0, PAUSES.0), nominal);
        assert!(bend(nominal, 1000, PAUSES.0) > nominal);
        assert!(bend(nominal, -1000, PAUSES.0) < nominal);
        assert_eq!(bend(nominal, i64::MAX, PAUSES.0), nominal + nominal / 2000);
    }
}
