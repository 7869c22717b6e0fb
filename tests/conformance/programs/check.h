/* What the programs share: each line of output names an expression and what became of it.
   A native run is the oracle, so nothing here knows the right answer. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A call: its result, and the error's name. */
#define CALL(call)                                                                       \
    do {                                                                                 \
        errno = 0;                                                                       \
        long result_ = (long)(call);                                                     \
        printf("%s = %ld%s%s\n", #call, result_, result_ < 0 ? " " : "",                 \
               result_ < 0 ? strerrorname_np(errno) : "");                               \
    } while (0)

/* A truth. */
#define IS(truth) printf("%s: %s\n", #truth, (truth) ? "yes" : "no")

/* A number. */
#define NUMBER(number) printf("%s is %lld\n", #number, (long long)(number))

/* A text. */
#define TEXT(text) printf("%s is \"%s\"\n", #text, (text))

/* A mapping call: done or the error, never the address. */
#define MAP(call)                                                                        \
    do {                                                                                 \
        errno = 0;                                                                       \
        void *result_ = (call);                                                          \
        printf("%s: %s\n", #call, result_ == MAP_FAILED ? strerrorname_np(errno) : "ok"); \
    } while (0)

/* Writes a file of the given size whose byte at n is a function of n. */
static inline int make_file(const char *name, size_t size)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    for (size_t at = 0; at < size; at++) {
        unsigned char byte = (unsigned char)(at * 7 + at / 251);
        if (write(fd, &byte, 1) != 1)
            abort();
    }
    return fd;
}

/* A sum over memory that notices exchanged bytes. */
static inline uint64_t sum_of(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    uint64_t sum = 14695981039346656037u;
    for (size_t at = 0; at < size; at++)
        sum = (sum ^ bytes[at]) * 1099511628211u;
    return sum;
}

#endif
