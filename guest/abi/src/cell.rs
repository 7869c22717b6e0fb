//! How a kernel in a cell asks its stub for what only the host can do.
//!
//! The stub and the kernel share an address space, so a call is a function call. The
//! stub turns it into one of the host system calls that the cell's seccomp filter
//! lets through ([`ALLOWED_SYSTEM_CALLS`]). Nothing here is a boundary: a hostile
//! kernel can issue those system calls itself, with any arguments.

/// Descriptor number of the machine's memory in a cell.
pub const RAM_FD: i32 = 3;
/// Descriptor number of the file with the kernel's image; closed before the kernel starts.
pub const IMAGE_FD: i32 = 4;
/// Descriptor number of the channel to the monitor; closed before the kernel starts. Two
/// messages of two bytes come: the machine's memory has been loaded; go.
pub const CHANNEL_FD: i32 = 5;

/// The host system calls a cell can reach, by name. Everything else traps.
///
/// Only from the stub's own text, which is how the program's use of the same numbers
/// is told apart (this is virtualization, not defence: defence is that each is
/// harmless with any arguments).
pub const ALLOWED_SYSTEM_CALLS: [(&str, &str); 7] = [
    (
        "futex",
        "FUTEX_WAIT and FUTEX_WAKE only, on memory of the cell",
    ),
    ("rt_sigreturn", "any frame: registers of the cell"),
    ("exit_group", "ends the cell"),
    (
        "mmap",
        "the memory descriptor only, MAP_SHARED|MAP_FIXED only",
    ),
    ("munmap", "any range of the cell"),
    ("mprotect", "any range of the cell"),
    (
        "madvise",
        "MADV_REMOVE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_POPULATE_READ and _WRITE only",
    ),
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
    /// Maps `length` bytes of guest-physical memory at `linear`, replacing what was there.
    pub map: extern "C" fn(linear: u64, physical: u64, length: u64, protection: u64) -> i64,
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
    /// Sets where signals go.
    pub set_trap_vector: extern "C" fn(vector: TrapVector),
}

/// The kernel's entry on the cell platform: the calls, the linear address of
/// [`crate::boot::BootInfo`], the number of this virtual CPU.
pub type CellEntry = extern "C" fn(calls: *const CellCalls, boot: u64, vcpu: u64) -> !;
