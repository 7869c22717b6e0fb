/* open(2) and its flags. */
#include "files.h"

static void creates(void)
{
    done("open", open("file", O_CREAT | O_RDWR, 0640));
    look("file");
}

static void keeps_its_mode(void)
{
    close(open("file", O_CREAT | O_RDWR, 0600));
    done("again", open("file", O_CREAT | O_RDWR, 0777));
    look("file");
}

static void masks(void)
{
    umask(077);
    done("open", open("file", O_CREAT | O_RDWR, 0777));
    done("mkdir", mkdir("folder", 02777));
    look("file");
    look("folder");
}

static void exclusive(void)
{
    done("first", open("file", O_CREAT | O_EXCL | O_RDWR, 0644));
    done("second", open("file", O_CREAT | O_EXCL | O_RDWR, 0644));
    symlink("nowhere", "link");
    done("link", open("link", O_CREAT | O_EXCL | O_RDWR, 0644));
    look("nowhere");
}

static void through_a_link(void)
{
    symlink("made", "link");
    done("open", open("link", O_CREAT | O_RDWR, 0644));
    look("made");
    look("link");
}

static void truncates(void)
{
    int before = put("file", "some text");
    done("open", open("file", O_WRONLY | O_TRUNC));
    look("file");
    show_open("before", before);
}

static void appends(void)
{
    put("file", "0123");
    int file = open("file", O_RDWR | O_APPEND);
    call("write", write(file, "ab", 2));
    call("seek", lseek(file, 0, SEEK_SET));
    call("write", write(file, "cd", 2));
    call("place", lseek(file, 0, SEEK_CUR));
    call("pwrite", pwrite(file, "ef", 2, 0));
    show("file");
}

static void appends_from_two(void)
{
    int one = open("file", O_CREAT | O_WRONLY | O_APPEND, 0644);
    int two = open("file", O_WRONLY | O_APPEND);
    for (int round = 0; round < 5; round++) {
        call("one", write(one, "1", 1));
        call("two", write(two, "22", 2));
    }
    show("file");
}

static void begins_to_append(void)
{
    int file = put("file", "0123");
    call("set", fcntl(file, F_SETFL, O_APPEND));
    lseek(file, 0, SEEK_SET);
    call("write", write(file, "ab", 2));
    call("clear", fcntl(file, F_SETFL, 0));
    lseek(file, 0, SEEK_SET);
    call("write", write(file, "cd", 2));
    show("file");
}

static void without_a_name(void)
{
    int file = done("open", open(".", O_TMPFILE | O_RDWR, 0600));
    if (file < 0)
        return;
    call("write", write(file, "hidden", 6));
    char path[64];
    sprintf(path, "/proc/self/fd/%d", file);
    call("link", linkat(AT_FDCWD, path, AT_FDCWD, "shown", AT_SYMLINK_FOLLOW));
    show("shown");
}

static void direct(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    fill(page, sizeof page, 1);
    int file = done("open", open("file", O_CREAT | O_RDWR | O_DIRECT, 0644));
    call("write", pwrite(file, page, 8192, 4096));
    memset(page, 0, sizeof page);
    call("read", pread(file, page, 4096, 8192));
    say(" first=%02x", (unsigned char)page[0]);
    call("end", pread(file, page, 4096, 12288));
    int plain = open("file", O_RDONLY);
    sum("plain", plain);
}

static void direct_and_cached(void)
{
    static char page[4096] __attribute__((aligned(4096)));
    int cached = put("file", "");
    fill(page, sizeof page, 2);
    call("cached", pwrite(cached, page, 4096, 0));
    int file = open("file", O_RDWR | O_DIRECT);
    memset(page, 'x', sizeof page);
    call("direct", pwrite(file, page, 4096, 0));
    char byte = 0;
    call("read", pread(cached, &byte, 1, 100));
    say(" byte=%c", byte);
    memset(page, 'y', sizeof page);
    call("cached", pwrite(cached, page, 4096, 0));
    call("read", pread(file, page, 4096, 0));
    say(" byte=%c", page[4095]);
}

static void of_other_kinds(void)
{
    mkdir("folder", 0755);
    put("file", "");
    symlink("file", "link");
    done("folder-rw", open("folder", O_RDWR));
    done("folder-creat", open("folder", O_RDONLY | O_CREAT, 0644));
    done("file-as-folder", open("file", O_RDONLY | O_DIRECTORY));
    done("below-file", open("file/x", O_RDONLY));
    done("link-nofollow", open("link", O_RDONLY | O_NOFOLLOW));
    done("link-path", open("link", O_PATH | O_NOFOLLOW));
    done("slash", open("file/", O_RDONLY));
}

static void synchronous(void)
{
    int file = done("open", open("file", O_CREAT | O_RDWR | O_SYNC, 0644));
    call("write", write(file, "durable", 7));
    int data = done("dsync", open("file", O_RDWR | O_DSYNC));
    call("write", pwrite(data, "D", 1, 0));
    call("fsync", fsync(file));
    call("fdatasync", fdatasync(data));
    call("range", sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE));
    int folder = open(".", O_RDONLY | O_DIRECTORY);
    call("folder", fsync(folder));
    call("syncfs", syncfs(folder));
    show("file");
}

static void wrong_direction(void)
{
    char byte;
    put("file", "text");
    int in = open("file", O_RDONLY), out = open("file", O_WRONLY), path = open("file", O_PATH);
    call("write", write(in, "x", 1));
    call("read", read(out, &byte, 1));
    call("path", read(path, &byte, 1));
    call("truncate", ftruncate(in, 0));
    call("allocate", fallocate(in, 0, 0, 10));
    call("flags", fcntl(out, F_GETFL) & (O_ACCMODE | O_APPEND));
}

static void by_handle_below(void)
{
    mkdir("folder", 0755);
    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    int file = done("openat", openat(folder, "file", O_CREAT | O_RDWR, 0644));
    call("write", write(file, "below", 5));
    call("rename", rename("folder", "moved"));
    done("again", openat(folder, "file", O_RDONLY));
    show("moved/file");
}

const struct family_case opening[] = {
    { "creates", creates },
    { "keeps its mode", keeps_its_mode },
    { "masks", masks },
    { "exclusive", exclusive },
    { "through a link", through_a_link },
    { "truncates", truncates },
    { "appends", appends },
    { "appends from two", appends_from_two },
    { "begins to append", begins_to_append },
    { "without a name", without_a_name },
    { "direct", direct },
    { "direct and cached", direct_and_cached },
    { "of other kinds", of_other_kinds },
    { "synchronous", synchronous },
    { "wrong direction", wrong_direction },
    { "by handle below", by_handle_below },
    { 0, 0 },
};
