/* Interval timers: in a busy loop, while blocked, repeating, read back. */
#include "check.h"
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t count;
static void note(int number) { count += number > 0; }

static void busy(int which, int number)
{
    struct itimerval every = {{0, 5000}, {0, 5000}}, left, none = {{0, 0}, {0, 0}};
    signal(number, note);
    count = 0;
    CALL(setitimer(which, &every, NULL));
    volatile unsigned long work = 0;
    while (count < 5)
        work++;
    CALL(getitimer(which, &left));
    IS(left.it_interval.tv_usec > 0);
    CALL(setitimer(which, &none, NULL));
    int stopped = count;
    for (volatile int turn = 0; turn < 30000000; turn++)
        work++;
    IS(count <= stopped + 1);
}

int main(void)
{
    busy(ITIMER_REAL, SIGALRM);
    busy(ITIMER_VIRTUAL, SIGVTALRM);
    busy(ITIMER_PROF, SIGPROF);
    struct itimerval bad = {{0, 0}, {0, 2000000}};
    CALL(setitimer(ITIMER_REAL, &bad, NULL));
    CALL(setitimer(77, NULL, NULL));
    CALL(alarm(100));
    NUMBER(alarm(0));
    CALL(alarm(1));
    count = 0;
    CALL(pause());
    NUMBER(count);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    signal(SIGUSR1, note);
    CALL(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec soon = {{0, 0}, {0, 5000000}};
    count = 0;
    CALL(timer_settime(timer, 0, &soon, NULL));
    while (count == 0)
        ;
    NUMBER(count);
    CALL(timer_delete(timer));
    CALL(timer_delete(timer));
    return 0;
}
