/* Hard and symbolic links. */
#include "files.h"

static void hard(void)
{
    put("a", "shared");
    call("link", link("a", "b"));
    look("a");
    look("b");
    call("truncate", truncate("b", 3));
    show("a");
    call("unlink", unlink("a"));
    look("b");
}

static void hard_in_the_way(void)
{
    put("a", "");
    put("b", "");
    mkdir("folder", 0755);
    call("taken", link("a", "b"));
    call("folder", link("folder", "c"));
    call("missing", link("none", "c"));
    call("nowhere", link("a", "none/c"));
}

static void same_number(void)
{
    struct stat one, two;
    put("a", "");
    mkdir("folder", 0755);
    link("a", "folder/b");
    stat("a", &one);
    stat("folder/b", &two);
    say(" same=%d", one.st_ino == two.st_ino && one.st_dev == two.st_dev);
    rename("a", "c");
    stat("c", &two);
    say(" same=%d", one.st_ino == two.st_ino);
}

static void hard_to_a_link(void)
{
    put("file", "text");
    symlink("file", "soft");
    call("link", link("soft", "hard"));
    look("hard");
    call("follow", linkat(AT_FDCWD, "soft", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    look("followed");
}

static void many(void)
{
    char name[20];
    put("file", "");
    for (int number = 0; number < 200; number++) {
        sprintf(name, "link%d", number);
        if (link("file", name) < 0)
            call(name, -1);
    }
    look("file");
}

static void soft(void)
{
    char text[100] = "";
    put("file", "target");
    call("symlink", symlink("file", "soft"));
    call("read", readlink("soft", text, sizeof text));
    say(" text=%s", text);
    look("soft");
    show("soft");
    call("short", readlink("soft", text, 2));
    call("file", readlink("file", text, sizeof text));
    call("again", symlink("x", "soft"));
}

static void soft_to_nothing(void)
{
    struct stat seen;
    call("symlink", symlink("none", "soft"));
    call("stat", stat("soft", &seen));
    call("lstat", lstat("soft", &seen));
    call("open", open("soft", O_RDONLY));
    call("chmod", chmod("soft", 0600));
    call("unlink", unlink("soft"));
}

static void soft_in_a_ring(void)
{
    symlink("two", "one");
    symlink("one", "two");
    call("open", open("one", O_RDONLY));
    symlink(".", "here");
    put("file", "found");
    show("here/here/here/file");
}

static void soft_and_long(void)
{
    static char text[5000], back[5000];
    memset(text, 'x', sizeof text);
    text[4095] = 0;
    call("4095", symlink(text, "long"));
    call("read", readlink("long", back, sizeof back));
    text[4095] = 'x';
    text[4096] = 0;
    call("4096", symlink(text, "longer"));
    call("empty", symlink("", "empty"));
}

static void soft_across_folders(void)
{
    mkdir("a", 0755);
    mkdir("b", 0755);
    put("b/file", "reached");
    symlink("../b", "a/link");
    show("a/link/file");
    call("rename", rename("a/link", "moved"));
    show("moved/file");
    look("moved");
    put("file", "");
    call("over", rename("file", "moved"));
    look("moved");
    look("b");
}

static void unlinked_and_linked_again(void)
{
    char path[64];
    int file = put("file", "nameless");
    unlink("file");
    sprintf(path, "/proc/self/fd/%d", file);
    call("link", linkat(AT_FDCWD, path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
    look("again");
}

const struct family_case linking[] = {
    { "hard", hard },
    { "hard in the way", hard_in_the_way },
    { "same number", same_number },
    { "hard to a link", hard_to_a_link },
    { "many", many },
    { "soft", soft },
    { "soft to nothing", soft_to_nothing },
    { "soft in a ring", soft_in_a_ring },
    { "soft and long", soft_and_long },
    { "soft across folders", soft_across_folders },
    { "unlinked and linked again", unlinked_and_linked_again },
    { 0, 0 },
};
