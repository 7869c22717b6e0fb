//! How control passes between the program and the kernel at ring 0.
//!
//! A frame is a [`UserContext`] at the top of the kernel's stack. The program's vector
//! registers and its `fs` base stay in the processor; `gs` finds the virtual CPU and is swapped
//! at every border. Exceptions and interrupts arrive on a stack of their own: of the program's,
//! the frame moves to the kernel's stack; of the kernel's, they are served there, briefly and
//! without meeting another.

use core::arch::{global_asm, naked_asm};
use core::sync::atomic::Ordering;

use super::trap;
use crate::UserContext;
use crate::area::area;
use crate::area::offset::{KERNEL_STACK, PENDING, TRAP_ERROR, TRAP_VECTOR, USER_STACK};
use crate::context::{self, Entry, Leave};
use crate::frame::{pop_registers, push_registers};

/// Words of a frame.
const FRAME_WORDS: usize = size_of::<UserContext>() / 8;
/// Bytes between the entry points of two vectors.
const VECTOR_SPACING: usize = 16;

pub(super) fn syscall_address() -> u64 {
    syscall_arrives as *const () as usize as u64
}

pub(super) fn vector_address(vector: usize) -> u64 {
    unsafe extern "C" {
        safe static husk_vectors: u8;
    }
    ((&raw const husk_vectors).addr() + vector * VECTOR_SPACING) as u64
}

// One entry a vector: an error code where the processor pushes none (SDM vol. 3, table 6-1),
// and the vector.
global_asm!(
    ".balign 16",
    ".globl husk_vectors",
    "husk_vectors:",
    ".set husk_vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (0x60227d00 >> husk_vector) & 1 == 0 || husk_vector > 31",
    "pushq $0",
    ".endif",
    "pushq $husk_vector",
    "jmp {arrives}",
    ".set husk_vector, husk_vector + 1",
    ".endr",
    arrives = sym exception_arrives,
    options(att_syntax)
);

/// An exception or interrupt: on its stack are vector, error code and the processor's frame.
#[unsafe(naked)]
unsafe extern "C" fn exception_arrives() -> ! {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz 2f",
        "swapgs",
        "push rax",
        "mov rax, [rsp + 8]",
        "mov gs:[{vector}], rax",
        "mov rax, [rsp + 16]",
        "mov gs:[{error}], rax",
        "mov qword ptr [rsp + 16], -1",
        "pop rax",
        "add rsp, 8",
        push_registers!(),
        "cld",
        "mov rsi, rsp",
        "mov rdi, gs:[{kernel}]",
        "sub rdi, {words} * 8",
        "mov rdx, rdi",
        "mov ecx, {words}",
        "rep movsq",
        "mov rsp, rdx",
        "mov rdi, rdx",
        "call {serve}",
        "jmp {leave}",
        // The kernel's own.
        "2:",
        push_registers!(),
        "cld",
        "mov rdi, rsp",
        "call {inside}",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        vector = const TRAP_VECTOR,
        error = const TRAP_ERROR,
        kernel = const KERNEL_STACK,
        words = const FRAME_WORDS,
        serve = sym trap::serve,
        inside = sym trap::inside,
        leave = sym leave_full,
    )
}

/// `syscall`: `rcx` is the address to return to, `r11` the flags; interrupts are off.
#[unsafe(naked)]
unsafe extern "C" fn syscall_arrives() -> ! {
    naked_asm!(
        "swapgs",
        "mov gs:[{user}], rsp",
        "mov rsp, gs:[{kernel}]",
        "push {ss}",
        "push qword ptr gs:[{user}]",
        "push r11",
        "push {cs}",
        "push rcx",
        "push rax",
        push_registers!(),
        "sti",
        "mov rdi, rsp",
        "call {serve}",
        "cli",
        "test eax, eax",
        "jne {full}",
        "cmp qword ptr gs:[{pending}], 0",
        "jne {full}",
        // An address that is none would be the kernel's fault with SYSRET.
        "mov rcx, [rsp + 128]",
        "mov rdx, rcx",
        "shr rdx, 47",
        "jnz {full}",
        "mov r15, [rsp]",
        "mov r14, [rsp + 8]",
        "mov r13, [rsp + 16]",
        "mov r12, [rsp + 24]",
        "mov rbp, [rsp + 32]",
        "mov rbx, [rsp + 40]",
        "mov r11, [rsp + 144]",
        "mov r10, [rsp + 56]",
        "mov r9, [rsp + 64]",
        "mov r8, [rsp + 72]",
        "mov rax, [rsp + 80]",
        "mov rdx, [rsp + 96]",
        "mov rsi, [rsp + 104]",
        "mov rdi, [rsp + 112]",
        "mov rsp, [rsp + 152]",
        "swapgs",
        "sysretq",
        user = const USER_STACK,
        kernel = const KERNEL_STACK,
        pending = const PENDING,
        ss = const crate::context::USER_SS,
        cs = const crate::context::USER_CS,
        serve = sym serve_system_call,
        full = sym leave_full,
    )
}

/// Loads every register from the frame at `rsp` and goes back to the program.
#[unsafe(naked)]
unsafe extern "C" fn leave_full() -> ! {
    naked_asm!(
        "2:",
        "cli",
        "cmp qword ptr gs:[{pending}], 0",
        "jne 3f",
        "mov rdi, rsp",
        "call {check}",
        "test al, al",
        "jz 2b",
        pop_registers!(),
        "add rsp, 8",
        "swapgs",
        "iretq",
        "3:",
        "sti",
        "mov rdi, rsp",
        "call {interrupt}",
        "jmp 2b",
        pending = const PENDING,
        check = sym trap::is_good_frame,
        interrupt = sym serve_pending,
    )
}

/// Where a task leaves for the program, with `rsp` at the frame.
pub(super) fn leave_address() -> u64 {
    leave_full as *const () as usize as u64
}

/// Turns interrupts on and sleeps until one comes; with interrupts off. One that came before
/// the sleep begins ends it at once.
pub(super) fn sleep() {
    // SAFETY: changes no register; returns with interrupts on.
    unsafe { sleep_until_interrupted() }
}

#[unsafe(naked)]
unsafe extern "C" fn sleep_until_interrupted() {
    naked_asm!("sti", ".globl husk_sleep", "husk_sleep:", "hlt", "ret")
}

/// Where an interrupt of the kernel at `rip` returns to. The processor takes none between `sti`
/// and `hlt`, but some that are emulated do (QEMU's, of a nested guest): then there is no more to
/// wait for.
pub(super) fn behind_sleep(rip: u64) -> u64 {
    unsafe extern "C" {
        safe static husk_sleep: u8;
    }
    let at_sleep = (&raw const husk_sleep).addr() as u64 == rip;
    rip + u64::from(at_sleep)
}

extern "C" fn serve_system_call(frame: &mut UserContext) -> Leave {
    context::system_call(frame, Entry::Instruction)
}

extern "C" fn serve_pending(frame: &mut UserContext) {
    area().pending.store(0, Ordering::SeqCst);
    context::interrupt(frame);
}
