//! What processors remember of the page tables, and how they are made to forget it.
//!
//! A processor may go on using an entry that was removed until it is told to forget it (SDM vol. 3,
//! 4.10). Whoever removes one, under the kernel's lock, forgets it at once and tells the others:
//!
//! * One that runs the program could use an entry of the program's at once. It is interrupted, and
//!   the caller waits until it has forgotten the range. It need not take the lock for that: an
//!   interrupt ([`VECTOR_CALL`]) is enough, and whoever comes into the kernel meanwhile does it
//!   while waiting for the lock ([`answer`]). In the kernel interrupts are off for moments only,
//!   and never while something is waited for.
//! * One that is in the kernel waits for the lock, or idles: it uses none of these entries before
//!   it has the lock, and forgets all when it gets it ([`VcpuArea::stale`]).
//! * Entries of the kernel's own view are used under the lock only, those apart that never
//!   change: nobody is interrupted for them.
//! * When page tables themselves go, every processor must forget at once: it might look into
//!   them at any time, ahead of what it is told to do, and mark what is something else by then.
//!
//! [`VECTOR_CALL`]: guest_abi::bare::VECTOR_CALL
//! [`VcpuArea::stale`]: crate::area::VcpuArea

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_abi::layout::{APP_END, VCPUS_MAX};
use x86_64::instructions::interrupts::without_interrupts;

use super::frames::FRAME;
use super::{cpu, processors};
use crate::area;

/// More pages than this are forgotten by loading the root anew.
const SINGLY_MAX: u64 = 64;

/// What a virtual CPU is asked to forget.
#[repr(align(64))]
struct Request {
    is_open: AtomicBool,
    start: AtomicU64,
    end: AtomicU64,
}

/// Written by whoever holds the kernel's lock while it is not open, closed by its virtual CPU.
static REQUESTS: [Request; VCPUS_MAX] = [const {
    Request {
        is_open: AtomicBool::new(false),
        start: AtomicU64::new(0),
        end: AtomicU64::new(0),
    }
}; VCPUS_MAX];

fn request(vcpu: usize) -> &'static Request {
    REQUESTS.get(vcpu).expect("a virtual CPU's number")
}

/// What of the page tables has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Nothing,
    Entries,
    /// Tables, too.
    Tables,
}

/// Makes every processor forget a range. The caller holds the kernel's lock.
pub(super) fn forget(start: u64, end: u64, gone: Gone) {
    if gone == Gone::Nothing {
        return;
    }
    forget_here(start, end);
    let own = area::number();
    let others = || (0..processors::running()).filter(|vcpu| *vcpu != own);
    for vcpu in others() {
        let area = area::of(vcpu);
        let uses_it = start < APP_END && area.inside.load(Ordering::SeqCst) == 0;
        if uses_it || gone == Gone::Tables {
            ask(vcpu, start, end);
        } else {
            area.stale.store(1, Ordering::Relaxed);
        }
    }
    for vcpu in others() {
        while request(vcpu).is_open.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
    }
}

fn ask(vcpu: usize, start: u64, end: u64) {
    let request = request(vcpu);
    request.start.store(start, Ordering::Relaxed);
    request.end.store(end, Ordering::Relaxed);
    request.is_open.store(true, Ordering::SeqCst);
    processors::call(vcpu);
}

/// Forgets what this processor was asked to. An interrupt in between could answer the same
/// request, and this the next one unread.
pub(super) fn answer() {
    let request = request(area::number());
    if request.is_open.load(Ordering::Relaxed) {
        without_interrupts(|| answer_uninterrupted(request));
    }
}

fn answer_uninterrupted(request: &Request) {
    if request.is_open.load(Ordering::Acquire) {
        let start = request.start.load(Ordering::Relaxed);
        forget_here(start, request.end.load(Ordering::Relaxed));
        request.is_open.store(false, Ordering::Release);
    }
}

/// Forgets a range on this processor.
fn forget_here(start: u64, end: u64) {
    if (end - start) / FRAME > SINGLY_MAX {
        return cpu::flush_all();
    }
    for at in (start..end).step_by(FRAME as usize) {
        cpu::flush(at);
    }
}
