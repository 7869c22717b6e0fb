/* The call instruction itself: which registers change, the red zone, flags, odd numbers, loops. */
#include "check.h"
#include <sys/syscall.h>

/* Values live below the stack pointer while the call is made. */
__attribute__((noinline)) static long red_zone(void)
{
    long result;
    __asm__ volatile("movq $0x1111,-8(%%rsp)\n movq $0x2222,-64(%%rsp)\n movq $0x3333,-128(%%rsp)\n"
                     "mov $39,%%eax\n syscall\n"
                     "mov -8(%%rsp),%%rax\n add -64(%%rsp),%%rax\n add -128(%%rsp),%%rax\n"
                     : "=a"(result)::"rcx", "r11", "memory");
    return result;
}

/* Registers other than rax, rcx and r11 keep their values. */
__attribute__((noinline)) static long kept(void)
{
    long bad;
    __asm__ volatile("mov $1,%%rdi\n mov $2,%%rsi\n mov $3,%%rdx\n mov $4,%%r10\n mov $5,%%r8\n mov $6,%%r9\n"
                     "mov $7,%%r12\n mov $8,%%r13\n mov $9,%%r14\n mov $10,%%r15\n mov $11,%%rbx\n"
                     "mov $39,%%eax\n syscall\n"
                     "xor $1,%%rdi\n xor $2,%%rsi\n xor $3,%%rdx\n xor $4,%%r10\n xor $5,%%r8\n xor $6,%%r9\n"
                     "xor $7,%%r12\n xor $8,%%r13\n xor $9,%%r14\n xor $10,%%r15\n xor $11,%%rbx\n"
                     "mov %%rdi,%%rax\n or %%rsi,%%rax\n or %%rdx,%%rax\n or %%r10,%%rax\n or %%r8,%%rax\n"
                     "or %%r9,%%rax\n or %%r12,%%rax\n or %%r13,%%rax\n or %%r14,%%rax\n or %%r15,%%rax\n"
                     "or %%rbx,%%rax\n"
                     : "=a"(bad)::"rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
                       "r13", "r14", "r15", "memory", "cc");
    return bad;
}

/* rcx holds the address of the next instruction, r11 the flags. */
__attribute__((noinline)) static long convention(void)
{
    long same, flags;
    __asm__ volatile("mov $39,%%eax\n stc\n syscall\n1: lea 1b(%%rip),%%rax\n sub %%rcx,%%rax\n"
                     "mov %%r11,%1\n"
                     : "=&a"(same), "=&d"(flags)::"rcx", "r11", "memory", "cc");
    return same * 10 + (flags & 1);
}

/* The carry flag survives the call. */
__attribute__((noinline)) static long carry(void)
{
    long result;
    __asm__ volatile("stc\n mov $39,%%eax\n syscall\n mov $0,%%eax\n adc $0,%%rax\n"
                     : "=a"(result)::"rcx", "r11", "memory", "cc");
    return result;
}

/* The upper half of the number does not count for the wrong call, nor do jumps to the middle. */
__attribute__((noinline)) static long jump_into(int middle)
{
    long result;
    __asm__ volatile("mov $102,%%rax\n test %1,%1\n jnz 1f\n mov $39,%%eax\n1: syscall\n"
                     : "=&a"(result)
                     : "r"(middle)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

__attribute__((noinline)) static long sse_kept(void)
{
    uint64_t in[2] = {0x1234, 0x5678}, out[2];
    __asm__ volatile("movups %1,%%xmm0\n movaps %%xmm0,%%xmm15\n mov $39,%%eax\n syscall\n"
                     "pxor %%xmm15,%%xmm0\n por %%xmm15,%%xmm0\n movups %%xmm0,%0\n"
                     : "=m"(out)
                     : "m"(in)
                     : "rax", "rcx", "r11", "xmm0", "xmm15", "memory");
    return memcmp(in, out, 16);
}

int main(void)
{
    NUMBER(red_zone());
    NUMBER(red_zone());
    NUMBER(kept());
    NUMBER(kept());
    NUMBER(convention());
    NUMBER(convention());
    NUMBER(carry());
    NUMBER(carry());
    NUMBER(sse_kept());
    NUMBER(sse_kept());
    IS(jump_into(0) == getpid());
    IS(jump_into(1) == getuid());
    IS(jump_into(0) == getpid());
    IS(jump_into(1) == getuid());
    CALL(syscall(-1));
    CALL(syscall(1000));
    CALL(syscall(0x7fffffff));
    int same = 0;
    for (int turn = 0; turn < 1000000; turn++)
        same += syscall(SYS_getppid) >= 0;
    NUMBER(same);
    long first = syscall(SYS_getpid);
    for (int turn = 0; turn < 1000; turn++)
        if (syscall(turn % 2 ? SYS_getpid : SYS_gettid) != first)
            puts("another id");
    CALL(read(-1, NULL, 0));
    CALL(write(1, NULL, 0));
    CALL(read(0, NULL, 0));
    return 0;
}
