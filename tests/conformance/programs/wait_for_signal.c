/* Says that it is ready and waits; with "handle", SIGINT and SIGTERM end it with 40 + number. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void handler(int number) { _exit(40 + number); }

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "handle") == 0) {
        signal(SIGINT, handler);
        signal(SIGTERM, handler);
    }
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
