/* Protection: faults where they belong, splits and merges, code that is written and then run. */
#include "check.h"
#include <setjmp.h>

static sigjmp_buf back;
static volatile uintptr_t where;
static void fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    where = (uintptr_t)info->si_addr;
    siglongjmp(back, number);
}

static int reads(volatile char *place)
{
    return sigsetjmp(back, 1) == 0 ? (void)*place, 1 : 0;
}

static int writes(volatile char *place)
{
    if (sigsetjmp(back, 1) != 0)
        return 0;
    *place = *place;
    return 1;
}

static int runs(char *place)
{
    return sigsetjmp(back, 1) == 0 ? ((int (*)(void))place)() : 0;
}

#define STATE(page) printf("%s: %d%d\n", #page, reads(page), writes(page))

int main(void)
{
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    const int rw = PROT_READ | PROT_WRITE;
    char *pages = mmap(NULL, 8 * 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 0xc3, 8 * 4096);
    CALL(mprotect(pages + 4096, 4096, PROT_READ));
    CALL(mprotect(pages + 3 * 4096, 8192, PROT_NONE));
    STATE(pages);
    STATE(pages + 4096);
    STATE(pages + 2 * 4096);
    STATE(pages + 3 * 4096);
    IS(where == (uintptr_t)(pages + 3 * 4096));
    STATE(pages + 5 * 4096);
    CALL(mprotect(pages, 8 * 4096, rw));
    STATE(pages + 3 * 4096 + 7);
    IS((unsigned char)pages[4 * 4096] == 0xc3);
    CALL(mprotect(pages + 1, 4096, rw));
    CALL(mprotect(pages, 4096, 0x1000000));
    CALL(mprotect(pages, 0, rw));
    CALL(munmap(pages + 4096, 4096));
    CALL(mprotect(pages, 3 * 4096, PROT_READ));
    STATE(pages);
    memcpy(pages + 5 * 4096, "\xb8\x07\x00\x00\x00\xc3", 6);
    NUMBER(runs(pages + 5 * 4096));
    CALL(mprotect(pages + 5 * 4096, 4096, PROT_READ | PROT_EXEC));
    NUMBER(runs(pages + 5 * 4096));
    CALL(mprotect(pages + 5 * 4096, 4096, rw));
    pages[5 * 4096 + 1] = 9;
    NUMBER(runs(pages + 5 * 4096));
    CALL(mprotect(pages + 5 * 4096, 4096, rw | PROT_EXEC));
    for (int turn = 1; turn < 5; turn++) {
        pages[5 * 4096 + 1] = (char)turn;
        NUMBER(runs(pages + 5 * 4096));
    }
    volatile int faults = 0;
    for (volatile int turn = 0; turn < 300; turn++) {
        mprotect(pages + 6 * 4096, 4096, PROT_NONE);
        faults += !writes(pages + 6 * 4096);
        mprotect(pages + 6 * 4096, 4096, rw);
        faults += !writes(pages + 6 * 4096);
    }
    NUMBER(faults);
    STATE((char *)"constant" + 0);
    return 0;
}
