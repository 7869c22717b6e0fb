/* Futexes with an owner: inheritance of priority, dead locks, dead owners, moving waiters to one. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static uint32_t one, other, condition, begin, done, seen;

static long futex(uint32_t *at, int op, uint32_t value, void *timeout, uint32_t *second, uint32_t third)
{
    long result = syscall(SYS_futex, at, op, value, timeout, second, third);
    return result < 0 ? -errno : result;
}

static uint32_t tid(void)
{
    return syscall(SYS_gettid);
}

static void lock(uint32_t *word)
{
    uint32_t free = 0;
    if (!__atomic_compare_exchange_n(word, &free, tid(), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        while (futex(word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0))
            ;
}

static void unlock(uint32_t *word)
{
    uint32_t own = tid();
    if (!__atomic_compare_exchange_n(word, &own, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        futex(word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
}

static void wait_for(uint32_t *word)
{
    while (!__atomic_load_n(word, __ATOMIC_SEQ_CST))
        futex(word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void until_waited_for(uint32_t *word)
{
    while (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & FUTEX_WAITERS))
        usleep(1000);
}

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static pthread_t start(void *(*body)(void *), int priority)
{
    pthread_t thread;
    pthread_attr_t attributes;
    struct sched_param param = {priority};
    pthread_attr_init(&attributes);
    if (priority) {
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &param);
    }
    if (pthread_create(&thread, &attributes, body, NULL))
        pthread_create(&thread, NULL, body, NULL);
    return thread;
}

static void *low(void *unused)
{
    lock(&one);
    wait_for(&begin);
    unlock(&one);
    return NULL;
}

static void *between(void *unused)
{
    lock(&other);
    lock(&one);
    unlock(&one);
    unlock(&other);
    return NULL;
}

static void *middle(void *unused)
{
    wait_for(&begin);
    long end = milliseconds() + 300;
    while (milliseconds() < end && !__atomic_load_n(&done, __ATOMIC_SEQ_CST))
        ;
    seen = done;
    return NULL;
}

static void *high(void *word)
{
    lock(word ? &other : &one);
    done = 1;
    unlock(word ? &other : &one);
    return NULL;
}

static void *high_of_two(void *unused)
{
    return high(&other);
}

/* The middle one would keep the low one from letting go for the high one. */
static void inversion(int chain)
{
    struct sched_param param = {30};
    begin = done = seen = 0;
    int allowed = sched_setscheduler(0, SCHED_FIFO, &param) == 0;
    IS(allowed);
    if (!allowed)
        return;
    pthread_t threads[4];
    threads[0] = start(low, 5);
    while (!__atomic_load_n(&one, __ATOMIC_SEQ_CST))
        usleep(1000);
    threads[1] = start(middle, 10);
    usleep(5000);
    if (chain) {
        threads[3] = start(between, 6);
        until_waited_for(&one);
    }
    threads[2] = start(chain ? high_of_two : high, 20);
    until_waited_for(chain ? &other : &one);
    /* Those who wait have got as far. */
    usleep(5000);
    __atomic_store_n(&begin, 1, __ATOMIC_SEQ_CST);
    futex(&begin, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0);
    for (int number = 0; number < 3 + chain; number++)
        pthread_join(threads[number], NULL);
    NUMBER(seen);
    param.sched_priority = 0;
    sched_setscheduler(0, SCHED_OTHER, &param);
}

static long result_of_thread;

static void *lock_both(void *unused)
{
    lock(&one);
    result_of_thread = futex(&other, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    unlock(&other);
    unlock(&one);
    return NULL;
}

static void dead_lock(void)
{
    lock(&other);
    pthread_t thread = start(lock_both, 0);
    until_waited_for(&other);
    usleep(5000);
    NUMBER(futex(&one, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) == -EDEADLK);
    NUMBER(futex(&other, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) == -EDEADLK);
    unlock(&other);
    pthread_join(thread, NULL);
    NUMBER(result_of_thread);
    NUMBER(one);
    NUMBER(other);
}

static void *lock_and_end(void *unused)
{
    lock(&one);
    if (other)
        until_waited_for(&one);
    usleep(5000);
    return NULL;
}

static pthread_mutex_t robust;

static void *lock_robust(void *unused)
{
    pthread_mutex_lock(&robust);
    usleep(20000);
    return NULL;
}

static void dead_owner(void)
{
    one = 0;
    other = 1;
    pthread_t thread = start(lock_and_end, 0);
    while (!__atomic_load_n(&one, __ATOMIC_SEQ_CST))
        usleep(1000);
    NUMBER(futex(&one, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    IS((one & FUTEX_TID_MASK) == tid());
    IS(one & FUTEX_OWNER_DIED);
    pthread_join(thread, NULL);
    NUMBER(futex(&one, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    one = other = 0;
    thread = start(lock_and_end, 0);
    pthread_join(thread, NULL);
    NUMBER(futex(&one, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) == -ESRCH);
    NUMBER(futex(&one, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == -ESRCH);
    one = 0;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    thread = start(lock_robust, 0);
    usleep(10000);
    IS(pthread_mutex_lock(&robust) == EOWNERDEAD);
    pthread_join(thread, NULL);
    CALL(pthread_mutex_consistent(&robust));
    CALL(pthread_mutex_unlock(&robust));
    CALL(pthread_mutex_lock(&robust));
    CALL(pthread_mutex_unlock(&robust));
}

static struct waiter { long result; int owns; } waiters[3];
static int asleep, numbers;

static void *wait_and_own(void *unused)
{
    int number = __atomic_fetch_add(&numbers, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    waiters[number].result = futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &other, 0);
    waiters[number].owns = (other & FUTEX_TID_MASK) == tid();
    unlock(&other);
    return NULL;
}

static void sleepers(pthread_t *threads, int count)
{
    asleep = numbers = 0;
    for (int number = 0; number < count; number++)
        threads[number] = start(wait_and_own, 0);
    while (__atomic_load_n(&asleep, __ATOMIC_SEQ_CST) < count)
        usleep(1000);
    usleep(30000);
}

static void joined(pthread_t *threads, int count)
{
    for (int number = 0; number < count; number++)
        pthread_join(threads[number], NULL);
    for (int number = 0; number < count; number++) {
        NUMBER(waiters[number].result);
        NUMBER(waiters[number].owns);
    }
    NUMBER(other & ~FUTEX_WAITERS);
}

static void moving(void)
{
    pthread_t threads[3];
    struct timespec at;
    other = condition = 0;
    NUMBER(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 1, NULL, &other, 0));
    NUMBER(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &condition, 0));
    clock_gettime(CLOCK_MONOTONIC, &at);
    NUMBER(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &at, &other, 0));
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 0, NULL, &other, 0));
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, NULL, &condition, 0));
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, NULL, &other, 7));
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &other, 0));
    /* The word is free: the first has it at once. */
    sleepers(threads, 3);
    NUMBER(futex(&condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &one, 0));
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &other, 0));
    joined(threads, 3);
    /* It is ours: they have it when we let go. */
    other = 0;
    lock(&other);
    sleepers(threads, 2);
    NUMBER(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &other, 0));
    IS(other == (tid() | FUTEX_WAITERS));
    usleep(10000);
    unlock(&other);
    joined(threads, 2);
    other = 0;
    /* Too long, after they were moved. */
    lock(&other);
    clock_gettime(CLOCK_REALTIME, &at);
    NUMBER(futex(&one, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    NUMBER(futex(&one, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    unlock(&other);
    NUMBER(other);
}

static long timed[3];

static void *lock_for_a_while(void *unused)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    timed[0] = futex(&one, FUTEX_LOCK_PI_PRIVATE, 0, &at, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &at);
    timed[1] = futex(&one, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &at, NULL, 0);
    clock_gettime(CLOCK_REALTIME, &at);
    timed[2] = futex(&one, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 0, &at, NULL, 0);
    return NULL;
}

static volatile int handled;

static void on_signal(int number)
{
    handled++;
}

static void *lock_through_a_signal(void *unused)
{
    timed[0] = futex(&one, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    unlock(&one);
    return NULL;
}

static void times_and_signals(void)
{
    one = 0;
    lock(&one);
    pthread_t thread = start(lock_for_a_while, 0);
    pthread_join(thread, NULL);
    for (int number = 0; number < 3; number++)
        IS(timed[number] == -ETIMEDOUT);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    thread = start(lock_through_a_signal, 0);
    until_waited_for(&one);
    usleep(10000);
    pthread_kill(thread, SIGUSR1);
    usleep(10000);
    unlock(&one);
    pthread_join(thread, NULL);
    NUMBER(handled);
    NUMBER(timed[0]);
    NUMBER(one);
}

int main(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
    sched_setaffinity(0, sizeof set, &set);
    inversion(0);
    inversion(1);
    sched_setaffinity(0, sizeof all, &all);
    dead_lock();
    dead_owner();
    moving();
    times_and_signals();
    return 0;
}
