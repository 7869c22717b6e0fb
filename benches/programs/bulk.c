/* Sends and takes bytes by TCP, one connection at a time: `bulk ADDRESS PORT`. A client says, as
   often as it likes, 'g' or 'p' and a length of eight bytes (little endian); for 'g' it gets so
   many bytes, for 'p' it sends so many and hears the length again. */
#include "handover.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

static char block[1 << 17];

static size_t part(uint64_t left)
{
    return left < sizeof block ? left : sizeof block;
}

static int give(int client, uint64_t left)
{
    while (left) {
        ssize_t done = write(client, block, part(left));
        if (done <= 0)
            return 0;
        left -= (uint64_t)done;
    }
    return 1;
}

static int take(int client, uint64_t left)
{
    while (left) {
        ssize_t done = read(client, block, part(left));
        if (done <= 0)
            return 0;
        left -= (uint64_t)done;
    }
    return 1;
}

static void serve(int client)
{
    char verb;
    uint64_t length;
    while (read(client, &verb, 1) == 1 &&
           recv(client, &length, sizeof length, MSG_WAITALL) == sizeof length) {
        int is_done = verb == 'g' ? give(client, length)
                                  : take(client, length) &&
                                        write(client, &length, sizeof length) == sizeof length;
        if (!is_done)
            break;
    }
    close(client);
}

int main(int arguments, char **argument)
{
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (arguments != 3 || inet_pton(AF_INET, argument[1], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons((uint16_t)atoi(argument[2]));
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    check(listen(listener, 8) == 0, "listen");
    for (;;) {
        int client = accept(listener, NULL, NULL);
        check(client >= 0, "accept");
        serve(client);
    }
}
