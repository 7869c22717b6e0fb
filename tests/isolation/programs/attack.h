/* What a hostile program inside a cell has: it takes the cell over from its kernel.
 *
 * The stub's text is searched for its `syscall; ret` (the gate) and for the signal
 * handler's `jmp *VECTOR(%rip)`, whose target is replaced, so that every signal comes
 * here instead of to the kernel: a filtered call is seen as SIGSYS, a fault is survived.
 * leave() gives the cell back, so that the program can print and end as usual. */
#pragma once
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t u64;
typedef uint32_t u32;

#define STUB 0x700000000000ull
#define STUB_SPAN 0x1000000ull
#define KERNEL 0x701000000000ull
#define KERNEL_SPAN 0x4000000ull
#define RAM 0x710000000000ull
#define RAM_FD 3ull
#define CHANNEL_FD 4ull
#define RECEIVE_FLAGS 0x40000040ull
#define PAGE 4096ull
/* Guest-physical addresses that the monitor uses as well. */
#define VCPU_PAGES 0x400000ull
#define CLOCK_PAGE 0x440000ull
#define REPORT_PAGE 0x441000ull
#define DEVICE_PAGES 0x480000ull
#define FREE_START 0x4800000ull

enum { CLOSE = 3, MMAP = 9, MPROTECT = 10, MUNMAP = 11, SIGRETURN = 15, MADVISE = 28, RECVMSG = 47, FUTEX = 202, EXIT = 231 };

/* The host's signal frame as the handler gets it (asm/ucontext.h, asm/sigcontext.h). */
struct context {
    u64 flags, link, stack[3];
    u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    u64 error, vector, old_mask, address, state, reserved[8], mask;
};

/* Shared with the assembly and the handler. */
static unsigned char *gate;             /* `syscall; ret` of the stub */
static unsigned char *return_gate;      /* `syscall; ud2` of its signal return */
static u64 *vector_slot, kernel_vector; /* where signals go */
static volatile int trapped;            /* SIGSYS came */
static volatile int faulted;            /* another signal came */
static volatile u64 trapped_number;
static volatile u64 fault_address;
static volatile u64 recover_rip, recover_rsp, recover_rbp; /* where to go on after a fault */

__attribute__((used, noinline)) static void on_trap(int signal, void *info, struct context *c) {
    (void)info;
    if (signal == 10) return; /* the monitor's interrupt */
    if (signal == 31) {
        trapped = 1;
        trapped_number = c->rax;
        c->rax = (u64)-4095;
        if ((c->cs & 0xffff) == 0x33) return;
    } else {
        faulted = signal;
        fault_address = c->address;
    }
    c->cs = 0x33;
    c->ss = 0x2b;
    c->rip = recover_rip;
    c->rsp = recover_rsp;
    c->rbp = recover_rbp;
    c->rflags &= ~0x40100ull; /* no single step, no alignment check */
}

/* Realigns the stack and clears flags: nothing can be assumed at a signal. */
__asm__(".text\n.globl trap_entry\ntrap_entry:\n"
        "  cld\n  push %rbp\n  mov %rsp, %rbp\n  and $-16, %rsp\n"
        "  call on_trap\n  leave\n  ret\n");
extern void trap_entry(void);

static void say(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    fflush(stdout);
}

static void find(void) {
    unsigned char *text = (unsigned char *)STUB;
    for (u64 i = 0; i < 0x1000 - 8; i++) {
        if (text[i] == 0x0f && text[i + 1] == 0x05 && text[i + 2] == 0xc3) gate = text + i;
        if (text[i] == 0x0f && text[i + 1] == 0x05 && text[i + 2] == 0x0f) return_gate = text + i;
        if (text[i] == 0xff && text[i + 1] == 0x25 && !vector_slot) {
            int32_t distance;
            memcpy(&distance, text + i + 2, 4);
            vector_slot = (u64 *)(text + i + 6 + distance);
        }
    }
    if (!gate || !return_gate || !vector_slot) {
        say("BROKEN the stub was not recognized\n");
        exit(3);
    }
    kernel_vector = *vector_slot;
}

static void take(void) {
    if (!gate) find();
    *vector_slot = (u64)trap_entry;
}

static void leave(void) { *vector_slot = kernel_vector; }

/* A system call from `at`, which must be followed by a `ret`. Faults are survived. */
static __attribute__((noinline)) u64 call_at(void *at, u64 number, const u64 *a) {
    register u64 r10 __asm__("r10") = a[3];
    register u64 r8 __asm__("r8") = a[4];
    register u64 r9 __asm__("r9") = a[5];
    u64 result = number;
    trapped = faulted = 0;
    __asm__ volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, recover_rip(%%rip)\n"
                     "mov %%rsp, recover_rsp(%%rip)\n mov %%rbp, recover_rbp(%%rip)\n"
                     "call *%[at]\n1:\n"
                     : "+a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "D"(a[0]), "S"(a[1]), "d"(a[2]), [at] "b"(at)
                     : "rcx", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    return result;
}

static u64 at_gate(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    u64 arguments[6] = {a, b, c, d, e, f};
    return call_at(gate, number, arguments);
}

static u64 map(u64 linear, u64 physical, u64 length, u64 protection) {
    return at_gate(MMAP, linear, length, protection, 0x11, RAM_FD, physical);
}

/* What a call from the stub's span may do without a trap: guest_abi's documented list. */
static int documented(u64 number, const u64 *a) {
    switch (number) {
    case MMAP: return a[3] == 0x11;
    case RECVMSG: return a[0] == CHANNEL_FD && (u32)a[2] == RECEIVE_FLAGS;
    case CLOSE: case MPROTECT: case MUNMAP: case SIGRETURN: case EXIT: return 1;
    case MADVISE: {
        u32 advice = (u32)a[2];
        return advice == 9 || advice == 14 || advice == 15 || advice == 22 || advice == 23;
    }
    case FUTEX: return (u32)a[1] <= 1;
    }
    return 0;
}

/* Linux 6.11 and 6.18 pass these two on unfiltered, whatever a filter says, and answer
 * ENXIO or SIGILL unless they come from a trampoline of a tracer of the host. */
static int never_filtered(u64 number, u64 result) {
    u32 low = (u32)number;
    return (low == 335 || low == 336) && (faulted == 4 || (int64_t)result == -6 || (int64_t)result == -38);
}

/* Results are kept until the cell is given back. */
static int holes, tries, traps, passed;
static char findings[8192];
static size_t findings_length;

static void hole(const char *what, u64 number, const u64 *a, u64 result) {
    holes++;
    if (findings_length < sizeof findings - 256)
        findings_length += (size_t)snprintf(
            findings + findings_length, 256, "HOLE %s: call %llu (%llx %llx %llx %llx %llx %llx) = %lld\n", what,
            (unsigned long long)number, (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2],
            (unsigned long long)a[3], (unsigned long long)a[4], (unsigned long long)a[5], (long long)result);
}

/* One attempt: not trapped is a hole unless documented. */
static void attempt(const char *what, void *at, u64 number, const u64 *a, int allowed) {
    u64 result = call_at(at, number, a);
    tries++;
    traps += trapped;
    passed += !trapped && !faulted;
    if (!trapped && !allowed && faulted != 11 && !never_filtered(number, result)) hole(what, number, a, result);
}

static int finish(void) {
    leave();
    fwrite(findings, 1, findings_length, stdout);
    say("tried %d, trapped %d, served %d, holes %d\n", tries, traps, passed, holes);
    return holes ? 1 : 0;
}

/* Pseudo-random numbers (splitmix64). */
static u64 random_state;
static u64 random64(void) {
    u64 z = (random_state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
