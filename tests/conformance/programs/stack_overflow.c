/* Endless recursion reaches a handler on another stack, and the program goes on. */
#include "check.h"
#include <setjmp.h>
#include <sys/resource.h>

static sigjmp_buf back;
static char room[65536];
static volatile long depth;
static volatile uintptr_t deepest;

static void overflow(int number, siginfo_t *info, void *context)
{
    (void)context;
    deepest = (uintptr_t)info->si_addr;
    siglongjmp(back, number);
}

__attribute__((noinline)) static long fall(long step)
{
    volatile char frame[1000];
    frame[step % 1000] = 1;
    depth++;
    return fall(step + 1) + frame[0];
}

int main(void)
{
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_sigaction = overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct rlimit limit;
    CALL(sigaltstack(&stack, NULL));
    CALL(sigaction(SIGSEGV, &action, NULL));
    CALL(getrlimit(RLIMIT_STACK, &limit));
    uintptr_t top = (uintptr_t)__builtin_frame_address(0);
    for (volatile int turn = 0; turn < 3; turn++) {
        depth = 0;
        int number = sigsetjmp(back, 1);
        if (number == 0)
            fall(turn);
        NUMBER(number);
        uintptr_t used = top - deepest;
        IS(used > limit.rlim_cur / 2 && used < limit.rlim_cur + (1 << 20));
        IS(depth > 1000);
    }
    return 0;
}
