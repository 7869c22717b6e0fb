/* First touches of fresh anonymous pages, as any program gets them. */
#include "bench.h"
#include <sys/mman.h>

#ifndef ADVICE
#define ADVICE MADV_NORMAL
#endif

int main(void)
{
    const size_t size = 64 << 20;
    uint64_t result = 0, pages = 0, start = now_ns();
    for (; now_ns() - start < LONG_ENOUGH_NS; pages += size / 4096) {
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || madvise(memory, size, ADVICE) != 0)
            return 1;
        for (size_t at = 0; at < size; at += 4096)
            memory[at] = 1;
        result += (uint64_t)memory[size / 2];
        munmap(memory, size);
    }
    return report(start, pages, result);
}
