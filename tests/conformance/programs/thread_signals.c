/* Signals among threads: masks, who gets what, waiting for them, stacks. */
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

static __thread int number_of_thread;
static volatile sig_atomic_t got[4], on_stack[4];
static char stack[65536];

static void note(int number, siginfo_t *info, void *context)
{
    got[number_of_thread]++;
    on_stack[number_of_thread] = (char *)&number > stack && (char *)&number < stack + sizeof stack;
}

static void *receive(void *number)
{
    number_of_thread = (int)(long)number;
    sigset_t set;
    sigemptyset(&set);
    if (number_of_thread == 1) {
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_SETMASK, &set, NULL);
    }
    if (number_of_thread == 2) {
        stack_t own = {stack, 0, sizeof stack};
        sigaltstack(&own, NULL);
    }
    while (!got[3])
        usleep(1000);
    /* A mask is a thread's own. */
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    return (void *)(long)sigismember(&set, SIGUSR1);
}

static void *wait_for(void *result)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    for (int count = 0; count < 4; count++) {
        int number = sigwaitinfo(&set, &info);
        ((long *)result)[count] = (number - SIGRTMIN) * 100 + info.si_value.sival_int;
    }
    return NULL;
}

static void *busy(void *unused)
{
    number_of_thread = 0;
    while (got[0] < 50)
        ;
    return NULL;
}

int main(void)
{
    number_of_thread = 3;
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    pthread_t threads[4];
    void *result;
    for (long number = 0; number < 3; number++)
        pthread_create(&threads[number], NULL, receive, (void *)number);
    usleep(50000);
    for (int number = 0; number < 3; number++)
        pthread_kill(threads[number], SIGUSR1);
    usleep(50000);
    NUMBER(got[0]);
    NUMBER(got[1]);
    NUMBER(got[2]);
    IS(on_stack[2]);
    IS(on_stack[0]);
    sigset_t set, pending;
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    for (int number = 0; number < 20; number++)
        kill(getpid(), SIGUSR2);
    usleep(50000);
    IS(got[0] + got[1] + got[2] > 2);
    NUMBER(got[3]);
    pthread_kill(pthread_self(), SIGUSR2);
    sigpending(&pending);
    NUMBER(sigismember(&pending, SIGUSR2));
    sigemptyset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    NUMBER(got[3]);
    for (int number = 0; number < 3; number++) {
        pthread_join(threads[number], &result);
        NUMBER((long)result);
    }
    /* Real-time signals queue, in the order of their numbers. */
    long values[4];
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    union sigval value;
    for (int count = 0; count < 4; count++) {
        value.sival_int = count;
        sigqueue(getpid(), SIGRTMIN + (count < 2), value);
    }
    pthread_create(&threads[0], NULL, wait_for, values);
    pthread_join(threads[0], NULL);
    for (int count = 0; count < 4; count++)
        NUMBER(values[count]);
    struct timespec soon = {0, 10000000};
    CALL(sigtimedwait(&set, NULL, &soon));
    /* A thread that never calls is interrupted all the same. */
    got[0] = 0;
    pthread_create(&threads[0], NULL, busy, NULL);
    while (got[0] < 50)
        pthread_kill(threads[0], SIGUSR1), usleep(500);
    CALL(pthread_join(threads[0], NULL));
    return 0;
}
