// A small server with one of several manners: peer MANNER PORT.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { POURED = 64 << 20, PART = 1 << 16 };

static void check(long result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(9);
    }
}

// For IPv6 and IPv4.
static int open_socket(int type, int port) {
    int fd = socket(AF_INET6, type, 0), on = 1;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    check(fd, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(fd, (void *)&address, sizeof address), "bind");
    if (type == SOCK_STREAM)
        check(listen(fd, 4096), "listen");
    return fd;
}

// Writes everything, waiting if it must; whether the other side took it.
static int write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, -1);
            continue;
        }
        if (count <= 0)
            return 0;
        bytes += count, length -= count;
    }
    return 1;
}

// Sends back what comes, on any number of connections.
static void echo(int listener) {
    static char part[PART];
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};
    int epoll = epoll_create1(0);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int at = 0; at < count; at++) {
            int fd = events[at].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    struct epoll_event one = {.events = EPOLLIN, .data.fd = fd};
                    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &one), "epoll_ctl");
                }
                if (errno != EAGAIN && errno != ECONNABORTED)
                    check(-1, "accept4");
                continue;
            }
            ssize_t length = recv(fd, part, sizeof part, 0);
            if (length < 0 && errno == EAGAIN)
                continue;
            if (length <= 0 || !write_all(fd, part, length))
                close(fd);
        }
    }
}

// Sends bytes that depend on their place, whether anybody reads or not.
static void *pour(void *argument) {
    int fd = (intptr_t)argument;
    char *part = malloc(PART);
    for (uint32_t sent = 0; sent < POURED; sent += PART) {
        for (uint32_t at = sent; at < sent + PART; at++)
            part[at % PART] = at ^ at >> 8 ^ at >> 16;
        if (!write_all(fd, part, PART))
            break;
    }
    free(part);
    close(fd);
    return NULL;
}

// Seconds before the first byte is read.
static int pause_first;

// Reads everything, in the end; says how much it was, and its hash.
static void *gather(void *argument) {
    int fd = (intptr_t)argument;
    unsigned char *part = malloc(PART);
    uint64_t sum = 0, hash = 0xcbf29ce484222325;
    ssize_t count;
    sleep(pause_first);
    while ((count = recv(fd, part, PART, 0)) > 0) {
        for (ssize_t at = 0; at < count; at++)
            hash = (hash ^ part[at]) * 0x100000001b3;
        sum += count;
    }
    char said[64];
    int length = snprintf(said, sizeof said, "%lu %016lx\n", sum, hash);
    if (count == 0)
        write_all(fd, said, length);
    free(part);
    close(fd);
    return NULL;
}

// Says how much came before, has nothing more to say, and reads to the end.
static void *listen_on(void *argument) {
    static char part[PART];
    static uint64_t sum;
    int fd = (intptr_t)argument;
    char said[64];
    ssize_t count;
    write_all(fd, said, snprintf(said, sizeof said, "%lu\n", sum));
    shutdown(fd, SHUT_WR);
    while ((count = recv(fd, part, sizeof part, 0)) > 0)
        sum += count;
    close(fd);
    return NULL;
}

static void accept_all(int listener, void *(*serve)(void *), int alone) {
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        check(fd, "accept");
        pthread_t thread;
        if (alone) {
            serve((void *)(intptr_t)fd);
        } else {
            check(-pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd), "thread");
            pthread_detach(thread);
        }
    }
}

static void datagrams(int fd) {
    static char part[PART];
    for (;;) {
        struct sockaddr_in6 from;
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(fd, part, sizeof part, 0, (void *)&from, &size);
        check(length, "recvfrom");
        check(sendto(fd, part, length, 0, (void *)&from, size), "sendto");
    }
}

int main(int count, char **words) {
    const char *manner = count == 3 ? words[1] : "";
    int port = count == 3 ? atoi(words[2]) : 0;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (!strcmp(manner, "echo"))
        echo(open_socket(SOCK_STREAM, port));
    if (!strcmp(manner, "pour"))
        accept_all(open_socket(SOCK_STREAM, port), pour, 0);
    pause_first = strcmp(manner, "gather-late") ? 0 : 3;
    if (!strncmp(manner, "gather", 6))
        accept_all(open_socket(SOCK_STREAM, port), gather, 0);
    if (!strcmp(manner, "listen"))
        accept_all(open_socket(SOCK_STREAM, port), listen_on, 1);
    if (!strcmp(manner, "datagrams"))
        datagrams(open_socket(SOCK_DGRAM, port));
    return 8;
}
