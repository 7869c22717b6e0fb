/* Locks between processes: of records, of descriptions, of whole files. */
#include "files.h"

static int file;

static long record(int command, int kind, off_t start, off_t length)
{
    struct flock lock = { .l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
    return fcntl(file, command, &lock);
}

/* Says which lock is in the way of one for writing. */
static void in_the_way(int command, off_t start, off_t length)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start,
                          .l_len = length };
    call("get", fcntl(file, command, &lock));
    if (lock.l_type == F_UNLCK)
        say(" free");
    else
        say(" %s:%ld+%ld by %s", lock.l_type == F_WRLCK ? "write" : "read", (long)lock.l_start,
            (long)lock.l_len, lock.l_pid == getppid() ? "parent" : lock.l_pid == -1 ? "open"
                                                                                   : "?");
}

static void try_write(void)
{
    file = open("file", O_RDWR);
    call("write", record(F_SETLK, F_WRLCK, 0, 0));
}

static void try_read(void)
{
    file = open("file", O_RDWR);
    call("read", record(F_SETLK, F_RDLCK, 0, 0));
}

static void ask(void)
{
    file = open("file", O_RDWR);
    in_the_way(F_GETLK, 0, 0);
}

static void excludes(void)
{
    file = put("file", "0123456789");
    call("lock", record(F_SETLK, F_WRLCK, 0, 0));
    aside(try_write);
    aside(try_read);
    call("unlock", record(F_SETLK, F_UNLCK, 0, 0));
    aside(try_write);
}

static void shares(void)
{
    file = put("file", "0123456789");
    call("lock", record(F_SETLK, F_RDLCK, 0, 0));
    aside(try_read);
    aside(try_write);
}

static void names_the_holder(void)
{
    file = put("file", "0123456789");
    call("lock", record(F_SETLK, F_WRLCK, 3, 4));
    aside(ask);
    call("lock", record(F_SETLK, F_RDLCK, 3, 4));
    aside(ask);
    in_the_way(F_GETLK, 0, 0);
}

static void try_parts(void)
{
    file = open("file", O_RDWR);
    call("before", record(F_SETLK, F_WRLCK, 0, 2));
    call("inside", record(F_SETLK, F_WRLCK, 3, 1));
    call("middle", record(F_SETLK, F_WRLCK, 4, 2));
    call("end", record(F_SETLK, F_WRLCK, 6, 1));
    call("behind", record(F_SETLK, F_WRLCK, 8, 0));
}

static void splits(void)
{
    file = put("file", "0123456789");
    call("lock", record(F_SETLK, F_WRLCK, 2, 6));
    call("unlock", record(F_SETLK, F_UNLCK, 4, 2));
    aside(try_parts);
    call("to-read", record(F_SETLK, F_RDLCK, 2, 2));
    aside(try_read);
}

static void close_ends_them(void)
{
    file = put("file", "0123456789");
    call("lock", record(F_SETLK, F_WRLCK, 0, 0));
    close(open("file", O_RDONLY));
    aside(try_write);
}

static void rights(void)
{
    put("file", "");
    file = open("file", O_RDONLY);
    call("write", record(F_SETLK, F_WRLCK, 0, 0));
    call("read", record(F_SETLK, F_RDLCK, 0, 0));
    file = open("file", O_WRONLY);
    call("read", record(F_SETLK, F_RDLCK, 0, 0));
    call("write", record(F_SETLK, F_WRLCK, 0, 0));
    call("negative", record(F_SETLK, F_WRLCK, -1, 1));
}

static int started[2];

static void wait_for_it(void)
{
    file = open("file", O_RDWR);
    call("tries", record(F_SETLK, F_WRLCK, 0, 0));
    call("waits", record(F_SETLKW, F_WRLCK, 0, 0));
    show_open("sees", file);
}

static void waits(void)
{
    int status;
    file = put("file", "before");
    if (pipe(started) < 0)
        return;
    pid_t holder = fork();
    if (holder == 0) {
        record(F_SETLK, F_WRLCK, 0, 0);
        write(started[1], "s", 1);
        usleep(600000);
        pwrite(file, "after!", 6, 0);
        _exit(0);
    }
    char byte;
    read(started[0], &byte, 1);
    aside(wait_for_it);
    waitpid(holder, &status, 0);
}

static void nothing(int signal)
{
    (void)signal;
}

static void wait_in_vain(void)
{
    struct sigaction action = { .sa_handler = nothing };
    sigaction(SIGALRM, &action, 0);
    file = open("file", O_RDWR);
    alarm(1);
    call("waits", record(F_SETLKW, F_WRLCK, 0, 0));
}

static void is_interrupted(void)
{
    file = put("file", "");
    call("lock", record(F_SETLK, F_WRLCK, 0, 0));
    aside(wait_in_vain);
}

static void die_holding(void)
{
    file = open("file", O_RDWR);
    call("holds", record(F_SETLK, F_WRLCK, 0, 0));
}

static void death_ends_them(void)
{
    file = put("file", "");
    aside(die_holding);
    call("lock", record(F_SETLK, F_WRLCK, 0, 0));
}

static void of_descriptions(void)
{
    put("file", "0123456789");
    int one = open("file", O_RDWR), two = open("file", O_RDWR);
    file = one;
    call("one", record(F_OFD_SETLK, F_WRLCK, 0, 5));
    file = two;
    call("two", record(F_OFD_SETLK, F_WRLCK, 4, 5));
    call("two", record(F_OFD_SETLK, F_WRLCK, 5, 5));
    in_the_way(F_OFD_GETLK, 0, 0);
    call("posix", record(F_SETLK, F_RDLCK, 0, 1));
    file = dup(one);
    call("same", record(F_OFD_SETLK, F_WRLCK, 1, 1));
    close(file);
    close(one);
    file = two;
    call("free", record(F_OFD_SETLK, F_WRLCK, 0, 5));
}

static void try_flock(void)
{
    int other = open("file", O_RDWR);
    call("shared", flock(other, LOCK_SH | LOCK_NB));
    call("exclusive", flock(other, LOCK_EX | LOCK_NB));
}

static void of_files(void)
{
    file = put("file", "");
    call("exclusive", flock(file, LOCK_EX));
    aside(try_flock);
    call("shared", flock(file, LOCK_SH));
    aside(try_flock);
    call("unlock", flock(file, LOCK_UN));
    aside(try_flock);
    int other = open("file", O_RDONLY);
    call("other", flock(other, LOCK_EX | LOCK_NB));
    call("first", flock(file, LOCK_EX | LOCK_NB));
    close(other);
    call("first", flock(file, LOCK_EX | LOCK_NB));
}

static void wait_for_flock(void)
{
    int other = open("file", O_RDWR);
    call("tries", flock(other, LOCK_EX | LOCK_NB));
    call("waits", flock(other, LOCK_EX));
}

static void waits_for_a_file(void)
{
    int status;
    put("file", "");
    if (pipe(started) < 0)
        return;
    pid_t holder = fork();
    if (holder == 0) {
        flock(open("file", O_RDWR), LOCK_EX);
        write(started[1], "s", 1);
        usleep(600000);
        _exit(0);
    }
    char byte;
    read(started[0], &byte, 1);
    aside(wait_for_flock);
    waitpid(holder, &status, 0);
}

static void kinds_do_not_meet(void)
{
    file = put("file", "");
    call("flock", flock(file, LOCK_EX));
    aside(try_write);
}

const struct family_case locking[] = {
    { "excludes", excludes },
    { "shares", shares },
    { "names the holder", names_the_holder },
    { "splits", splits },
    { "close ends them", close_ends_them },
    { "rights", rights },
    { "waits", waits },
    { "is interrupted", is_interrupted },
    { "death ends them", death_ends_them },
    { "of descriptions", of_descriptions },
    { "of files", of_files },
    { "waits for a file", waits_for_a_file },
    { "kinds do not meet", kinds_do_not_meet },
    { 0, 0 },
};
