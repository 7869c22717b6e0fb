/* Affinity, policies, priorities; who runs when all want to. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static volatile int stop;
static void *work(void *count)
{
    while (!stop)
        ++*(volatile unsigned long *)count;
    return NULL;
}

int main(void)
{
    cpu_set_t set;
    struct sched_param param = {0};
    CALL(sched_getaffinity(0, sizeof set, &set) < 0);
    IS(CPU_COUNT(&set) >= 1);
    CPU_ZERO(&set);
    CALL(sched_setaffinity(0, sizeof set, &set));
    CPU_SET(0, &set);
    CALL(sched_setaffinity(0, sizeof set, &set));
    NUMBER(sched_getcpu());
    CALL(sched_setaffinity(99999, sizeof set, &set));
    CALL(sched_getscheduler(0));
    CALL(sched_setscheduler(0, SCHED_BATCH, &param));
    CALL(sched_getscheduler(0));
    CALL(sched_setscheduler(0, SCHED_OTHER, &param));
    param.sched_priority = 5;
    CALL(sched_setscheduler(0, SCHED_OTHER, &param));
    CALL(sched_setscheduler(0, 77, &param));
    CALL(sched_getparam(0, &param));
    NUMBER(param.sched_priority);
    CALL(sched_get_priority_max(SCHED_FIFO));
    CALL(sched_get_priority_min(SCHED_RR));
    CALL(sched_get_priority_max(SCHED_OTHER));
    CALL(getpriority(PRIO_PROCESS, 0));
    CALL(setpriority(PRIO_PROCESS, 0, 3));
    CALL(getpriority(PRIO_PROCESS, 0));
    CALL(syscall(SYS_membarrier, 0, 0, 0) > 0 ? 0 : -1);
    CALL(syscall(SYS_membarrier, 16, 0, 0));
    CALL(syscall(SYS_membarrier, 8, 0, 0));
    /* Four that never wait share one processor fairly. */
    pthread_t threads[4];
    unsigned long counts[4] = {0};
    for (int number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, work, &counts[number]);
    /* Soon, or on a slow machine later. */
    unsigned long least = 0, most = 0;
    for (int round = 0; round < 50 && least * 4 <= most; round++) {
        usleep(200000);
        least = most = __atomic_load_n(&counts[0], __ATOMIC_RELAXED);
        for (int number = 1; number < 4; number++) {
            unsigned long count = __atomic_load_n(&counts[number], __ATOMIC_RELAXED);
            least = count < least ? count : least;
            most = count > most ? count : most;
        }
    }
    stop = 1;
    for (int number = 0; number < 4; number++)
        pthread_join(threads[number], NULL);
    IS(least * 4 > most);
    return 0;
}
