//! What the guests run. 64-bit mode at ring 0 with flat segments unless said otherwise.
//!
//! Ports: 0xf4 ends the run, 0xf0 says that the guest is ready for an interrupt, 0xf5 names the
//! vector that came.
#![expect(unsafe_code, reason = "assembled code is reached by its symbols")]

/// Assembles a guest; it is position independent, and its bytes are what the function returns.
macro_rules! guest {
    ($(#[$doc:meta])* $name:ident, $($line:literal),+ $(,)?) => {
        std::arch::global_asm!(
            ".pushsection .rodata.guests, \"a\", @progbits",
            concat!("machines_guest_", stringify!($name), ":"),
            $($line,)+
            concat!("machines_guest_", stringify!($name), "_end:"),
            ".code64",
            ".popsection",
        );
        $(#[$doc])*
        pub fn $name() -> &'static [u8] {
            let (start, end): (*const u8, *const u8);
            // SAFETY: takes the addresses of two symbols of this file, and nothing else.
            unsafe {
                std::arch::asm!(
                    concat!("lea {0}, [rip + machines_guest_", stringify!($name), "]"),
                    concat!("lea {1}, [rip + machines_guest_", stringify!($name), "_end]"),
                    out(reg) start,
                    out(reg) end,
                    options(nomem, nostack, preserves_flags),
                );
            }
            // SAFETY: the bytes between the symbols are this program's, and never change.
            unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
        }
    };
}

guest!(
    /// Every width, to and from a port and an address where there is no memory.
    accesses,
    "mov dx, 0x510",
    "mov al, 0x11",
    "out dx, al",
    "mov ax, 0x2222",
    "out dx, ax",
    "mov eax, 0x33333333",
    "out dx, eax",
    "xor eax, eax",
    "in al, dx",
    "mov r8, rax",
    "in ax, dx",
    "mov r9, rax",
    "in eax, dx",
    "mov r10, rax",
    "mov ebx, 0xd0000000",
    "mov byte ptr [rbx + 1], 0x44",
    "mov word ptr [rbx + 2], 0x5555",
    "mov dword ptr [rbx + 4], 0x66666666",
    "mov rax, 0x7777777777777777",
    "mov qword ptr [rbx + 8], rax",
    "xor eax, eax",
    "mov al, byte ptr [rbx + 1]",
    "mov r11, rax",
    "mov ax, word ptr [rbx + 2]",
    "mov r12, rax",
    "mov eax, dword ptr [rbx + 4]",
    "mov r13, rax",
    "mov rax, qword ptr [rbx + 8]",
    "mov r14, rax",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Strings: 5 bytes and 3 words out from 0x30000, 4 double words in to 0x31000.
    strings,
    "cld",
    "mov dx, 0x510",
    "mov esi, 0x30000",
    "mov ecx, 5",
    "rep outsb",
    "mov ecx, 3",
    "rep outsw",
    "mov edi, 0x31000",
    "mov ecx, 4",
    "rep insd",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Never ends, and takes no interrupt.
    spin,
    "cli",
    "2: jmp 2b",
);

guest!(
    /// Sleeps without interrupts.
    sleep,
    "cli",
    "2: hlt",
    "jmp 2b",
);

guest!(
    /// Turns off the pair of 8259 and on its local controller, lets input 5 of the I/O APIC
    /// come as vector 0x41, by level, and waits for an interrupt three times.
    wait_for_interrupts,
    "mov al, 0xff",
    "out 0x21, al",
    "out 0xa1, al",
    "mov ebx, 0xfee00000",
    "mov dword ptr [rbx + 0xf0], 0x1ff",
    "mov ebx, 0xfec00000",
    "mov dword ptr [rbx], 0x1b",
    "mov dword ptr [rbx + 0x10], 0",
    "mov dword ptr [rbx], 0x1a",
    "mov dword ptr [rbx + 0x10], 0x8041",
    "mov ecx, 3",
    "2: cli",
    "out 0xf0, al",
    "sti",
    "hlt",
    "dec ecx",
    "jnz 2b",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Lets its local timer come as vector 0x40 in deadline mode, in 100,000 ticks, three times.
    wait_for_deadlines,
    "mov ebx, 0xfee00000",
    "mov dword ptr [rbx + 0xf0], 0x1ff",
    "mov dword ptr [rbx + 0x320], 0x40040",
    "mov esi, 3",
    "2: cli",
    "mfence",
    "rdtsc",
    "add eax, 100000",
    "adc edx, 0",
    "mov ecx, 0x6e0",
    "wrmsr",
    "sti",
    "hlt",
    "dec esi",
    "jnz 2b",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// The end of every handler of an interrupt; `al` is the vector.
    handle,
    "out 0xf5, al",
    "mov ebx, 0xfee00000",
    "mov dword ptr [rbx + 0xb0], 0",
    "iretq",
);

guest!(
    /// Stores for which there are events, and one of another value.
    events,
    "mov dx, 0x520",
    "out dx, al",
    "out dx, eax",
    "mov ebx, 0xd0001000",
    "mov dword ptr [rbx], 7",
    "mov dword ptr [rbx], 8",
    "mov word ptr [rbx + 0x10], 1",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Stores to pages at both ends of both regions, twice to one.
    stores,
    "mov ebx, 0x30000",
    "mov qword ptr [rbx], 1",
    "mov qword ptr [rbx + 8], 1",
    "mov qword ptr [rbx + 0x5ffc], 1",
    "mov ebx, 0xbffff000",
    "mov byte ptr [rbx], 1",
    "mov rbx, 0x100000000",
    "mov byte ptr [rbx], 1",
    "mov byte ptr [rbx + 0x5123], 1",
    "mov al, byte ptr [rbx + 0x7000]",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Without a table of interrupts this is a triple fault.
    fault,
    "ud2",
);

guest!(
    /// An instruction on an address without memory that KVM does not emulate.
    strange,
    "mov ebx, 0xd0000000",
    "nop",
    "pmaddwd xmm3, xmmword ptr [rbx]",
);

guest!(
    /// Runs on where there is no memory.
    run_away,
    "mov ebx, 0xd0000000",
    "jmp rbx",
);

guest!(
    /// Mixes registers, vectors and memory, and from time to time asks a port: 0xf6 every 80
    /// turns of 12 instructions.
    mix,
    "mov rsi, 0x30000",
    "mov rax, 0x9e3779b97f4a7c15",
    "movq xmm0, rax",
    "2: mov ecx, 80",
    "3: imul rax, rax, 0x41c64e6d",
    "add rax, 0x3039",
    "rol rax, 13",
    "mov rdx, rax",
    "and edx, 0xff8",
    "xor [rsi + rdx], rax",
    "adc r8, [rsi + rdx]",
    "movq xmm1, r8",
    "paddq xmm0, xmm1",
    "push rax",
    "pop r9",
    "dec ecx",
    "jnz 3b",
    "mov dx, 0xf6",
    "in eax, dx",
    "add r10, rax",
    "jmp 2b",
);

guest!(
    /// Starts the second processor at 0x20000 by INIT and start-up, waits for its answer.
    start_another,
    "mov ebx, 0xfee00000",
    "mov dword ptr [rbx + 0xf0], 0x1ff",
    "mov dword ptr [rbx + 0x310], 0x01000000",
    "mov dword ptr [rbx + 0x300], 0x00004500",
    "mov dword ptr [rbx + 0x310], 0x01000000",
    "mov dword ptr [rbx + 0x300], 0x00004620",
    "mov ebx, 0x7000",
    "2: pause",
    "cmp byte ptr [rbx], 0x5a",
    "jne 2b",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Real mode: tells its number, by port and in memory.
    started,
    ".code16",
    "mov eax, 1",
    "cpuid",
    "shr ebx, 24",
    "mov al, bl",
    "out 0xf7, al",
    "xor ax, ax",
    "mov ds, ax",
    "mov byte ptr [0x7000], 0x5a",
    "2: cli",
    "hlt",
    "jmp 2b",
);

guest!(
    /// What `cpuid` says: KVM's signature and frequencies, the first leaf's `ecx`.
    identify,
    "mov eax, 0x40000000",
    "cpuid",
    "mov r8, rbx",
    "mov eax, 0x40000010",
    "cpuid",
    "mov r9, rax",
    "mov eax, 1",
    "cpuid",
    "mov r10, rcx",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Reads the time-stamp counter, into `r8`.
    read_counter,
    "rdtsc",
    "shl rdx, 32",
    "lea r8, [rax + rdx]",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// Forgets translations, that of rbx even if it is global; takes the flags in r12, and goes on
    /// at r13, at level 3 if r11 is not zero.
    forget_and_go,
    "mov rax, cr3",
    "mov cr3, rax",
    "invlpg [rbx]",
    "xor r10d, r10d",
    "test r11d, r11d",
    "jnz 3f",
    "push r12",
    "popfq",
    "jmp r13",
    "3:",
    "push 0x1b",
    "push 0",
    "push r12",
    "push 0x23",
    "push r13",
    "iretq",
);

guest!(
    /// One access to where rbx points, and the end: reads if rcx is 0, writes if it is 1, otherwise
    /// goes there.
    access,
    "cmp ecx, 1",
    "je 3f",
    "ja 4f",
    "mov r14d, [rbx + 4]",
    "out 0xf4, al",
    "2: jmp 2b",
    "3:",
    "mov [rbx + 8], r14d",
    "out 0xf4, al",
    "2: jmp 2b",
    "4:",
    "jmp rbx",
);

guest!(
    /// Serves a page fault: its code to r8, its address to r9, 1 to r10, and the end.
    note_fault,
    "mov r8, [rsp]",
    "mov r9, cr2",
    "mov r10d, 1",
    "out 0xf4, al",
    "2: jmp 2b",
);

guest!(
    /// [`forget_and_go`] in 32-bit code: flags in esi, place in edi, level 3 if edx is not zero.
    /// Loads its task state itself: QEMU's emulation of a processor ends when it is given one as
    /// it is between two instructions.
    forget_and_go_32,
    ".code32",
    "mov eax, cr3",
    "mov cr3, eax",
    "invlpg [ebx]",
    "mov eax, 0x28",
    "ltr ax",
    "test edx, edx",
    "jnz 3f",
    "push esi",
    "popfd",
    "jmp edi",
    "3:",
    "push 0x1b",
    "push 0",
    "push esi",
    "push 0x23",
    "push edi",
    "iretd",
);

guest!(
    /// [`access`] in 32-bit code, with ebp.
    access_32,
    ".code32",
    "cmp ecx, 1",
    "je 3f",
    "ja 4f",
    "mov ebp, [ebx + 4]",
    "out 0xf4, al",
    "2: jmp 2b",
    "3:",
    "mov [ebx + 8], ebp",
    "out 0xf4, al",
    "2: jmp 2b",
    "4:",
    "jmp ebx",
);

guest!(
    /// [`note_fault`] in 32-bit code: to esi and edi, and 2 to edx.
    note_fault_32,
    ".code32",
    "mov esi, [esp]",
    "mov edi, cr2",
    "mov edx, 2",
    "out 0xf4, al",
    "2: jmp 2b",
);
