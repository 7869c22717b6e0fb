//! Which of the standard streams were closed when this program was started.
//!
//! Rust's runtime puts `/dev/null` in their place before `main`, so that no other file gets
//! their numbers. So this looks before the runtime does.
#![expect(
    unsafe_code,
    reason = "runs before main, where only the C library's calls exist"
)]

use std::sync::atomic::{AtomicU8, Ordering};

/// Bit N: descriptor N was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

extern "C" fn note() {
    for number in 0..3 {
        // SAFETY: asks for a flag of a descriptor that may be closed.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags < 0 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
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
