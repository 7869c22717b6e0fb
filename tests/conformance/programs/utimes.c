/* Time stamps: set, read back, moved by writing. */
#include "check.h"
#include <sys/time.h>
#include <time.h>

static void show(const char *name)
{
    struct stat about;
    if (lstat(name, &about) == 0)
        printf("%s: read %lld.%09ld, written %lld.%09ld\n", name, (long long)about.st_atim.tv_sec,
               about.st_atim.tv_nsec, (long long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
}

int main(void)
{
    struct timespec both[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    struct stat about;
    int fd = make_file("file", 10);
    CALL(utimensat(AT_FDCWD, "file", both, 0));
    show("file");
    both[0].tv_nsec = UTIME_OMIT;
    both[1].tv_sec = 5;
    CALL(utimensat(AT_FDCWD, "file", both, 0));
    show("file");
    both[1].tv_nsec = 1000000000;
    CALL(utimensat(AT_FDCWD, "file", both, 0));
    both[0].tv_nsec = both[1].tv_nsec = 7;
    CALL(futimens(fd, both));
    show("file");
    CALL(symlink("file", "link"));
    both[0].tv_sec = both[1].tv_sec = 99;
    CALL(utimensat(AT_FDCWD, "link", both, AT_SYMLINK_NOFOLLOW));
    show("link");
    show("file");
    CALL(utimensat(AT_FDCWD, "none", both, 0));
    both[1].tv_nsec = UTIME_NOW;
    both[0].tv_nsec = UTIME_OMIT;
    CALL(futimens(fd, both));
    CALL(fstat(fd, &about));
    IS(about.st_mtim.tv_sec > 1700000000);
    struct timeval old[2] = {{10, 20}, {30, 40}};
    CALL(utimes("file", old));
    show("file");
    CALL(write(fd, "x", 1));
    CALL(fstat(fd, &about));
    IS(about.st_mtim.tv_sec > 1700000000);
    IS(about.st_ctim.tv_sec > 1700000000);
    CALL(utimensat(AT_FDCWD, "file", NULL, 0));
    CALL(utimes("file", old));
    return 0;
}
