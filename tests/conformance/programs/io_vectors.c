/* read and write in all their forms, at the edges. */
#include "check.h"
#include <sys/sendfile.h>
#include <sys/uio.h>

int main(void)
{
    char a[10] = "", b[20] = "", c[300] = "";
    int fd = make_file("file", 1000);
    CALL(lseek(fd, 0, SEEK_SET));
    struct iovec parts[3] = {{a, 10}, {b, 20}, {c, 300}};
    CALL(readv(fd, parts, 3));
    NUMBER(sum_of(a, 10));
    NUMBER(sum_of(b, 20));
    NUMBER(sum_of(c, 300));
    CALL(preadv(fd, parts, 2, 990));
    CALL(preadv(fd, parts, 2, 2000));
    CALL(preadv(fd, parts, 2, -1));
    CALL(lseek(fd, 0, SEEK_CUR));
    CALL(readv(fd, parts, -1));
    CALL(readv(fd, parts, 0));
    CALL(readv(fd, parts, 2000));
    CALL(pread(fd, c, 300, 900));
    CALL(pread(fd, c, 0, 900));
    CALL(pread(fd, c, 300, -5));
    CALL(pwrite(fd, "hole", 4, 5000));
    CALL(lseek(fd, 0, SEEK_END));
    CALL(pwritev(fd, parts, 3, 100));
    CALL(writev(fd, parts, 3));
    CALL(lseek(fd, 0, SEEK_CUR));
    CALL(lseek(fd, -10000, SEEK_CUR));
    CALL(lseek(fd, 5, 99));
    CALL(lseek(fd, 1, SEEK_SET));
    CALL(read(fd, (void *)1, 10));
    CALL(write(fd, (void *)1, 10));
    CALL(lseek(fd, 0, SEEK_CUR));
    CALL(read(fd, c, 0));
    CALL(read(99, c, 1));
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CALL(mprotect(pages + 4096, 4096, PROT_NONE));
    CALL(pread(fd, pages + 4086, 10, 0));
    CALL(pread(fd, pages + 4096, 10, 0));
    parts[1].iov_base = (void *)1;
    CALL(pwritev(fd, parts, 1, 0));
    int none = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
    CALL(read(none, c, 5));
    CALL(write(none, c, 5));
    CALL(read(zero, c, 300));
    NUMBER(sum_of(c, 300));
    int full = open("/dev/full", O_WRONLY);
    CALL(write(full, c, 5));
    int readable = open("file", O_RDONLY), writable = open("file", O_WRONLY);
    CALL(write(readable, c, 1));
    CALL(read(writable, c, 1));
    int out = open("copy", O_CREAT | O_RDWR, 0644);
    off_t from = 10;
    CALL(sendfile(out, fd, &from, 500));
    NUMBER(from);
    loff_t in_place = 0, out_place = 1000;
    CALL(copy_file_range(fd, &in_place, out, &out_place, 100, 0));
    CALL(fsync(out));
    CALL(fdatasync(out));
    CALL(fsync(99));
    CALL(posix_fadvise(out, 0, 0, POSIX_FADV_SEQUENTIAL));
    CALL(ftruncate(out, 700));
    lseek(out, 0, SEEK_SET);
    long total = 0, got;
    while ((got = read(out, c, 77)) > 0)
        total += got;
    NUMBER(total);
    return 0;
}
