/* Forged signal frames through rt_sigreturn: selectors, flags, extended state, masks and
 * alternate stacks of the attacker's choice. The host may kill the cell or send a signal;
 * privileges must not change. `frames N` tries the Nth; the runner counts upwards until
 * the program says that there are no more. */
#include "attack.h"

static u64 state[2048] __attribute__((aligned(4096)));
static struct {
    struct context context;
    u64 info[16];
} frame __attribute__((aligned(64)));

__asm__(".text\nlanding:\n nop\n jmp *recover_rip(%rip)\n");
extern char landing[];

/* Resumes `frame` by the stub's system call. */
static __attribute__((noinline)) void resume(void) {
    trapped = faulted = 0;
    __asm__ volatile("push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
                     "lea 1f(%%rip), %%rcx\n mov %%rcx, recover_rip(%%rip)\n"
                     "mov %%rsp, recover_rsp(%%rip)\n mov %%rbp, recover_rbp(%%rip)\n"
                     "cmpq $0, %[own]\n jne 2f\n mov %%rsp, %[slot]\n 2:\n"
                     "mov %[frame], %%rsp\n mov $15, %%eax\n jmp *%[gate]\n"
                     "1:\n mov recover_rsp(%%rip), %%rsp\n"
                     "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
                     : [slot] "+m"(frame.context.rsp)
                     : [frame] "S"(&frame), [gate] "D"(return_gate), [own] "m"(frame.info[0])
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
}

/* Nothing that only a kernel may do works. */
static void still_a_user(int n) {
    u64 flags, selector, a[6] = {(u64)n};
    __asm__ volatile("pushfq\n pop %0\n mov %%cs, %1" : "=r"(flags), "=r"(selector)::"memory");
    if (flags & 0x3000) hole("I/O privilege", 0, a, flags);
    if ((selector & 3) != 3) hole("ring", 0, a, selector);
    trapped = faulted = 0;
    __asm__ volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, recover_rip(%%rip)\n"
                     "mov %%rsp, recover_rsp(%%rip)\n mov %%rbp, recover_rbp(%%rip)\n cli\n 1:\n" ::
                         : "rcx", "memory", "cc");
    if (!faulted) hole("cli", 0, a, 0);
    u64 none[6] = {0};
    attempt("after a forged frame", gate, 39, none, 0);
}

static const u64 SELECTORS[] = {0x33, 0x23, 0x10, 0x08, 0, 0x2b, 0x1b, 0x40, 0x43, 0xffff, 0x7, 0x30};
static const u64 FLAGS[] = {0x202, 0x3202, 0x4202, 0x20202, 0x80202, 0x100202, 0x200202, 0x40202, 0, ~0ull};
static const u64 STATES[] = {0,   8,  RAM,  STUB, 0xffffffffff600000ull, 0xffff888000000000ull,
                             ~0ull, 1, 0x7fffffffefc0, RAM + REPORT_PAGE};
enum { SELECTOR_TRIES = 12 * 3, FLAG_TRIES = 10, STATE_TRIES = 10, EXTENDED_TRIES = 40 };

/* Extended state with a header of random features. */
static void extended(int n) {
    random_state = (u64)n;
    for (size_t i = 0; i < sizeof state / 8; i++) state[i] = random64();
    u32 *reserved = (u32 *)((char *)state + 464);
    reserved[0] = 0x46505853;                        /* magic */
    reserved[1] = (u32)(random64() % 20000);         /* extended size */
    *(u64 *)(reserved + 2) = n & 1 ? ~0ull : random64(); /* features */
    reserved[4] = (u32)(random64() % 20000);         /* state size */
    *(u32 *)((char *)state + reserved[4] % 16000) = 0x46505845;
    frame.context.state = (u64)state;
}

static int forge(int n) {
    struct context *c = &frame.context;
    memset(&frame, 0, sizeof frame);
    c->flags = 7;
    c->rip = (u64)landing;
    c->rflags = 0x202;
    c->cs = 0x33;
    c->ss = 0x2b;
    if (n < SELECTOR_TRIES) {
        int which = n / 3;
        if (n % 3 != 1) c->cs = (uint16_t)SELECTORS[which];
        if (n % 3 != 0) c->ss = (uint16_t)SELECTORS[which];
        c->fs = c->gs = (uint16_t)SELECTORS[which];
    } else if ((n -= SELECTOR_TRIES) < FLAG_TRIES) {
        c->rflags = FLAGS[n];
    } else if ((n -= FLAG_TRIES) < STATE_TRIES) {
        c->state = STATES[n];
    } else if ((n -= STATE_TRIES) < EXTENDED_TRIES) {
        extended(n);
    } else {
        switch (n - EXTENDED_TRIES) {
        case 0: c->mask = ~0ull; break; /* SIGSYS blocked: the next trap must kill */
        case 1: c->rip = 0xffffffff80000000ull; break;
        case 2: c->rip = 0x7ffffffff000; break;
        case 3: c->stack[0] = RAM; c->stack[2] = ~0ull; break;
        case 4: c->rsp = frame.info[0] = 0xffff888000000000ull; break;
        case 5: c->flags = ~0ull; break;
        default: return 0;
        }
    }
    return 1;
}

int main(int count, char **arguments) {
    int n = count > 1 ? atoi(arguments[1]) : 0;
    if (!forge(n)) {
        say("no more\n");
        return 0;
    }
    take();
    resume();
    still_a_user(n);
    return finish();
}
