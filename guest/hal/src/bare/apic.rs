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
const NUMBER: u32 = 0x02;
const TASK_PRIORITY: u32 = 0x08;
const ACKNOWLEDGE: u32 = 0x0b;
const SPURIOUS: u32 = 0x0f;
const COMMAND: u32 = 0x30;
const COMMAND_TARGET: u32 = 0x31;
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

/// Commands (SDM vol. 3, 11.6.1): edge-triggered, to one controller.
const COMMAND_INIT: u32 = 5 << 8 | 1 << 14;
const COMMAND_START: u32 = 6 << 8 | 1 << 14;
const COMMAND_FIXED: u32 = 1 << 14;
/// The controller has not sent the last one yet (xAPIC only).
const COMMAND_PENDING: u32 = 1 << 12;

/// Turns the first processor's controller on.
pub(super) fn initialize() {
    if !is_extended() {
        let base = cpu::read_msr(MSR_BASE) & BASE_ADDRESS;
        let registers = memory::map_registers(base, 4096);
        let registers = registers.expect("room for the controller's registers");
        REGISTERS.store(registers.cast(), Ordering::Relaxed);
    }
    initialize_other();
}

/// Whether the controllers' registers are model-specific ones, and their numbers 32 bits long.
pub(super) fn is_extended() -> bool {
    cpu::has_feature(FEATURE_X2)
}

/// Turns the controller of the processor that this runs on, on; after the first's. All of them
/// have their registers at the same place.
pub(super) fn initialize_other() {
    let base = cpu::read_msr(MSR_BASE);
    cpu::write_msr(MSR_BASE, base | BASE_ENABLE);
    if is_extended() {
        cpu::write_msr(MSR_BASE, base | BASE_ENABLE | BASE_X2);
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

/// The controller's number.
pub(super) fn number() -> u32 {
    let value = read(NUMBER);
    let shift = if is_extended() { 0 } else { 24 };
    value >> shift
}

/// Sends a command to the controller of that number. Never from an interrupt, which could come
/// between the two halves.
fn command(target: u32, command: u32) {
    let Some(place) = place(COMMAND) else {
        // What was stored before is there for whoever is interrupted (SDM vol. 3, 11.12.3).
        core::sync::atomic::fence(Ordering::SeqCst);
        let value = u64::from(target) << 32 | u64::from(command);
        return cpu::write_msr(MSR_X2 + COMMAND, value);
    };
    while place.load(Ordering::SeqCst) & COMMAND_PENDING != 0 {
        core::hint::spin_loop();
    }
    write(COMMAND_TARGET, target << 24);
    write(COMMAND, command);
}

/// Interrupts another processor.
pub(super) fn interrupt(target: u32, vector: u8) {
    command(target, COMMAND_FIXED | u32::from(vector));
}

/// Resets another processor, which then waits to be started.
pub(super) fn reset(target: u32) {
    command(target, COMMAND_INIT);
}

/// Starts another processor that waits for it, in real mode at a page below 1 MiB.
pub(super) fn start(target: u32, page: u64) {
    command(target, COMMAND_START | (page >> 12) as u32 & 0xff);
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
