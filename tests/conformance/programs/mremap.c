/* mremap: growing, shrinking, moving; the content goes along. */
#include "check.h"

enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

static char *fresh(size_t pages)
{
    char *area = mmap(NULL, pages * 4096, RW, ANON, -1, 0);
    for (size_t at = 0; at < pages * 4096; at++)
        area[at] = (char)(at * 3 + at / 4096);
    return area;
}

int main(void)
{
    char *area = fresh(10);
    uint64_t sum = sum_of(area, 10 * 4096);
    area = mremap(area, 10 * 4096, 1000 * 4096, MREMAP_MAYMOVE);
    IS(sum_of(area, 10 * 4096) == sum);
    IS(area[10 * 4096] == 0 && area[1000 * 4096 - 1] == 0);
    char *same = mremap(area, 1000 * 4096, 10 * 4096, 0);
    IS(same == area);
    IS(sum_of(area, 10 * 4096) == sum);
    char *fence = fresh(20);
    CALL(munmap(fence + 5 * 4096, 4096));
    MAP(mremap(fence + 6 * 4096, 4096, 2 * 4096, 0));
    MAP(mremap(fence, 5 * 4096, 7 * 4096, 0));
    MAP(mremap(fence, 7 * 4096, 8 * 4096, MREMAP_MAYMOVE));
    char *target = mmap(NULL, 30 * 4096, PROT_NONE, ANON, -1, 0);
    char *moved = mremap(area, 10 * 4096, 12 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    IS(moved == target);
    IS(sum_of(moved, 10 * 4096) == sum);
    CALL(msync(area, 4096, MS_ASYNC));
    MAP(mremap(moved, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, moved + 1));
    MAP(mremap(moved, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, moved + 4096));
    MAP(mremap(moved, 8192, 8192, MREMAP_FIXED, target));
    MAP(mremap(moved + 1, 4096, 8192, MREMAP_MAYMOVE));
    MAP(mremap(moved, 4096, 0, MREMAP_MAYMOVE));
    MAP(mremap((void *)0x5000, 4096, 8192, MREMAP_MAYMOVE));
    MAP(mremap(moved, 4096, 8192, 0x100));
    int fd = make_file("file", 20000);
    char *file = mmap(NULL, 4096, RW, MAP_SHARED, fd, 0);
    file = mremap(file, 4096, 20000, MREMAP_MAYMOVE);
    NUMBER(sum_of(file, 20000));
    file[15000] = 'X';
    char byte = 0;
    CALL(pread(fd, &byte, 1, 15000));
    NUMBER(byte);
    char *block = malloc(200000);
    for (size_t size = 200000; size < 20000000; size *= 2) {
        block[size - 1] = (char)size;
        block = realloc(block, size * 2);
        if (block[size - 1] != (char)size)
            puts("realloc lost a byte");
    }
    free(block);
    return 0;
}
