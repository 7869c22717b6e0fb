/* What stat says about all kinds of files. */
#include "check.h"
#include <sys/sysmacros.h>

static void show(const char *name)
{
    struct stat about;
    if (lstat(name, &about) != 0) {
        printf("%s: %s\n", name, strerrorname_np(errno));
        return;
    }
    printf("%s: mode %o, size %lld\n", name, about.st_mode,
           S_ISREG(about.st_mode) || S_ISLNK(about.st_mode) ? (long long)about.st_size : 0);
}

int main(void)
{
    struct stat one, two;
    close(make_file("file", 777));
    CALL(mkdir("folder", 01755));
    CALL(symlink("file", "link"));
    CALL(mkfifo("pipe", 0640));
    show("file");
    show("folder");
    show("link");
    show("pipe");
    show("none");
    show("/");
    show("/etc/passwd");
    show("/usr/bin/env");
    show("/dev/null");
    show("/dev/zero");
    show("/dev/full");
    show("/dev/urandom");
    CALL(stat("/dev/null", &one));
    NUMBER(major(one.st_rdev) * 1000 + minor(one.st_rdev));
    CALL(stat("file", &one));
    CALL(stat("link", &two));
    IS(one.st_ino == two.st_ino && one.st_dev == two.st_dev);
    IS(one.st_uid == getuid() && one.st_gid == getgid());
    NUMBER(one.st_nlink);
    IS(one.st_blksize >= 512);
    CALL(lstat("link", &two));
    IS(one.st_ino != two.st_ino);
    CALL(stat(".", &one));
    CALL(stat("folder/..", &two));
    IS(one.st_ino == two.st_ino);
    CALL(stat("/", &one));
    CALL(stat("/..", &two));
    IS(one.st_ino == two.st_ino && one.st_dev == two.st_dev);
    int ends[2];
    CALL(pipe(ends));
    CALL(fstat(ends[0], &one));
    NUMBER(one.st_mode);
    CALL(fstat(99, &one));
    CALL(stat("file", (struct stat *)1));
    CALL(stat((char *)1, &one));
    CALL(stat("file/below", &one));
    CALL(chmod("folder", 0700));
    show("folder");
    CALL(chown("file", getuid(), getgid()));
    CALL(chown("none", 0, 0));
    CALL(fchmod(ends[0], 0600));
    int fd = open("file", O_RDONLY);
    CALL(fchmod(fd, 0604));
    show("file");
    return 0;
}
