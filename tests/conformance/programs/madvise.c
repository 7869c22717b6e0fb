/* madvise, mincore, mlock: what becomes of the content. */
#include "check.h"

int main(void)
{
    const size_t size = 64 * 4096;
    unsigned char there[64];
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 5, size);
    CALL(madvise(pages + 4096, 8192, MADV_DONTNEED));
    IS(pages[0] == 5 && pages[4096] == 0 && pages[12287] == 0 && pages[12288] == 5);
    CALL(madvise(pages, size, MADV_WILLNEED));
    CALL(madvise(pages, size, MADV_NORMAL));
    CALL(madvise(pages, size, MADV_SEQUENTIAL));
    CALL(madvise(pages, size, MADV_HUGEPAGE) == 0 || errno == EINVAL);
    IS(pages[20000] == 5);
    CALL(madvise(pages + 1, 4096, MADV_DONTNEED));
    CALL(madvise(pages, 0, MADV_DONTNEED));
    CALL(madvise(pages, size, 9999));
    CALL(munmap(pages + 4096, 4096));
    CALL(madvise(pages, 4 * 4096, MADV_DONTNEED));
    IS(pages[0] == 0 && pages[2 * 4096] == 0);
    memset(pages + 8192, 6, 4096);
    CALL(madvise(pages + 8192, 4096, MADV_FREE));
    IS(pages[8192] == 6 || pages[8192] == 0);
    CALL(close(make_file("file", 10000)));
    int fd = open("file", O_RDWR);
    char *private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    uint64_t before = sum_of(private, 8192);
    memset(private, 9, 8192);
    IS(sum_of(private, 8192) != before);
    CALL(madvise(private, 8192, MADV_DONTNEED));
    IS(sum_of(private, 8192) == before);
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared[5] = 77;
    CALL(madvise(shared, 8192, MADV_DONTNEED));
    NUMBER(shared[5]);
    CALL(mincore(pages, 4096, there));
    CALL(mincore(pages + 1, 4096, there));
    CALL(mlock(pages, 4096));
    CALL(munlock(pages, 4096));
    return 0;
}
