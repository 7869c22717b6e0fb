/* What a file says of itself: modes, owners, times, attributes, space. */
#include "files.h"

static void modes(void)
{
    static const int all[] = { 0, 0777, 0644, 01777, 02755, 04711, 0111 };
    put("file", "");
    for (size_t at = 0; at < sizeof all / sizeof *all; at++) {
        call("chmod", chmod("file", all[at]));
        look("file");
    }
    call("missing", chmod("none", 0644));
}

static void modes_of_folders(void)
{
    mkdir("folder", 0755);
    call("chmod", chmod("folder", 01777));
    look("folder");
    call("fchmod", fchmod(open("folder", O_RDONLY), 0500));
    look("folder");
    chmod("folder", 0755);
}

static void owners(void)
{
    struct stat seen;
    put("file", "");
    call("chown", chown("file", 1001, 1002));
    stat("file", &seen);
    say(" owner=%d/%d", seen.st_uid, seen.st_gid);
    call("group", chown("file", -1, 7));
    call("user", chown("file", 8, -1));
    stat("file", &seen);
    say(" owner=%d/%d", seen.st_uid, seen.st_gid);
    call("neither", chown("file", -1, -1));
    symlink("file", "link");
    call("lchown", lchown("link", 5, 6));
    lstat("link", &seen);
    say(" link=%d/%d", seen.st_uid, seen.st_gid);
    stat("file", &seen);
    say(" file=%d/%d", seen.st_uid, seen.st_gid);
}

static void owners_drop_privileges(void)
{
    put("file", "");
    chmod("file", 06755);
    call("chown", chown("file", 1001, 1002));
    look("file");
    chmod("file", 02644);
    call("chown", chown("file", 1001, 1003));
    look("file");
}

static void of_a_user(void)
{
    if (setgid(1002) < 0 || setuid(1001) < 0)
        call("setuid", -1);
    done("create", open("file", O_CREAT | O_RDWR, 0644));
}

static void made_by_a_user(void)
{
    struct stat seen;
    chmod(".", 0777);
    aside(of_a_user);
    call("stat", stat("file", &seen));
    say(" owner=%d/%d %o", seen.st_uid, seen.st_gid, seen.st_mode);
}

static void as_a_stranger(void)
{
    if (setgid(1002) < 0 || setuid(1001) < 0)
        call("setuid", -1);
    done("read", open("secret", O_RDONLY));
    done("write", open("public", O_WRONLY));
    done("read", open("public", O_RDONLY));
    done("create", open("new", O_CREAT | O_RDWR, 0644));
    call("chmod", chmod("public", 0777));
    call("chown", chown("public", 1001, -1));
    call("unlink", unlink("public"));
    call("access", access("public", W_OK));
    call("times", utimensat(AT_FDCWD, "public", 0, 0));
}

static void refuses_strangers(void)
{
    put("secret", "");
    chmod("secret", 0600);
    put("public", "");
    chmod(".", 0755);
    aside(as_a_stranger);
}

static void in_a_sticky_folder(void)
{
    if (setgid(1002) < 0 || setuid(1001) < 0)
        call("setuid", -1);
    call("unlink", unlink("sticky/others"));
    call("rename", rename("sticky/others", "sticky/mine"));
    done("create", open("sticky/own", O_CREAT | O_RDWR, 0644));
    call("unlink", unlink("sticky/own"));
}

static void sticky(void)
{
    mkdir("sticky", 0755);
    chmod("sticky", 01777);
    put("sticky/others", "");
    aside(in_a_sticky_folder);
}

static void times(void)
{
    struct stat seen;
    put("file", "");
    struct timespec both[2] = { { 1234567890, 123456789 }, { 987654321, 987654321 } };
    call("set", utimensat(AT_FDCWD, "file", both, 0));
    stat("file", &seen);
    say(" %ld.%09ld %ld.%09ld", (long)seen.st_atim.tv_sec, seen.st_atim.tv_nsec,
        (long)seen.st_mtim.tv_sec, seen.st_mtim.tv_nsec);
    struct timespec omit[2] = { { 0, UTIME_OMIT }, { 5, 5 } };
    call("omit", utimensat(AT_FDCWD, "file", omit, 0));
    stat("file", &seen);
    say(" %ld.%09ld %ld.%09ld", (long)seen.st_atim.tv_sec, seen.st_atim.tv_nsec,
        (long)seen.st_mtim.tv_sec, seen.st_mtim.tv_nsec);
    struct timespec wrong[2] = { { 0, 1000000000 }, { 0, 0 } };
    call("wrong", utimensat(AT_FDCWD, "file", wrong, 0));
    struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
    call("now", utimensat(AT_FDCWD, "file", now, 0));
    stat("file", &seen);
    say(" now=%d mtime=%ld", seen.st_atime > 1500000000, (long)seen.st_mtime);
}

static void times_before_1970(void)
{
    struct stat seen;
    put("file", "");
    struct timespec both[2] = { { -1000, 0 }, { -2, 500000000 } };
    call("set", utimensat(AT_FDCWD, "file", both, 0));
    stat("file", &seen);
    say(" %ld %ld.%09ld", (long)seen.st_atime, (long)seen.st_mtime, seen.st_mtim.tv_nsec);
}

static void times_of_a_link(void)
{
    struct stat seen;
    symlink("none", "link");
    struct timespec both[2] = { { 100, 0 }, { 200, 0 } };
    call("set", utimensat(AT_FDCWD, "link", both, AT_SYMLINK_NOFOLLOW));
    lstat("link", &seen);
    say(" %ld", (long)seen.st_mtime);
    call("follow", utimensat(AT_FDCWD, "link", both, 0));
}

static void extended(void)
{
    char value[64] = "";
    put("file", "");
    call("set", setxattr("file", "user.one", "value", 5, 0));
    call("get", getxattr("file", "user.one", value, sizeof value));
    say(" value=%s", value);
    call("list", listxattr("file", value, sizeof value));
    call("remove", removexattr("file", "user.one"));
}

static void extended_and_missing(void)
{
    char value[64];
    put("file", "");
    call("get", getxattr("file", "user.none", value, sizeof value));
    call("remove", removexattr("file", "user.none"));
    call("list", listxattr("file", value, sizeof value));
    call("space", setxattr("file", "strange.one", "value", 5, 0));
}

static void space(void)
{
    struct statvfs seen;
    call("statvfs", statvfs(".", &seen));
    say(" names=%lu blocks=%d free=%d", seen.f_namemax, seen.f_blocks > 0,
        seen.f_bfree <= seen.f_blocks && seen.f_bfree > 0);
    say(" sizes=%lu/%lu read-only=%d", seen.f_bsize, seen.f_frsize, !!(seen.f_flag & ST_RDONLY));
}

static void asks(void)
{
    put("file", "");
    chmod("file", 0444);
    call("read", access("file", R_OK));
    call("execute", access("file", X_OK));
    chmod("file", 0555);
    call("execute", access("file", X_OK));
    call("missing", access("none", F_OK));
    call("wrong", access("file", 8));
}

static void runs(void)
{
    int file = put("script", "#!/bin/sh\nexit 7\n");
    fchmod(file, 0755);
    close(file);
    int status = system("./script");
    say(" status=%d", WEXITSTATUS(status));
    chmod("script", 0644);
    call("exec", execl("./script", "script", (char *)0));
}

static void extended_stat(void)
{
    struct statx seen;
    put("file", "text");
    call("statx", statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &seen));
    say(" %o/%lld/%u", seen.stx_mode, (long long)seen.stx_size, seen.stx_nlink);
    call("sync", statx(AT_FDCWD, "file", AT_STATX_FORCE_SYNC, STATX_SIZE, &seen));
    call("cached", statx(AT_FDCWD, "file", AT_STATX_DONT_SYNC, STATX_SIZE, &seen));
    say(" %lld", (long long)seen.stx_size);
}

const struct family_case describing[] = {
    { "modes", modes },
    { "modes of folders", modes_of_folders },
    { "owners", owners },
    { "owners drop privileges", owners_drop_privileges },
    { "made by a user", made_by_a_user },
    { "refuses strangers", refuses_strangers },
    { "sticky", sticky },
    { "times", times },
    { "times before 1970", times_before_1970 },
    { "times of a link", times_of_a_link },
    { "extended", extended },
    { "extended and missing", extended_and_missing },
    { "space", space },
    { "asks", asks },
    { "runs", runs },
    { "extended stat", extended_stat },
    { 0, 0 },
};
