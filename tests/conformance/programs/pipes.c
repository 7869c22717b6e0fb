/* Pipes within one process. */
#include "check.h"
#include <sys/ioctl.h>

static volatile int broken;
static void note(int number) { broken = number; }

int main(void)
{
    int ends[2], left = -1;
    static char buffer[200000];
    CALL(pipe(ends));
    NUMBER(ends[0] * 100 + ends[1]);
    CALL(write(ends[1], "hello", 5));
    CALL(ioctl(ends[0], FIONREAD, &left));
    NUMBER(left);
    CALL(read(ends[0], buffer, 3));
    CALL(read(ends[0], buffer + 3, 100));
    TEXT(buffer);
    CALL(read(ends[1], buffer, 1));
    CALL(write(ends[0], buffer, 1));
    CALL(lseek(ends[0], 0, SEEK_SET));
    CALL(pread(ends[0], buffer, 1, 0));
    CALL(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    CALL(read(ends[0], buffer, 1));
    CALL(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    CALL(write(ends[1], buffer, 200000));
    CALL(write(ends[1], buffer, 1));
    long total = 0, got;
    while ((got = read(ends[0], buffer, 7777)) > 0)
        total += got;
    NUMBER(total);
    IS(errno == EAGAIN);
    CALL(fcntl(ends[1], F_GETPIPE_SZ));
    struct stat about;
    CALL(fstat(ends[0], &about));
    IS(S_ISFIFO(about.st_mode));
    CALL(write(ends[1], "end", 3));
    CALL(close(ends[1]));
    CALL(read(ends[0], buffer, 100));
    CALL(read(ends[0], buffer, 100));
    CALL(close(ends[0]));
    CALL(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    CALL(fcntl(ends[0], F_GETFD));
    CALL(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    signal(SIGPIPE, note);
    CALL(close(ends[0]));
    CALL(write(ends[1], "x", 1));
    NUMBER(broken);
    CALL(pipe2(ends, 12345));
    CALL(mkfifo("named", 0600));
    int reader = open("named", O_RDONLY | O_NONBLOCK);
    int writer = open("named", O_WRONLY);
    CALL(write(writer, "through", 7));
    CALL(read(reader, buffer, 100));
    CALL(unlink("named"));
    CALL(open("named", O_WRONLY | O_NONBLOCK));
    return 0;
}
