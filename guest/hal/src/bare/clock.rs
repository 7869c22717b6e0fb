//! Time without a Husk monitor: the frequency of the time-stamp counter and of the local timer,
//! and the clock page that a monitor would keep.
//!
//! A hypervisor or the processor says the frequencies where it can. Otherwise they follow from
//! what the counters advance by while ACPI's timer, whose frequency is fixed, advances: two
//! readings of each, a millisecond apart. Being interrupted in between does no harm, since all
//! of them go on meanwhile; only the readings themselves are repeated, until they lie close
//! together.

use core::arch::x86_64::__cpuid;
use core::sync::atomic::Ordering;

use super::{apic, cpu};
use crate::boot::clock_page;
use crate::time::tsc;

/// Frequency of ACPI's timer (ACPI 6.5, 4.8.3.3), and how many bits surely count.
const TIMER_HERTZ: u64 = 3_579_545;
const TIMER_MASK: u32 = 0x00ff_ffff;
/// How long to measure, in its ticks: a millisecond.
const MEASURE: u32 = 3580;
/// How often a reading is repeated at most.
const READINGS: u32 = 8;
/// What is assumed where nobody says anything: as many hypervisors have it.
const FALLBACK_HERTZ: u64 = 1_000_000_000;

/// Frequencies, in Hz.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frequencies {
    /// Of the time-stamp counter.
    pub(super) tsc: u64,
    /// Of the local timer, undivided.
    pub(super) local: u64,
}

/// Finds the frequencies out; `timer` is the port of ACPI's.
pub(super) fn frequencies(timer: Option<u16>) -> Frequencies {
    let measured = || timer.map(measure);
    said_by_hypervisor()
        .or_else(measured)
        .or_else(said_by_processor)
        .unwrap_or(Frequencies {
            tsc: FALLBACK_HERTZ,
            local: FALLBACK_HERTZ,
        })
}

/// Leaf 0x40000010, as VMware, KVM's monitors and others have it: both frequencies in kHz.
fn said_by_hypervisor() -> Option<Frequencies> {
    const HYPERVISOR: u32 = 31;
    if !cpu::has_feature(HYPERVISOR) || __cpuid(0x4000_0000).eax < 0x4000_0010 {
        return None;
    }
    let leaf = __cpuid(0x4000_0010);
    let hertz = |kilohertz| u64::from(kilohertz) * 1000;
    (leaf.eax != 0 && leaf.ebx != 0).then(|| Frequencies {
        tsc: hertz(leaf.eax),
        local: hertz(leaf.ebx),
    })
}

/// Leaf 0x15: the crystal, which the local timer counts, and its ratio to the counter.
fn said_by_processor() -> Option<Frequencies> {
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let leaf = __cpuid(0x15);
    let crystal = u64::from(leaf.ecx);
    (leaf.eax != 0 && leaf.ebx != 0 && crystal != 0).then(|| Frequencies {
        tsc: crystal * u64::from(leaf.ebx) / u64::from(leaf.eax),
        local: crystal,
    })
}

/// One moment, as three counters show it.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    timer: u32,
    tsc: u64,
    /// Counts down.
    local: u32,
}

/// Reads all three within as little time as possible.
fn moment(port: u16) -> Moment {
    let mut best = Moment::default();
    let mut shortest = u64::MAX;
    for _ in 0..READINGS {
        let before = tsc();
        let timer = cpu::port_read(port) & TIMER_MASK;
        let local = apic::remaining();
        let length = tsc().wrapping_sub(before);
        if length < shortest {
            shortest = length;
            best = Moment {
                timer,
                tsc: before + length / 2,
                local,
            };
        }
    }
    best
}

fn measure(port: u16) -> Frequencies {
    apic::count_down();
    let first = moment(port);
    let passed = |now: u32| now.wrapping_sub(first.timer) & TIMER_MASK;
    // A timer that stands still is no reason to wait for ever.
    let patience = first.tsc.saturating_add(100_000_000_000);
    while passed(cpu::port_read(port)) < MEASURE && tsc() < patience {
        core::hint::spin_loop();
    }
    let last = moment(port);
    let ticks = u64::from(passed(last.timer)).max(1);
    let hertz =
        |count: u64| (u128::from(count) * u128::from(TIMER_HERTZ) / u128::from(ticks)) as u64;
    Frequencies {
        tsc: hertz(last.tsc.saturating_sub(first.tsc)).max(1),
        local: hertz(u64::from(first.local.wrapping_sub(last.local))).max(1),
    }
}

/// Fills the clock page in: the monotonic clock begins now.
pub(super) fn keep(frequencies: Frequencies) {
    const SECOND: u128 = 1_000_000_000;
    let page = clock_page();
    let multiplier = (SECOND << 32) / u128::from(frequencies.tsc);
    page.multiplier.store(multiplier as u64, Ordering::Relaxed);
    page.tsc_base.store(tsc(), Ordering::Relaxed);
    page.monotonic_base.store(0, Ordering::Relaxed);
    let realtime = seconds_since_1970().saturating_mul(SECOND as u64);
    page.realtime_offset.store(realtime, Ordering::Relaxed);
    page.usable.store(1, Ordering::Release);
}

/// Registers of the real-time clock (MC146818), and bits of them.
const SECONDS: u8 = 0;
const MINUTES: u8 = 2;
const HOURS: u8 = 4;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const UPDATING: u8 = 0x80;
const BINARY: u8 = 4;
const HOURS_24: u8 = 2;
const AFTERNOON: u8 = 0x80;

fn clock_register(number: u8) -> u8 {
    cpu::port_write_byte(0x70, number);
    cpu::port_read_byte(0x71)
}

fn seconds_since_1970() -> u64 {
    for _ in 0..100_000 {
        if clock_register(STATUS_A) & UPDATING == 0 {
            break;
        }
    }
    let status = clock_register(STATUS_B);
    let value = |byte: u8| {
        let tens = u64::from(byte >> 4);
        if status & BINARY == 0 {
            tens * 10 + u64::from(byte & 15)
        } else {
            u64::from(byte)
        }
    };
    let hours = clock_register(HOURS);
    let mut hour = value(hours & !AFTERNOON);
    if status & HOURS_24 == 0 {
        hour = hour % 12 + if hours & AFTERNOON == 0 { 0 } else { 12 };
    }
    let day = days_since_1970(
        2000 + value(clock_register(YEAR)),
        value(clock_register(MONTH)),
        value(clock_register(DAY)),
    );
    ((day * 24 + hour) * 60 + value(clock_register(MINUTES))) * 60 + value(clock_register(SECONDS))
}

/// Days of the Gregorian calendar; the year begins in March, so that the leap day is its last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    (days + (month * 153 + 2) / 5 + day).saturating_sub(719_469)
}
