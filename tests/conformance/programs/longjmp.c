/* Leaving a handler by a jump, again and again, with and without the mask. */
#include "check.h"
#include <setjmp.h>

static sigjmp_buf back;
static jmp_buf plain;
static volatile int count;

static void leave(int number)
{
    count++;
    siglongjmp(back, number);
}

static void leave_plain(int number) { longjmp(plain, number); }

static int blocked(int number)
{
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, number);
}

int main(void)
{
    int *volatile null = NULL;
    signal(SIGSEGV, leave);
    for (volatile int turn = 0; turn < 1000; turn++)
        if (sigsetjmp(back, 1) == 0)
            *null = turn;
    NUMBER(count);
    NUMBER(blocked(SIGSEGV));
    signal(SIGUSR1, leave_plain);
    int value = setjmp(plain);
    if (value == 0)
        raise(SIGUSR1);
    NUMBER(value);
    NUMBER(blocked(SIGUSR1));
    sigset_t none;
    sigemptyset(&none);
    CALL(sigprocmask(SIG_SETMASK, &none, NULL));
    value = setjmp(plain);
    if (value == 0)
        longjmp(plain, 0);
    NUMBER(value);
    signal(SIGFPE, leave);
    volatile int zero = 0;
    for (volatile int turn = 0; turn < 1000; turn++)
        if (sigsetjmp(back, 1) == 0)
            zero = (turn + 7) / zero;
    NUMBER(count);
    return 0;
}
