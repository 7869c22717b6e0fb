//! The kernel's lock: one virtual CPU at a time is in the kernel.
//!
//! Taken at every entry from the program, given back before going back and while a virtual CPU
//! is idle. So the code above is written as for one processor: between two waits nobody else
//! changes anything (`docs/decisions/0016-one-lock-around-the-kernel.md`).

use core::sync::atomic::{AtomicU32, Ordering};

use crate::area::{self, area};
use crate::frame;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody sleeps until it is given back.
const AWAITED: u32 = 2;

/// How often to look before sleeping: about 10 us.
const LOOKS: u32 = 400;

static LOCK: AtomicU32 = AtomicU32::new(FREE);

/// Comes from the program: takes the lock.
pub(crate) fn enter() {
    area().inside.store(1, Ordering::SeqCst);
    take();
}

/// Goes back to the program: gives the lock back.
pub(crate) fn leave() {
    area().inside.store(0, Ordering::Release);
    give_back();
}

/// Keeps every other virtual CPU out of the program until the caller gives the lock back.
pub(crate) fn stop_others() {
    let platform = crate::platform::lower();
    let own = area::number();
    for vcpu in (0..crate::boot::info().vcpus as usize).filter(|vcpu| *vcpu != own) {
        let inside = &area::of(vcpu).inside;
        if inside.load(Ordering::SeqCst) == 0 {
            platform.interrupt(vcpu);
        }
        while inside.load(Ordering::SeqCst) == 0 {
            core::hint::spin_loop();
        }
    }
    STOPS.fetch_add(1, Ordering::Relaxed);
}

/// How often others were stopped.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// Takes the lock.
pub(crate) fn take() {
    let taken = LOCK.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
    if taken.is_err() {
        let stops = STOPS.load(Ordering::Relaxed);
        wait();
        if STOPS.load(Ordering::Relaxed) != stops {
            // The program's code may have changed (SDM vol. 3, 9.1.3).
            frame::serialize();
        }
    }
    let stale = &area().stale;
    if stale.load(Ordering::Relaxed) != 0 {
        stale.store(0, Ordering::Relaxed);
        crate::platform::lower().forget_translations();
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
        crate::platform::lower().answer();
        core::hint::spin_loop();
    }
    while LOCK.swap(AWAITED, Ordering::Acquire) != FREE {
        crate::platform::lower().wait_on(&LOCK, AWAITED);
    }
}

/// Gives the lock back.
pub(crate) fn give_back() {
    if LOCK.swap(FREE, Ordering::Release) == AWAITED {
        crate::platform::lower().wake_one(&LOCK);
    }
}
