/* The futex call itself: comparisons, time-outs, sets, moving, changing, owners. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

static uint32_t word, other;

static long futex(uint32_t *at, int op, uint32_t value, void *timeout, uint32_t *second, uint32_t third)
{
    return syscall(SYS_futex, at, op, value, timeout, second, third);
}

struct waiter {
    uint32_t *at;
    int op;
    uint32_t bits;
    long result;
};

static int asleep;

static void *wait_on(void *argument)
{
    struct waiter *waiter = argument;
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    waiter->result = futex(waiter->at, waiter->op, 0, NULL, NULL, waiter->bits);
    return NULL;
}

static pthread_t threads[4];
static struct waiter waiters[4];

static void start(int count, int op, const uint32_t *bits)
{
    asleep = 0;
    for (int number = 0; number < count; number++) {
        waiters[number] = (struct waiter){&word, op, bits ? bits[number] : 0, -1};
        pthread_create(&threads[number], NULL, wait_on, &waiters[number]);
    }
    while (__atomic_load_n(&asleep, __ATOMIC_SEQ_CST) < count)
        usleep(1000);
    usleep(30000);
}

static void join(int count)
{
    for (int number = 0; number < count; number++) {
        pthread_join(threads[number], NULL);
        NUMBER(waiters[number].result);
    }
}

static void *lock(void *unused)
{
    CALL(futex(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    long result = futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    NUMBER(result);
    IS((word & FUTEX_TID_MASK) == syscall(SYS_gettid));
    CALL(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    return NULL;
}

int main(void)
{
    struct timespec soon = {0, 5000000}, wrong = {0, 2000000000}, at;
    word = 1;
    CALL(futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0));
    CALL(futex(&word, FUTEX_WAIT, 1, &soon, NULL, 0));
    CALL(futex(&word, FUTEX_WAIT_PRIVATE, 1, &wrong, NULL, 0));
    clock_gettime(CLOCK_MONOTONIC, &at);
    CALL(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &at, NULL, 1));
    clock_gettime(CLOCK_REALTIME, &at);
    CALL(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &at, NULL, -1));
    CALL(futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0));
    CALL(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    CALL(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 1, NULL, NULL, 0));
    CALL(futex((uint32_t *)8, FUTEX_WAIT, 1, NULL, NULL, 0));
    CALL(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
    CALL(futex(&word, 77, 1, NULL, NULL, 0));
    word = 0;
    start(3, FUTEX_WAIT_PRIVATE, NULL);
    CALL(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    CALL(futex(&word, FUTEX_WAKE_PRIVATE, 5, NULL, NULL, 0));
    join(3);
    const uint32_t bits[] = {1, 2, 4};
    start(3, FUTEX_WAIT_BITSET, bits);
    CALL(futex(&word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 8));
    CALL(futex(&word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 5));
    CALL(futex(&word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 2));
    join(3);
    start(3, FUTEX_WAIT, NULL);
    CALL(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)9, &other, 5));
    CALL(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)9, &other, 0));
    CALL(futex(&word, FUTEX_WAKE, 9, NULL, NULL, 0));
    CALL(futex(&other, FUTEX_WAKE, 9, NULL, NULL, 0));
    join(3);
    start(2, FUTEX_WAIT, NULL);
    other = 10;
    CALL(futex(&other, FUTEX_WAKE_OP, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)));
    NUMBER(word);
    CALL(futex(&other, FUTEX_WAKE_OP, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_OR, 8, FUTEX_OP_CMP_GT, 100)));
    NUMBER(word);
    CALL(futex(&word, FUTEX_WAKE, 9, NULL, NULL, 0));
    join(2);
    word = 0;
    CALL(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    CALL(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    CALL(futex(&other, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    pthread_create(&threads[0], NULL, lock, NULL);
    usleep(50000);
    IS(word == (FUTEX_WAITERS | syscall(SYS_gettid)));
    /* Both speak from here on, so this one waits with it. */
    long unlocked = futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    pthread_join(threads[0], NULL);
    NUMBER(unlocked);
    NUMBER(word);
    /* The same memory at two addresses is one futex, unless it is private. */
    int fd = memfd_create("two", 0);
    ftruncate(fd, 4096);
    uint32_t *one = mmap(NULL, 4096, 3, MAP_SHARED, fd, 0), *two = mmap(NULL, 4096, 3, MAP_SHARED, fd, 0);
    waiters[0] = (struct waiter){one, FUTEX_WAIT, 0, -1};
    asleep = 0;
    pthread_create(&threads[0], NULL, wait_on, &waiters[0]);
    while (!__atomic_load_n(&asleep, __ATOMIC_SEQ_CST))
        usleep(1000);
    usleep(30000);
    CALL(futex(two, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    CALL(futex(two, FUTEX_WAKE, 1, NULL, NULL, 0));
    join(1);
    return 0;
}
