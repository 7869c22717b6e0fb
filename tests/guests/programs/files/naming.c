/* Names: rename, unlink, folders. */
#include "files.h"

static void moves(void)
{
    put("a", "one");
    call("rename", rename("a", "b"));
    look("a");
    show("b");
}

static void replaces(void)
{
    put("a", "one");
    put("b", "two");
    call("rename", rename("a", "b"));
    look("a");
    show("b");
}

static void replaces_what_is_open(void)
{
    struct stat seen;
    put("a", "one");
    int old = put("b", "two");
    call("rename", rename("a", "b"));
    show_open("old", old);
    fstat(old, &seen);
    about("old", &seen);
    call("write", pwrite(old, "TWO", 3, 0));
    show_open("old", old);
    show("b");
}

static void to_itself(void)
{
    put("a", "one");
    link("a", "same");
    call("itself", rename("a", "a"));
    call("other-name", rename("a", "same"));
    look("a");
    look("same");
}

static void across_folders(void)
{
    mkdir("from", 0755);
    mkdir("to", 0755);
    put("from/file", "moved");
    mkdir("from/folder", 0755);
    put("from/folder/inner", "deep");
    call("file", rename("from/file", "to/file"));
    call("folder", rename("from/folder", "to/folder"));
    show("to/file");
    show("to/folder/inner");
    look("from");
    look("to");
    struct stat one, two;
    stat("to", &one);
    stat("to/folder/..", &two);
    say(" parent=%s", one.st_ino == two.st_ino ? "new" : "old");
}

static void kinds_in_the_way(void)
{
    put("file", "");
    mkdir("empty", 0755);
    mkdir("full", 0755);
    mkdir("full/inner", 0755);
    call("file-folder", rename("file", "empty"));
    call("folder-file", rename("empty", "file"));
    call("folder-full", rename("empty", "full"));
    call("full-empty", rename("full", "empty"));
    look("empty/inner");
    call("into-itself", rename("empty", "empty/inner/x"));
    call("missing", rename("none", "x"));
    call("nowhere", rename("file", "none/x"));
    call("dot", rename("empty", "."));
}

static void no_replace(void)
{
    put("a", "one");
    put("b", "two");
    call("taken", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    call("free", renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
    show("a");
    show("b");
    show("c");
}

static void exchange(void)
{
    put("a", "one");
    mkdir("b", 0755);
    put("b/inner", "two");
    call("exchange", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
    show("a/inner");
    show("b");
    call("missing", renameat2(AT_FDCWD, "a", AT_FDCWD, "none", RENAME_EXCHANGE));
    call("both", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE | RENAME_NOREPLACE));
}

static void unlinks(void)
{
    put("file", "");
    mkdir("folder", 0755);
    call("file", unlink("file"));
    call("again", unlink("file"));
    call("folder", unlink("folder"));
    call("slash", unlink("folder/"));
    call("below", unlink("folder/none"));
}

static void unlinks_what_is_open(void)
{
    struct stat seen;
    int file = put("file", "still here");
    call("unlink", unlink("file"));
    look("file");
    show_open("open", file);
    call("write", pwrite(file, "STILL", 5, 0));
    call("truncate", ftruncate(file, 7));
    show_open("open", file);
    call("stat", fstat(file, &seen));
    about("open", &seen);
    call("chmod", fchmod(file, 0600));
    fstat(file, &seen);
    about("open", &seen);
    put("file", "new");
    show("file");
    show_open("open", file);
}

static void removes_folders(void)
{
    mkdir("empty", 0755);
    mkdir("full", 0755);
    put("full/file", "");
    put("file", "");
    call("empty", rmdir("empty"));
    call("full", rmdir("full"));
    call("file", rmdir("file"));
    call("missing", rmdir("none"));
    call("dot", rmdir("."));
    call("dot-dot", rmdir(".."));
}

static void removes_an_open_folder(void)
{
    struct stat seen;
    mkdir("folder", 0755);
    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    call("rmdir", rmdir("folder"));
    call("stat", fstat(folder, &seen));
    say(" kind=%o", seen.st_mode);
    done("create", openat(folder, "file", O_CREAT | O_RDWR, 0644));
    mkdir("folder", 0755);
    done("create", open("folder/file", O_CREAT | O_RDWR, 0644));
}

static void makes_folders(void)
{
    call("mkdir", mkdir("folder", 0750));
    call("again", mkdir("folder", 0750));
    call("nowhere", mkdir("none/folder", 0750));
    call("slash", mkdir("other/", 0700));
    call("deep", mkdir("folder/deep", 0700));
    look("folder");
    look("other");
}

static void inherits_a_group(void)
{
    struct stat seen;
    mkdir("folder", 0755);
    call("chown", chown("folder", -1, 1234));
    call("chmod", chmod("folder", 02775));
    mkdir("folder/inner", 0755);
    put("folder/file", "");
    stat("folder/inner", &seen);
    say(" inner=%o/%d", seen.st_mode, seen.st_gid);
    stat("folder/file", &seen);
    say(" file=%o/%d", seen.st_mode, seen.st_gid);
}

static void long_names(void)
{
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    done("255", open(name, O_CREAT | O_RDWR, 0644));
    look(name);
    call("unlink", unlink(name));
    name[255] = 'n';
    name[256] = 0;
    done("256", open(name, O_CREAT | O_RDWR, 0644));
    call("mkdir", mkdir(name, 0755));
    call("rename", rename("x", name));
    call("symlink", symlink("x", name));
}

static void deep_folders(void)
{
    int depth = 0;
    while (depth < 60 && mkdir("a-folder-with-a-rather-long-name", 0755) == 0 &&
           chdir("a-folder-with-a-rather-long-name") == 0)
        depth++;
    say(" depth=%d", depth);
    put("file", "at the bottom");
    show("file");
    char *path = getcwd(0, 0);
    say(" path=%s", path ? "known" : strerrorname_np(errno));
}

static void odd_names(void)
{
    static const char *names[] = { " ", "\xff\xfe", "new\nline", "-rf", "...", "*?[", "\\" };
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
        put(names[at], "odd");
        call("access", access(names[at], R_OK));
        call("unlink", unlink(names[at]));
    }
    done("empty", open("", O_CREAT | O_RDWR, 0644));
}

static void special_files(void)
{
    call("fifo", mkfifo("fifo", 0640));
    look("fifo");
    call("mknod", mknod("regular", S_IFREG | 0600, 0));
    look("regular");
    call("again", mkfifo("fifo", 0640));
    int end = done("open", open("fifo", O_RDWR | O_NONBLOCK));
    char byte = 0;
    call("write", write(end, "p", 1));
    call("read", read(end, &byte, 1));
    say(" byte=%c", byte);
}

const struct family_case naming[] = {
    { "moves", moves },
    { "replaces", replaces },
    { "replaces what is open", replaces_what_is_open },
    { "to itself", to_itself },
    { "across folders", across_folders },
    { "kinds in the way", kinds_in_the_way },
    { "no replace", no_replace },
    { "exchange", exchange },
    { "unlinks", unlinks },
    { "unlinks what is open", unlinks_what_is_open },
    { "removes folders", removes_folders },
    { "removes an open folder", removes_an_open_folder },
    { "makes folders", makes_folders },
    { "inherits a group", inherits_a_group },
    { "long names", long_names },
    { "deep folders", deep_folders },
    { "odd names", odd_names },
    { "special files", special_files },
    { 0, 0 },
};
