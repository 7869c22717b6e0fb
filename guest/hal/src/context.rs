//! The program's registers, and what the upper half does with them.

use spin::Once;

use crate::{Nanos, Ticket, platform};

/// The general registers of the program, in the order in which the entry code pushes
/// them (lowest address first).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct UserContext {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The number of the system call this context came in by; `u64::MAX` for a trap.
    pub call: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Selector of 64-bit user code as Linux programs see it.
pub(crate) const USER_CS: u64 = 0x33;
/// Selector of user data as Linux programs see it.
pub(crate) const USER_SS: u64 = 0x2b;

/// How a system call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// By a jump from a patched site.
    Patched,
    /// By the instruction itself, where that costs no more than a jump.
    Instruction,
    /// By a trap of the instruction that ends at `UserContext::rip`.
    Trapped,
}

/// How to go back to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Leave {
    /// As after a system call: `rcx` and `r11` may change.
    Fast = 0,
    /// Every register exactly as in the context.
    Full = 1,
}

/// An exception of the program, in the processor's terms (SDM vol. 3, 6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Vector number.
    pub vector: u8,
    /// Error code.
    pub error: u64,
    /// Linear address of a page fault.
    pub address: u64,
    /// The host could not give a page: the machine's memory is used up, or a file of the host that
    /// shows there has become shorter.
    pub no_memory: bool,
}

impl Trap {
    /// Page fault.
    pub const PAGE_FAULT: u8 = 14;
    /// Bit of a page fault's error code: a write.
    pub const ERROR_WRITE: u64 = 2;
    /// Bit of a page fault's error code: an instruction fetch.
    pub const ERROR_FETCH: u64 = 16;
}

/// What the upper half provides.
pub trait Kernel: Sync {
    /// Serves a system call: number in `context.call`, result to `context.rax`.
    fn system_call(&self, context: &mut UserContext, entry: Entry) -> Leave;
    /// Serves an exception of the program.
    fn trap(&self, context: &mut UserContext, trap: Trap);
    /// Serves what became pending, before the program goes on at `context`.
    fn interrupt(&self, context: &mut UserContext);
    /// Lets others run until an event that came after `ticket`, or until `deadline` of the
    /// monotonic clock. May return early.
    fn wait_for_event(&self, ticket: Ticket, deadline: Option<Nanos>);
    /// Lets others run until a lock has been given back. May return early.
    fn wait_for_lock(&self);
    /// A lock was given back for which somebody waits.
    fn lock_given_back(&self);
    /// Runs a virtual CPU beside the first, whose idle task the caller is.
    fn run_vcpu(&self) -> !;
}

static KERNEL: Once<&'static dyn Kernel> = Once::new();

/// Says who serves the program; once, before the first task runs.
pub fn set_kernel(kernel: &'static dyn Kernel) {
    KERNEL.call_once(|| kernel);
}

/// Waits for an event as [`Kernel::wait_for_event`]; before there is anybody else to run, by
/// doing nothing.
pub(crate) fn wait_for_event(ticket: Ticket, deadline: Option<Nanos>) {
    match KERNEL.get() {
        Some(kernel) => kernel.wait_for_event(ticket, deadline),
        None => platform().idle(ticket, deadline, true),
    }
}

/// See [`Kernel::wait_for_lock`].
#[cfg(kernel_build)]
pub(crate) fn wait_for_lock() {
    KERNEL.get().expect(NOBODY_ELSE).wait_for_lock();
}

#[cfg(kernel_build)]
const NOBODY_ELSE: &str = "a lock that is taken while there is one task is never given back";

/// Unit tests are threads of the host.
#[cfg(not(kernel_build))]
pub(crate) fn wait_for_lock() {
    core::hint::spin_loop();
}

/// See [`Kernel::lock_given_back`].
pub(crate) fn lock_given_back() {
    if let Some(kernel) = KERNEL.get() {
        kernel.lock_given_back();
    }
}

#[cfg(kernel_build)]
pub(crate) use entered::{interrupt, run_vcpu, system_call, trap};

/// The ways into the upper half, under the kernel's lock.
#[cfg(kernel_build)]
mod entered {
    use super::{Entry, KERNEL, Kernel, Leave, Trap, UserContext};
    use crate::lock;

    fn kernel() -> &'static dyn Kernel {
        *KERNEL
            .get()
            .expect("the kernel is set before the program runs")
    }

    pub(crate) fn system_call(context: &mut UserContext, entry: Entry) -> Leave {
        lock::enter();
        let leave = kernel().system_call(context, entry);
        lock::leave();
        leave
    }

    pub(crate) fn trap(context: &mut UserContext, trap: Trap) {
        lock::enter();
        kernel().trap(context, trap);
        lock::leave();
    }

    pub(crate) fn interrupt(context: &mut UserContext) {
        lock::enter();
        kernel().interrupt(context);
        lock::leave();
    }

    pub(crate) fn run_vcpu() -> ! {
        lock::take();
        kernel().run_vcpu()
    }
}
