//! The pages through which the monitor and a virtual CPU of a cell talk.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bit of [`VcpuPage::pending`]: the timer went off.
pub const PENDING_TIMER: u32 = 1;
/// Bit of [`VcpuPage::pending`]: [`VcpuPage::signals`] has bits.
pub const PENDING_SIGNAL: u32 = 2;
/// Bit of [`VcpuPage::pending`]: a device completed work.
pub const PENDING_DEVICE: u32 = 4;

/// One virtual CPU, at `VCPU_PAGES + number * 4096`.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct VcpuPage {
    /// Counts events for this virtual CPU; it sleeps on it when idle.
    pub event: AtomicU32,
    /// One while the virtual CPU sleeps and wants to be woken.
    pub asleep: AtomicU32,
    /// What happened; set by the monitor, taken by the kernel.
    pub pending: AtomicU32,
    /// Counts changes of `deadline`; the monitor sleeps on it.
    pub timer_bell: AtomicU32,
    /// When to be interrupted, in nanoseconds of the host's monotonic clock; zero: never.
    pub deadline: AtomicU64,
    /// Linux signals for the program, bit `n - 1` for signal `n`.
    pub signals: AtomicU64,
}

/// Time, written by the monitor under a sequence count (odd: being written):
/// `monotonic = monotonic_base + ((tsc - tsc_base) * multiplier >> 32)`.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct ClockPage {
    /// Even when stable.
    pub sequence: AtomicU32,
    /// One when the time-stamp counter may be used.
    pub usable: AtomicU32,
    /// Counter at the base.
    pub tsc_base: AtomicU64,
    /// Nanoseconds of the monotonic clock at the base.
    pub monotonic_base: AtomicU64,
    /// Nanoseconds that the real-time clock is ahead of the monotonic clock.
    pub realtime_offset: AtomicU64,
    /// Nanoseconds per tick, 32 fractional bits.
    pub multiplier: AtomicU64,
    /// Nanoseconds that the boot-time clock is ahead of the monotonic clock.
    pub boottime_offset: AtomicU64,
}
