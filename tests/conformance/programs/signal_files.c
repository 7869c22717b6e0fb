/* signalfd: reading, masks, readiness, from another thread. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

static short ready(int fd)
{
    struct pollfd wanted = {fd, POLLIN};
    poll(&wanted, 1, 0);
    return wanted.revents;
}

static void take(int fd)
{
    struct signalfd_siginfo info[3];
    memset(info, 0, sizeof info);
    CALL(read(fd, info, sizeof info));
    for (int number = 0; number < 3 && info[number].ssi_signo; number++)
        printf("%u %d %d %d %llx\n", info[number].ssi_signo, info[number].ssi_code,
               info[number].ssi_pid == getpid(), info[number].ssi_int,
               (unsigned long long)info[number].ssi_ptr & 0xffffffff);
}

static void *send(void *unused)
{
    usleep(20000);
    kill(getpid(), SIGUSR1);
    return NULL;
}

int main(void)
{
    sigset_t set, more;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    more = set;
    sigaddset(&more, SIGUSR2);
    sigaddset(&more, SIGKILL);
    sigprocmask(SIG_BLOCK, &more, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    IS(fd >= 0);
    CALL(fcntl(fd, F_GETFL));
    take(fd);
    NUMBER(ready(fd));
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    union sigval value = {.sival_int = 42};
    sigqueue(getpid(), SIGRTMIN, value);
    NUMBER(ready(fd));
    char small[100];
    CALL(read(fd, small, sizeof small));
    take(fd);
    take(fd);
    NUMBER(ready(fd));
    CALL(signalfd(fd, &more, 0) == fd ? 0 : -1);
    NUMBER(ready(fd));
    take(fd);
    CALL(signalfd(0, &more, 0));
    CALL(signalfd(-1, &more, 7));
    CALL(write(fd, small, 8));
    int blocking = signalfd(-1, &set, 0), list = epoll_create1(0);
    pthread_t thread;
    pthread_create(&thread, NULL, send, NULL);
    take(blocking);
    pthread_join(thread, NULL);
    struct epoll_event event = {EPOLLIN, {.u64 = 5}};
    epoll_ctl(list, EPOLL_CTL_ADD, blocking, &event);
    pthread_create(&thread, NULL, send, NULL);
    CALL(epoll_wait(list, &event, 1, -1));
    pthread_join(thread, NULL);
    take(blocking);
    return 0;
}
