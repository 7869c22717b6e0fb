/* Several sockets of one port: connections and datagrams are shared out among them. */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum { LISTENERS = 4, CONNECTIONS = 96 };

static struct sockaddr_in address = {AF_INET};
static int counts[LISTENERS], sockets[LISTENERS], stop;

static int one_more(int kind, int reuse)
{
    int fd = socket(AF_INET, kind, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuse, sizeof reuse);
    if (bind(fd, (void *)&address, sizeof address)) {
        int error = errno;
        close(fd);
        return -error;
    }
    socklen_t length = sizeof address;
    getsockname(fd, (void *)&address, &length);
    return fd;
}

static void *serve(void *argument)
{
    int own = (long)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        struct pollfd waits = {sockets[own], POLLIN};
        if (poll(&waits, 1, 10) != 1)
            continue;
        int fd = accept(sockets[own], NULL, NULL);
        if (fd < 0)
            continue;
        __atomic_add_fetch(&counts[own], 1, __ATOMIC_SEQ_CST);
        write(fd, "x", 1);
        close(fd);
    }
    return NULL;
}

static int connections(int number)
{
    int served = 0;
    for (int round = 0; round < number; round++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char byte;
        if (connect(fd, (void *)&address, sizeof address) == 0)
            served += read(fd, &byte, 1) == 1;
        close(fd);
    }
    return served;
}

static void streams(void)
{
    pthread_t threads[LISTENERS];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int number = 0; number < LISTENERS; number++) {
        sockets[number] = one_more(SOCK_STREAM, 1);
        IS(sockets[number] >= 0);
        CALL(listen(sockets[number], 64));
    }
    IS(one_more(SOCK_STREAM, 0) == -EADDRINUSE);
    for (long number = 0; number < LISTENERS; number++)
        pthread_create(&threads[number], NULL, serve, (void *)number);
    NUMBER(connections(CONNECTIONS));
    int sum = 0, used = 0;
    for (int number = 0; number < LISTENERS; number++) {
        sum += counts[number];
        used += counts[number] > 0;
    }
    NUMBER(sum);
    NUMBER(used);
    stop = 1;
    for (int number = 0; number < LISTENERS; number++)
        pthread_join(threads[number], NULL);
    /* One that closes leaves its part to the others. */
    for (int number = 1; number < LISTENERS; number++)
        close(sockets[number]);
    stop = counts[0] = 0;
    pthread_create(&threads[0], NULL, serve, NULL);
    NUMBER(connections(20));
    NUMBER(counts[0]);
    stop = 1;
    pthread_join(threads[0], NULL);
    close(sockets[0]);
}

static void datagrams(void)
{
    address.sin_port = 0;
    for (int number = 0; number < LISTENERS; number++) {
        sockets[number] = one_more(SOCK_DGRAM, 1);
        IS(sockets[number] >= 0);
    }
    IS(one_more(SOCK_DGRAM, 0) == -EADDRINUSE);
    for (int round = 0; round < CONNECTIONS; round++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        sendto(fd, "x", 1, 0, (void *)&address, sizeof address);
        close(fd);
    }
    int sum = 0, used = 0;
    for (int number = 0; number < LISTENERS; number++) {
        char byte;
        int count = 0;
        while (recv(sockets[number], &byte, 1, MSG_DONTWAIT) == 1)
            count++;
        sum += count;
        used += count > 0;
    }
    NUMBER(sum);
    NUMBER(used);
}

int main(void)
{
    streams();
    datagrams();
    return 0;
}
