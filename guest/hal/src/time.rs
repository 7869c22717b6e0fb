//! Clocks, from the time-stamp counter and the page on which the monitor keeps them.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{Ordering, fence};

use crate::Nanos;
use crate::boot::clock_page;

/// The time-stamp counter.
#[must_use]
#[expect(unsafe_code, reason = "the instruction has no safe wrapper")]
pub fn tsc() -> u64 {
    // SAFETY: reading the counter has no effect and no precondition in user mode or ring 0.
    unsafe { _rdtsc() }
}

/// What the clock page says at one moment.
struct Reading {
    monotonic: u64,
    realtime_offset: u64,
    boottime_offset: u64,
}

fn read() -> Reading {
    let page = clock_page();
    loop {
        let before = page.sequence.load(Ordering::Acquire);
        let base = page.tsc_base.load(Ordering::Relaxed);
        let ticks = tsc().saturating_sub(base);
        let multiplier = page.multiplier.load(Ordering::Relaxed);
        let elapsed = ((u128::from(ticks) * u128::from(multiplier)) >> 32) as u64;
        let reading = Reading {
            monotonic: page
                .monotonic_base
                .load(Ordering::Relaxed)
                .wrapping_add(elapsed),
            realtime_offset: page.realtime_offset.load(Ordering::Relaxed),
            boottime_offset: page.boottime_offset.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        if before & 1 == 0 && page.sequence.load(Ordering::Relaxed) == before {
            return reading;
        }
        core::hint::spin_loop();
    }
}

/// The time-stamp counter's value at a time of the monotonic clock.
#[cfg(kernel_build)]
pub(crate) fn ticks_at(at: Nanos) -> u64 {
    let page = clock_page();
    loop {
        let before = page.sequence.load(Ordering::Acquire);
        let base = page.monotonic_base.load(Ordering::Relaxed);
        let multiplier = page.multiplier.load(Ordering::Relaxed).max(1);
        let elapsed = u128::from(at.0.saturating_sub(base));
        let ticks = (elapsed << 32).div_ceil(u128::from(multiplier)) as u64;
        let value = page.tsc_base.load(Ordering::Relaxed).saturating_add(ticks);
        fence(Ordering::Acquire);
        if before & 1 == 0 && page.sequence.load(Ordering::Relaxed) == before {
            return value;
        }
        core::hint::spin_loop();
    }
}

/// The monotonic clock.
#[must_use]
pub fn monotonic() -> Nanos {
    Nanos(read().monotonic)
}

/// The real-time clock: nanoseconds since 1970.
#[must_use]
pub fn realtime() -> Nanos {
    let reading = read();
    Nanos(reading.monotonic.wrapping_add(reading.realtime_offset))
}

/// The monotonic clock plus the time the host was suspended.
#[must_use]
pub fn boottime() -> Nanos {
    let reading = read();
    Nanos(reading.monotonic.wrapping_add(reading.boottime_offset))
}
