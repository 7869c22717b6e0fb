/* A handler that spoils every register leaves none of it behind: SSE, AVX, x87, MXCSR, flags. */
#include "check.h"
#include <cpuid.h>
#include <immintrin.h>
#include <sys/time.h>

static volatile sig_atomic_t seen;

__attribute__((target("avx"))) static void spoil_avx(void)
{
    __asm__ volatile("vpxor %%xmm0,%%xmm0,%%xmm0\n vcmpps $15,%%ymm0,%%ymm0,%%ymm1\n"
                     "vmovaps %%ymm1,%%ymm2\n vmovaps %%ymm1,%%ymm7\n vmovaps %%ymm1,%%ymm15\n" ::
                         : "xmm0", "xmm1", "xmm2", "xmm7", "xmm15");
}

static int has_avx(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) && (c & bit_AVX);
}

static void spoil(int number)
{
    (void)number;
    __asm__ volatile("pcmpeqd %%xmm0,%%xmm0\n movaps %%xmm0,%%xmm3\n movaps %%xmm0,%%xmm9\n"
                     "fninit\n fldpi\n fldpi\n std\n cld\n" ::
                         : "xmm0", "xmm3", "xmm9");
    _mm_setcsr(0x7f80);
    if (has_avx())
        spoil_avx();
    seen++;
}

/* Loops until the alarm has come, with known values in the registers; returns 0 if they stay. */
__attribute__((target("avx"))) static int keep_ymm(void)
{
    uint64_t in[4] = {1, 2, 3, 4}, out[4];
    __asm__ volatile("vmovups %1,%%ymm7\n vmovups %1,%%ymm15\n"
                     "1: movl %2,%%eax\n test %%eax,%%eax\n jz 1b\n"
                     "vxorps %%ymm7,%%ymm15,%%ymm6\n vorps %%ymm6,%%ymm7,%%ymm7\n vmovups %%ymm7,%0\n"
                     : "=m"(out)
                     : "m"(in), "m"(seen)
                     : "rax", "xmm6", "xmm7", "xmm15", "cc", "memory");
    return memcmp(in, out, sizeof in);
}

static int keep_general(void)
{
    uint64_t bad;
    __asm__ volatile("movabs $0x1122334455667788,%%r8\n mov %%r8,%%r9\n mov %%r8,%%r10\n"
                     "mov %%r8,%%r11\n mov %%r8,%%r12\n mov %%r8,%%r13\n mov %%r8,%%r14\n"
                     "mov %%r8,%%r15\n mov %%r8,%%rsi\n mov %%r8,%%rdi\n mov %%r8,%%rdx\n mov %%r8,%%rcx\n"
                     "stc\n"
                     "1: movl %1,%%eax\n inc %%eax\n dec %%eax\n jz 1b\n"
                     "sbb %0,%0\n not %0\n"
                     "xor %%r8,%%r9\n xor %%r8,%%r10\n xor %%r8,%%r11\n xor %%r8,%%r12\n"
                     "xor %%r8,%%r13\n xor %%r8,%%r14\n xor %%r8,%%r15\n xor %%r8,%%rsi\n"
                     "xor %%r8,%%rdi\n xor %%r8,%%rdx\n xor %%r8,%%rcx\n"
                     "or %%r9,%0\n or %%r10,%0\n or %%r11,%0\n or %%r12,%0\n or %%r13,%0\n or %%r14,%0\n"
                     "or %%r15,%0\n or %%rsi,%0\n or %%rdi,%0\n or %%rdx,%0\n or %%rcx,%0\n"
                     : "=&b"(bad)
                     : "m"(seen)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "cc", "memory");
    return bad != 0;
}

static void alarm_soon(void)
{
    struct itimerval soon = {{0, 0}, {0, 20000}};
    seen = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
}

int main(void)
{
    signal(SIGALRM, spoil);
    signal(SIGUSR1, spoil);
    _mm_setcsr(0x1fa0);
    alarm_soon();
    NUMBER(keep_general());
    if (has_avx()) {
        alarm_soon();
        NUMBER(keep_ymm());
    } else {
        puts("keep_ymm() is 0");
    }
    /* Bit 7 to 12 are masks, 13 and 14 rounding; the sticky flags may have been set by printf. */
    NUMBER(_mm_getcsr() & 0xffc0);
    volatile long double third = 1.0L / 3.0L;
    long double before = third * 3.0L;
    raise(SIGUSR1);
    long double after = third * 3.0L;
    IS(before == after);
    double sum = 0;
    alarm_soon();
    for (long turn = 0; !seen || turn < 1000; turn++)
        sum = (sum + 1.5) * 0.5;
    IS(sum > 1.4 && sum < 1.6);
    unsigned short control;
    __asm__("fnstcw %0" : "=m"(control));
    NUMBER(control);
    return 0;
}
