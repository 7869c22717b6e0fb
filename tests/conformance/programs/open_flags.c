/* open and its flags. */
#include "check.h"

int main(void)
{
    char byte = 0;
    struct stat about;
    CALL(open("none", O_RDONLY));
    CALL(open("none/file", O_CREAT | O_WRONLY, 0644));
    CALL(open("", O_RDONLY));
    CALL(open((char *)1, O_RDONLY));
    int fd = open("file", O_CREAT | O_EXCL | O_RDWR, 0640);
    NUMBER(fd);
    CALL(open("file", O_CREAT | O_EXCL | O_RDWR, 0640));
    CALL(write(fd, "0123456789", 10));
    int append = open("file", O_WRONLY | O_APPEND);
    CALL(write(append, "ab", 2));
    CALL(lseek(append, 0, SEEK_SET));
    CALL(write(append, "cd", 2));
    CALL(lseek(append, 0, SEEK_CUR));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(pwrite(fd, "Z", 1, 3));
    int again = open("file", O_RDONLY);
    CALL(pread(again, &byte, 1, 3));
    NUMBER(byte);
    CALL(close(open("file", O_WRONLY | O_TRUNC)));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(read(again, &byte, 1));
    CALL(open(".", O_WRONLY));
    CALL(open(".", O_RDWR));
    CALL(open(".", O_RDONLY | O_CREAT, 0644));
    CALL(open("file/", O_RDONLY));
    CALL(open("file", O_RDONLY | O_DIRECTORY));
    CALL(open("new/", O_CREAT | O_WRONLY, 0644));
    CALL(open("file", O_RDONLY | O_CLOEXEC) >= 0);
    CALL(open("/dev/null", O_RDWR) >= 0);
    CALL(open("/dev/urandom", O_RDONLY) >= 0);
    CALL(open("/dev/none", O_RDONLY));
    CALL(open("/proc/self/status", O_RDONLY) >= 0);
    CALL(open("/proc/none", O_RDONLY));
    int hidden = open(".", O_TMPFILE | O_RDWR, 0600);
    IS(hidden >= 0 || errno == EOPNOTSUPP);
    close(hidden);
    CALL(creat("created", 0400) >= 0);
    CALL(stat("created", &about));
    NUMBER(about.st_mode & 07777);
    CALL(truncate("created", 5) == 0 || errno == EACCES);
    CALL(open("file", O_RDWR | O_SYNC | O_NOATIME) >= 0);
    int last = open("file", O_RDONLY);
    CALL(close(last));
    CALL(open("file", O_RDONLY) == last);
    char name[300];
    memset(name, 'n', 299);
    name[299] = 0;
    CALL(open(name, O_CREAT | O_WRONLY, 0644));
    name[255] = 0;
    CALL(open(name, O_CREAT | O_WRONLY, 0644) >= 0);
    CALL(open("odd \xff\x01 name", O_CREAT | O_WRONLY, 0644) >= 0);
    return 0;
}
