//! What the host's signals mean in a cell.
//!
//! A signal that hits the program becomes a trap: its registers go from the signal
//! frame to the kernel's stack, and the handler is left for good. A signal that hits the
//! kernel is an interrupt to be noticed later, a copy from or to the program that met a
//! missing page, or a fault of the kernel.

use core::sync::atomic::Ordering;

use guest_abi::cell::INTERRUPT_SIGNAL;
use guest_abi::layout::APP_END;

use super::entry;
use crate::area::area;
use crate::context::{self, Entry, USER_CS, USER_SS};
use crate::report::{self, End};
use crate::{Leave, Trap, UserContext, user};

const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
const SIGSYS: i32 = 31;
/// Linux' `FP_XSTATE_MAGIC1`: the frame's state has an XSAVE header.
const XSTATE_MAGIC: u32 = 0x4650_5853;
/// Offset of the description of the state in the frame's legacy area (`sw_reserved`).
const XSTATE_DESCRIPTION: usize = 464;

/// The host's `ucontext_t` for x86-64 up to the registers (`asm/ucontext.h`,
/// `asm/sigcontext.h`).
#[repr(C)]
struct HostContext {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    selectors: u64,
    error: u64,
    vector: u64,
    old_mask: u64,
    address: u64,
    state: *const u8,
}

/// The handler of every signal; [`guest_abi::cell::TrapVector`].
pub(super) extern "C" fn vector(signal: i32, _info: *const u8, context: *mut u8) {
    // SAFETY: the host passes its signal frame, which nobody else uses until we return.
    let context = unsafe { &mut *context.cast::<HostContext>() };
    if context.rip >= APP_END {
        return in_kernel(signal, context);
    }
    let area = area();
    area.trap_signal.store(signal as u64, Ordering::Relaxed);
    area.trap_vector.store(context.vector, Ordering::Relaxed);
    area.trap_error.store(context.error, Ordering::Relaxed);
    area.trap_address.store(context.address, Ordering::Relaxed);
    let frame = core::ptr::with_exposed_provenance_mut(entry::frame_address() as usize);
    // SAFETY: the kernel's stack is free while the program runs.
    unsafe { core::ptr::write(frame, user_context(signal, context)) };
    let mask = state_mask(context.state);
    // SAFETY: the host's frame holds the program's state in the form its description says.
    unsafe { entry::serve_and_leave(frame, context.state, mask) }
}

/// The components in the frame's state; zero for the legacy form.
fn state_mask(state: *const u8) -> u64 {
    let description = state.wrapping_add(XSTATE_DESCRIPTION);
    // SAFETY: the legacy area is 512 bytes, the description lies in it, 8-byte aligned.
    let magic = unsafe { description.cast::<u32>().read() };
    // SAFETY: as above.
    let mask = unsafe { description.wrapping_add(8).cast::<u64>().read() };
    if magic == XSTATE_MAGIC { mask } else { 0 }
}

fn user_context(signal: i32, host: &HostContext) -> UserContext {
    UserContext {
        r15: host.r15,
        r14: host.r14,
        r13: host.r13,
        r12: host.r12,
        rbp: host.rbp,
        rbx: host.rbx,
        r11: host.r11,
        r10: host.r10,
        r9: host.r9,
        r8: host.r8,
        rax: host.rax,
        rcx: host.rcx,
        rdx: host.rdx,
        rsi: host.rsi,
        rdi: host.rdi,
        call: if signal == SIGSYS { host.rax } else { u64::MAX },
        rip: host.rip,
        cs: USER_CS,
        rflags: host.rflags,
        rsp: host.rsp,
        ss: USER_SS,
    }
}

/// Serves the trap that [`vector`] noted, on the kernel's stack.
pub(super) extern "C" fn serve(frame: &mut UserContext) {
    let area = area();
    let signal = area.trap_signal.load(Ordering::Relaxed) as i32;
    match signal {
        SIGSYS => {
            frame.rcx = frame.rip;
            frame.r11 = frame.rflags;
            let _: Leave = context::system_call(frame, Entry::Trapped);
        }
        INTERRUPT_SIGNAL => {
            area.pending.store(0, Ordering::SeqCst);
            context::interrupt(frame);
        }
        _ => {
            let vector = area.trap_vector.load(Ordering::Relaxed) as u8;
            let trap = Trap {
                vector,
                error: area.trap_error.load(Ordering::Relaxed),
                address: area.trap_address.load(Ordering::Relaxed),
                no_memory: signal == SIGBUS && vector == Trap::PAGE_FAULT,
            };
            context::trap(frame, trap);
        }
    }
}

fn in_kernel(signal: i32, context: &mut HostContext) {
    match signal {
        INTERRUPT_SIGNAL => {
            let area = area();
            area.pending.store(1, Ordering::SeqCst);
            if entry::is_window(context.rip) {
                context.rsp = area.frame.load(Ordering::Relaxed);
                context.rip = entry::leave_address();
            }
        }
        SIGSEGV | SIGBUS if context.address < APP_END && user::fixup(context.rip).is_some() => {
            context.rip = user::fixup(context.rip).unwrap_or(context.rip);
            if signal == SIGBUS {
                area().no_memory.store(1, Ordering::Relaxed);
            }
        }
        SIGBUS => report::end(End::OutOfMemory, format_args!("")),
        _ => report::end(
            End::Panic,
            format_args!(
                "signal {signal}, exception {} error {:#x} at {:#x}, address {:#x}, rsp {:#x}, \
                 rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x}",
                context.vector,
                context.error,
                context.rip,
                context.address,
                context.rsp,
                context.rax,
                context.rbx,
                context.rcx,
                context.rdx,
                context.rsi,
                context.rdi
            ),
        ),
    }
}
