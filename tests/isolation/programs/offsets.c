/* Jumping to every byte of the stub's text with every call number and the arguments of a
 * call. `offsets FROM` starts there and says where it is; an offset that ends the cell
 * (the stub's own exit) ends this run, and the runner goes on behind it. */
#include "attack.h"

static char scratch[65536] __attribute__((aligned(4096)));
static u64 stack[4096] __attribute__((aligned(4096)));

/* Jumps to `at` with a stack of its own full of return addresses. */
static __attribute__((noinline)) u64 jump(void *at, u64 number, u64 argument) {
    u64 result = number, *from = stack;
    trapped = faulted = 0;
    __asm__ volatile("push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
                     "lea 1f(%%rip), %%rcx\n mov %%rcx, recover_rip(%%rip)\n"
                     "mov %%rsp, recover_rsp(%%rip)\n mov %%rbp, recover_rbp(%%rip)\n"
                     "mov %%rdi, %%r11\n lea 2048*8(%%rsi), %%rsp\n"
                     "mov $64, %%r9d\n 2: mov %%rcx, (%%rsp,%%r9,8)\n dec %%r9\n jns 2b\n"
                     "mov %%rdx, %%rdi\n mov %%rdx, %%rsi\n mov $16, %%ecx\n mov %%rdx, %%r10\n"
                     "mov %%rdx, %%r8\n mov %%rdx, %%r9\n jmp *%%r11\n"
                     "1:\n mov recover_rsp(%%rip), %%rsp\n"
                     "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
                     : "+a"(result), "+D"(at), "+d"(argument), "+S"(from)
                     :
                     : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
    return result;
}

int main(int count, char **arguments) {
    u64 from = count > 1 ? strtoull(arguments[1], 0, 0) : 0;
    unsigned char *text = (unsigned char *)STUB;
    take();
    leave();
    u64 end = 0;
    for (u64 i = 0; i < PAGE; i++)
        if (text[i] != 0 && text[i] != 0xcc) end = i + 1;
    memset(scratch, 0x5a, sizeof scratch);
    for (u64 offset = from; offset < end; offset++) {
        say("at %llu of %llu\n", (unsigned long long)offset, (unsigned long long)end);
        take();
        for (u64 number = 0; number <= 600; number++) {
            if (number == EXIT || number == MUNMAP) continue;
            /* The number is in rax; every argument is zero or memory. */
            jump(text + offset, number, number & 1 ? (u64)scratch + 32768 : 0);
            tries++;
            traps += trapped;
        }
        leave();
    }
    return finish();
}
