/* Anonymous mappings: placement, zeroes, holes, sizes, large reservations. */
#include "check.h"

enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

int main(void)
{
    char *area = mmap(NULL, 1 << 20, RW, ANON, -1, 0);
    NUMBER((uintptr_t)area % 4096);
    NUMBER(sum_of(area, 1 << 20));
    memset(area, 1, 1 << 20);
    CALL(munmap(area + 4096, 4096));
    MAP(mmap(area + 4096, 4096, RW, ANON | MAP_FIXED, -1, 0));
    IS(area[4096] == 0 && area[0] == 1 && area[8192] == 1);
    MAP(mmap(area, 8192, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    MAP(mmap(area, 8192, RW, ANON | MAP_FIXED, -1, 0));
    IS(area[0] == 0 && area[8192] == 1);
    IS(mmap(area + (2 << 20), 4096, RW, ANON, -1, 0) != MAP_FAILED);
    MAP(mmap(NULL, 0, RW, ANON, -1, 0));
    MAP(mmap(area + 1, 4096, RW, ANON | MAP_FIXED, -1, 0));
    MAP(mmap(NULL, 4096, RW, MAP_ANONYMOUS, -1, 0));
    MAP(mmap(NULL, 4096, RW, MAP_PRIVATE, -1, 0));
    MAP(mmap(NULL, 4096, RW, MAP_PRIVATE, 99, 0));
    MAP(mmap(NULL, (size_t)1 << 60, RW, ANON, -1, 0));
    MAP(mmap(NULL, -4096ul, RW, ANON, -1, 0));
    MAP(mmap((void *)0x10000, 4096, RW, ANON | MAP_FIXED, -1, 0));
    MAP(mmap((void *)(1ul << 47), 4096, RW, ANON | MAP_FIXED, -1, 0));
    CALL(munmap(area, 0));
    CALL(munmap(area + 1, 4096));
    CALL(munmap((void *)0x5000, 4096));
    CALL(munmap((void *)(1ul << 47), 4096));
    char *reserved = mmap(NULL, 6ul << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    IS(reserved != MAP_FAILED);
    CALL(mprotect(reserved + (3ul << 30), 4096, RW));
    reserved[3ul << 30] = 8;
    NUMBER(reserved[3ul << 30]);
    CALL(munmap(reserved, 6ul << 30));
    for (int turn = 0; turn < 2000; turn++) {
        char *page = mmap(NULL, 65536, RW, ANON, -1, 0);
        if (page == MAP_FAILED || page[65535] != 0)
            return 1;
        page[65535] = 1;
        munmap(page, 65536);
    }
    char *many[500];
    for (int turn = 0; turn < 500; turn++)
        many[turn] = mmap(NULL, 4096, turn % 2 ? RW : PROT_READ, ANON, -1, 0);
    for (int turn = 1; turn < 500; turn += 2)
        many[turn][0] = (char)turn;
    int right = 0;
    for (int turn = 0; turn < 500; turn++)
        right += many[turn][0] == (turn % 2 ? (char)turn : 0);
    NUMBER(right);
    char *code = mmap(NULL, 4096, RW | PROT_EXEC, ANON, -1, 0);
    memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6);
    NUMBER(((int (*)(void))code)());
    char *shared = mmap(NULL, 8192, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[8191] = 4;
    NUMBER(shared[8191]);
    MAP(mmap(NULL, 4096, RW, ANON | MAP_POPULATE, -1, 0));
    MAP(mmap(NULL, 65536, RW, ANON | MAP_STACK | MAP_GROWSDOWN, -1, 0));
    return 0;
}
