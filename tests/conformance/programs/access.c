/* access, faccessat and umask. */
#include "check.h"

int main(void)
{
    close(make_file("file", 10));
    CALL(access("file", F_OK));
    CALL(access("file", R_OK | W_OK));
    CALL(access("file", X_OK));
    CALL(access("none", F_OK));
    CALL(access("file/below", F_OK));
    CALL(access("", F_OK));
    CALL(access("file", 99));
    CALL(chmod("file", 0700));
    CALL(access("file", X_OK));
    CALL(mkdir("folder", 0755));
    CALL(access("folder", X_OK | R_OK));
    CALL(symlink("none", "dangling"));
    CALL(access("dangling", F_OK));
    CALL(faccessat(AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    NUMBER(umask(027));
    NUMBER(umask(077));
    close(open("masked", O_CREAT | O_WRONLY, 0777));
    struct stat about;
    CALL(stat("masked", &about));
    NUMBER(about.st_mode & 07777);
    CALL(mkdir("masked-folder", 0777));
    CALL(stat("masked-folder", &about));
    NUMBER(about.st_mode & 07777);
    CALL(chmod("file", 04711));
    CALL(stat("file", &about));
    NUMBER(about.st_mode & 07777);
    CALL(access("/etc/passwd", R_OK));
    CALL(access("/proc/self/status", R_OK));
    CALL(access("/dev/null", R_OK | W_OK));
    return 0;
}
