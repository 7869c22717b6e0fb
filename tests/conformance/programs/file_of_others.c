/* Files that others change or that are many: `cut FILE` maps a file, waits for a line, by when it is
   cut, and uses what is gone; `many FOLDER COUNT` maps the files 0 to COUNT - 1 all at once and looks
   at byte 70000 of each, which says which it is. */
#include "check.h"
#include <setjmp.h>

#define LENGTH 81920

static sigjmp_buf back;
static void fault(int number) { siglongjmp(back, number); }

static int cut(const char *name)
{
    int fd = open(name, O_RDONLY), ends[2];
    volatile char *map = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, fd, 0);
    volatile char *own = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    own[100] = 'o';
    char line[8];
    pipe(ends);
    NUMBER(map[70000]);
    printf("mapped\n");
    fflush(stdout);
    read(0, line, sizeof line);
    signal(SIGBUS, fault);
    int got = sigsetjmp(back, 1);
    if (got == 0)
        got = 1000 + map[70000];
    NUMBER(got);
    CALL(write(ends[1], (char *)map + 70000, 100));
    CALL(write(ends[1], (char *)map, 4096));
    NUMBER(own[100]);
    NUMBER(map[100]);
    return 0;
}

static int many(const char *folder, int count)
{
    int wrong = 0;
    for (int round = 0; round < 2; round++)
        for (int number = 0; number < count; number++) {
            char name[4096];
            snprintf(name, sizeof name, "%s/%d", folder, number);
            int fd = open(name, O_RDONLY);
            const unsigned char *map = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, fd, 0);
            close(fd);
            if (map == MAP_FAILED || map[70000] != number % 251 || map[70001] != number / 251)
                wrong++;
            if (round == 1 && map != MAP_FAILED)
                munmap((void *)map, LENGTH);
        }
    NUMBER(wrong);
    return 0;
}

int main(int count, char **arguments)
{
    return strcmp(arguments[1], "cut") == 0 ? cut(arguments[2]) : many(arguments[2], atoi(arguments[3]));
}
