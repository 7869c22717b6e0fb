/* Mapped files. */
#include "files.h"
#include <setjmp.h>

#define LENGTH 16384

static char *map(int file, int protection, int flags)
{
    char *at = mmap(0, LENGTH, protection, flags, file, 0);
    if (at == MAP_FAILED)
        call("mmap", -1);
    return at == MAP_FAILED ? 0 : at;
}

/* A file of LENGTH bytes of 'a'. */
static int prepared(void)
{
    static char bytes[LENGTH];
    int file = put("file", "");
    memset(bytes, 'a', sizeof bytes);
    call("write", write(file, bytes, sizeof bytes));
    return file;
}

static void shared_is_written(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    memcpy(at + 5000, "mapped", 6);
    call("msync", msync(at, LENGTH, MS_SYNC));
    char text[7] = "";
    call("read", pread(file, text, 6, 5000));
    say(" text=%s", text);
    munmap(at, LENGTH);
    sum("after", open("file", O_RDONLY));
}

static void shared_without_sync(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    memcpy(at, "unsynced", 8);
    munmap(at, LENGTH);
    close(file);
    sum("after", open("file", O_RDONLY));
}

static void write_is_seen(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ, MAP_SHARED);
    say(" before=%c", at[100]);
    call("write", pwrite(file, "z", 1, 100));
    say(" after=%c", at[100]);
    int other = open("file", O_WRONLY);
    call("write", pwrite(other, "y", 1, 100));
    say(" after=%c", at[100]);
}

static void private_is_private(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    at[0] = 'p';
    char byte = 0;
    call("read", pread(file, &byte, 1, 0));
    say(" file=%c memory=%c", byte, at[0]);
    call("write", pwrite(file, "q", 1, 4096));
    say(" untouched=%c", at[4096]);
}

static void two_maps(void)
{
    int file = prepared();
    char *one = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    char *two = map(open("file", O_RDWR), PROT_READ | PROT_WRITE, MAP_SHARED);
    one[10] = '1';
    two[20] = '2';
    say(" one=%c%c two=%c%c", one[10], one[20], two[10], two[20]);
}

static char *shared;

static void change_aside(void)
{
    shared[1] = 'c';
    say(" sees=%c", shared[0]);
}

static void between_processes(void)
{
    shared = map(prepared(), PROT_READ | PROT_WRITE, MAP_SHARED);
    shared[0] = 'p';
    aside(change_aside);
    say(" sees=%c", shared[1]);
}

static sigjmp_buf out;

static void caught(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

static void touch(const char *what, char *at)
{
    signal(SIGBUS, caught);
    if (sigsetjmp(out, 1) == 0)
        say(" %s=%d", what, *(volatile char *)at);
    else
        say(" %s=SIGBUS", what);
}

static void cut_while_mapped(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    touch("before", at + 9000);
    call("truncate", ftruncate(file, 5000));
    touch("inside", at + 4999);
    touch("same-page", at + 5001);
    touch("outside", at + 9000);
    call("grow", ftruncate(file, LENGTH));
    touch("again", at + 9000);
    touch("cut", at + 5001);
    sum("after", file);
}

static void past_the_end(void)
{
    int file = put("file", "short");
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    touch("rest", at + 100);
    touch("next-page", at + 4096);
    at[100] = 'x';
    call("msync", msync(at, 4096, MS_SYNC));
    look("file");
    call("grow", ftruncate(file, 200));
    sum("after", file);
}

static void after_close_and_unlink(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    close(file);
    call("unlink", unlink("file"));
    at[8000] = 'u';
    say(" kept=%c%c", at[8000], at[8001]);
    call("msync", msync(at, LENGTH, MS_SYNC));
}

static void rights(void)
{
    prepared();
    int in = open("file", O_RDONLY), only_out = open("file", O_WRONLY);
    map(in, PROT_READ | PROT_WRITE, MAP_SHARED);
    map(only_out, PROT_WRITE, MAP_SHARED);
    say(" private=%d", map(in, PROT_READ | PROT_WRITE, MAP_PRIVATE) != 0);
    map(open(".", O_RDONLY), PROT_READ, MAP_SHARED);
}

static void moves_the_time(void)
{
    struct stat seen;
    struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    futimens(file, old);
    at[0] = 't';
    call("msync", msync(at, LENGTH, MS_SYNC));
    call("fsync", fsync(file));
    fstat(file, &seen);
    say(" moved=%d", seen.st_mtime > 1000);
}

static void advises(void)
{
    int file = prepared();
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    at[1] = 'b';
    call("dontneed", madvise(at, LENGTH, MADV_DONTNEED));
    say(" kept=%c%c", at[0], at[1]);
    call("fadvise", posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
    call("readahead", readahead(file, 0, LENGTH));
    say(" kept=%c%c", at[0], at[1]);
}

static void hole_is_filled(void)
{
    int file = put("file", "");
    call("grow", ftruncate(file, LENGTH));
    char *at = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    touch("hole", at + 6000);
    at[6000] = 'h';
    call("msync", msync(at, LENGTH, MS_SYNC));
    call("punch", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
    touch("punched", at + 6000);
    sum("after", file);
}

const struct family_case mapping[] = {
    { "shared is written", shared_is_written },
    { "shared without sync", shared_without_sync },
    { "write is seen", write_is_seen },
    { "private is private", private_is_private },
    { "two maps", two_maps },
    { "between processes", between_processes },
    { "cut while mapped", cut_while_mapped },
    { "past the end", past_the_end },
    { "after close and unlink", after_close_and_unlink },
    { "rights", rights },
    { "moves the time", moves_the_time },
    { "advises", advises },
    { "hole is filled", hole_is_filled },
    { 0, 0 },
};
