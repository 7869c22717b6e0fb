/* RLIMIT_FSIZE: what a file may not become, and SIGXFSZ. */
#include "check.h"
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static volatile int heard;

static void hear(int number)
{
    heard += number;
}

int main(void)
{
    static char bytes[10000];
    struct rlimit limit, before;
    struct stat about;
    struct iovec pieces[2] = {{bytes, 3000}, {bytes, 3000}};
    int fd = make_file("file", 0), long_fd = make_file("long", 9000), copy = make_file("copy", 0);
    CALL(getrlimit(RLIMIT_FSIZE, &before));
    limit = before;
    limit.rlim_cur = 5000;
    CALL(setrlimit(RLIMIT_FSIZE, &limit));
    signal(SIGXFSZ, hear);
    CALL(write(fd, bytes, 3000));
    CALL(write(fd, bytes, 3000));
    NUMBER(heard);
    CALL(write(fd, bytes, 1));
    CALL(write(fd, bytes, 0));
    NUMBER(heard);
    CALL(pwrite(fd, bytes, 10000, 100));
    CALL(pwrite(fd, bytes, 10, 5000));
    CALL(pwritev(fd, pieces, 2, 1000));
    CALL(lseek(fd, 0, SEEK_SET));
    CALL(writev(fd, pieces, 2));
    CALL(ftruncate(fd, 5000));
    CALL(ftruncate(fd, 5001));
    CALL(truncate("file", 6000));
    CALL(fallocate(fd, 0, 0, 5001));
    NUMBER(heard);
    /* What is long already may be changed below the limit, and become shorter. */
    CALL(pwrite(long_fd, bytes, 10, 10));
    CALL(pwrite(long_fd, bytes, 10, 6000));
    CALL(ftruncate(long_fd, 4000));
    int appending = open("long", O_WRONLY | O_APPEND);
    CALL(write(appending, bytes, 3000));
    CALL(write(appending, bytes, 3000));
    CALL(fstat(appending, &about));
    NUMBER(about.st_size);
    CALL(lseek(long_fd, 0, SEEK_SET));
    CALL(sendfile(copy, long_fd, NULL, 10000));
    NUMBER(heard);
    /* Pipes have no length. */
    int ends[2];
    CALL(pipe(ends));
    CALL(write(ends[1], bytes, 6000));
    signal(SIGXFSZ, SIG_IGN);
    CALL(pwrite(fd, bytes, 10, 9000));
    CALL(setrlimit(RLIMIT_FSIZE, &before));
    CALL(pwrite(fd, bytes, 10, 9000));
    return 0;
}
