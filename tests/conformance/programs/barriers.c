/* membarrier: what is registered, what is refused, and that it is a barrier for the others. */
#include "check.h"
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

static long membarrier(int command, unsigned flags, int cpu)
{
    return syscall(SYS_membarrier, command, flags, cpu);
}

enum { ROUNDS = 400 };

static volatile int ours, theirs, seen_by_ours, seen_by_theirs, begin, finished;

static void *without_barrier(void *unused)
{
    for (int round = 1; round <= ROUNDS; round++) {
        while (__atomic_load_n(&begin, __ATOMIC_ACQUIRE) < round)
            sched_yield();
        theirs = 1;
        asm volatile("" ::: "memory");
        seen_by_theirs = ours;
        __atomic_store_n(&finished, round, __ATOMIC_RELEASE);
    }
    return NULL;
}

static int rounds(int command)
{
    pthread_t thread;
    int wrong = 0;
    begin = finished = 0;
    pthread_create(&thread, NULL, without_barrier, NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        ours = theirs = 0;
        __atomic_store_n(&begin, round, __ATOMIC_SEQ_CST);
        ours = 1;
        membarrier(command, 0, 0);
        seen_by_ours = theirs;
        while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < round)
            sched_yield();
        wrong += !seen_by_ours && !seen_by_theirs;
    }
    pthread_join(thread, NULL);
    return wrong;
}

int main(int count, char **arguments)
{
    int all = 0x1ff;
    IS((membarrier(MEMBARRIER_CMD_QUERY, 0, 0) & all) == all);
    CALL(membarrier(MEMBARRIER_CMD_QUERY, 1, 0));
    CALL(membarrier(1 << 20, 0, 0));
    CALL(membarrier(3, 0, 0));
    CALL(membarrier(-1, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_GLOBAL, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_GLOBAL, 1, 0));
    CALL(membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 1, 0));
    CALL(membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 1, 0));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 1, 9999));
    CALL(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 2, 0));
    NUMBER(rounds(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
    NUMBER(rounds(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE));
    fflush(stdout);
    /* Another program starts without. */
    if (count == 1)
        execl("/proc/self/exe", arguments[0], "again", NULL);
    return 0;
}
