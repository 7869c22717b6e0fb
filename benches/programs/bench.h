/* What the workloads share: a clock, and the line that the harness reads. */
#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long to repeat what takes a time that nobody knows: a system call under ptrace. */
#define LONG_ENOUGH_NS 300000000u

static inline uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Prints the time per unit of work, and a result so that no work is optimised away. */
static inline int report(uint64_t start, uint64_t units, uint64_t result)
{
    uint64_t time = now_ns() - start;
    printf("result %llx\ntime_ns %llu\n", (unsigned long long)result,
           (unsigned long long)(time / (units ? units : 1)));
    return 0;
}

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
