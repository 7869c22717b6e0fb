/* A byte there and back by TCP over the loopback interface, between two threads. */
#include "handover.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int near, far;

static void *answer(void *unused)
{
    (void)unused;
    return echo(far, far);
}

static void turn(void)
{
    ask(near, near);
}

static void no_delay(int socket)
{
    int one = 1;
    check(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "TCP_NODELAY");
}

int main(int arguments, char **argument)
{
    (void)argument;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(listener, (struct sockaddr *)&address, length) == 0, "bind");
    check(listen(listener, 1) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
    near = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(near, (struct sockaddr *)&address, length) == 0, "connect");
    far = accept(listener, NULL, NULL);
    check(far >= 0, "accept");
    no_delay(near);
    no_delay(far);
    start(arguments, answer);
    return measure(turn);
}
