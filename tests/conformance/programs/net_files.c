/* /proc/net: sockets and interfaces as `ss` and its like read them. */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Room for all sockets of a host that has just served tens of thousands. */
static char text[1 << 24];

static char *contents(const char *path)
{
    int fd = open(path, O_RDONLY);
    long all = 0, got;
    while (fd >= 0 && (got = read(fd, text + all, sizeof text - 1 - all)) > 0)
        all += got;
    text[all] = 0;
    close(fd);
    return text;
}

static unsigned long inode(int fd)
{
    struct stat status;
    fstat(fd, &status);
    return status.st_ino;
}

static int port_of(int fd)
{
    struct sockaddr_in6 address;
    socklen_t length = sizeof address;
    getsockname(fd, (void *)&address, &length);
    return ntohs(address.sin6_port);
}

/* The line of a socket, without what differs each time. */
static void show(const char *file, int fd, int is_datagram)
{
    char path[50], local[60], peer[60];
    sprintf(path, "/proc/net/%s", file);
    unsigned own_port, peer_port, state, send, receive, timer, retransmits;
    unsigned long when, number;
    int uid, timeout, references, end = 0, found = 0;
    for (char *line = contents(path); (line = strchr(line, '\n')) && line[1];) {
        line++;
        int fields = sscanf(line, " %*d: %50[0-9A-F]:%X %50[0-9A-F]:%X %X %X:%X %X:%lX %X %d %d %lu %d %n",
                            local, &own_port, peer, &peer_port, &state, &send, &receive, &timer, &when,
                            &retransmits, &uid, &timeout, &number, &references, &end);
        if (fields < 14 || number != inode(fd))
            continue;
        found = 1;
        int length = strchr(line, '\n') - line + 1;
        printf("%s: %s:%s %s:%s %02X tx %X rx %X uid %s timeout %d, %s, ends", file, local,
               own_port == port_of(fd) ? "port" : "?", peer, peer_port ? "port" : "0", state, send, receive,
               uid == getuid() ? "ours" : "?", timeout,
               length == 150 || length == 128 ? "filled up" : "not filled up");
        int words = 0;
        for (char *at = line + end; *at && *at != '\n'; at++)
            words += *at != ' ' && at[-1] == ' ';
        printf(" with %d more\n", words);
    }
    if (!found)
        printf("%s: not there\n", file);
}

static void head(const char *file)
{
    char path[50];
    sprintf(path, "/proc/net/%s", file);
    char *end = strchr(contents(path), '\n');
    if (end)
        *end = 0;
    printf("%s \"%s\"\n", file, text);
}

static int bound(int family, int kind, const char *to)
{
    int fd = socket(family, kind, 0);
    struct sockaddr_in four = {family};
    struct sockaddr_in6 six = {family};
    inet_pton(family, to, family == AF_INET ? (void *)&four.sin_addr : (void *)&six.sin6_addr);
    if (bind(fd, family == AF_INET ? (void *)&four : (void *)&six, family == AF_INET ? sizeof four : sizeof six))
        puts("not bound");
    return fd;
}

static void internet(void)
{
    head("tcp");
    head("tcp6");
    head("udp");
    head("udp6");
    int listener = bound(AF_INET, SOCK_STREAM, "127.0.0.1");
    show("tcp", listener, 0);
    listen(listener, 5);
    show("tcp", listener, 0);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    getsockname(listener, (void *)&address, &length);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    CALL(connect(client, (void *)&address, length));
    show("tcp", listener, 0);
    int server = accept(listener, NULL, NULL);
    CALL(write(client, "12345", 5));
    usleep(20000);
    show("tcp", client, 0);
    show("tcp", server, 0);
    close(server);
    close(client);
    int any = bound(AF_INET, SOCK_STREAM, "0.0.0.0");
    listen(any, 5);
    show("tcp", any, 0);
    int six = bound(AF_INET6, SOCK_STREAM, "::1");
    listen(six, 5);
    show("tcp6", six, 0);
    show("tcp", six, 0);
    int datagrams = bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
    show("udp", datagrams, 1);
    int unbound = socket(AF_INET, SOCK_DGRAM, 0);
    show("udp", unbound, 1);
    getsockname(datagrams, (void *)&address, &length);
    CALL(connect(unbound, (void *)&address, length));
    show("udp", unbound, 1);
    int datagrams6 = bound(AF_INET6, SOCK_DGRAM, "::");
    show("udp6", datagrams6, 1);
}

/* The line of a socket of the machine. */
static void show_unix(int fd)
{
    for (char *line = contents("/proc/net/unix"); (line = strchr(line, '\n')) && line[1];) {
        line++;
        unsigned references, protocol, flags, kind, state;
        unsigned long number;
        char name[120] = "";
        int fields = sscanf(line, "%*16[0-9a-fA-F]: %X %X %X %X %X %lu%119[^\n]", &references, &protocol, &flags, &kind,
                            &state, &number, name);
        if (fields >= 6 && number == inode(fd))
            printf("unix: %X %X %X %X name \"%s\"\n", protocol, flags, kind, state, name);
    }
}

static void local(void)
{
    head("unix");
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    show_unix(pair[0]);
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
    show_unix(pair[1]);
    int datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
    show_unix(datagrams);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un path = {AF_UNIX, "net_files_socket"}, abstract = {AF_UNIX, "\0husk net files"};
    CALL(bind(listener, (void *)&path, sizeof path));
    show_unix(listener);
    CALL(listen(listener, 3));
    show_unix(listener);
    CALL(bind(other, (void *)&abstract, offsetof(struct sockaddr_un, sun_path) + 15));
    show_unix(other);
    CALL(connect(other, (void *)&path, sizeof path));
    show_unix(other);
    int accepted = accept(listener, NULL, NULL);
    show_unix(accepted);
    unlink("net_files_socket");
}

static void interfaces(void)
{
    char *at = contents("/proc/net/dev");
    char *third = strchr(strchr(at, '\n') + 1, '\n');
    *third = 0;
    TEXT(at);
    unsigned long numbers[16];
    char *loopback = strstr(third + 1, "lo:");
    IS(loopback && loopback - third == 5);
    int count = 0, used = 0;
    for (at = loopback + 3; count < 16 && sscanf(at, "%lu%n", &numbers[count], &used) == 1; at += used)
        count++;
    NUMBER(count);
    IS(numbers[0] > 100 && numbers[0] == numbers[8]);
    IS(numbers[1] > 3 && numbers[1] == numbers[9]);
    head("route");
    NUMBER(strchr(contents("/proc/net/route"), '\n') - text);
    IS(strstr(contents("/proc/net/if_inet6"), "00000000000000000000000000000001 01 80 10 80       lo\n"));
    unsigned used_sockets, in_use, orphans, waiting;
    IS(sscanf(contents("/proc/net/sockstat"), "sockets: used %u\nTCP: inuse %u orphan %u tw %u", &used_sockets,
              &in_use, &orphans, &waiting) == 4);
    IS(used_sockets >= in_use && in_use >= 2);
    IS(strstr(text, "\nUDP: inuse "));
    IS(strstr(text, "\nRAW: inuse "));
    IS(sscanf(contents("/proc/net/sockstat6"), "TCP6: inuse %u\nUDP6: inuse %u", &in_use, &used_sockets) == 2);
    IS(in_use >= 1 && used_sockets >= 1);
}

int main(void)
{
    internet();
    local();
    interfaces();
    return 0;
}
