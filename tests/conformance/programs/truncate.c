/* truncate and ftruncate, with and without mappings. */
#include "check.h"

int main(void)
{
    struct stat about;
    char bytes[100] = "";
    int fd = make_file("file", 5000);
    CALL(ftruncate(fd, 100));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(lseek(fd, 0, SEEK_CUR));
    CALL(write(fd, "x", 1));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(pread(fd, bytes, 100, 150));
    NUMBER(sum_of(bytes, 100));
    CALL(truncate("file", 10));
    CALL(truncate("none", 10));
    CALL(truncate(".", 10));
    CALL(truncate("file", -1));
    CALL(ftruncate(fd, -1));
    CALL(ftruncate(99, 1));
    int readable = open("file", O_RDONLY);
    CALL(ftruncate(readable, 1));
    CALL(ftruncate(fd, 1l << 40));
    CALL(fstat(fd, &about));
    NUMBER(about.st_size);
    CALL(ftruncate(fd, 20000));
    char *shared = mmap(NULL, 20000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(shared, 6, 20000);
    CALL(ftruncate(fd, 5000));
    CALL(ftruncate(fd, 20000));
    NUMBER(shared[4999] * 10 + shared[5000]);
    NUMBER(shared[19999]);
    CALL(pread(fd, bytes, 100, 4950));
    NUMBER(sum_of(bytes, 100));
    return 0;
}
