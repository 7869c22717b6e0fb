//! The code of the program's vDSO: clocks without a system call.
//!
//! It reads the clock page, which is mapped right below it, and computes as
//! [`crate::time`] does. What it does not know becomes a system call. The code is
//! position independent; the upper half copies it into an ELF image for the program.
#![expect(unsafe_code, reason = "the code is bytes between two symbols")]

use core::arch::naked_asm;

/// The functions, one after the other. Offsets in the clock page are those of
/// [`guest_abi::vcpu::ClockPage`].
#[unsafe(naked)]
unsafe extern "C" fn code() {
    naked_asm!(
        ".globl husk_vdso_start",
        "husk_vdso_start:",
        // clock_gettime(edi: clock, rsi: struct timespec *)
        "cmp edi, 7",
        "ja 90f",
        "mov eax, 0xf3",
        "bt eax, edi",
        "jnc 90f",
        "call 50f",
        "jc 90f",
        "mov r10d, 1000000000",
        "xor edx, edx",
        "div r10",
        "mov [rsi], rax",
        "mov [rsi + 8], rdx",
        "xor eax, eax",
        "ret",
        "90:",
        "mov eax, 228",
        "syscall",
        "ret",
        // gettimeofday(rdi: struct timeval *, rsi: struct timezone *)
        ".globl husk_vdso_gettimeofday",
        "husk_vdso_gettimeofday:",
        "test rsi, rsi",
        "jnz 91f",
        "test rdi, rdi",
        "jz 91f",
        "mov rsi, rdi",
        "xor edi, edi",
        "call 50f",
        "mov rdi, rsi",
        "mov esi, 0",
        "jc 91f",
        "mov r10d, 1000000000",
        "xor edx, edx",
        "div r10",
        "mov [rdi], rax",
        "mov eax, edx",
        "xor edx, edx",
        "mov r10d, 1000",
        "div r10",
        "mov [rdi + 8], rax",
        "xor eax, eax",
        "ret",
        "91:",
        "mov eax, 96",
        "syscall",
        "ret",
        // time(rdi: time_t *)
        ".globl husk_vdso_time",
        "husk_vdso_time:",
        "mov rsi, rdi",
        "xor edi, edi",
        "call 50f",
        "mov rdi, rsi",
        "jc 92f",
        "mov r10d, 1000000000",
        "xor edx, edx",
        "div r10",
        "test rdi, rdi",
        "jz 3f",
        "mov [rdi], rax",
        "3:",
        "ret",
        "92:",
        "mov eax, 201",
        "syscall",
        "ret",
        // edi: clock; rax: nanoseconds, or carry when the counter cannot be used.
        "50:",
        "lea r8, [rip + husk_vdso_start]",
        "and r8, -4096",
        "sub r8, 4096",
        "cmp dword ptr [r8 + 4], 1",
        "jb 9f",
        "2:",
        "mov ecx, [r8]",
        "test cl, 1",
        "jnz 8f",
        "lfence",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "xor r9d, r9d",
        "sub rax, [r8 + 8]",
        "cmovb rax, r9",
        "mul qword ptr [r8 + 32]",
        "shrd rax, rdx, 32",
        "add rax, [r8 + 16]",
        "cmp edi, 7",
        "cmove r9, [r8 + 40]",
        "test edi, 3",
        "jz 4f",
        "cmp edi, 5",
        "jne 5f",
        "4:",
        "cmp edi, 4",
        "je 5f",
        "mov r9, [r8 + 24]",
        "5:",
        "add rax, r9",
        "lfence",
        "cmp ecx, [r8]",
        "jne 8f",
        "clc",
        "9:",
        "ret",
        "8:",
        "pause",
        "jmp 2b",
        // getcpu(rdi: unsigned *, rsi: unsigned *)
        ".globl husk_vdso_getcpu",
        "husk_vdso_getcpu:",
        "xor eax, eax",
        "test rdi, rdi",
        "jz 6f",
        "mov [rdi], eax",
        "6:",
        "test rsi, rsi",
        "jz 7f",
        "mov [rsi], eax",
        "7:",
        "ret",
        ".globl husk_vdso_end",
        "husk_vdso_end:",
        "nop",
    )
}

unsafe extern "C" {
    safe static husk_vdso_start: u8;
    safe static husk_vdso_gettimeofday: u8;
    safe static husk_vdso_time: u8;
    safe static husk_vdso_getcpu: u8;
    safe static husk_vdso_end: u8;
}

/// The code, and the offsets in it of `clock_gettime`, `gettimeofday`, `time` and `getcpu`.
#[must_use]
pub fn image() -> (&'static [u8], [usize; 4]) {
    let keep: unsafe extern "C" fn() = code;
    core::hint::black_box(keep);
    let start = &raw const husk_vdso_start;
    let offset = |symbol: *const u8| symbol.addr() - start.addr();
    let length = offset(&raw const husk_vdso_end);
    // SAFETY: the bytes between the two symbols are the function's code, which never changes.
    let bytes = unsafe { core::slice::from_raw_parts(start, length) };
    let functions = [
        0,
        offset(&raw const husk_vdso_gettimeofday),
        offset(&raw const husk_vdso_time),
        offset(&raw const husk_vdso_getcpu),
    ];
    (bytes, functions)
}
