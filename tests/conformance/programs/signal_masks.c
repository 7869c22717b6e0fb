/* Blocking, pending, queueing, restarting, waiting. */
#include "check.h"
#include <sys/time.h>
#include <time.h>

static volatile int count, values[8];

static void note(int number) { count += number > 0; }

static void value(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    values[count++ % 8] = info->si_value.sival_int;
}

static void masks(void)
{
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CALL(sigprocmask(SIG_BLOCK, &set, &old));
    NUMBER(sigismember(&old, SIGUSR1));
    CALL(raise(SIGUSR1));
    CALL(raise(SIGUSR1));
    NUMBER(count);
    CALL(sigpending(&pending));
    NUMBER(sigismember(&pending, SIGUSR1));
    CALL(sigprocmask(SIG_UNBLOCK, &set, NULL));
    NUMBER(count);
    CALL(sigprocmask(99, &set, NULL));
    sigaddset(&set, SIGKILL);
    CALL(sigprocmask(SIG_SETMASK, &set, NULL));
    CALL(sigprocmask(SIG_BLOCK, NULL, &old));
    NUMBER(sigismember(&old, SIGKILL));
    CALL(raise(SIGUSR1));
    sigfillset(&set);
    sigdelset(&set, SIGUSR1);
    CALL(sigsuspend(&set));
    NUMBER(count);
    sigemptyset(&set);
    CALL(sigprocmask(SIG_SETMASK, &set, NULL));
}

static void waiting(void)
{
    sigset_t set;
    siginfo_t info;
    struct timespec soon = {0, 10000000};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CALL(sigtimedwait(&set, &info, &soon));
    CALL(raise(SIGUSR2));
    CALL(sigwaitinfo(&set, &info));
    NUMBER(info.si_code);
    IS(info.si_pid == getpid());
    struct sigaction action = {.sa_sigaction = value, .sa_flags = SA_SIGINFO};
    CALL(sigaction(SIGRTMIN, &action, NULL));
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    count = 0;
    for (int turn = 1; turn <= 3; turn++) {
        union sigval number = {.sival_int = turn * 11};
        CALL(sigqueue(getpid(), SIGRTMIN, number));
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    NUMBER(count);
    NUMBER(values[0] * 10000 + values[1] * 100 + values[2]);
}

static void interrupted(int flags)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = flags};
    struct itimerval soon = {{0, 0}, {0, 20000}};
    struct timespec time = {0, 100000000}, left;
    int ends[2];
    char byte;
    sigaction(SIGALRM, &action, NULL);
    if (pipe(ends) != 0)
        return;
    setitimer(ITIMER_REAL, &soon, NULL);
    CALL(nanosleep(&time, &left));
    IS(left.tv_nsec > 0 && left.tv_nsec < 90000000);
    if (flags == 0) {
        setitimer(ITIMER_REAL, &soon, NULL);
        CALL(read(ends[0], &byte, 1));
    }
    setitimer(ITIMER_REAL, &soon, NULL);
    CALL(pause());
}

int main(void)
{
    struct sigaction once = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND}, old;
    signal(SIGUSR1, note);
    masks();
    waiting();
    interrupted(0);
    interrupted(SA_RESTART);
    CALL(sigaction(SIGHUP, &once, NULL));
    CALL(raise(SIGHUP));
    CALL(sigaction(SIGHUP, NULL, &old));
    IS(old.sa_handler == SIG_DFL);
    CALL(sigaction(SIGSTOP, &once, NULL));
    CALL(sigaction(99, &once, NULL));
    signal(SIGTERM, SIG_IGN);
    CALL(raise(SIGTERM));
    signal(SIGCHLD, SIG_DFL);
    CALL(raise(SIGCHLD));
    return 0;
}
