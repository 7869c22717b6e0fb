//! What the compiler expects of a C library: moving and comparing memory.
#![expect(unsafe_code, reason = "the compiler calls these by name")]

use core::arch::naked_asm;

/// Defines functions by their instructions.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty { $($line:literal),* $(,)? })*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            naked_asm!($($line),*)
        }
    )*};
}

functions! {
    memcpy(into: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        "mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret",
    }
    memmove(into: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        "mov rax, rdi",
        "mov rcx, rdx",
        "mov r8, rdi",
        "sub r8, rsi",
        "cmp r8, rdx",
        "jb 2f",
        "rep movsb",
        "ret",
        "2:",
        "lea rdi, [rdi + rdx - 1]",
        "lea rsi, [rsi + rdx - 1]",
        "std",
        "rep movsb",
        "cld",
        "ret",
    }
    memset(into: *mut u8, byte: i32, length: usize) -> *mut u8 {
        "mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret",
    }
    memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
        "xor eax, eax",
        "xor ecx, ecx",
        "2:",
        "cmp rcx, rdx",
        "je 3f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r8d, byte ptr [rsi + rcx]",
        "inc rcx",
        "sub eax, r8d",
        "je 2b",
        "3:",
        "ret",
    }
    bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
        "jmp memcmp",
    }
    strlen(string: *const u8) -> usize {
        "xor eax, eax",
        "2:",
        "cmp byte ptr [rdi + rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "ret",
    }
}

/// Named by the precompiled `alloc`, which was built with unwinding; a panic here ends
/// the machine instead, so nothing ever calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    unreachable!("panics do not unwind")
}
