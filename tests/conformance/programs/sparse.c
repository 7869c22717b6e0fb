/* Holes: sizes, contents, where the data is, punching. */
#include "check.h"

int main(void)
{
    struct stat about;
    char bytes[8192];
    int fd = open("sparse", O_CREAT | O_RDWR, 0644);
    CALL(pwrite(fd, "end", 3, 100 << 20));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    IS(about.st_blocks * 512 < 1 << 20);
    CALL(pread(fd, bytes, 8192, 50 << 20));
    NUMBER(sum_of(bytes, 8192));
    CALL(lseek(fd, 0, SEEK_DATA) > 0);
    CALL(lseek(fd, 0, SEEK_HOLE));
    CALL(lseek(fd, 200 << 20, SEEK_DATA));
    CALL(lseek(fd, 100 << 20, SEEK_HOLE));
    memset(bytes, 5, sizeof bytes);
    for (int turn = 0; turn < 8; turn++)
        CALL(pwrite(fd, bytes, 8192, turn * 8192));
    IS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192) == 0);
    CALL(pread(fd, bytes, 8192, 0));
    NUMBER(bytes[4095] * 10 + bytes[4096]);
    CALL(fallocate(fd, 0, 200 << 20, 4096));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(fallocate(fd, FALLOC_FL_KEEP_SIZE, 300 << 20, 4096));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    NUMBER(posix_fallocate(fd, 0, 0));
    CALL(fallocate(fd, 0, -1, 5));
    CALL(ftruncate(fd, 4096));
    CALL(pread(fd, bytes, 8192, 0));
    CALL(ftruncate(fd, 8192));
    CALL(pread(fd, bytes, 8192, 0));
    NUMBER(bytes[4096] + bytes[8191]);
    return 0;
}
