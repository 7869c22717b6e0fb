/* A descriptor of the process itself. */
#include "check.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long pidfd_open(int pid, unsigned flags)
{
    return syscall(SYS_pidfd_open, pid, flags);
}

static long pidfd_send_signal(int fd, int number, siginfo_t *info, unsigned flags)
{
    return syscall(SYS_pidfd_send_signal, fd, number, info, flags);
}

static long pidfd_getfd(int fd, int of, unsigned flags)
{
    return syscall(SYS_pidfd_getfd, fd, of, flags);
}

static void on_signal(int number, siginfo_t *info, void *unused)
{
    printf("signal %d, code %d, value %d, from %s\n", number, info->si_code,
           info->si_code == SI_QUEUE ? info->si_value.sival_int : 0, info->si_pid == getpid() ? "us" : "?");
}

int main(void)
{
    CALL(pidfd_open(0, 0));
    CALL(pidfd_open(-1, 0));
    CALL(pidfd_open(99999999, 0));
    CALL(pidfd_open(getpid(), 1));
    int fd = pidfd_open(getpid(), 0), other = pidfd_open(getpid(), O_NONBLOCK), file = open("/dev/null", O_RDWR);
    IS(fd >= 0);
    CALL(fcntl(fd, F_GETFD));
    IS(fcntl(fd, F_GETFL) == O_RDWR);
    IS(fcntl(other, F_GETFL) == (O_RDWR | O_NONBLOCK));
    struct pollfd waits = {fd, POLLIN};
    CALL(poll(&waits, 1, 10));
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN};
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_wait(epoll, &event, 1, 10));
    char byte;
    CALL(read(fd, &byte, 1));
    CALL(write(fd, &byte, 1));
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    CALL(pidfd_send_signal(fd, SIGUSR1, NULL, 0));
    siginfo_t info = {0};
    info.si_signo = SIGUSR1;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_value.sival_int = 42;
    CALL(pidfd_send_signal(fd, SIGUSR1, &info, 0));
    CALL(pidfd_send_signal(fd, SIGUSR2, &info, 0));
    CALL(pidfd_send_signal(fd, 0, NULL, 0));
    CALL(pidfd_send_signal(fd, 99, NULL, 0));
    CALL(pidfd_send_signal(fd, SIGUSR1, NULL, 256));
    CALL(pidfd_send_signal(file, SIGUSR1, NULL, 0));
    CALL(pidfd_send_signal(999, SIGUSR1, NULL, 0));
    int directory = open("/proc/self", O_DIRECTORY);
    CALL(pidfd_send_signal(directory, SIGUSR1, NULL, 0));
    CALL(pidfd_getfd(directory, file, 0));
    CALL(waitid(P_PIDFD, fd, &info, WEXITED));
    CALL(waitid(P_PIDFD, file, &info, WEXITED));
    CALL(waitid(P_PIDFD, 999, &info, WEXITED));
    CALL(waitid(P_PIDFD, fd, &info, 0));
    CALL(waitid(P_ALL, 0, &info, WEXITED | WNOHANG));
    CALL(waitid(P_PID, 0, &info, WEXITED));
    CALL(waitid(77, 0, &info, WEXITED));
    CALL(wait4(-1, NULL, 0x100, NULL));
    int same = pidfd_getfd(fd, file, 0);
    IS(same >= 0);
    CALL(fcntl(same, F_GETFD));
    struct stat one, two;
    fstat(same, &one);
    fstat(file, &two);
    IS(one.st_rdev == two.st_rdev);
    CALL(pidfd_getfd(fd, 999, 0));
    CALL(pidfd_getfd(file, file, 0));
    CALL(pidfd_getfd(fd, file, 1));
    return 0;
}
