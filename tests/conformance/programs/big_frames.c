/* Frames far larger than a page, and deep recursion within the limit. */
#include "check.h"
#include <alloca.h>

__attribute__((noinline)) static long frame(int depth)
{
    volatile char room[200000];
    room[0] = (char)depth;
    room[sizeof room - 1] = 1;
    long below = depth > 0 ? frame(depth - 1) : 0;
    return below + room[0] + room[sizeof room - 1];
}

__attribute__((noinline)) static long deep(long depth)
{
    volatile long here = depth;
    return depth == 0 ? 0 : 1 + deep(depth - 1) + (here - depth);
}

__attribute__((noinline)) static uint64_t sized(size_t size)
{
    char *room = alloca(size);
    memset(room, 3, size);
    return sum_of(room, size);
}

int main(void)
{
    NUMBER(frame(20));
    NUMBER(deep(50000));
    for (size_t size = 1; size < 1000000; size *= 7)
        NUMBER(sized(size));
    volatile char jump[1000000];
    jump[0] = 5;
    NUMBER(jump[0]);
    return 0;
}
