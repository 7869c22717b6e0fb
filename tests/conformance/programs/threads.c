/* Threads: what they share, what they do not, how they end. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static __thread int own = 7;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_key_t key;
static long sum, turn;
static int ended;

static void at_end(void *value) { __atomic_add_fetch(&ended, (long)value, __ATOMIC_SEQ_CST); }

static void *add(void *number)
{
    own = (int)(long)number;
    pthread_setspecific(key, number);
    for (int count = 0; count < 5000; count++) {
        pthread_mutex_lock(&mutex);
        sum += own;
        pthread_mutex_unlock(&mutex);
        if (count % 1000 == 0)
            sched_yield();
    }
    return (void *)(long)(own * own);
}

static void *take_turns(void *number)
{
    for (int count = 0; count < 2000; count++) {
        pthread_mutex_lock(&mutex);
        while (turn % 3 != (long)number)
            pthread_cond_wait(&changed, &mutex);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *meet(void *counts)
{
    for (int round = 0; round < 100; round++) {
        __atomic_add_fetch((int *)counts, 1, __ATOMIC_SEQ_CST);
        int serial = pthread_barrier_wait(&barrier);
        if (serial == PTHREAD_BARRIER_SERIAL_THREAD && *(int *)counts % 4 != 0)
            *(int *)counts = -1000000;
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void *look(void *result)
{
    int *differs = result;
    differs[0] = syscall(SYS_gettid) != getpid();
    differs[1] = own;
    prctl(PR_SET_NAME, "a-thread-with-a-long-name");
    umask(027);
    chdir("/");
    differs[2] = open("/dev/null", O_RDONLY);
    return NULL;
}

static void *spin(void *flag)
{
    while (!__atomic_load_n((int *)flag, __ATOMIC_SEQ_CST))
        ;
    return NULL;
}

static void *leave(void *unused) { pthread_exit((void *)5); }
static void *wait_for_ever(void *unused) { for (;;) pause(); }

int main(void)
{
    pthread_t threads[16];
    void *result;
    pthread_key_create(&key, at_end);
    for (long number = 0; number < 16; number++)
        pthread_create(&threads[number], NULL, add, (void *)number);
    for (int number = 0; number < 16; number++) {
        pthread_join(threads[number], &result);
        NUMBER((long)result);
    }
    NUMBER(sum);
    NUMBER(own);
    NUMBER(ended);
    for (long number = 0; number < 3; number++)
        pthread_create(&threads[number], NULL, take_turns, (void *)number);
    for (int number = 0; number < 3; number++)
        pthread_join(threads[number], NULL);
    NUMBER(turn);
    int counts = 0;
    pthread_barrier_init(&barrier, NULL, 4);
    for (long number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, meet, &counts);
    for (int number = 0; number < 4; number++)
        pthread_join(threads[number], NULL);
    NUMBER(counts);
    int differs[3];
    char name[16];
    pthread_create(&threads[0], NULL, look, differs);
    pthread_join(threads[0], NULL);
    NUMBER(differs[0]);
    NUMBER(differs[1]);
    prctl(PR_GET_NAME, name);
    TEXT(name);
    NUMBER(umask(0));
    TEXT(getcwd(NULL, 0));
    CALL(close(differs[2]));
    int flag = 0;
    pthread_create(&threads[0], NULL, spin, &flag);
    usleep(20000);
    __atomic_store_n(&flag, 1, __ATOMIC_SEQ_CST);
    CALL(pthread_join(threads[0], NULL));
    pthread_create(&threads[0], NULL, leave, NULL);
    CALL(pthread_join(threads[0], &result));
    NUMBER((long)result);
    pthread_create(&threads[0], NULL, wait_for_ever, NULL);
    CALL(pthread_cancel(threads[0]));
    CALL(pthread_join(threads[0], &result));
    IS(result == PTHREAD_CANCELED);
    struct timespec used;
    CALL(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used));
    CALL(syscall(SYS_tgkill, getpid(), getpid() + 12345, 0));
    CALL(syscall(SYS_tgkill, getpid(), getpid(), 0));
    CALL(syscall(SYS_set_robust_list, NULL, 23));
    CALL(syscall(SYS_clone, 0x10000, 0, 0, 0, 0));
    CALL(syscall(SYS_clone, 0x800, 0, 0, 0, 0));
    /* The others end with the process. */
    for (int number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, wait_for_ever, NULL);
    fflush(stdout);
    exit(3);
}
