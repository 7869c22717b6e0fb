/* All the ways in which a program ends; the argument chooses. */
#include "check.h"
#include <sys/syscall.h>
#include <sys/time.h>

__attribute__((noinline)) static long fall(long depth)
{
    volatile char frame[500];
    frame[depth % 500] = 1;
    return depth < 0 ? frame[0] : fall(depth + 1) + frame[1];
}

static void bus(void)
{
    int fd = open("empty", O_CREAT | O_RDWR, 0644);
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    exit(page[0]);
}

static void broken_pipe(void)
{
    int ends[2];
    if (pipe(ends) == 0 && close(ends[0]) == 0)
        exit((int)write(ends[1], "x", 1));
}

static void timer(int which)
{
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(which, &soon, NULL);
    for (volatile unsigned long turn = 0;; turn++)
        ;
}

static void fault(const char *how)
{
    volatile int zero = 0;
    char *volatile null = NULL;
    if (strcmp(how, "segv") == 0)
        exit(*null);
    if (strcmp(how, "segv-write") == 0)
        *(volatile char *)"constant" = 1;
    if (strcmp(how, "segv-exec") == 0)
        ((void (*)(void))null)();
    if (strcmp(how, "fpe") == 0)
        exit(7 / zero);
    if (strcmp(how, "ill") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "trap") == 0)
        __asm__ volatile("int3");
    if (strcmp(how, "privileged") == 0)
        __asm__ volatile("cli");
    if (strcmp(how, "noncanonical") == 0)
        exit(*(volatile char *)0x8000000000000000);
    if (strcmp(how, "overflow") == 0)
        exit((int)fall(0));
}

static void sent(const char *how)
{
    static const struct { const char *name; int number; } signals[] = {
        {"term", SIGTERM}, {"kill", SIGKILL}, {"hup", SIGHUP}, {"usr1", SIGUSR1}};
    for (size_t at = 0; at < sizeof signals / sizeof *signals; at++)
        if (strcmp(how, signals[at].name) == 0)
            kill(getpid(), signals[at].number);
}

static void left(const char *how)
{
    if (strcmp(how, "exit-7") == 0)
        exit(7);
    if (strcmp(how, "exit-256") == 0)
        exit(256);
    if (strcmp(how, "quick-exit") == 0)
        quick_exit(8);
    if (strcmp(how, "raw-exit") == 0)
        syscall(SYS_exit, 9);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "bus") == 0)
        bus();
    if (strcmp(how, "pipe") == 0)
        broken_pipe();
    if (strcmp(how, "alarm") == 0)
        timer(ITIMER_REAL);
    if (strcmp(how, "vtalrm") == 0)
        timer(ITIMER_VIRTUAL);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    printf("ends by %s\n", how);
    fflush(stdout);
    printf("this stays in the buffer unless the end is an orderly one\n");
    fault(how);
    sent(how);
    left(how);
    return 100;
}
