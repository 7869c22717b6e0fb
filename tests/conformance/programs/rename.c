/* rename in all its cases. */
#include "check.h"

static void put(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (write(fd, text, strlen(text)) < 0)
        abort();
    close(fd);
}

static void show(const char *name)
{
    char text[100] = "";
    int fd = open(name, O_RDONLY);
    printf("%s: %s\n", name, fd >= 0 && read(fd, text, 99) >= 0 ? text : strerrorname_np(errno));
    close(fd);
}

int main(void)
{
    put("a", "one");
    put("b", "two");
    int open_b = open("b", O_RDONLY);
    CALL(rename("a", "b"));
    show("a");
    show("b");
    char text[10] = "";
    CALL(read(open_b, text, 9));
    TEXT(text);
    CALL(rename("b", "b"));
    CALL(rename("none", "c"));
    CALL(rename("b", "none/c"));
    CALL(rename("b/", "c"));
    CALL(mkdir("x", 0755));
    CALL(mkdir("y", 0755));
    put("y/file", "inside");
    CALL(rename("b", "x"));
    CALL(rename("x", "b"));
    CALL(rename("x", "y"));
    CALL(rename("y", "x"));
    show("x/file");
    CALL(rename("x", "x/deep"));
    CALL(rename("x", "."));
    CALL(link("b", "hard"));
    CALL(rename("b", "hard"));
    show("b");
    show("hard");
    CALL(symlink("b", "link"));
    CALL(rename("link", "x/link"));
    CALL(rename("b", "x/link"));
    show("x/link");
    CALL(renameat2(AT_FDCWD, "hard", AT_FDCWD, "x", RENAME_EXCHANGE));
    show("x");
    CALL(renameat2(AT_FDCWD, "hard", AT_FDCWD, "x", RENAME_NOREPLACE));
    CALL(renameat2(AT_FDCWD, "hard", AT_FDCWD, "x", RENAME_NOREPLACE | RENAME_EXCHANGE));
    CALL(rename("", "z"));
    return 0;
}
