//! What the entry code of a platform needs of a virtual CPU, found by the `gs` base.
#![expect(unsafe_code, reason = "the `gs` base is the way to it")]

use core::arch::asm;
use core::sync::atomic::AtomicU64;

use guest_abi::layout::VCPUS_MAX;

/// One virtual CPU's. The offsets of the first fields are known to the platforms' entry code.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct VcpuArea {
    /// Where the frame of a program's context ends on the kernel's stack of its task.
    pub(crate) kernel_stack: AtomicU64,
    /// The program's stack pointer while the entry code switches.
    pub(crate) user_stack: AtomicU64,
    /// Not zero: look for work before going back to the program.
    pub(crate) pending: AtomicU64,
    /// The frame that is about to be resumed (cell).
    pub(crate) frame: AtomicU64,
    /// The instruction pointer that is about to be resumed (cell).
    pub(crate) resume: AtomicU64,
    /// The exception of the program that is being served; of a cell, the signal it came by.
    pub(crate) trap_vector: AtomicU64,
    pub(crate) trap_error: AtomicU64,
    pub(crate) trap_address: AtomicU64,
    pub(crate) trap_signal: AtomicU64,
    /// Not zero: the last copy from or to the program met a page that the host could not give (cell).
    pub(crate) no_memory: AtomicU64,
    /// The virtual CPU's number.
    pub(crate) number: AtomicU64,
    /// Not zero: it is in the kernel, or about to be, and cannot leave without the kernel's lock.
    pub(crate) inside: AtomicU64,
    /// Not zero: translations that it may remember are wrong. It forgets them once it has the
    /// kernel's lock, and needs none of them before (bare).
    pub(crate) stale: AtomicU64,
    /// When its timer is to go off, in nanoseconds of the monotonic clock; zero: never (bare).
    pub(crate) timer: AtomicU64,
}

/// Offsets in [`VcpuArea`], for the entry code.
pub(crate) mod offset {
    use super::VcpuArea;
    use core::mem::offset_of;

    pub(crate) const KERNEL_STACK: usize = offset_of!(VcpuArea, kernel_stack);
    pub(crate) const USER_STACK: usize = offset_of!(VcpuArea, user_stack);
    pub(crate) const PENDING: usize = offset_of!(VcpuArea, pending);
    pub(crate) const FRAME: usize = offset_of!(VcpuArea, frame);
    pub(crate) const RESUME: usize = offset_of!(VcpuArea, resume);
    pub(crate) const TRAP_VECTOR: usize = offset_of!(VcpuArea, trap_vector);
    pub(crate) const TRAP_ERROR: usize = offset_of!(VcpuArea, trap_error);
    pub(crate) const NUMBER: usize = offset_of!(VcpuArea, number);
}

const fn fresh() -> VcpuArea {
    VcpuArea {
        kernel_stack: AtomicU64::new(0),
        user_stack: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        frame: AtomicU64::new(0),
        resume: AtomicU64::new(0),
        trap_vector: AtomicU64::new(0),
        trap_error: AtomicU64::new(0),
        trap_address: AtomicU64::new(0),
        trap_signal: AtomicU64::new(0),
        no_memory: AtomicU64::new(0),
        number: AtomicU64::new(0),
        inside: AtomicU64::new(1),
        stale: AtomicU64::new(0),
        timer: AtomicU64::new(0),
    }
}

static AREAS: [VcpuArea; VCPUS_MAX] = [const { fresh() }; VCPUS_MAX];

/// Makes this processor the virtual CPU of that number.
pub(crate) fn claim(number: usize) {
    let area = AREAS.get(number).expect("a virtual CPU's number");
    area.number
        .store(number as u64, core::sync::atomic::Ordering::Relaxed);
    crate::frame::set_gs_base(core::ptr::from_ref(area).addr() as u64);
}

/// The number of the virtual CPU that this runs on; another after the task was switched.
pub(crate) fn number() -> usize {
    let number: u64;
    // SAFETY: `gs` finds an area since `claim`, the first thing on every virtual CPU. Not
    // declared pure: the answer changes when a task goes on elsewhere.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) number, offset = const offset::NUMBER,
             options(nostack, preserves_flags, readonly));
    }
    number as usize
}

/// The area of a virtual CPU.
pub(crate) fn of(number: usize) -> &'static VcpuArea {
    AREAS.get(number).expect("a virtual CPU's number")
}

/// The area of the virtual CPU that this runs on.
pub(crate) fn area() -> &'static VcpuArea {
    AREAS.get(number()).expect("a virtual CPU's number")
}
