//! The local interrupt controller and its timer (SDM vol. 3, chapter 11).

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use guest_abi::bare::{VECTOR_SPURIOUS, VECTOR_TIMER};

use super::{cpu, memory};
use crate::{Nanos, time};

const MSR_BASE: u32 = 0x1b;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
/// First register of the controller as model-specific ones.
const MSR_X2: u32 = 0x800;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2: u64 = 1 << 10;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Registers, as numbers of 16-byte places.
const TASK_PRIORITY: u32 = 0x08;
const ACKNOWLEDGE: u32 = 0x0b;
const SPURIOUS: u32 = 0x0f;
const TIMER: u32 = 0x32;
const INITIAL_COUNT: u32 = 0x38;
const CURRENT_COUNT: u32 = 0x39;
const DIVIDE: u32 = 0x3e;
const LINE_0: u32 = 0x35;
const LINE_1: u32 = 0x36;

const MASKED: u32 = 1 << 16;
const TIMER_TSC_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0xb;
const SOFTWARE_ENABLE: u32 = 1 << 8;

/// CPUID leaf 1, `ecx`.
const FEATURE_X2: u32 = 21;
const FEATURE_TSC_DEADLINE: u32 = 24;

/// Whether the timer takes a value of the time-stamp counter.
static HAS_DEADLINE: AtomicBool = AtomicBool::new(false);
/// How fast it counts otherwise.
static HERTZ: AtomicU64 = AtomicU64::new(1_000_000_000);

/// Where the registers are, without x2APIC.
static REGISTERS: AtomicPtr<u32> = AtomicPtr::new(core::ptr::null_mut());

/// Turns the controller on.
pub(super) fn initialize() {
    let base = cpu::read_msr(MSR_BASE);
    if cpu::has_feature(FEATURE_X2) {
        cpu::write_msr(MSR_BASE, base | BASE_ENABLE);
        cpu::write_msr(MSR_BASE, base | BASE_ENABLE | BASE_X2);
    } else {
        cpu::write_msr(MSR_BASE, base | BASE_ENABLE);
        let registers = memory::map_registers(base & BASE_ADDRESS, 4096);
        let registers = registers.expect("room for the controller's registers");
        REGISTERS.store(registers.cast(), Ordering::Relaxed);
    }
    write(TASK_PRIORITY, 0);
    write(LINE_0, MASKED);
    write(LINE_1, MASKED);
    write(SPURIOUS, u32::from(VECTOR_SPURIOUS) | SOFTWARE_ENABLE);
    if cpu::has_feature(FEATURE_TSC_DEADLINE) {
        write(TIMER, u32::from(VECTOR_TIMER) | TIMER_TSC_DEADLINE);
        HAS_DEADLINE.store(true, Ordering::Relaxed);
    } else {
        write(DIVIDE, DIVIDE_BY_1);
        write(TIMER, u32::from(VECTOR_TIMER));
    }
}

/// Says how fast the timer counts, where it has no deadline mode.
pub(super) fn set_frequency(hertz: u64) {
    HERTZ.store(hertz, Ordering::Relaxed);
    if !HAS_DEADLINE.load(Ordering::Relaxed) {
        // Counting down to measure it may have masked it.
        write(INITIAL_COUNT, 0);
        write(TIMER, u32::from(VECTOR_TIMER));
    }
}

/// Lets the timer count down as long as it can, without an interrupt.
pub(super) fn count_down() {
    write(TIMER, u32::from(VECTOR_TIMER) | MASKED);
    write(DIVIDE, DIVIDE_BY_1);
    write(INITIAL_COUNT, u32::MAX);
}

/// Where the timer's count is.
pub(super) fn remaining() -> u32 {
    read(CURRENT_COUNT)
}

/// A register's place, without x2APIC.
fn place(register: u32) -> Option<&'static AtomicU32> {
    let registers = REGISTERS.load(Ordering::Relaxed);
    if registers.is_null() {
        return None;
    }
    let place = registers.wrapping_add(register as usize * 4);
    // SAFETY: the registers' page is mapped for ever; every register used lies in it.
    Some(unsafe { AtomicU32::from_ptr(place) })
}

fn write(register: u32, value: u32) {
    match place(register) {
        Some(place) => place.store(value, Ordering::SeqCst),
        None => cpu::write_msr(MSR_X2 + register, u64::from(value)),
    }
}

fn read(register: u32) -> u32 {
    match place(register) {
        Some(place) => place.load(Ordering::SeqCst),
        None => cpu::read_msr(MSR_X2 + register) as u32,
    }
}

/// Tells the controller that an interrupt has been taken.
pub(super) fn acknowledge() {
    write(ACKNOWLEDGE, 0);
}

/// Asks for an interrupt at a time of the monotonic clock, or sooner where the timer does not
/// reach that far; `None` cancels.
pub(super) fn set_timer(deadline: Option<Nanos>) {
    if HAS_DEADLINE.load(Ordering::Relaxed) {
        // Zero would cancel; a time that has passed goes off at once.
        let ticks = deadline.map_or(0, |at| time::ticks_at(at).max(1));
        return cpu::write_msr(MSR_TSC_DEADLINE, ticks);
    }
    let count = deadline.map_or(0, |at| {
        let nanos = at.saturating_sub(time::monotonic()).0;
        let count = u128::from(nanos) * u128::from(HERTZ.load(Ordering::Relaxed)) / 1_000_000_000;
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    });
    write(INITIAL_COUNT, count);
}
