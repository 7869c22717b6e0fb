/* Waiting for descriptors: poll, select, epoll, eventfd, timerfd. */
#include "check.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>
#include <time.h>

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000ll + time.tv_nsec / 1000000;
}

static void polling(int reader, int writer)
{
    struct pollfd both[3] = {{reader, POLLIN, 0}, {writer, POLLOUT, 0}, {99, POLLIN, 0}};
    char byte;
    CALL(poll(both, 2, 0));
    NUMBER(both[0].revents * 100 + both[1].revents);
    CALL(poll(both, 3, 0));
    NUMBER(both[2].revents);
    CALL(write(writer, "x", 1));
    CALL(poll(both, 1, -1));
    NUMBER(both[0].revents);
    CALL(read(reader, &byte, 1));
    int64_t before = now();
    CALL(poll(both, 1, 30));
    IS(now() - before >= 29);
    CALL(poll(NULL, 0, 5));
    both[0].fd = -5;
    CALL(poll(both, 1, 0));
    NUMBER(both[0].revents);
    struct pollfd file = {open(".", O_RDONLY), POLLIN, 0};
    CALL(poll(&file, 1, 0));
}

static void selecting(int reader, int writer)
{
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(reader, &in);
    FD_SET(writer, &out);
    struct timeval none = {0, 0}, soon = {0, 20000};
    CALL(select(writer + 1, &in, &out, NULL, &none));
    NUMBER(FD_ISSET(reader, &in) != 0);
    NUMBER(FD_ISSET(writer, &out) != 0);
    FD_ZERO(&in);
    FD_SET(reader, &in);
    int64_t before = now();
    CALL(select(reader + 1, &in, NULL, NULL, &soon));
    IS(now() - before >= 19);
    FD_ZERO(&in);
    FD_SET(60, &in);
    CALL(select(100, &in, NULL, NULL, &none));
    /* Beyond the table's room, which depends on what the parent had open once: 1024 is enough. */
    FD_ZERO(&in);
    FD_SET(FD_SETSIZE - 1, &in);
    CALL(select(FD_SETSIZE, &in, NULL, NULL, &none));
    CALL(select(-1, NULL, NULL, NULL, &none));
}

static void events(int reader, int writer)
{
    int all = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event want = {.events = EPOLLIN, .data.u64 = 77}, got[4];
    CALL(epoll_ctl(all, EPOLL_CTL_ADD, reader, &want));
    CALL(epoll_ctl(all, EPOLL_CTL_ADD, reader, &want));
    CALL(epoll_wait(all, got, 4, 0));
    CALL(write(writer, "y", 1));
    CALL(epoll_wait(all, got, 4, 100));
    NUMBER(got[0].data.u64 + got[0].events);
    CALL(epoll_wait(all, got, 4, 0));
    want.events = EPOLLIN | EPOLLET;
    CALL(epoll_ctl(all, EPOLL_CTL_MOD, reader, &want));
    CALL(epoll_wait(all, got, 4, 0));
    CALL(epoll_wait(all, got, 4, 0));
    want.events = EPOLLIN | EPOLLONESHOT;
    CALL(epoll_ctl(all, EPOLL_CTL_MOD, reader, &want));
    CALL(epoll_wait(all, got, 4, 0));
    CALL(epoll_wait(all, got, 4, 0));
    CALL(epoll_ctl(all, EPOLL_CTL_DEL, reader, NULL));
    CALL(epoll_ctl(all, EPOLL_CTL_DEL, reader, NULL));
    int file = open("/proc/self/exe", O_RDONLY);
    CALL(epoll_ctl(all, EPOLL_CTL_ADD, file, &want));
    CALL(epoll_wait(all, got, 0, 0));
}

static void counters(void)
{
    uint64_t value = 5;
    int counter = eventfd(3, EFD_NONBLOCK);
    CALL(write(counter, &value, 8));
    CALL(read(counter, &value, 8));
    NUMBER(value);
    CALL(read(counter, &value, 8));
    CALL(read(counter, &value, 4));
    int semaphore = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CALL(read(semaphore, &value, 8));
    NUMBER(value);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{0, 5000000}, {0, 5000000}};
    CALL(timerfd_settime(timer, 0, &every, NULL));
    CALL(read(timer, &value, 8));
    struct pollfd wait = {timer, POLLIN, 0};
    CALL(poll(&wait, 1, 1000));
    CALL(read(timer, &value, 8));
    IS(value >= 1 && value < 100);
}

int main(void)
{
    int ends[2];
    CALL(pipe(ends));
    polling(ends[0], ends[1]);
    selecting(ends[0], ends[1]);
    events(ends[0], ends[1]);
    counters();
    CALL(close(ends[1]));
    struct pollfd closed = {ends[0], POLLIN, 0};
    char byte;
    CALL(read(ends[0], &byte, 1));
    CALL(poll(&closed, 1, -1));
    NUMBER(closed.revents);
    return 0;
}
