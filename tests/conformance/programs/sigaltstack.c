/* Handlers on a stack of their own. */
#include "check.h"

static char room[65536];
static volatile int inside, on_stack, flags_inside;
static stack_t during;

static void handler(int number)
{
    (void)number;
    char here;
    volatile uintptr_t place = (uintptr_t)&here;
    inside = place >= (uintptr_t)room && place < (uintptr_t)room + sizeof room;
    sigaltstack(NULL, &during);
    on_stack = during.ss_flags;
    stack_t other = {.ss_sp = room, .ss_size = sizeof room};
    flags_inside = sigaltstack(&other, NULL) == 0 ? 0 : errno;
}

int main(void)
{
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room}, old;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    CALL(sigaltstack(NULL, &old));
    NUMBER(old.ss_flags);
    CALL(sigaltstack(&stack, &old));
    CALL(sigaltstack(NULL, &old));
    NUMBER(old.ss_flags);
    IS(old.ss_sp == room && old.ss_size == sizeof room);
    CALL(sigaction(SIGUSR1, &action, NULL));
    CALL(raise(SIGUSR1));
    NUMBER(inside);
    NUMBER(on_stack);
    IS(flags_inside == EPERM);
    action.sa_flags = 0;
    CALL(sigaction(SIGUSR1, &action, NULL));
    CALL(raise(SIGUSR1));
    NUMBER(inside);
    NUMBER(on_stack);
    stack.ss_size = 10;
    CALL(sigaltstack(&stack, NULL));
    stack.ss_size = sizeof room;
    stack.ss_flags = 999;
    CALL(sigaltstack(&stack, NULL));
    stack.ss_flags = SS_DISABLE;
    CALL(sigaltstack(&stack, NULL));
    CALL(sigaltstack(NULL, &old));
    NUMBER(old.ss_flags);
    action.sa_flags = SA_ONSTACK;
    CALL(sigaction(SIGUSR1, &action, NULL));
    CALL(raise(SIGUSR1));
    NUMBER(inside);
    return 0;
}
