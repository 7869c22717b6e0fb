//! What exceptions and interrupts mean.
//!
//! The program's become calls of the upper half, unless it merely touched a page that is not
//! there yet. The kernel's own are such pages too (of its view of memory, or of the program's
//! while it copies), or interrupts to be noticed later; anything else is a fault of the kernel.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_abi::bare::{VECTOR_CALL, VECTOR_DEVICE, VECTOR_SPURIOUS, VECTOR_TIMER};
use guest_abi::layout::{APP_END, RAM_BASE, RAM_SPAN_MAX};
use guest_abi::vcpu::PENDING_TIMER;

use super::memory::{self, Answer};
use super::{apic, cpu, entry, platform, translations};
use crate::area::{self, area};
use crate::boot::vcpu_page;
use crate::context::{self, USER_CS, USER_SS};
use crate::report::{self, End};
use crate::{Protection, Trap, UserContext, lock, user, virtio};

/// First vector that is no exception.
const FIRST_INTERRUPT: u64 = 32;
const GENERAL_PROTECTION: u8 = 13;
const NON_MASKABLE: u64 = 2;
/// Flags that a program may have as it likes (SDM vol. 1, 3.4.3), without those of privilege.
const FLAGS_FREE: u64 = 0x0024_0dd5;
/// Flags that it always has: interrupts on, and the reserved one.
const FLAGS_FIXED: u64 = 0x202;

/// The kernel's registers at an exception, as `entry` pushes them.
#[repr(C)]
pub(super) struct KernelFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbp: u64,
    rbx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// What a page fault's error code asks for (SDM vol. 3, 4.7).
fn needed(error: u64) -> Protection {
    if error & Trap::ERROR_FETCH != 0 {
        Protection::EXECUTE
    } else if error & Trap::ERROR_WRITE != 0 {
        Protection::WRITE
    } else {
        Protection::READ
    }
}

/// Serves what the program met, on the kernel's stack; interrupts are off.
pub(super) extern "C" fn serve(frame: &mut UserContext) {
    let area = area();
    let vector = area.trap_vector.load(Ordering::Relaxed);
    let error = area.trap_error.load(Ordering::Relaxed);
    let address = cpu::fault_address();
    if vector >= FIRST_INTERRUPT {
        note(vector);
        x86_64::instructions::interrupts::enable();
        if vector == u64::from(VECTOR_CALL) {
            return;
        }
        area.pending.store(0, Ordering::SeqCst);
        return context::interrupt(frame);
    }
    x86_64::instructions::interrupts::enable();
    if vector == NON_MASKABLE {
        return;
    }
    let mut trap = Trap {
        vector: vector as u8,
        error,
        address,
        no_memory: false,
    };
    if trap.vector == Trap::PAGE_FAULT {
        lock::enter();
        let answer = memory::show(address, needed(error));
        lock::leave();
        match answer {
            Answer::Done => return,
            Answer::NoMemory => trap.no_memory = true,
            Answer::Refused => {}
        }
    }
    context::trap(frame, trap);
}

/// Whether the processor takes a frame: what it would refuse is the program's own exception, and
/// what would give it privilege is repaired.
pub(super) extern "C" fn is_good_frame(frame: &mut UserContext) -> bool {
    frame.cs = USER_CS;
    frame.ss = USER_SS;
    frame.rflags = frame.rflags & FLAGS_FREE | FLAGS_FIXED;
    if frame.rip >> 47 == 0 {
        return true;
    }
    x86_64::instructions::interrupts::enable();
    let trap = Trap {
        vector: GENERAL_PROTECTION,
        error: 0,
        address: 0,
        no_memory: false,
    };
    context::trap(frame, trap);
    false
}

/// Serves what the kernel met itself, on the exceptions' stack; interrupts are off.
pub(super) extern "C" fn inside(frame: &mut KernelFrame) {
    match frame.vector {
        vector if vector >= FIRST_INTERRUPT => {
            note(vector);
            if vector != u64::from(VECTOR_CALL) {
                area().pending.store(1, Ordering::SeqCst);
            }
            frame.rip = entry::behind_sleep(frame.rip);
        }
        NON_MASKABLE => {}
        vector if vector == u64::from(Trap::PAGE_FAULT) => page_fault(frame),
        _ => fail(frame),
    }
}

fn page_fault(frame: &mut KernelFrame) {
    let address = cpu::fault_address();
    let answer = match address.checked_sub(RAM_BASE) {
        Some(physical) if physical < RAM_SPAN_MAX => memory::touch(physical),
        _ if address < APP_END && user::fixup(frame.rip).is_some() => {
            match memory::show(address, needed(frame.error)) {
                Answer::Refused => {
                    frame.rip = user::fixup(frame.rip).unwrap_or(frame.rip);
                    return;
                }
                answer => answer,
            }
        }
        _ => Answer::Refused,
    };
    match answer {
        Answer::Done => {}
        Answer::NoMemory => report::end(End::OutOfMemory, format_args!("")),
        Answer::Refused => fail(frame),
    }
}

/// Notes an interrupt and tells the controller that it has been taken.
fn note(vector: u64) {
    if vector == u64::from(VECTOR_SPURIOUS) {
        // Not an interrupt: acknowledging it would acknowledge another.
        return;
    }
    apic::acknowledge();
    if vector == u64::from(VECTOR_CALL) {
        translations::answer();
    } else if vector == u64::from(VECTOR_TIMER) && platform::timer_is_due() {
        let page = vcpu_page(area::number());
        page.pending.fetch_or(PENDING_TIMER, Ordering::SeqCst);
        page.event.fetch_add(1, Ordering::SeqCst);
    } else if vector == u64::from(VECTOR_DEVICE) {
        // First this, so that whoever is woken sees what the device did before it was told.
        virtio::acknowledge();
        vcpu_page(0).device_event.fetch_add(1, Ordering::SeqCst);
        let page = vcpu_page(area::number());
        page.event.fetch_add(1, Ordering::SeqCst);
    }
}

/// Set while a fault of the kernel is reported.
static REPORTING: AtomicBool = AtomicBool::new(false);

fn fail(frame: &KernelFrame) -> ! {
    if REPORTING.swap(true, Ordering::Relaxed) {
        // The report itself met a fault: the machine ends with what it has written so far.
        crate::platform().power_off()
    }
    report::end(End::Panic, format_args!("{frame}"))
}

impl fmt::Display for KernelFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = cpu::fault_address();
        writeln!(
            f,
            "exception {} error {:#x} at {:#x}, address {address:#x}",
            self.vector, self.error, self.rip
        )?;
        for (name, value) in [
            ("rax", self.rax),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rbx", self.rbx),
            ("rsp", self.rsp),
            ("rbp", self.rbp),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
            ("flags", self.rflags),
            ("cs", self.cs),
            ("ss", self.ss),
        ] {
            write!(f, "{name} {value:#x} ")?;
        }
        Ok(())
    }
}
