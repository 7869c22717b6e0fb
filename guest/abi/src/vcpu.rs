//! The pages through which the monitor and a virtual CPU of a cell talk.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bit of [`VcpuPage::pending`]: the timer went off.
pub const PENDING_TIMER: u32 = 1;
/// Bit of [`VcpuPage::pending`]: [`VcpuPage::signals`] has bits.
pub const PENDING_SIGNAL: u32 = 2;
/// Bit of [`VcpuPage::pending`]: a device completed work.
pub const PENDING_DEVICE: u32 = 4;

/// Value of [`VcpuPage::attention`]: it has not begun, and could take no interrupt; it looks when
/// it does.
pub const ATTENTION_ABSENT: u32 = 0;
/// It sleeps on [`VcpuPage::event`]: wake it.
pub const ATTENTION_WAKE: u32 = 1;
/// It runs the program while somebody waits for devices: interrupt it.
pub const ATTENTION_INTERRUPT: u32 = 2;
/// It idles and looks for a completion, which it takes for all: nobody else is to be told of it.
pub const ATTENTION_LOOKS: u32 = 3;
/// It runs; devices' completions are of no interest to it.
pub const ATTENTION_NONE: u32 = 4;

/// One virtual CPU, at `VCPU_PAGES + number * 4096`. What is said to be the machine's lies in
/// the first page only.
///
/// A device's completion is counted in `device_event` of the machine. If a virtual CPU looks for
/// that, it is all. Otherwise the first that sleeps is woken, or else the first one that wants it
/// is interrupted; one that does neither compares the count before it sleeps or goes back to the
/// program.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct VcpuPage {
    /// Counts events for this virtual CPU; it sleeps on it when idle.
    pub event: AtomicU32,
    /// How it wants to hear of events: one of `ATTENTION_*`.
    pub attention: AtomicU32,
    /// What happened; set by the monitor, taken by the kernel.
    pub pending: AtomicU32,
    /// Counts changes of a `deadline` or an `interrupt`; the monitor sleeps on it. The machine's.
    pub timer_bell: AtomicU32,
    /// When to be interrupted, in nanoseconds of the host's monotonic clock; zero: never.
    pub deadline: AtomicU64,
    /// Linux signals for the program, bit `n - 1` for signal `n`. The machine's.
    pub signals: AtomicU64,
    /// Counts completions of devices. The machine's.
    pub device_event: AtomicU32,
    /// Not zero: another virtual CPU wants this one interrupted.
    pub interrupt: AtomicU32,
    /// Not zero: the kernel is ready for this virtual CPU, which is not the first.
    pub online: AtomicU32,
    /// [`OVER`]: the machine is over, and what lies in its memory beyond the pages it shares with the
    /// monitor may be forgotten. The machine's.
    pub over: AtomicU32,
}

/// [`VcpuPage::over`]: a value that does not come about by accident.
pub const OVER: u32 = 0x0e4d_00fe;

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
