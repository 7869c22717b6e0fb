/* Host system calls without the stub: from the program's own text with every number, x32
 * numbers, int 0x80, vsyscall pages, 32-bit code behind a far return, privileged
 * instructions, segments and the base of gs. Nothing may be served by the host. */
#include "attack.h"

#define RECOVER \
    "lea 1f(%%rip), %%rcx\n mov %%rcx, recover_rip(%%rip)\n" \
    "mov %%rsp, recover_rsp(%%rip)\n mov %%rbp, recover_rbp(%%rip)\n"

/* Our own `syscall; ret`, `int $0x80; ret` in 64-bit code. */
__asm__(".text\nown_gate: syscall\n ret\nown_int80: int $0x80\n ret\n");
extern char own_gate[], own_int80[];

static char scratch[4096] __attribute__((aligned(4096)));
static char path[] = "/proc/self/mem";

static void sets(u64 out[][6]) {
    u64 buffer = (u64)scratch, name = (u64)path;
    u64 list[][6] = {
        {0, 0, 0, 0, 0, 0},
        {~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull},
        {RAM_FD, buffer, 4096, 0, 0, 0},
        {name, 2, 0, buffer, buffer, 0},
        {(u64)-100, name, 2, 0, 0, 0},
        {STUB, PAGE, 7, 0x32, ~0ull, 0},
        {RAM, 1, 2, 3, 4, 5},
        {1, 1, 1, 1, 1, 1},
    };
    memcpy(out, list, sizeof list);
}

static void numbers(const char *what, void *at, u64 bits) {
    u64 arguments[8][6];
    sets(arguments);
    for (u64 number = 0; number <= 600; number++)
        for (int i = 0; i < 8; i++) attempt(what, at, number | bits, arguments[i], 0);
}

static void vsyscalls(void) {
    u64 none[6] = {0};
    for (u64 offset = 0; offset <= 0xc00; offset += 0x400)
        attempt("vsyscall", (void *)(0xffffffffff600000ull + offset), 0, none, 0);
}

/* 32-bit code: `number` by int 0x80, sysenter or syscall, then a fault to come back. */
#define FAR_CODE(name, instruction) \
    __asm__(".text\n.code32\n" #name ": " instruction "\n hlt\n.code64\n"); \
    extern char name[];
FAR_CODE(far_int80, "int $0x80")
FAR_CODE(far_sysenter, "sysenter")
FAR_CODE(far_syscall, "syscall")

static void far_return(const char *what, void *code, u64 number) {
    u64 low_stack = (u64)scratch + 4000, none[6] = {0}, result = number;
    trapped = faulted = 0;
    __asm__ volatile("push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n" RECOVER
                     "mov %%rsi, %%rsp\n pushq $0x23\n push %%rdi\n"
                     "xor %%ebx, %%ebx\n mov %%esp, %%ebp\n lretq\n1:\n"
                     "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
                     : "+a"(result), "+S"(low_stack), "+D"(code)
                     :
                     : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
    tries++;
    traps += trapped;
    /* The only fault that may follow an answer is the hlt behind it: then eax changed. */
    if (!trapped && faulted == 11 && (u32)result != (u32)number) hole(what, number, none, result);
}

#define PRIVILEGED(text) \
    do { \
        u64 result = 0; \
        trapped = faulted = 0; \
        __asm__ volatile(RECOVER text "\n incq %0\n1:\n" : "+a"(result)::"rcx", "rdx", "memory", "cc"); \
        tries++; \
        traps += faulted != 0; \
        if (!faulted) hole("privileged instruction " text, 0, (u64[6]){0}, result); \
    } while (0)

static void privileged(void) {
    PRIVILEGED("hlt");
    PRIVILEGED("cli");
    PRIVILEGED("mov $0x80, %%dx\n in %%dx, %%al");
    PRIVILEGED("mov $0x80, %%dx\n out %%al, %%dx");
    PRIVILEGED("mov %%cr0, %%rax");
    PRIVILEGED("mov %%rax, %%cr3");
    PRIVILEGED("mov $0x10, %%ecx\n rdmsr");
    PRIVILEGED("mov $0xc0000082, %%ecx\n wrmsr");
    PRIVILEGED("lgdt (%%rsp)");
    PRIVILEGED("ltr %%ax");
    PRIVILEGED("swapgs");
    PRIVILEGED("sysretq");
    PRIVILEGED("invlpg (%%rsp)");
    PRIVILEGED("mov $0x8, %%ecx\n mov %%ecx, %%fs:0x7fffffff");
    PRIVILEGED("mov $0x10, %%ecx\n mov %%ecx, %%ss");
    PRIVILEGED("mov $7, %%ecx\n mov %%ecx, %%es");
    PRIVILEGED("int $0x3\n int $0x20");
}

/* Calls with another gs base and with gs null: the filter does not care. */
static void gs(void) {
    u64 old, none[6] = {0};
    __asm__ volatile("rdgsbase %0" : "=r"(old));
    for (int i = 0; i < 3; i++) {
        u64 base = i == 0 ? 0 : i == 1 ? STUB : (u64)scratch;
        __asm__ volatile("wrgsbase %0" ::"r"(base));
        attempt("changed gs", own_gate, 39, none, 0);
        attempt("changed gs", gate, 39, none, 0);
    }
    __asm__ volatile("mov %0, %%gs" ::"r"(0));
    attempt("null gs", own_gate, 39, none, 0);
    __asm__ volatile("wrgsbase %0" ::"r"(old));
}

int main(void) {
    take();
    numbers("direct", own_gate, 0);
    numbers("direct x32", own_gate, 0x40000000);
    numbers("direct high bits", own_gate, 0xffffffff00000000ull);
    numbers("int 0x80", own_int80, 0);
    vsyscalls();
    for (u64 number = 0; number <= 480; number++) {
        far_return("32-bit int 0x80", far_int80, number);
        far_return("32-bit sysenter", far_sysenter, number);
        far_return("32-bit syscall", far_syscall, number);
    }
    privileged();
    gs();
    return finish();
}
