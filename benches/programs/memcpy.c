/* Copying and setting 64 MiB; the pages are there before the clock starts. */
#include "bench.h"

int main(void)
{
    const size_t size = 64 << 20;
    char *from = malloc(size), *to = malloc(size);
    memset(from, 1, size);
    memset(to, 2, size);
    uint64_t start = now_ns(), result = 0;
    for (int turn = 0; turn < 20; turn++) {
        memcpy(to, from, size);
        result += (uint64_t)to[(size_t)turn * 999983 % size];
        memset(from, turn, size);
    }
    return report(start, 20, result);
}
