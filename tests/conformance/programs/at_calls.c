/* The calls that take a folder's descriptor. */
#include "check.h"
#include <sys/syscall.h>

int main(void)
{
    struct stat about;
    char text[100] = "";
    CALL(mkdir("folder", 0755));
    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    CALL(folder >= 3);
    int fd = openat(folder, "file", O_CREAT | O_RDWR, 0640);
    CALL(write(fd, "content", 7));
    CALL(fstatat(folder, "file", &about, 0));
    NUMBER(about.st_size);
    CALL(fstatat(folder, "none", &about, 0));
    CALL(fstatat(fd, "", &about, AT_EMPTY_PATH));
    NUMBER(about.st_size);
    CALL(fstatat(fd, "", &about, 0));
    CALL(fstatat(fd, "below", &about, 0));
    CALL(fstatat(99, "below", &about, 0));
    CALL(fstatat(99, "/", &about, 0));
    CALL(mkdirat(folder, "inner", 0700));
    CALL(mkdirat(folder, "inner", 0700));
    CALL(symlinkat("file", folder, "link"));
    CALL(readlinkat(folder, "link", text, 3));
    TEXT(text);
    CALL(readlinkat(folder, "file", text, 3));
    CALL(linkat(folder, "file", AT_FDCWD, "hard", 0));
    CALL(fstatat(AT_FDCWD, "hard", &about, 0));
    NUMBER(about.st_nlink);
    CALL(renameat(folder, "link", AT_FDCWD, "moved"));
    CALL(renameat2(folder, "file", AT_FDCWD, "hard", RENAME_NOREPLACE));
    CALL(renameat2(folder, "file", AT_FDCWD, "moved", RENAME_EXCHANGE));
    CALL(fstatat(folder, "file", &about, AT_SYMLINK_NOFOLLOW));
    IS(S_ISLNK(about.st_mode));
    CALL(unlinkat(folder, "inner", 0));
    CALL(unlinkat(folder, "inner", AT_REMOVEDIR));
    CALL(unlinkat(folder, "file", AT_REMOVEDIR));
    CALL(unlinkat(folder, "file", 0));
    CALL(fchmodat(AT_FDCWD, "hard", 0600, 0));
    CALL(faccessat(AT_FDCWD, "hard", W_OK, 0));
    CALL(openat(folder, "../hard", O_RDONLY) >= 0);
    CALL(openat(folder, "../../../../../../../../..", O_RDONLY | O_DIRECTORY) >= 0);
    CALL(openat(folder, "x", O_RDONLY | O_DIRECTORY));
    CALL(openat(AT_FDCWD, "hard", O_RDONLY | O_DIRECTORY));
    CALL(openat(AT_FDCWD, "folder", O_WRONLY));
    int path = open("hard", O_PATH);
    CALL(read(path, text, 1));
    CALL(fstat(path, &about));
    CALL(mknodat(folder, "pipe", S_IFIFO | 0600, 0));
    CALL(fstatat(folder, "pipe", &about, 0));
    IS(S_ISFIFO(about.st_mode));
    struct statx extended;
    CALL(statx(AT_FDCWD, "hard", 0, STATX_BASIC_STATS, &extended));
    NUMBER(extended.stx_size);
    NUMBER(extended.stx_mode & 07777);
    CALL(statx(AT_FDCWD, "none", 0, STATX_BASIC_STATS, &extended));
    return 0;
}
