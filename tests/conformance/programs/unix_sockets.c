/* AF_UNIX: streams, datagrams, packets, descriptors, credentials, names, ends. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name_of(const char *path)
{
    struct sockaddr_un name = {AF_UNIX};
    strcpy(name.sun_path, path);
    return name;
}

static short ready(int fd)
{
    struct pollfd wanted = {fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI};
    poll(&wanted, 1, 0);
    return wanted.revents;
}

static long send_fd(int socket, int fd)
{
    char space[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec data = {"f", 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    *control = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(control), &fd, sizeof fd);
    return sendmsg(socket, &message, 0);
}

static int receive_fd(int socket, size_t room, int flags)
{
    char space[64], byte[4];
    struct iovec data = {byte, 4};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = room};
    CALL(recvmsg(socket, &message, flags));
    NUMBER(message.msg_controllen);
    NUMBER(message.msg_flags);
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (control && control->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(control), sizeof fd);
    return fd;
}

static void *serve(void *listener)
{
    char bytes[100];
    for (int count = 0; count < 20; count++) {
        int fd = accept4((int)(long)listener, NULL, NULL, SOCK_CLOEXEC);
        ssize_t length = read(fd, bytes, sizeof bytes);
        write(fd, bytes, length);
        close(fd);
    }
    return NULL;
}

static void *flood(void *fd)
{
    static char bytes[1000000];
    for (size_t at = 0; at < sizeof bytes; at++)
        bytes[at] = (char)(at * 7);
    send((int)(long)fd, bytes, sizeof bytes, 0);
    shutdown((int)(long)fd, SHUT_WR);
    return NULL;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int pair[2], value;
    char bytes[200] = "";
    socklen_t length;
    struct sockaddr_un name, path = name_of("socket");
    pthread_t thread;
    CALL(socket(AF_UNIX, SOCK_STREAM, 7));
    CALL(socket(AF_UNIX, 99, 0));
    CALL(socket(99, SOCK_STREAM, 0));
    CALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    CALL(fcntl(pair[0], F_GETFL));
    CALL(fcntl(pair[0], F_GETFD));
    CALL(read(pair[0], bytes, 10));
    NUMBER(ready(pair[0]));
    CALL(send(pair[0], "hello", 5, 0));
    CALL(write(pair[0], " world", 6));
    CALL(ioctl(pair[1], FIONREAD, &value));
    NUMBER(value);
    CALL(recv(pair[1], bytes, 3, MSG_PEEK));
    CALL(recv(pair[1], bytes, 200, 0));
    TEXT(bytes);
    NUMBER(ready(pair[1]));
    CALL(shutdown(pair[0], SHUT_WR));
    NUMBER(ready(pair[0]));
    NUMBER(ready(pair[1]));
    CALL(write(pair[0], "x", 1));
    CALL(read(pair[1], bytes, 10));
    CALL(write(pair[1], "back", 4));
    CALL(close(pair[1]));
    NUMBER(ready(pair[0]));
    CALL(read(pair[0], bytes, 10));
    CALL(read(pair[0], bytes, 10));
    close(pair[0]);
    /* What nobody read is a reset for the other. */
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    write(pair[0], "unread", 6);
    close(pair[1]);
    CALL(read(pair[0], bytes, 10));
    CALL(read(pair[0], bytes, 10));
    CALL(write(pair[0], "x", 1));
    close(pair[0]);
    /* Datagrams and packets keep their borders. */
    int kinds[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    for (int kind = 0; kind < 2; kind++) {
        socketpair(AF_UNIX, kinds[kind], 0, pair);
        CALL(send(pair[0], "first", 5, 0));
        CALL(send(pair[0], "second", 6, 0));
        CALL(send(pair[0], "", 0, 0));
        CALL(recv(pair[1], bytes, 3, 0));
        CALL(recv(pair[1], bytes, 3, MSG_TRUNC));
        CALL(recv(pair[1], bytes, 3, 0));
        CALL(recv(pair[1], bytes, 3, MSG_DONTWAIT));
        CALL(send(pair[0], bytes, 0, MSG_OOB));
        close(pair[1]);
        CALL(send(pair[0], "x", 1, 0));
        NUMBER(ready(pair[0]));
        close(pair[0]);
    }
    /* Names. */
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL(listen(listener, 5));
    CALL(connect(client, (void *)&path, sizeof path));
    CALL(bind(listener, (void *)&path, sizeof path));
    CALL(bind(listener, (void *)&path, sizeof path));
    CALL(bind(client, (void *)&path, sizeof path));
    CALL(connect(client, (void *)&path, sizeof path));
    CALL(accept(client, NULL, NULL));
    CALL(listen(listener, 5));
    NUMBER(ready(listener));
    length = sizeof name;
    CALL(getsockname(listener, (void *)&name, &length));
    NUMBER(length);
    TEXT(name.sun_path);
    CALL(getpeername(listener, (void *)&name, &length));
    CALL(connect(client, (void *)&path, sizeof path));
    CALL(connect(client, (void *)&path, sizeof path));
    NUMBER(ready(listener));
    length = 3;
    CALL(getpeername(client, (void *)&name, &length));
    NUMBER(length);
    int accepted = accept(listener, (void *)&name, &length);
    IS(accepted >= 0);
    struct ucred peer;
    length = sizeof peer;
    CALL(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length));
    IS(peer.pid == getpid());
    CALL(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &length));
    NUMBER(value);
    close(accepted);
    CALL(read(client, bytes, 1));
    close(client);
    pthread_create(&thread, NULL, serve, (void *)(long)listener);
    for (int count = 0; count < 20; count++) {
        client = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(client, (void *)&path, sizeof path);
        write(client, "echo", 4);
        if (read(client, bytes, 100) != 4 || read(client, bytes, 100) != 0)
            printf("wrong\n");
        close(client);
    }
    pthread_join(thread, NULL);
    close(listener);
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL(connect(client, (void *)&path, sizeof path));
    CALL(unlink("socket"));
    CALL(connect(client, (void *)&path, sizeof path));
    /* Abstract ones. */
    struct sockaddr_un abstract = {AF_UNIX};
    /* Other runs may go on at the same time. */
    snprintf(abstract.sun_path + 1, 20, "%09d", getpid());
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 10;
    int datagram = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    CALL(bind(datagram, (void *)&abstract, size));
    CALL(bind(sender, (void *)&abstract, size));
    CALL(sendto(sender, "to", 2, 0, (void *)&abstract, size));
    length = sizeof name;
    CALL(recvfrom(datagram, bytes, 10, 0, (void *)&name, &length));
    NUMBER(length);
    CALL(connect(client, (void *)&abstract, size));
    CALL(connect(sender, (void *)&abstract, size));
    CALL(send(sender, "to", 2, 0));
    CALL(recv(datagram, bytes, 10, 0));
    /* Descriptors travel. */
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    int ends[2];
    pipe(ends);
    CALL(send_fd(pair[0], ends[1]));
    close(ends[1]);
    int got = receive_fd(pair[1], 64, MSG_CMSG_CLOEXEC);
    CALL(fcntl(got, F_GETFD));
    CALL(write(got, "through", 7));
    CALL(read(ends[0], bytes, 100));
    CALL(send_fd(pair[0], ends[0]));
    receive_fd(pair[1], 0, 0);
    CALL(send_fd(pair[0], 999));
    value = 1;
    CALL(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &value, sizeof value));
    CALL(write(pair[0], "c", 1));
    receive_fd(pair[1], 64, 0);
    struct timeval soon = {0, 10000};
    CALL(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    CALL(recv(pair[1], bytes, 1, 0));
    CALL(getsockopt(pair[1], SOL_SOCKET, SO_TYPE, &value, &length));
    NUMBER(value);
    CALL(setsockopt(pair[1], SOL_SOCKET, SO_TYPE, &value, sizeof value));
    CALL(setsockopt(pair[1], SOL_SOCKET, 9999, &value, sizeof value));
    CALL(getsockname(0, (void *)&name, &length));
    /* More than fits, from another thread. */
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pthread_create(&thread, NULL, flood, (void *)(long)pair[0]);
    size_t total = 0;
    uint64_t sum = 0;
    for (ssize_t count; (count = recv(pair[1], bytes, 200, 0)) > 0; total += count)
        for (ssize_t at = 0; at < count; at++)
            sum = sum * 31 + (unsigned char)bytes[at];
    pthread_join(thread, NULL);
    NUMBER(total);
    NUMBER(sum);
    static char much[50000];
    CALL(send(pair[1], much, sizeof much, MSG_DONTWAIT));
    CALL(recv(pair[0], much, sizeof much, MSG_WAITALL));
    return 0;
}
