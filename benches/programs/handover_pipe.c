/* A byte there and back through two pipes, between two threads. */
#include "handover.h"

static int there[2], back[2];

static void *answer(void *unused)
{
    (void)unused;
    return echo(there[0], back[1]);
}

static void turn(void)
{
    ask(there[1], back[0]);
}

int main(int arguments, char **argument)
{
    (void)argument;
    check(pipe(there) == 0 && pipe(back) == 0, "pipe");
    start(arguments, answer);
    return measure(turn);
}
