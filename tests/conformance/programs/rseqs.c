/* Restartable sequences: how they are registered, what they say, and when they start again. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

static struct rseq *area(void)
{
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static long rseq(void *at, unsigned length, int flags, unsigned signature)
{
    return syscall(SYS_rseq, at, length, flags, signature);
}

static unsigned cpu_of_kernel(void)
{
    unsigned cpu, node;
    syscall(SYS_getcpu, &cpu, &node, NULL);
    return cpu;
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int first_cpu(int number)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    int found = -1;
    for (int cpu = 0; cpu < 64 && number >= 0; cpu++)
        if (CPU_ISSET(cpu, &set)) {
            found = cpu;
            number--;
        }
    return found;
}

/* Stays in a sequence until it is aborted. */
static void wait_for_abort(struct rseq *self)
{
    asm volatile(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, (2f - 1f), 4f\n"
        ".popsection\n"
        "leaq 3b(%%rip), %%rax\n"
        "movq %%rax, 8(%0)\n"
        "1: pause\n"
        "jmp 1b\n"
        "2:\n"
        ".pushsection __rseq_abort, \"ax\"\n"
        ".long 0x53053053\n"
        ".globl aborted_here\n"
        "aborted_here:\n"
        "4: jmp 5f\n"
        ".popsection\n"
        "5:\n"
        : : "r"(self) : "rax", "memory");
}

extern char aborted_here[];

/* Adds one to the counter of the processor it runs on, in one instruction that commits. */
static void count(struct rseq *self, long *counters)
{
    asm volatile(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, (2f - 1f), 4f\n"
        ".popsection\n"
        "5: leaq 3b(%%rip), %%rax\n"
        "movq %%rax, 8(%0)\n"
        "1: movl 4(%0), %%eax\n"
        "shlq $6, %%rax\n"
        "movq (%1, %%rax), %%rcx\n"
        "pause\n"
        "incq %%rcx\n"
        "movq %%rcx, (%1, %%rax)\n"
        "2:\n"
        ".pushsection __rseq_abort, \"ax\"\n"
        ".long 0x53053053\n"
        "4: jmp 5b\n"
        ".popsection\n"
        : : "r"(self), "r"(counters) : "rax", "rcx", "memory");
}

enum { THREADS = 3, ROUNDS = 300000 };

static long counters[64 * 8] __attribute__((aligned(64)));

static void *count_many(void *unused)
{
    for (int round = 0; round < ROUNDS; round++)
        count(area(), counters);
    return NULL;
}

static int stop;

static void *spin(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
        ;
    return NULL;
}

static volatile unsigned long interrupted_at, left_sequence;

static void on_alarm(int number, siginfo_t *info, void *context)
{
    interrupted_at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    left_sequence = area()->rseq_cs;
}

static void *registered(void *unused)
{
    IS(area()->cpu_id == area()->cpu_id_start);
    IS((int)area()->cpu_id >= 0);
    IS(__rseq_size > 0);
    return NULL;
}

static void registration(void)
{
    static char other[64] __attribute__((aligned(64)));
    struct rseq *self = area();
    unsigned length = 32;
    CALL(rseq(self, length, 0, RSEQ_SIG));
    CALL(rseq(self, length, 0, RSEQ_SIG + 1));
    CALL(rseq(self, length * 2, 0, RSEQ_SIG));
    CALL(rseq(other, length, 0, RSEQ_SIG));
    CALL(rseq(self, length, 2, RSEQ_SIG));
    CALL(rseq(self, length, 3, RSEQ_SIG));
    CALL(rseq(other, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
    CALL(rseq(self, length + 1, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
    CALL(rseq(self, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG + 1));
    CALL(rseq(self, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
    NUMBER((int)self->cpu_id);
    NUMBER(self->cpu_id_start);
    CALL(rseq(self, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
    IS(sched_getcpu() == cpu_of_kernel());
    CALL(rseq(other, 20, 0, RSEQ_SIG));
    CALL(rseq(other + 16, length, 0, RSEQ_SIG));
    CALL(rseq((void *)-64L, length, 0, RSEQ_SIG));
    CALL(rseq(NULL, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
    CALL(rseq(self, length, 0, RSEQ_SIG));
    IS((int)self->cpu_id >= 0);
}

int main(int count_of_arguments, char **arguments)
{
    struct rseq *self = area();
    if (count_of_arguments > 1) {
        puts("after exec:");
        IS(__rseq_size > 0);
        IS((int)self->cpu_id >= 0);
        CALL(rseq(self, 32, 0, RSEQ_SIG));
        fflush(stdout);
        /* A signature that is wrong ends it. */
        static uint32_t code[8];
        static struct { uint32_t version, flags; uint64_t start, length, abort; } bad __attribute__((aligned(32)));
        bad.start = (uint64_t)code;
        bad.length = 4;
        bad.abort = (uint64_t)&code[4];
        self->rseq_cs = (uint64_t)&bad;
        for (;;)
            usleep(1000);
    }
    IS(__rseq_size > 0);
    NUMBER(getauxval(28));
    NUMBER(getauxval(27));
    registered(NULL);
    NUMBER(*(uint32_t *)((char *)self + 20));
    int first = first_cpu(0), last = first_cpu(63);
    for (int round = 0; round < 2; round++)
        for (int which = 0; which < 2; which++) {
            int cpu = which ? last : first;
            pin(cpu);
            IS(sched_getcpu() == cpu);
            IS(self->cpu_id == cpu && self->cpu_id_start == cpu);
        }
    pin(first);
    pthread_t threads[THREADS];
    pthread_create(&threads[0], NULL, registered, NULL);
    pthread_join(threads[0], NULL);
    /* Another thread on the same processor. */
    pthread_create(&threads[0], NULL, spin, NULL);
    wait_for_abort(self);
    puts("started again after another thread ran");
    NUMBER(self->rseq_cs);
    stop = 1;
    pthread_join(threads[0], NULL);
    /* A signal. */
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    while (!interrupted_at)
        wait_for_abort(self);
    IS(interrupted_at == (unsigned long)aborted_here);
    NUMBER(left_sequence);
    registration();
    /* Counters without atomic instructions. */
    cpu_set_t all;
    CPU_ZERO(&all);
    CPU_SET(first, &all);
    CPU_SET(last, &all);
    sched_setaffinity(0, sizeof all, &all);
    for (int number = 0; number < THREADS; number++)
        pthread_create(&threads[number], NULL, count_many, NULL);
    for (int number = 0; number < THREADS; number++)
        pthread_join(threads[number], NULL);
    long sum = 0;
    for (int cpu = 0; cpu < 64; cpu++)
        sum += counters[cpu * 8];
    NUMBER(sum);
    fflush(stdout);
    char *again[] = {arguments[0], "again", NULL};
    execv("/proc/self/exe", again);
    return 1;
}
