/* First touches of fresh anonymous pages. */
#include "bench.h"
#include <sys/mman.h>

int main(void)
{
    const size_t size = 64 << 20;
    const uint64_t turns = 10;
    uint64_t result = 0, start = now_ns();
    for (uint64_t turn = 0; turn < turns; turn++) {
        char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED || madvise(pages, size, MADV_NOHUGEPAGE) > 0)
            return 1;
        for (size_t at = 0; at < size; at += 4096)
            pages[at] = 1;
        result += (uint64_t)pages[size / 2];
        munmap(pages, size);
    }
    return report(start, turns * (size / 4096), result);
}
