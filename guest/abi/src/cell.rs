//! How a kernel in a cell asks its stub for what only the host can do.
//!
//! The stub and the kernel share an address space, so a call is a function call. The
//! stub turns it into one of the host system calls that the cell's seccomp filter
//! lets through ([`ALLOWED_SYSTEM_CALLS`]). Nothing here is a boundary: a hostile
//! kernel can issue those system calls itself, with any arguments.

/// Descriptor number of the machine's memory in a cell.
pub const RAM_FD: i32 = 3;
/// Descriptor number of the channel from the monitor. Two messages of two bytes come before the
/// kernel starts: the machine's memory has been loaded; go. Then those of [`CellCalls::receive`].
pub const CHANNEL_FD: i32 = 4;
/// Descriptor number of the file with the kernel's image; closed before the kernel starts.
pub const IMAGE_FD: i32 = 5;
/// The most descriptors that a cell can have.
pub const DESCRIPTORS_MAX: u64 = 1024;

/// The host system calls a cell can reach, by name. Everything else traps.
///
/// Only from the stub's own text, which is how the program's use of the same numbers
/// is told apart (this is virtualization, not defence: defence is that each is
/// harmless with any arguments).
pub const ALLOWED_SYSTEM_CALLS: [(&str, &str); 9] = [
    (
        "futex",
        "FUTEX_WAIT and FUTEX_WAKE only, on memory of the cell",
    ),
    ("rt_sigreturn", "any frame: registers of the cell"),
    ("exit_group", "ends the cell"),
    ("mmap", "of a descriptor, MAP_SHARED|MAP_FIXED only"),
    ("munmap", "any range of the cell"),
    ("mprotect", "any range of the cell"),
    (
        "madvise",
        "MADV_REMOVE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_POPULATE_READ and _WRITE only",
    ),
    (
        "recvmsg",
        "the channel from the monitor only, MSG_DONTWAIT|MSG_CMSG_CLOEXEC only",
    ),
    ("close", "any descriptor of the cell"),
];

/// The signal by which the monitor interrupts a running virtual CPU: `SIGUSR1`.
pub const INTERRUPT_SIGNAL: i32 = 10;

/// Called for every signal the host delivers to the cell, on the alternate stack:
/// signal number, `siginfo_t *`, `ucontext_t *`. Returning resumes what was interrupted.
pub type TrapVector = extern "C" fn(signal: i32, info: *const u8, context: *mut u8);

/// The stub's calls; all results are as the host system call returns them, a negative
/// error number on failure.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CellCalls {
    /// Maps `length` bytes of a descriptor's file from `offset` on at `linear`, shared, replacing
    /// what was there. Of [`RAM_FD`] that is guest-physical memory.
    pub map: extern "C" fn(
        descriptor: i32,
        linear: u64,
        offset: u64,
        length: u64,
        protection: u64,
    ) -> i64,
    /// Removes mappings.
    pub unmap: extern "C" fn(linear: u64, length: u64) -> i64,
    /// Changes the protection of mappings.
    pub protect: extern "C" fn(linear: u64, length: u64, protection: u64) -> i64,
    /// `madvise`.
    pub advise: extern "C" fn(linear: u64, length: u64, advice: u64) -> i64,
    /// Sleeps while `*word == expected`, at most `nanos` (`u64::MAX`: for ever).
    pub wait: extern "C" fn(word: *const u32, expected: u32, nanos: u64) -> i64,
    /// Wakes whoever sleeps on `word`, in any process.
    pub wake: extern "C" fn(word: *const u32) -> i64,
    /// Ends the cell.
    pub exit: extern "C" fn(status: i32) -> !,
    /// Takes the next file that the monitor handed over, read-only: its descriptor. Eight bytes
    /// that came with it go to `token`.
    pub receive: extern "C" fn(token: *mut u64) -> i64,
    /// Closes a descriptor.
    pub close: extern "C" fn(descriptor: i32) -> i64,
    /// Sets where signals go.
    pub set_trap_vector: extern "C" fn(vector: TrapVector),
}

/// The kernel's entry on the cell platform: the calls, the linear address of
/// [`crate::boot::BootInfo`], the number of this virtual CPU.
pub type CellEntry = extern "C" fn(calls: *const CellCalls, boot: u64, vcpu: u64) -> !;
