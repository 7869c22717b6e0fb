/* What the hand-overs between two threads share: who answers, and how long it goes on. With an
   argument, both threads stay on one processor. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include "bench.h"
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

static inline void check(int is_right, const char *what)
{
    if (!is_right) {
        perror(what);
        exit(1);
    }
}

/* Starts the thread that answers. */
static inline void start(int arguments, void *(*answer)(void *))
{
    pthread_t thread;
    if (arguments > 1) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        check(sched_setaffinity(0, sizeof one, &one) == 0, "staying on one processor");
    }
    check(pthread_create(&thread, NULL, answer, NULL) == 0, "starting a thread");
}

/* Prints the time of one turn there and back. */
static inline int measure(void (*turn)(void))
{
    uint64_t turns = 0;
    for (int at = 0; at < 1000; at++)
        turn();
    uint64_t start = now_ns();
    for (; now_ns() - start < 3 * (uint64_t)LONG_ENOUGH_NS; turns += 100)
        for (int at = 0; at < 100; at++)
            turn();
    return report(start, turns, turns);
}

/* Sends back every byte, to the end. */
static inline void *echo(int from, int to)
{
    char byte;
    while (read(from, &byte, 1) == 1)
        check(write(to, &byte, 1) == 1, "answering");
    return NULL;
}

static inline void ask(int to, int from)
{
    char byte = 'x';
    check(write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1 && byte == 'x', "asking");
}

#endif
