/* Jumping to the stub's own system call instructions: every number with hostile
 * arguments, then every allowed call with every kind of argument. What is served without
 * a trap must be what the documentation lists. */
#include "attack.h"

static char scratch[4 * 4096] __attribute__((aligned(4096)));
static char path[] = "/etc/passwd";
static u64 values[64];
static int value_count;

static void value(u64 v) { values[value_count++] = v; }

static void fill_values(void) {
    u64 fixed[] = {0, 1, 2, 3, 4, 5, 7, 9, 0x11, 0x22, 0x32, 100, 128, 4096, 0x7fffffff, 0x80000000, 0xffffffff,
                   0x100000000ull, 0x100000003ull, 1ull << 63, ~0ull, (u64)-100, STUB, STUB + PAGE, KERNEL, RAM,
                   RAM + DEVICE_PAGES, 0x7fffffffefff, 0xffff800000000000ull, 0xffffffffff600000ull};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) value(fixed[i]);
    value((u64)scratch);
    value((u64)path);
}

static u64 any(void) { return values[random64() % (u64)value_count]; }

/* Arguments that take the attacker's own ground away, or wait: not for random tries. */
static int is_suicide(u64 number, const u64 *a) {
    if (number == MUNMAP || number == MPROTECT || number == SIGRETURN || number == EXIT) return 1;
    if (number == MMAP) return documented(number, a);
    if (number == CLOSE) return (u32)a[0] == RAM_FD || (u32)a[0] == CHANNEL_FD;
    if (number == MADVISE) return (u32)a[2] == 9 || (u32)a[2] >= 22;
    return number == FUTEX && (u32)a[1] == 0;
}

static void numbers(void *at, u64 bits) {
    for (u64 number = 0; number <= 600; number++)
        for (int i = 0; i < 24; i++) {
            u64 a[6] = {any(), any(), any(), any(), any(), any()};
            if (bits == 0 && is_suicide(number, a)) continue;
            attempt("gate", at, number | bits, a, bits == 0 && documented(number, a));
        }
}

/* Every futex operation, flag and high half; the word never has the expected value. */
static void futexes(void) {
    u64 highs[] = {0, 0x80, 0x100, 0x180, 0x80000000, 0x100000000ull, 0x8000000100000000ull};
    for (u64 operation = 0; operation < 128; operation++)
        for (size_t h = 0; h < sizeof highs / sizeof *highs; h++)
            for (int i = 0; i < 4; i++) {
                u64 a[6] = {(u64)scratch, operation | highs[h], 0x55aa, i ? any() : 0, any(), any()};
                if (i == 1) a[0] = any() & ~3ull, a[2] = 0x12345678;
                attempt("futex", gate, FUTEX, a, documented(FUTEX, a));
            }
}

static void advices(void) {
    u64 place = RAM + 0x9000000000ull;
    for (u64 advice = 0; advice <= 130; advice++) {
        u64 ranges[][2] = {{place, 4 * PAGE}, {(u64)0x7fffffff0000, 0x10000}, {0xffff800000000000ull, PAGE},
                           {place, 0}, {place + 1, PAGE}};
        for (int r = 0; r < 5; r++)
            for (int high = 0; high < 2; high++) {
                u64 a[6] = {ranges[r][0], ranges[r][1], advice | (high ? 0x500000000ull : 0), any(), any(), any()};
                attempt("madvise", gate, MADVISE, a, documented(MADVISE, a));
            }
    }
}

/* Mappings at a place of no importance: any file, any flags, any protection, any offset. */
static void mappings(void) {
    u64 place = 0x500000000000ull;
    for (int fd = -2; fd < 64; fd++)
        for (int flag = -1; flag < 32; flag++) {
            u64 a[6] = {place, PAGE, 3, 0x11 ^ (flag < 0 ? 0 : 1ull << flag), (u64)(int64_t)fd, 0};
            attempt("mmap", gate, MMAP, a, documented(MMAP, a));
            a[4] = (u32)fd | 0x100000000ull;
            attempt("mmap", gate, MMAP, a, documented(MMAP, a));
        }
    for (int i = 0; i < 4000; i++) {
        u64 a[6] = {place, random64() % 3 ? PAGE : any() % (1ull << 40), random64() & 0xf,
                    random64() % 4 ? 0x11 : random64() & 0x3ffff, random64() % 4 ? RAM_FD : any(), any()};
        attempt("mmap", gate, MMAP, a, documented(MMAP, a));
    }
    u64 protections[] = {0, 1, 2, 4, 7, 8, 0x10, 0x01000000, 0x02000000, 0x03000007, ~0ull};
    for (size_t p = 0; p < sizeof protections / sizeof *protections; p++) {
        u64 a[6] = {place, PAGE, protections[p], any(), any(), any()};
        attempt("mprotect", gate, MPROTECT, a, 1);
    }
    /* The kernel's half, the stub's neighbours and lengths that wrap round. */
    u64 bad[][2] = {{0xffff800000000000ull, PAGE}, {0x7ffffffff000, PAGE}, {place, ~0ull << 12}, {~0ull << 12, PAGE}};
    for (int i = 0; i < 4; i++) {
        u64 unmap[6] = {bad[i][0], bad[i][1], 0, 0, 0, 0};
        attempt("munmap", gate, MUNMAP, unmap, 1);
        u64 a[6] = {bad[i][0], bad[i][1], 7, 0x11, RAM_FD, 0};
        u64 result = call_at(gate, MMAP, a);
        if ((int64_t)result >= 0) hole("mapping the kernel's half", MMAP, a, result);
    }
}

/* Receiving: any descriptor, any flags, messages of any shape. */
static void receptions(void) {
    u64 messages[] = {(u64)scratch, (u64)values, RAM, STUB, 0, ~0ull, 0xffff800000000000ull};
    for (int m = 0; m < 7; m++) {
        for (int fd = -2; fd < 64; fd++)
            for (int high = 0; high < 2; high++) {
                u64 a[6] = {high ? (u32)fd | 0x100000000ull : (u64)(int64_t)fd, messages[m], RECEIVE_FLAGS, any(), any(), any()};
                attempt("recvmsg", gate, RECVMSG, a, documented(RECVMSG, a));
            }
        for (int flag = 0; flag < 32; flag++) {
            u64 a[6] = {CHANNEL_FD, messages[m], RECEIVE_FLAGS ^ 1ull << flag, any(), any(), any()};
            attempt("recvmsg", gate, RECVMSG, a, documented(RECVMSG, a));
        }
    }
    /* The channel is for receiving alone: nothing is sent, mapped or waited for. */
    u64 place = 0x500000000000ull, a[6] = {place, PAGE, 3, 0x11, CHANNEL_FD, 0};
    u64 result = call_at(gate, MMAP, a);
    if ((int64_t)result >= 0) hole("mapping the channel", MMAP, a, result);
}

/* Files that were handed over are to be read: at least the program's own. */
static void files(void) {
    u64 place = 0x500000000000ull, readable = 0;
    for (u64 fd = 0; fd < 1024; fd++) {
        if (fd == RAM_FD || fd == CHANNEL_FD) continue;
        u64 a[6] = {place, PAGE, 1, 0x11, fd, 0};
        if ((int64_t)call_at(gate, MMAP, a) < 0) continue;
        readable++;
        u64 rights[6] = {place, PAGE, 3, 0, 0, 0}, result = call_at(gate, MPROTECT, rights);
        if ((int64_t)result >= 0) hole("writing to a file of the host", MPROTECT, rights, result);
        u64 gone[6] = {place, PAGE, 9, 0, 0, 0};
        result = call_at(gate, MADVISE, gone);
        if ((int64_t)result >= 0) hole("making a hole in a file of the host", MADVISE, gone, result);
        a[2] = 3;
        result = call_at(gate, MMAP, a);
        if ((int64_t)result >= 0) hole("mapping a file of the host to write", MMAP, a, result);
    }
    if (readable == 0) hole("no file was handed over", MMAP, (u64[6]){0}, 0);
}

/* Beyond the memory's end nothing is to be had but a bus error. */
static void beyond_the_file(void) {
    u64 offsets[] = {1ull << 40, 1ull << 41, 1ull << 47, (1ull << 63) - PAGE};
    for (int i = 0; i < 4; i++) {
        u64 result = map(0x500000000000ull, offsets[i], PAGE, 3), none[6] = {offsets[i]};
        if ((int64_t)result < 0) continue;
        trapped = faulted = 0;
        __asm__ volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, recover_rip(%%rip)\n"
                         "mov %%rsp, recover_rsp(%%rip)\n mov %%rbp, recover_rbp(%%rip)\n"
                         "mov (%[at]), %%rax\n1:\n" ::[at] "b"(0x500000000000ull) : "rax", "rcx", "memory");
        if (faulted != 7) hole("memory beyond the file", MMAP, none, (u64)faulted);
    }
}

int main(int count, char **arguments) {
    random_state = count > 1 ? strtoull(arguments[1], 0, 0) : 1;
    fill_values();
    for (int i = 0; i < 4; i++) memset(scratch + i * 4096, 0x5a, 16);
    take();
    /* The other syscall instruction is followed by ud2: make that a ret first. */
    at_gate(MPROTECT, STUB, PAGE, 7, 0, 0, 0);
    return_gate[2] = 0xc3;
    files(); /* while they are open: what comes tries close as well */
    numbers(gate, 0);
    numbers(return_gate, 0);
    numbers(gate, 0x40000000);
    futexes();
    advices();
    mappings();
    receptions();
    beyond_the_file();
    return finish();
}
