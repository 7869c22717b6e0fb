/* epoll: level, edge, once, nested, changed, closed; from several threads. */
#include "check.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int list;

static void show(int timeout)
{
    struct epoll_event events[8];
    int count = epoll_wait(list, events, 8, timeout);
    printf("%d:", count);
    for (int number = 0; number < count; number++)
        printf(" %x/%llu", events[number].events, (unsigned long long)events[number].data.u64);
    printf("\n");
}

static void set(int op, int fd, unsigned events, uint64_t data)
{
    struct epoll_event event = {events, {.u64 = data}};
    CALL(epoll_ctl(list, op, fd, &event));
}

static void *wake(void *fd)
{
    usleep(20000);
    write((int)(long)fd, "x", 1);
    return NULL;
}

static int counted;

static void *take(void *unused)
{
    struct epoll_event event;
    char byte;
    while (epoll_wait(list, &event, 1, 300) == 1)
        if (read(event.data.fd, &byte, 1) == 1)
            __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int ends[2], pair[2];
    char bytes[100];
    pipe2(ends, O_NONBLOCK);
    list = epoll_create1(EPOLL_CLOEXEC);
    set(EPOLL_CTL_ADD, ends[0], EPOLLIN, 1);
    set(EPOLL_CTL_ADD, ends[0], EPOLLIN, 1);
    set(EPOLL_CTL_ADD, ends[1], EPOLLOUT, 2);
    show(0);
    set(EPOLL_CTL_DEL, ends[1], 0, 0);
    set(EPOLL_CTL_DEL, ends[1], 0, 0);
    show(0);
    write(ends[1], "abc", 3);
    show(-1);
    show(0);
    set(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET, 3);
    show(0);
    show(0);
    write(ends[1], "d", 1);
    show(0);
    read(ends[0], bytes, 2);
    show(0);
    set(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT, 4);
    show(0);
    show(0);
    write(ends[1], "e", 1);
    show(0);
    set(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT, 5);
    show(0);
    /* Nested: the list is ready when a file of it is. */
    int outer = epoll_create1(0), inner = list;
    set(EPOLL_CTL_MOD, ends[0], EPOLLIN, 6);
    list = outer;
    set(EPOLL_CTL_ADD, inner, EPOLLIN, 7);
    show(0);
    read(ends[0], bytes, 100);
    show(0);
    set(EPOLL_CTL_ADD, outer, EPOLLIN, 8);
    list = inner;
    /* A file that is closed is forgotten; one that has another descriptor is not. */
    int copy = dup(ends[0]);
    close(ends[0]);
    write(ends[1], "f", 1);
    show(0);
    close(copy);
    show(0);
    CALL(write(ends[1], "f", 1) < 0 && errno == EPIPE ? 0 : 1);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    set(EPOLL_CTL_ADD, pair[0], EPOLLIN | EPOLLRDHUP, 9);
    show(0);
    shutdown(pair[1], SHUT_WR);
    show(0);
    close(pair[1]);
    show(0);
    close(pair[0]);
    int counter = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    set(EPOLL_CTL_ADD, counter, EPOLLIN, 10);
    set(EPOLL_CTL_ADD, timer, EPOLLIN, 11);
    struct itimerspec soon = {{0, 0}, {0, 10000000}};
    timerfd_settime(timer, 0, &soon, NULL);
    show(-1);
    read(timer, bytes, 8);
    eventfd_write(counter, 5);
    show(-1);
    set(EPOLL_CTL_DEL, timer, 0, 0);
    set(EPOLL_CTL_DEL, counter, 0, 0);
    CALL(epoll_wait(list, NULL, 0, 0));
    CALL(epoll_ctl(list, EPOLL_CTL_ADD, list, (struct epoll_event[]){{1}}));
    CALL(epoll_ctl(counter, EPOLL_CTL_ADD, list, (struct epoll_event[]){{1}}));
    CALL(epoll_ctl(list, EPOLL_CTL_ADD, open("/etc/passwd", O_RDONLY), (struct epoll_event[]){{1}}));
    /* Waking one who waits, from another thread. */
    pthread_t threads[4];
    pipe2(ends, O_NONBLOCK);
    set(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLEXCLUSIVE, ends[0]);
    pthread_create(&threads[0], NULL, wake, (void *)(long)ends[1]);
    show(-1);
    pthread_join(threads[0], NULL);
    read(ends[0], bytes, 100);
    for (int number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, take, NULL);
    for (int number = 0; number < 500; number++)
        write(ends[1], "y", 1);
    for (int number = 0; number < 4; number++)
        pthread_join(threads[number], NULL);
    NUMBER(counted);
    return 0;
}
