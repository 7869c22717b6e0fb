//! The kernel's lock: one virtual CPU at a time is in the kernel.
//!
//! Taken at every entry from the program, given back before going back and while a virtual CPU
//! is idle. So the code above is written as for one processor: between two waits nobody else
//! changes anything (`docs/decisions/0016-one-lock-around-the-kernel.md`).

use core::sync::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody sleeps until it is given back.
const AWAITED: u32 = 2;

/// How often to look before sleeping: about 10 us.
const LOOKS: u32 = 400;

static LOCK: AtomicU32 = AtomicU32::new(FREE);

/// Takes the lock.
pub(crate) fn enter() {
    let taken = LOCK.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
    if taken.is_err() {
        wait();
    }
}

#[cold]
fn wait() {
    for _ in 0..LOOKS {
        if LOCK.load(Ordering::Relaxed) == FREE
            && LOCK
                .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return;
        }
        core::hint::spin_loop();
    }
    while LOCK.swap(AWAITED, Ordering::Acquire) != FREE {
        crate::platform::lower().wait_on(&LOCK, AWAITED);
    }
}

/// Gives the lock back.
pub(crate) fn leave() {
    if LOCK.swap(FREE, Ordering::Release) == AWAITED {
        crate::platform::lower().wake_one(&LOCK);
    }
}
