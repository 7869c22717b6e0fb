//! The program's registers at the top of the kernel's stack: what the platforms share.
#![expect(unsafe_code, reason = "registers without safe wrappers")]

use core::arch::{asm, naked_asm};

use crate::UserContext;

/// Pushes the general registers of a [`UserContext`], of which `rsp`, `rip` and flags lie above.
macro_rules! push_registers {
    () => {
        concat!(
            "push rdi\n",
            "push rsi\n",
            "push rdx\n",
            "push rcx\n",
            "push rax\n",
            "push r8\n",
            "push r9\n",
            "push r10\n",
            "push r11\n",
            "push rbx\n",
            "push rbp\n",
            "push r12\n",
            "push r13\n",
            "push r14\n",
            "push r15"
        )
    };
}

/// The reverse.
macro_rules! pop_registers {
    () => {
        concat!(
            "pop r15\n",
            "pop r14\n",
            "pop r13\n",
            "pop r12\n",
            "pop rbp\n",
            "pop rbx\n",
            "pop r11\n",
            "pop r10\n",
            "pop r9\n",
            "pop r8\n",
            "pop rax\n",
            "pop rcx\n",
            "pop rdx\n",
            "pop rsi\n",
            "pop rdi"
        )
    };
}

pub(crate) use {pop_registers, push_registers};

/// Sets the base by which the entry code finds the virtual CPU.
pub(crate) fn set_gs_base(base: u64) {
    // SAFETY: engine or start made sure of FSGSBASE; the kernel uses `gs` for nothing else.
    unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack)) }
}

/// Sets the program's base for thread-local storage.
pub(crate) fn set_fs_base(base: u64) {
    // SAFETY: as above; the kernel itself uses no thread-local storage.
    unsafe { asm!("wrfsbase {}", in(reg) base, options(nomem, nostack)) }
}

/// The program's base for thread-local storage, which it may set itself.
pub(crate) fn fs_base() -> u64 {
    let base: u64;
    // SAFETY: as above.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack)) }
    base
}

/// Makes the processor fetch its next instructions anew (SDM vol. 3, 9.3): the way that needs no
/// privilege, and under which no hypervisor gets to run.
pub(crate) fn serialize() {
    // SAFETY: returns to the next instruction with selectors, flags and stack as they are.
    unsafe { serialize_by_return() }
}

#[unsafe(naked)]
unsafe extern "C" fn serialize_by_return() {
    naked_asm!(
        "pop rdx",
        "mov rcx, rsp",
        "mov eax, ss",
        "push rax",
        "push rcx",
        "pushfq",
        "mov eax, cs",
        "push rax",
        "push rdx",
        "iretq",
    )
}

/// Bytes of a frame.
pub(crate) const LENGTH: u64 = size_of::<UserContext>() as u64;
