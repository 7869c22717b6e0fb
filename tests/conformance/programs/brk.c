/* The program break. */
#include "check.h"
#include <sys/syscall.h>

int main(void)
{
    /* The library's own buffer would lie where the break moves. */
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    char *start = (char *)syscall(SYS_brk, 0);
    IS(start != NULL);
    IS((char *)syscall(SYS_brk, start) == start);
    IS((char *)syscall(SYS_brk, start + 100000) == start + 100000);
    long sum = 0;
    for (int at = 0; at < 100000; at++)
        sum += start[at];
    NUMBER(sum);
    memset(start, 7, 100000);
    IS((char *)syscall(SYS_brk, start + 8192) == start + 8192);
    IS(start[0] == 7 && start[8191] == 7);
    IS((char *)syscall(SYS_brk, start + 100000) == start + 100000);
    IS(start[50000] == 0);
    IS(start[8191] == 7);
    IS((char *)syscall(SYS_brk, (char *)0x1000) == start + 100000);
    IS((char *)syscall(SYS_brk, (char *)-4096) == start + 100000);
    IS((char *)syscall(SYS_brk, start + 50000000) == start + 50000000);
    start[49999999] = 1;
    IS(start[49999998] == 0);
    IS((char *)syscall(SYS_brk, start) == start);
    IS(sbrk(0) != NULL);
    return 0;
}
