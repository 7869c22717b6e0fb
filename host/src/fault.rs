//! Surviving memory that the host cannot give.
//!
//! Guest memory is a file on a tmpfs of limited size. When it is full, touching one more
//! page of the mapping is a `SIGBUS`, also for the monitor. The guard puts a private page
//! in the place of the missing one, so that the access goes on harmlessly, and rings a
//! bell: the machine is out of memory and will be ended.
#![expect(unsafe_code, reason = "a signal handler that maps memory")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

static START: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);
static BELL: AtomicI32 = AtomicI32::new(-1);
static MISSED: AtomicBool = AtomicBool::new(false);

const PAGE: usize = 4096;

/// Guards `length` bytes from `start`; `bell` is an eventfd that must stay open. One
/// range a process.
///
/// # Errors
/// The host's.
pub fn guard(start: usize, length: usize, bell: BorrowedFd<'_>) -> io::Result<()> {
    START.store(start, Ordering::SeqCst);
    END.store(start.saturating_add(length), Ordering::SeqCst);
    BELL.store(bell.as_raw_fd(), Ordering::SeqCst);
    // SAFETY: all zeroes is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_bus_error as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler only makes system calls that are safe in one.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether a page could not be had.
#[must_use]
pub fn is_exhausted() -> bool {
    MISSED.load(Ordering::SeqCst)
}

extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo, which lives until the handler returns.
    let info = unsafe { &*info };
    // SAFETY: it is one for SIGBUS, which has an address.
    let address = unsafe { info.si_addr() }.addr();
    if (START.load(Ordering::SeqCst)..END.load(Ordering::SeqCst)).contains(&address) {
        replace(address & !(PAGE - 1));
        return;
    }
    // Not ours: as if nobody had caught it, when the access is made again.
    // SAFETY: restoring the default is allowed in a handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Puts a private page there and rings.
fn replace(page: usize) {
    let place = std::ptr::with_exposed_provenance_mut(page);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page lies in the guarded mapping, which is ours and holds no Rust object.
    let mapped = unsafe { libc::mmap(place, PAGE, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        // SAFETY: no precondition; without the page there is no way on.
        unsafe { libc::_exit(125) };
    }
    MISSED.store(true, Ordering::SeqCst);
    let one = 1u64.to_ne_bytes();
    // SAFETY: the bell is an open eventfd, eight bytes are what it takes.
    unsafe { libc::write(BELL.load(Ordering::SeqCst), one.as_ptr().cast(), one.len()) };
}
