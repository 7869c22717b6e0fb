// pidfd_open and what is done with its descriptor.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t came, value;

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    came = number;
    value = info->si_code == SI_QUEUE ? info->si_value.sival_int : -1;
}

static int pidfd(int pid, unsigned flags) { return syscall(SYS_pidfd_open, pid, flags); }

static int tell(int fd, int number, siginfo_t *info, unsigned flags) {
    return syscall(SYS_pidfd_send_signal, fd, number, info, flags);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    CALL(pidfd(0, 0));
    CALL(pidfd(-1, 0));
    CALL(pidfd(getpid(), 1));
    CALL(pidfd(4000000, 0));
    int fd = pidfd(getpid(), O_NONBLOCK);
    printf("open %d, close on exec %d, nonblocking %d\n", fd >= 0, fcntl(fd, F_GETFD),
           !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    char byte;
    CALL(read(fd, &byte, 1));
    CALL(write(fd, &byte, 1));
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    CALL(poll(&polled, 1, 10));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_wait(epoll, &event, 1, 10));
    CALL(tell(fd, SIGUSR1, NULL, 0));
    printf("came %d value %d\n", came == SIGUSR1, value);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    info.si_value.sival_int = 77;
    CALL(tell(fd, SIGUSR1, &info, 0));
    printf("value %d\n", value);
    info.si_signo = SIGUSR2;
    CALL(tell(fd, SIGUSR1, &info, 0));
    CALL(tell(fd, 0, NULL, 0));
    CALL(tell(fd, 65, NULL, 0));
    CALL(tell(fd, SIGUSR1, NULL, 1 << 20));
    CALL(tell(epoll, SIGUSR1, NULL, 0));
    CALL(tell(999, SIGUSR1, NULL, 0));
    int directory = open("/proc/self", O_DIRECTORY);
    CALL(tell(directory, SIGUSR1, NULL, 0));
    int pipes[2];
    if (pipe(pipes)) return 1;
    int copy = syscall(SYS_pidfd_getfd, fd, pipes[1], 0);
    printf("copied %d, close on exec %d\n", copy >= 0, fcntl(copy, F_GETFD));
    CALL(write(copy, "x", 1));
    CALL(read(pipes[0], &byte, 1));
    CALL(syscall(SYS_pidfd_getfd, fd, 999, 0));
    CALL(syscall(SYS_pidfd_getfd, fd, pipes[1], 1));
    CALL(syscall(SYS_pidfd_getfd, epoll, pipes[1], 0));
    CALL(waitid(3, fd, &info, WEXITED));
    return 0;
}
