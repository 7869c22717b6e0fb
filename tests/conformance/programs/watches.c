/* inotify: what is told of files that this machine changes, in which order, and how it is read. */
#include "check.h"
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <utime.h>

static const struct { uint32_t bit; const char *name; } NAMES[] = {
    {IN_ACCESS, "ACCESS"}, {IN_MODIFY, "MODIFY"}, {IN_ATTRIB, "ATTRIB"},
    {IN_CLOSE_WRITE, "CLOSE_WRITE"}, {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"}, {IN_OPEN, "OPEN"},
    {IN_MOVED_FROM, "MOVED_FROM"}, {IN_MOVED_TO, "MOVED_TO"}, {IN_CREATE, "CREATE"},
    {IN_DELETE, "DELETE"}, {IN_DELETE_SELF, "DELETE_SELF"}, {IN_MOVE_SELF, "MOVE_SELF"},
    {IN_UNMOUNT, "UNMOUNT"}, {IN_Q_OVERFLOW, "Q_OVERFLOW"}, {IN_IGNORED, "IGNORED"}, {IN_ISDIR, "ISDIR"},
};

static int queue;

static void show(const char *what)
{
    static uint32_t last_cookie;
    char buffer[8192] __attribute__((aligned(8)));
    printf("-- %s\n", what);
    for (;;) {
        long got = read(queue, buffer, sizeof buffer);
        if (got < 0)
            return;
        for (char *at = buffer; at < buffer + got;) {
            struct inotify_event *event = (struct inotify_event *)at;
            printf("  %d", event->wd);
            for (unsigned number = 0; number < sizeof NAMES / sizeof *NAMES; number++)
                if (event->mask & NAMES[number].bit)
                    printf(" %s", NAMES[number].name);
            if (event->cookie)
                printf(" %s", event->cookie == last_cookie ? "the same" : "new");
            last_cookie = event->cookie;
            if (event->len)
                printf(" \"%s\" in %u", event->name, event->len);
            puts("");
            at += sizeof *event + event->len;
        }
    }
}

static void touch(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT, 0644));
}

static void files(void)
{
    CALL(mkdir("d", 0755));
    CALL(inotify_add_watch(queue, "d", IN_ALL_EVENTS));
    show("nothing yet");
    int fd = open("d/a", O_RDWR | O_CREAT, 0600);
    show("created");
    CALL(write(fd, "hello", 5));
    show("written");
    CALL(pwrite(fd, "hello", 5, 100));
    CALL(write(fd, "x", 0));
    show("written twice");
    char bytes[200];
    CALL(pread(fd, bytes, 5, 0));
    CALL(read(fd, bytes, 0));
    CALL(pread(fd, bytes, 5, 1000));
    show("read");
    CALL(ftruncate(fd, 10));
    show("shortened");
    CALL(fchmod(fd, 0644));
    CALL(chmod("d/a", 0600));
    show("modes, the same twice");
    CALL(chown("d/a", -1, -1));
    CALL(utime("d/a", NULL));
    show("times");
    struct timespec only_access[2] = {{1, 0}, {0, UTIME_OMIT}}, only_change[2] = {{0, UTIME_OMIT}, {1, 0}};
    CALL(utimensat(AT_FDCWD, "d/a", only_access, 0));
    show("time of access");
    CALL(utimensat(AT_FDCWD, "d/a", only_change, 0));
    show("time of change");
    CALL(posix_fallocate(fd, 0, 4096));
    show("allocated");
    CALL(close(fd));
    show("closed");
    fd = open("d/a", O_RDONLY);
    CALL(close(fd));
    show("read only");
    CALL(truncate("d/a", 3));
    show("shortened by name");
    close(open("d/a", O_WRONLY | O_TRUNC));
    show("emptied");
    fd = open("d", O_RDONLY | O_DIRECTORY);
    char listing[1024];
    syscall(SYS_getdents64, fd, listing, sizeof listing);
    syscall(SYS_getdents64, fd, listing, sizeof listing);
    CALL(close(fd));
    show("listed");
    CALL(close(open("d/a", O_PATH)));
    struct stat status;
    CALL(stat("d/a", &status));
    CALL(access("d/a", R_OK));
    show("only looked at");
}

static void names(void)
{
    CALL(link("d/a", "d/b"));
    show("linked");
    CALL(symlink("a", "d/s"));
    show("symbolic link");
    CALL(mkdir("d/sub", 0755));
    show("directory");
    CALL(mkfifo("d/pipe", 0644));
    show("pipe");
    CALL(rename("d/a", "d/a-rather-long-name-that-needs-room"));
    show("renamed");
    CALL(rename("d/a-rather-long-name-that-needs-room", "d/b"));
    show("renamed to itself, which does nothing");
    CALL(rename("d/s", "outside"));
    show("moved out");
    CALL(rename("outside", "d/s"));
    show("moved in");
    CALL(rename("d/sub", "d/sub2"));
    show("directory renamed");
    CALL(syscall(SYS_renameat2, AT_FDCWD, "d/sub2", AT_FDCWD, "d/s", 2));
    show("exchanged");
    CALL(unlink("d/b"));
    show("one name removed");
    CALL(rmdir("d/s"));
    show("directory removed");
    CALL(unlink("d/sub2"));
    CALL(unlink("d/pipe"));
    CALL(unlink("d/a-rather-long-name-that-needs-room"));
    show("all removed");
}

static void itself(void)
{
    touch("d/f");
    touch("d/g");
    touch("d/h");
    show("three files");
    int f = inotify_add_watch(queue, "d/f", IN_ALL_EVENTS);
    NUMBER(f);
    CALL(inotify_add_watch(queue, "d/g", IN_ALL_EVENTS));
    CALL(inotify_add_watch(queue, "d/h", IN_ALL_EVENTS));
    touch("d/f");
    show("both hear of it");
    CALL(rename("d/f", "d/f2"));
    show("moved");
    CALL(rename("d/f2", "d/g"));
    show("moved over another");
    CALL(inotify_add_watch(queue, "d/g", IN_MODIFY));
    CALL(link("d/h", "d/h2"));
    show("linked");
    CALL(unlink("d/h"));
    show("a name less");
    int fd = open("d/h2", O_RDWR);
    CALL(unlink("d/h2"));
    show("no name, still open");
    CALL(write(fd, "x", 1));
    show("still written");
    CALL(close(fd));
    show("closed and gone");
    CALL(unlink("d/g"));
    show("gone");
    CALL(inotify_rm_watch(queue, f));
}

static void masks(void)
{
    CALL(inotify_add_watch(queue, "d", IN_CREATE));
    touch("d/1");
    show("creation only");
    CALL(inotify_add_watch(queue, "d", IN_DELETE | IN_MASK_ADD));
    touch("d/2");
    CALL(unlink("d/2"));
    show("removal too");
    CALL(inotify_add_watch(queue, "d", IN_DELETE | IN_MASK_CREATE));
    CALL(inotify_add_watch(queue, "d", IN_DELETE | IN_MASK_CREATE | IN_MASK_ADD));
    CALL(inotify_add_watch(queue, "d/1", IN_OPEN | IN_ONLYDIR));
    CALL(inotify_add_watch(queue, "d/1", 0));
    CALL(inotify_add_watch(queue, "d/1", 0x00100000));
    CALL(inotify_add_watch(queue, "d/missing", IN_OPEN));
    CALL(inotify_add_watch(0, "d", IN_OPEN));
    CALL(inotify_add_watch(99, "d", IN_OPEN));
    CALL(inotify_rm_watch(queue, 99));
    CALL(inotify_rm_watch(0, 1));
    CALL(inotify_init1(1));
    CALL(symlink("1", "d/link"));
    int link = inotify_add_watch(queue, "d/link", IN_ATTRIB | IN_DELETE_SELF | IN_DONT_FOLLOW | IN_MASK_CREATE);
    NUMBER(link);
    CALL(chmod("d/1", 0600));
    CALL(unlink("d/link"));
    show("the link itself");
    CALL(inotify_add_watch(queue, "d/1", IN_OPEN | IN_ONESHOT));
    touch("d/1");
    touch("d/1");
    show("once");
    CALL(inotify_add_watch(queue, "d", IN_MODIFY | IN_EXCL_UNLINK));
    int fd = open("d/1", O_WRONLY);
    CALL(write(fd, "x", 1));
    CALL(unlink("d/1"));
    CALL(write(fd, "x", 1));
    show("not after its name is gone");
    CALL(inotify_add_watch(queue, "d", IN_MODIFY));
    CALL(write(fd, "x", 1));
    show("or else");
    CALL(close(fd));
    int wd = inotify_add_watch(queue, "d", IN_ALL_EVENTS);
    touch("d/x");
    CALL(inotify_rm_watch(queue, wd));
    touch("d/x");
    CALL(unlink("d/x"));
    show("watch removed");
    wd = inotify_add_watch(queue, "d", IN_ALL_EVENTS);
    NUMBER(wd);
}

static void *later(void *unused)
{
    usleep(20000);
    touch("d/later");
    return NULL;
}

static void reading(void)
{
    char bytes[64];
    int size;
    CALL(read(queue, bytes, sizeof bytes));
    CALL(read(queue, bytes, 0));
    CALL(write(queue, bytes, 1));
    touch("d/r");
    CALL(ioctl(queue, FIONREAD, &size));
    NUMBER(size);
    CALL(read(queue, bytes, 0));
    CALL(read(queue, bytes, 16));
    CALL(read(queue, bytes, 32));
    CALL(ioctl(queue, FIONREAD, &size));
    NUMBER(size);
    CALL(read(queue, bytes, 63));
    show("the rest");
    struct pollfd poll_fd = {queue, POLLIN | POLLOUT};
    CALL(poll(&poll_fd, 1, 0));
    int epoll = epoll_create1(0);
    struct epoll_event wanted = {EPOLLIN | EPOLLET, {.u32 = 7}}, event;
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, queue, &wanted));
    CALL(epoll_wait(epoll, &event, 1, 0));
    touch("d/r");
    CALL(poll(&poll_fd, 1, 0));
    NUMBER(poll_fd.revents);
    CALL(epoll_wait(epoll, &event, 1, 0));
    NUMBER(event.events);
    CALL(epoll_wait(epoll, &event, 1, 0));
    show("after the look");
    pthread_t thread;
    pthread_create(&thread, NULL, later, NULL);
    CALL(poll(&poll_fd, 1, 5000));
    pthread_join(thread, NULL);
    show("by another thread");
    int waits = inotify_init();
    CALL(inotify_add_watch(waits, "d", IN_CREATE));
    unlink("d/later");
    pthread_create(&thread, NULL, later, NULL);
    CALL(read(waits, bytes, sizeof bytes));
    pthread_join(thread, NULL);
    CALL(close(waits));
    show("two queues");
}

static void too_many(void)
{
    int other = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), size;
    CALL(fcntl(other, F_GETFD));
    CALL(fcntl(other, F_GETFL) & O_NONBLOCK);
    int one = inotify_add_watch(other, "d", IN_OPEN | IN_CLOSE);
    for (int round = 0; round < 10000; round++)
        close(open("d/r", O_RDONLY));
    CALL(ioctl(other, FIONREAD, &size));
    NUMBER(size);
    struct inotify_event last;
    char buffer[32];
    long events = 0;
    while (read(other, buffer, sizeof buffer) > 0) {
        memcpy(&last, buffer, sizeof last);
        events++;
    }
    NUMBER(events);
    NUMBER(last.wd);
    NUMBER(last.mask);
    for (int round = 0; round < 5; round++)
        close(open("d/r", O_RDONLY));
    CALL(ioctl(other, FIONREAD, &size));
    NUMBER(size);
    CALL(close(other));
    while (read(queue, buffer, sizeof buffer) > 0)
        ;
}

static void copies(void)
{
    int from = open("d/r", O_RDWR), to = open("d/to", O_RDWR | O_CREAT, 0644);
    write(from, "0123456789", 10);
    lseek(from, 0, SEEK_SET);
    show("two files");
    CALL(sendfile(to, from, NULL, 10));
    show("sent");
    close(from);
    close(to);
    unlink("d/to");
    unlink("d/r");
    unlink("d/later");
    show("closed");
    CALL(rmdir("d"));
    show("the directory is gone");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    queue = inotify_init1(IN_NONBLOCK);
    IS(queue >= 0);
    files();
    names();
    itself();
    masks();
    reading();
    too_many();
    copies();
    CALL(close(queue));
    return 0;
}
