/* Descriptors: dup and its kin, flags, locks, limits. */
#include "check.h"
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

static void duplicates(int fd)
{
    char byte;
    int second = dup(fd);
    NUMBER(second);
    CALL(lseek(fd, 10, SEEK_SET));
    CALL(lseek(second, 0, SEEK_CUR));
    CALL(read(second, &byte, 1));
    CALL(lseek(fd, 0, SEEK_CUR));
    CALL(dup2(fd, 50));
    CALL(dup2(fd, fd));
    CALL(dup2(99, 50));
    CALL(dup2(fd, -1));
    CALL(dup3(fd, 51, O_CLOEXEC));
    CALL(dup3(fd, fd, 0));
    CALL(dup3(fd, 52, 12345));
    CALL(fcntl(51, F_GETFD));
    CALL(fcntl(50, F_GETFD));
    CALL(fcntl(fd, F_DUPFD, 60));
    CALL(fcntl(fd, F_DUPFD_CLOEXEC, 60));
    CALL(fcntl(61, F_GETFD));
    CALL(fcntl(fd, F_DUPFD, -1));
    CALL(fcntl(99, F_DUPFD, 0));
    CALL(close(50));
    CALL(close(50));
    CALL(dup(99));
    CALL(close_range(51, 61, 0));
    CALL(fcntl(60, F_GETFD));
}

static void flags(int fd)
{
    CALL(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    CALL(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    CALL(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    CALL(lseek(fd, 0, SEEK_SET));
    CALL(write(fd, "x", 1));
    CALL(lseek(fd, 0, SEEK_CUR));
    CALL(fcntl(fd, F_SETFD, FD_CLOEXEC));
    CALL(fcntl(fd, F_GETFD));
    CALL(fcntl(fd, 9999));
    CALL(fcntl(99, F_GETFL));
    int on = 1;
    CALL(ioctl(fd, FIOCLEX));
    CALL(ioctl(fd, FIONBIO, &on));
    CALL(ioctl(fd, FIONREAD, &on));
    CALL(ioctl(fd, TIOCGWINSZ, &on));
    CALL(isatty(fd));
}

static void locks(int fd)
{
    int other = open("file", O_RDWR);
    CALL(flock(fd, LOCK_EX | LOCK_NB));
    CALL(flock(other, LOCK_EX | LOCK_NB));
    CALL(flock(fd, LOCK_UN));
    CALL(flock(other, LOCK_SH | LOCK_NB));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
    CALL(fcntl(fd, F_SETLK, &lock));
    CALL(fcntl(other, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    CALL(fcntl(fd, F_GETLK, &lock));
    NUMBER(lock.l_type);
    lock.l_type = F_UNLCK;
    CALL(fcntl(fd, F_SETLK, &lock));
    lock.l_type = 77;
    CALL(fcntl(fd, F_SETLK, &lock));
    CALL(lockf(fd, F_TLOCK, 5));
    CALL(close(other));
}

static void limits(void)
{
    struct rlimit limit;
    CALL(getrlimit(RLIMIT_NOFILE, &limit));
    IS(limit.rlim_cur >= 64);
    limit.rlim_cur = 20;
    CALL(setrlimit(RLIMIT_NOFILE, &limit));
    CALL(dup2(0, 25));
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    NUMBER(last);
    IS(errno == EMFILE);
    CALL(getrlimit(RLIMIT_STACK, &limit));
    IS(limit.rlim_cur >= 1 << 20);
    CALL(getrlimit(999, &limit));
}

int main(void)
{
    int fd = make_file("file", 100);
    NUMBER(fd);
    duplicates(fd);
    flags(fd);
    locks(fd);
    limits();
    return 0;
}
