/* What a handler sees of the interrupted code, and what its changes do. */
#include "check.h"
#include <ucontext.h>

static volatile int steps;
static volatile long seen_r12, seen_trap, seen_error, seen_fault, seen_flags;
static volatile int has_fp, restored;

static void skip(int number, siginfo_t *info, void *raw)
{
    (void)number;
    (void)info;
    ucontext_t *context = raw;
    greg_t *registers = context->uc_mcontext.gregs;
    seen_r12 = registers[REG_R12];
    seen_trap = registers[REG_TRAPNO];
    seen_error = registers[REG_ERR];
    seen_fault = registers[REG_CR2];
    seen_flags = registers[REG_EFL] & 0x401;
    has_fp = context->uc_mcontext.fpregs != NULL;
    registers[REG_RIP] += 3;
    registers[REG_RAX] = 4711;
    if (has_fp)
        context->uc_mcontext.fpregs->_xmm[5].element[0] = 99;
    steps++;
}

/* A 3-byte load that faults; the handler steps over it and supplies the result. */
static long faulting_load(long address, long r12)
{
    long result;
    unsigned lane;
    __asm__ volatile("mov %3,%%r12\n mov %2,%%rcx\n pxor %%xmm5,%%xmm5\n stc\n"
                     "mov (%%rcx),%%rax\n"
                     "movd %%xmm5,%1\n"
                     : "=&a"(result), "=&r"(lane)
                     : "r"(address), "r"(r12)
                     : "rcx", "r12", "xmm5", "cc", "memory");
    restored = (int)lane;
    return result;
}

static volatile int order[8];
static volatile int position;

static void nested_inner(int number) { order[position++] = number; }

static void nested_outer(int number)
{
    order[position++] = number;
    raise(SIGUSR2);
    order[position++] = -number;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    CALL(sigaction(SIGSEGV, &action, NULL));
    NUMBER(faulting_load(0x18, 0x1234567890));
    NUMBER(seen_r12);
    NUMBER(seen_trap);
    NUMBER(seen_error);
    NUMBER(seen_fault);
    NUMBER(seen_flags);
    NUMBER(has_fp);
    NUMBER(restored);
    for (int turn = 0; turn < 500; turn++)
        faulting_load(turn, turn);
    NUMBER(steps);
    signal(SIGUSR1, nested_outer);
    signal(SIGUSR2, nested_inner);
    CALL(raise(SIGUSR1));
    for (int at = 0; at < position; at++)
        NUMBER(order[at]);
    ucontext_t here;
    volatile int visits = 0;
    getcontext(&here);
    if (++visits < 3)
        setcontext(&here);
    NUMBER(visits);
    return 0;
}
