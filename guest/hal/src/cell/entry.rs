//! How control passes between the program and the kernel of a cell.
//!
//! A frame is a [`UserContext`] at the top of the kernel's stack. The program's vector
//! registers and its `fs` base stay in the processor; `gs` finds the virtual CPU.
//!
//! Going back: between the look at `pending` and the jump lies a window in which a
//! signal would be noticed too late. The signal's handler finds the instruction pointer
//! in that window ([`is_window`]) and starts the exit again; the frame is still whole,
//! since nothing in the window writes to it.

use core::arch::naked_asm;
use core::sync::atomic::Ordering;

use crate::area::area;
use crate::area::offset::{FRAME, KERNEL_STACK, PENDING, RESUME, USER_STACK};
use crate::context::{self, Entry, Leave};
use crate::{UserContext, frame};

/// Where the next frame lies.
pub(super) fn frame_address() -> u64 {
    area().kernel_stack.load(Ordering::Relaxed) - frame::LENGTH
}

pub(super) fn syscall_address() -> u64 {
    syscall_from_site as *const () as usize as u64
}

/// Loads every register from the frame at `rsp`; the frame stays whole.
#[unsafe(naked)]
unsafe extern "C" fn leave_full() -> ! {
    naked_asm!(
        // Also after what was pending was served: that may have been on another virtual CPU.
        "2:",
        "mov gs:[{frame}], rsp",
        "cmp qword ptr gs:[{pending}], 0",
        // From here on a signal would be noticed too late: the comparison is done.
        ".globl husk_full_window",
        "husk_full_window:",
        "jne 3f",
        "mov rax, [rsp + 128]",
        "mov gs:[{resume}], rax",
        "push qword ptr [rsp + 144]",
        "popfq",
        "mov r15, [rsp]",
        "mov r14, [rsp + 8]",
        "mov r13, [rsp + 16]",
        "mov r12, [rsp + 24]",
        "mov rbp, [rsp + 32]",
        "mov rbx, [rsp + 40]",
        "mov r11, [rsp + 48]",
        "mov r10, [rsp + 56]",
        "mov r9, [rsp + 64]",
        "mov r8, [rsp + 72]",
        "mov rax, [rsp + 80]",
        "mov rcx, [rsp + 88]",
        "mov rdx, [rsp + 96]",
        "mov rsi, [rsp + 104]",
        "mov rdi, [rsp + 112]",
        "mov rsp, [rsp + 152]",
        "jmp qword ptr gs:[{resume}]",
        ".globl husk_full_window_end",
        "husk_full_window_end:",
        "3:",
        "mov rdi, rsp",
        "call {interrupt}",
        "jmp 2b",
        frame = const FRAME,
        pending = const PENDING,
        resume = const RESUME,
        interrupt = sym serve_pending,
    )
}

/// Where a patched system call site arrives: registers as after the `syscall`
/// instruction, except that flags are still in place and `r11` is not yet set.
#[unsafe(naked)]
unsafe extern "C" fn syscall_from_site() -> ! {
    naked_asm!(
        "mov gs:[{user}], rsp",
        "mov rsp, gs:[{kernel}]",
        "push {ss}",
        "push qword ptr gs:[{user}]",
        "pushfq",
        "push {cs}",
        "push rcx",
        "push rax",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push rax",
        "push r8",
        "push r9",
        "push r10",
        "push qword ptr [rsp + 80]",
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "call {serve}",
        "test eax, eax",
        "jne {full}",
        "mov gs:[{frame}], rsp",
        "cmp qword ptr gs:[{pending}], 0",
        ".globl husk_fast_window",
        "husk_fast_window:",
        "jne {full}",
        "push qword ptr [rsp + 144]",
        "popfq",
        "mov r15, [rsp]",
        "mov r14, [rsp + 8]",
        "mov r13, [rsp + 16]",
        "mov r12, [rsp + 24]",
        "mov rbp, [rsp + 32]",
        "mov rbx, [rsp + 40]",
        "mov r11, [rsp + 48]",
        "mov r10, [rsp + 56]",
        "mov r9, [rsp + 64]",
        "mov r8, [rsp + 72]",
        "mov rax, [rsp + 80]",
        "mov rdx, [rsp + 96]",
        "mov rsi, [rsp + 104]",
        "mov rdi, [rsp + 112]",
        "mov rcx, [rsp + 128]",
        "mov rsp, [rsp + 152]",
        "jmp rcx",
        ".globl husk_fast_window_end",
        "husk_fast_window_end:",
        user = const USER_STACK,
        kernel = const KERNEL_STACK,
        frame = const FRAME,
        pending = const PENDING,
        ss = const crate::context::USER_SS,
        cs = const crate::context::USER_CS,
        serve = sym serve_patched,
        full = sym leave_full,
    )
}

/// Leaves a signal handler without returning from it: loads the program's vector state
/// from the signal frame (`state`, components `mask`; zero: legacy form), switches to
/// the kernel's stack below `frame`, serves the trap and goes back to the program.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn serve_and_leave(
    frame: *mut UserContext,
    state: *const u8,
    mask: u64,
) -> ! {
    naked_asm!(
        "mov rsp, rdi",
        "mov rax, rdx",
        "shr rdx, 32",
        "test rax, rax",
        "jz 2f",
        "xrstor64 [rsi]",
        "jmp 3f",
        "2:",
        "fxrstor64 [rsi]",
        "3:",
        "call {serve}",
        "jmp {full}",
        serve = sym super::trap::serve,
        full = sym leave_full,
    )
}

extern "C" fn serve_patched(frame: &mut UserContext) -> Leave {
    context::system_call(frame, Entry::Patched)
}

extern "C" fn serve_pending(frame: &mut UserContext) {
    area().pending.store(0, Ordering::SeqCst);
    context::interrupt(frame);
}

unsafe extern "C" {
    safe static husk_full_window: u8;
    safe static husk_full_window_end: u8;
    safe static husk_fast_window: u8;
    safe static husk_fast_window_end: u8;
}

/// Whether `rip` is between the last look at `pending` and the program.
pub(super) fn is_window(rip: u64) -> bool {
    let inside =
        |start: *const u8, end: *const u8| rip >= start.addr() as u64 && rip < end.addr() as u64;
    inside(&raw const husk_full_window, &raw const husk_full_window_end)
        || inside(&raw const husk_fast_window, &raw const husk_fast_window_end)
}

/// Where a task leaves for the program, and where an interrupted exit starts again, with `rsp` at
/// the frame.
pub(super) fn leave_address() -> u64 {
    leave_full as *const () as usize as u64
}
