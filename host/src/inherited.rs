//! What this program was started with and Rust's runtime changes before `main`: closed
//! standard streams (it puts `/dev/null` in their place, so that no other file gets their
//! numbers) and ignored signals (it ignores `SIGPIPE`). So this looks before the runtime does.
#![expect(
    unsafe_code,
    reason = "runs before main, where only the C library's calls exist; a descriptor is known by its number"
)]

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Bit N: descriptor N was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);
/// Bit N - 1: signal N was ignored.
static IGNORED: AtomicU64 = AtomicU64::new(0);

extern "C" fn note() {
    for number in 0..3 {
        // SAFETY: asks for a flag of a descriptor that may be closed.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags < 0 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
    for number in 1..=64 {
        // SAFETY: all bits zero are a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: only asks; refused for numbers that the C library keeps for itself.
        let known = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) } == 0;
        if known && action.sa_sigaction == libc::SIG_IGN {
            IGNORED.fetch_or(1 << (number - 1), Ordering::Relaxed);
        }
    }
}

// SAFETY: the section holds functions without arguments that the C library calls once, before
// `main`; this one uses nothing that is not ready by then.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn() = note;

/// Whether descriptor `number`, 0 to 2, was open when the program was started.
#[must_use]
pub fn was_open(number: u8) -> bool {
    CLOSED.load(Ordering::Relaxed) >> number & 1 == 0
}

/// The signals that were ignored when the program was started: bit N - 1 for signal N.
#[must_use]
pub fn ignored_signals() -> u64 {
    IGNORED.load(Ordering::Relaxed)
}

/// A copy of a descriptor that whoever started this program left open for it; `None`: it is not open.
#[must_use]
pub fn descriptor(number: i32) -> Option<OwnedFd> {
    // SAFETY: asks for a copy; refused for a number that is not open.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the copy was just made, and nobody else has it.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}
