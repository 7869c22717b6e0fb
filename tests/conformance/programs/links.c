/* Hard and symbolic links; a file that is removed while it is open. */
#include "check.h"

int main(void)
{
    char text[100] = "";
    struct stat about;
    int fd = make_file("file", 50);
    CALL(link("file", "hard"));
    CALL(link("file", "hard"));
    CALL(link("none", "other"));
    CALL(fstat(fd, &about));
    NUMBER(about.st_nlink);
    CALL(unlink("file"));
    CALL(fstat(fd, &about));
    NUMBER(about.st_nlink);
    CALL(unlink("hard"));
    CALL(fstat(fd, &about));
    NUMBER(about.st_nlink);
    CALL(pread(fd, text, 50, 0));
    NUMBER(sum_of(text, 50));
    CALL(pwrite(fd, "still there", 11, 40));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(ftruncate(fd, 5));
    CALL(close(fd));
    CALL(unlink("file"));
    CALL(symlink("target", "link"));
    CALL(symlink("target", "link"));
    memset(text, 0, sizeof text);
    CALL(readlink("link", text, sizeof text));
    TEXT(text);
    CALL(readlink("link", text, 2));
    CALL(readlink("none", text, 2));
    CALL(readlink(".", text, 2));
    CALL(open("link", O_RDONLY));
    CALL(open("link", O_RDONLY | O_NOFOLLOW));
    CALL(open("link", O_CREAT | O_EXCL | O_WRONLY, 0644));
    CALL(close(open("link", O_CREAT | O_WRONLY, 0644)));
    CALL(access("target", F_OK));
    CALL(lstat("link", &about));
    NUMBER(about.st_size);
    IS(S_ISLNK(about.st_mode));
    CALL(symlink("second", "first"));
    CALL(symlink("first", "second"));
    CALL(open("first", O_RDONLY));
    CALL(stat("first", &about));
    CALL(unlink("link"));
    CALL(access("target", F_OK));
    CALL(mkdir("folder", 0755));
    CALL(link("folder", "folder-link"));
    CALL(unlink("folder"));
    CALL(symlink("folder", "to-folder"));
    CALL(unlink("to-folder/"));
    CALL(mkdir("to-folder/inner", 0755));
    CALL(rmdir("to-folder"));
    CALL(symlink("", "empty"));
    CALL(unlink(""));
    CALL(unlink("/none/none"));
    return 0;
}
