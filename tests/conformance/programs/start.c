/* What a program finds when it starts: arguments, environment, auxiliary vector, constructors,
   an aligned stack, its own name. */
#include "check.h"
#include <elf.h>
#include <sys/auxv.h>

static int order[4];
static int constructed;
__attribute__((constructor(201))) static void second(void) { order[constructed++] = 2; }
__attribute__((constructor(200))) static void first(void) { order[constructed++] = 1; }
__attribute__((destructor)) static void last(void) { puts("destroyed"); }
static void at_exit(void) { puts("at exit"); }

static const int constant = 5;
static int initialised = 6;
static int zero[10000];

static void auxiliary_vector(void)
{
    NUMBER(getauxval(AT_PAGESZ));
    NUMBER(getauxval(AT_CLKTCK));
    NUMBER(getauxval(AT_PHENT));
    IS(getauxval(AT_PHNUM) > 3);
    IS(getauxval(AT_PHDR) != 0);
    IS(getauxval(AT_ENTRY) != 0);
    IS(getauxval(AT_RANDOM) != 0);
    IS(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid());
    IS(getauxval(AT_GID) == getgid() && getauxval(AT_EGID) == getegid());
    NUMBER(getauxval(AT_SECURE));
    TEXT((const char *)getauxval(AT_PLATFORM));
    const char *executed = (const char *)getauxval(AT_EXECFN);
    IS(executed != NULL && executed[0] == '/');
    const uint64_t *random = (const uint64_t *)getauxval(AT_RANDOM);
    IS(random[0] != 0 && random[1] != 0 && random[0] != random[1]);
}

int main(int argc, char **argv)
{
    atexit(at_exit);
    NUMBER(argc);
    IS(argv[argc] == NULL);
    IS(argv[0][0] == '/');
    TEXT(getenv("TZ"));
    TEXT(getenv("LANG"));
    NUMBER(order[0] * 10 + order[1]);
    NUMBER(constant + initialised);
    long sum = 0;
    for (int at = 0; at < 10000; at++)
        sum += zero[at];
    NUMBER(sum);
    auxiliary_vector();
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0);
    NUMBER(stack % 16);
    void *small = malloc(10), *large = malloc(1 << 22);
    IS(small != NULL && large != NULL);
    IS((uintptr_t)small % 16 == 0 && (uintptr_t)large % 16 == 0);
    free(large);
    free(small);
    CALL(fcntl(0, F_GETFD));
    CALL(fcntl(1, F_GETFD));
    CALL(fcntl(2, F_GETFD));
    CALL(fcntl(3, F_GETFD));
    char link[4096];
    long length = readlink("/proc/self/exe", link, sizeof link - 1);
    IS(length > 0);
    link[length > 0 ? length : 0] = 0;
    IS(strcmp(link, argv[0]) == 0);
    TEXT(strrchr(link, '/') ? "has a folder" : "has none");
    return 0;
}
