//! The program's registers, and what the upper half does with them.

use spin::Once;

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
    /// The host could not give a page: the machine's memory is used up.
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
}

static KERNEL: Once<&'static dyn Kernel> = Once::new();

/// Says who serves the program; once, before [`crate::enter_user`].
pub fn set_kernel(kernel: &'static dyn Kernel) {
    KERNEL.call_once(|| kernel);
}

/// Who serves the program.
///
/// # Panics
/// Before [`set_kernel`].
#[must_use]
pub fn kernel() -> &'static dyn Kernel {
    *KERNEL
        .get()
        .expect("the kernel is set before the program is entered")
}
