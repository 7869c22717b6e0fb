/* The cheapest system call, by way of libc's wrapper for odd numbers. */
#include "bench.h"
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    const uint64_t turns = 2000000;
    uint64_t result = 0;
    for (int turn = 0; turn < 1000; turn++)
        result += (uint64_t)getppid();
    uint64_t start = now_ns();
    for (uint64_t turn = 0; turn < turns; turn++)
        result += (uint64_t)getppid();
    return report(start, turns, result);
}
