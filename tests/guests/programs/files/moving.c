/* Bytes: reading, writing, holes, lengths, copies. */
#include "files.h"

static char large[1 << 20];

static void large_file(void)
{
    int file = put("file", "");
    for (int part = 0; part < 4; part++) {
        fill(large, sizeof large, part);
        call("write", write(file, large, sizeof large));
    }
    sum("same", file);
    sum("again", open("file", O_RDONLY));
    look("file");
}

static void odd_pieces(void)
{
    int file = put("file", "");
    fill(large, sizeof large, 7);
    size_t at = 0;
    for (size_t length = 1; at + length < 300000; at += length, length = length * 3 / 2 + 1)
        if (pwrite(file, large + at, length, at) != (ssize_t)length)
            call("pwrite", -1);
    sum("sum", file);
}

static void vectors(void)
{
    char one[4] = "", two[4] = "";
    int file = put("file", "");
    struct iovec out[] = { { "abc", 3 }, { "", 0 }, { "defg", 4 } };
    struct iovec in[] = { { one, 3 }, { two, 3 } };
    call("writev", writev(file, out, 3));
    call("preadv", preadv(file, in, 2, 1));
    say(" one=%s two=%s", one, two);
    call("pwritev", pwritev(file, out, 1, 20));
    look("file");
}

static void past_the_end(void)
{
    char byte;
    int file = put("file", "text");
    call("read", pread(file, &byte, 1, 4));
    call("read", pread(file, &byte, 1, 1 << 30));
    call("write", pwrite(file, "x", 1, 10));
    show("file");
    call("negative", pread(file, &byte, 1, -1));
    call("seek", lseek(file, -1, SEEK_SET));
    call("end", lseek(file, 5, SEEK_END));
}

static void shrinks_and_grows(void)
{
    int file = put("file", "0123456789");
    call("shrink", ftruncate(file, 4));
    call("grow", ftruncate(file, 8));
    show("file");
    call("by-name", truncate("file", 2));
    look("file");
    call("negative", ftruncate(file, -1));
    call("folder", truncate(".", 0));
    call("missing", truncate("none", 0));
    call("huge", ftruncate(file, 1L << 40));
    look("file");
}

static void seen_by_another(void)
{
    int one = put("file", "first");
    int two = open("file", O_RDWR);
    show_open("two", two);
    call("write", pwrite(one, "FIRST and more", 14, 0));
    show_open("two", two);
    call("truncate", ftruncate(two, 3));
    show_open("one", one);
    call("end", lseek(one, 0, SEEK_END));
}

static int shared_file;

static void write_aside(void)
{
    call("aside", write(shared_file, "child", 5));
}

static void shares_its_place(void)
{
    shared_file = put("file", "");
    call("write", write(shared_file, "parent ", 7));
    aside(write_aside);
    call("place", lseek(shared_file, 0, SEEK_CUR));
    show("file");
}

static void holes(void)
{
    int file = put("file", "");
    call("write", pwrite(file, "end", 3, 1 << 20));
    struct stat seen;
    fstat(file, &seen);
    say(" sparse=%d", seen.st_blocks * 512 < seen.st_size / 2);
    call("data", lseek(file, 0, SEEK_DATA));
    call("hole", lseek(file, 0, SEEK_HOLE));
    call("hole", lseek(file, 1 << 20, SEEK_HOLE));
    call("past", lseek(file, 2 << 20, SEEK_DATA));
    sum("sum", file);
}

static void allocates(void)
{
    struct stat seen;
    int file = put("file", "text");
    call("plain", fallocate(file, 0, 0, 100000));
    fstat(file, &seen);
    about("file", &seen);
    say(" full=%d", seen.st_blocks * 512 >= 100000);
    call("keep", fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 200000));
    fstat(file, &seen);
    about("file", &seen);
    call("posix", posix_fallocate(file, 0, 150000));
    fstat(file, &seen);
    about("file", &seen);
    show("file");
    call("zero", fallocate(file, 0, 0, 0));
    call("negative", fallocate(file, 0, -1, 10));
}

static void punches(void)
{
    int file = put("file", "");
    fill(large, sizeof large, 3);
    pwrite(file, large, 100000, 0);
    sum("before", file);
    call("punch", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10000, 50000));
    sum("after", file);
    call("hole", lseek(file, 0, SEEK_HOLE));
    call("alone", fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 4096));
}

static void zeroes(void)
{
    int file = put("file", "");
    fill(large, sizeof large, 4);
    pwrite(file, large, 100000, 0);
    call("zero", fallocate(file, FALLOC_FL_ZERO_RANGE, 1000, 50000));
    sum("after", file);
    call("grow", fallocate(file, FALLOC_FL_ZERO_RANGE, 90000, 50000));
    sum("after", file);
    call("keep", fallocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 130000, 50000));
    sum("after", file);
}

static void collapses(void)
{
    int file = put("file", "");
    fill(large, sizeof large, 5);
    pwrite(file, large, 65536, 0);
    call("collapse", fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096));
    sum("after", file);
}

static void inserts(void)
{
    int file = put("file", "");
    fill(large, sizeof large, 6);
    pwrite(file, large, 65536, 0);
    call("insert", fallocate(file, FALLOC_FL_INSERT_RANGE, 4096, 4096));
    sum("after", file);
}

static void copies(void)
{
    int from = put("from", ""), to = put("to", "");
    fill(large, sizeof large, 8);
    pwrite(from, large, 300000, 0);
    loff_t at = 1000, onto = 500;
    call("copy", copy_file_range(from, &at, to, &onto, 200000, 0));
    say(" at=%ld onto=%ld", (long)at, (long)onto);
    sum("to", to);
    lseek(from, 0, SEEK_SET);
    call("place", copy_file_range(from, 0, to, 0, 100, 0));
    call("end", copy_file_range(from, &(loff_t){ 300000 }, to, 0, 100, 0));
    call("overlap", copy_file_range(from, &(loff_t){ 0 }, from, &(loff_t){ 10 }, 100, 0));
    call("flags", copy_file_range(from, 0, to, 0, 10, 1));
}

static void sends(void)
{
    int from = put("from", ""), to = put("to", "");
    fill(large, sizeof large, 9);
    pwrite(from, large, 200000, 0);
    off_t at = 100;
    call("send", sendfile(to, from, &at, 150000));
    say(" at=%ld", (long)at);
    sum("to", to);
}

static void splices(void)
{
    int ends[2], from = put("from", "through a pipe"), to = put("to", "");
    if (pipe(ends) < 0)
        return;
    call("in", splice(from, &(loff_t){ 8 }, ends[1], 0, 6, 0));
    call("out", splice(ends[0], 0, to, 0, 6, 0));
    show("to");
}

static void limited(void)
{
    signal(SIGXFSZ, SIG_IGN);
    int file = put("file", "");
    call("far", pwrite(file, "x", 1, 1L << 42));
    call("farther", pwrite(file, "x", 1, 0x7fffffffffffffffL - 1));
    call("truncate", ftruncate(file, 0x7fffffffffffffffL));
    look("file");
}

static void writes_drop_privileges(void)
{
    int file = put("file", "program");
    fchmod(file, 06755);
    look("file");
    call("write", pwrite(file, "P", 1, 0));
    look("file");
    fchmod(file, 06755);
    call("truncate", ftruncate(file, 3));
    look("file");
}

static void times_move(void)
{
    struct stat before, after;
    int file = put("file", "x");
    struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
    futimens(file, old);
    fstat(file, &before);
    call("write", pwrite(file, "y", 1, 0));
    fstat(file, &after);
    say(" written=%d", after.st_mtime > before.st_mtime);
    futimens(file, old);
    call("truncate", ftruncate(file, 0));
    fstat(file, &after);
    say(" cut=%d", after.st_mtime > before.st_mtime);
    futimens(AT_FDCWD, old);
    utimensat(AT_FDCWD, ".", old, 0);
    put("new", "");
    stat(".", &after);
    say(" folder=%d", after.st_mtime > 1000);
}

const struct family_case moving[] = {
    { "large file", large_file },
    { "odd pieces", odd_pieces },
    { "vectors", vectors },
    { "past the end", past_the_end },
    { "shrinks and grows", shrinks_and_grows },
    { "seen by another", seen_by_another },
    { "shares its place", shares_its_place },
    { "holes", holes },
    { "allocates", allocates },
    { "punches", punches },
    { "zeroes", zeroes },
    { "collapses", collapses },
    { "inserts", inserts },
    { "copies", copies },
    { "sends", sends },
    { "splices", splices },
    { "limited", limited },
    { "writes drop privileges", writes_drop_privileges },
    { "times move", times_move },
    { 0, 0 },
};
