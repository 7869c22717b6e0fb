/* What inotify says of files, directories and names. */
#include "check.h"
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int fd;

static void say(const struct inotify_event *event) {
    static const char *names[] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE",
                                  "OPEN", "MOVED_FROM", "MOVED_TO", "CREATE", "DELETE",
                                  "DELETE_SELF", "MOVE_SELF"};
    static unsigned last;
    printf("  %d", event->wd);
    for (int bit = 0; bit < 12; bit++)
        if (event->mask & 1u << bit) printf(" %s", names[bit]);
    if (event->mask & IN_ISDIR) printf(" ISDIR");
    if (event->mask & IN_IGNORED) printf(" IGNORED");
    if (event->mask & IN_Q_OVERFLOW) printf(" OVERFLOW");
    if (event->cookie) printf(" cookie %s", event->cookie == last ? "as before" : "new");
    last = event->cookie;
    printf(" length %u %s\n", event->len, event->len ? event->name : "");
}

static void drain(const char *what) {
    static char buffer[1 << 20] __attribute__((aligned(8)));
    printf("%s:\n", what);
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        for (char *at = buffer; at < buffer + got;) {
            struct inotify_event *event = (void *)at;
            say(event);
            at += sizeof *event + event->len;
        }
}

#define DO(call) do { if ((call) < 0) perror(#call); } while (0)

static void put(const char *name, const char *text) {
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    DO(write(file, text, strlen(text)));
    DO(close(file));
}

static void *later(void *unused) {
    (void)unused;
    usleep(30000);
    put("d/late", "x");
    return NULL;
}

int main(void) {
    char byte, small[17];
    CALL(inotify_init1(1));
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    IS(fd >= 0);
    NUMBER(fcntl(fd, F_GETFD));
    mkdir("d", 0755);
    mkdir("e", 0755);
    put("f", "text");
    symlink("f", "l");
    CALL(read(fd, &byte, 1));
    CALL(inotify_add_watch(fd, "none", IN_OPEN));
    CALL(inotify_add_watch(fd, "f", 0));
    CALL(inotify_add_watch(fd, "f", IN_ONLYDIR | IN_OPEN));
    CALL(inotify_add_watch(fd, "f", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
    CALL(inotify_add_watch(0, "f", IN_OPEN));
    CALL(inotify_add_watch(99, "f", IN_OPEN));
    CALL(inotify_add_watch(fd, "d", IN_ALL_EVENTS));
    CALL(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    CALL(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    CALL(inotify_add_watch(fd, "l", IN_ALL_EVENTS));
    CALL(inotify_add_watch(fd, "f", IN_MASK_CREATE | IN_OPEN));
    CALL(inotify_add_watch(fd, "l", IN_DONT_FOLLOW | IN_ALL_EVENTS));
    CALL(inotify_rm_watch(fd, 77));
    CALL(inotify_rm_watch(0, 1));

    put("d/a", "hello");
    drain("a new file");
    int file = open("d/a", O_RDWR);
    DO(read(file, small, 3));
    DO(read(file, small, 3));
    DO(read(file, small, 3));
    DO(pread(file, small, 2, 0));
    DO(pwrite(file, "xy", 2, 1));
    DO(write(file, "", 0));
    drain("read and written");
    DO(ftruncate(file, 2));
    DO(fchmod(file, 0600));
    DO(futimens(file, NULL));
    DO(close(file));
    drain("changed");
    DO(truncate("d/a", 1));
    struct timespec times[2] = {{.tv_sec = 5}, {.tv_nsec = UTIME_OMIT}};
    DO(utimensat(AT_FDCWD, "d/a", times, 0));
    times[0].tv_nsec = UTIME_OMIT;
    times[1] = (struct timespec){.tv_sec = 6};
    DO(utimensat(AT_FDCWD, "d/a", times, 0));
    DO(chown("d/a", getuid(), getgid()));
    drain("by name");
    put("d/a", "again");
    drain("cut off while opening");

    DO(rename("d/a", "d/b"));
    drain("renamed");
    DO(rename("d/b", "e/b"));
    drain("moved away");
    DO(rename("e/b", "d/b"));
    drain("moved in");
    put("d/c", "c");
    drain("another");
    DO(rename("d/b", "d/c"));
    drain("replaced");
    put("d/b", "b");
    drain("and again");
    DO(syscall(SYS_renameat2, AT_FDCWD, "d/b", AT_FDCWD, "d/c", 2));
    drain("exchanged");
    DO(link("d/b", "d/k"));
    drain("linked");
    DO(unlink("d/b"));
    drain("unlinked");
    DO(symlink("nowhere", "d/s"));
    DO(mkfifo("d/p", 0600));
    drain("a link and a pipe");
    DO(mkdir("d/sub", 0700));
    DO(rmdir("d/sub"));
    drain("a directory");
    DIR *listing = opendir("d");
    int count = 0;
    while (readdir(listing)) count++;
    closedir(listing);
    NUMBER(count);
    drain("listed");

    put("f", "more");
    drain("the file itself");
    DO(link("f", "g"));
    put("g", "by another name");
    drain("by another name");
    DO(rename("g", "h"));
    drain("one of its names moved");
    DO(rename("f", "g"));
    drain("the other, too");
    file = open("g", O_RDONLY);
    DO(unlink("h"));
    DO(unlink("g"));
    drain("unlinked and open");
    DO(read(file, small, 3));
    DO(close(file));
    drain("closed");
    CALL(inotify_rm_watch(fd, 2));

    put("once", "");
    CALL(inotify_add_watch(fd, "once", IN_OPEN | IN_ONESHOT));
    put("once", "1");
    put("once", "2");
    drain("once");
    CALL(inotify_add_watch(fd, "once", IN_OPEN));
    CALL(inotify_add_watch(fd, "once", IN_MASK_ADD | IN_CLOSE));
    put("once", "3");
    drain("added");
    CALL(inotify_add_watch(fd, "once", IN_MODIFY));
    put("once", "4");
    drain("replaced");

    CALL(inotify_add_watch(fd, "e", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    file = open("e/x", O_RDWR | O_CREAT, 0600);
    drain("exclusive");
    DO(unlink("e/x"));
    DO(write(file, "x", 1));
    DO(close(file));
    drain("after its name");
    DO(rmdir("e"));
    drain("its directory");

    CALL(inotify_rm_watch(fd, 1));
    drain("removed");
    CALL(inotify_add_watch(fd, "d", IN_CREATE | IN_CLOSE_WRITE));
    put("d/name-of-sixteen", "");
    int waiting = -1;
    ioctl(fd, FIONREAD, &waiting);
    NUMBER(waiting);
    struct pollfd polled = {.fd = fd, .events = POLLIN | POLLOUT};
    CALL(poll(&polled, 1, 0));
    NUMBER(polled.revents);
    CALL(read(fd, small, 16));
    CALL(read(fd, small, 17));
    CALL(write(fd, small, 1));
    char two[100] __attribute__((aligned(8)));
    CALL(read(fd, two, sizeof two));
    drain("read in pieces");

    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_wait(epoll, &event, 1, 20));
    pthread_t thread;
    pthread_create(&thread, NULL, later, NULL);
    CALL(epoll_wait(epoll, &event, 1, 10000));
    pthread_join(thread, NULL);
    drain("told by epoll");
    fcntl(fd, F_SETFL, 0);
    pthread_create(&thread, NULL, later, NULL);
    ssize_t got = read(fd, two, sizeof two);
    printf("waited for %zd bytes\n", got);
    pthread_join(thread, NULL);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    drain("the rest");

    put("in", "0123456789");
    int in = open("in", O_RDONLY), out = open("d/out", O_WRONLY | O_CREAT, 0600);
    drain("opened");
    CALL(inotify_add_watch(fd, "in", IN_ACCESS));
    CALL(inotify_add_watch(fd, "d", IN_MODIFY));
    CALL(sendfile(out, in, NULL, 4));
    CALL(copy_file_range(in, NULL, out, NULL, 3, 0));
    drain("copied by the kernel");

    char name[40];
    CALL(inotify_add_watch(fd, "d", IN_CREATE));
    for (int i = 0; i < 20; i++) {
        sprintf(name, "d/many-%d", i);
        put(name, "");
    }
    int other = inotify_init1(IN_NONBLOCK);
    CALL(inotify_add_watch(other, "d", IN_DELETE));
    for (int i = 0; i < 20; i++) {
        sprintf(name, "d/many-%d", i);
        unlink(name);
    }
    drain("many");
    fd = other;
    drain("another instance");
    CALL(close(other));
    return 0;
}
