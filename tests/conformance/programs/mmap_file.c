/* Mapped files: private and shared, past the end, after changes through the descriptor. */
#include "check.h"
#include <setjmp.h>

static sigjmp_buf back;
static void bus(int number) { siglongjmp(back, number); }

int main(void)
{
    int fd = make_file("file", 10000);
    char bytes[20] = "";
    char *private = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NUMBER(sum_of(private, 10000));
    IS(memcmp(private, shared, 10000) == 0);
    NUMBER(private[10000] + shared[12287]);
    private[100] = 'P';
    CALL(pread(fd, bytes, 1, 100));
    IS(bytes[0] != 'P' && shared[100] != 'P');
    shared[200] = 'S';
    CALL(msync(shared, 10000, MS_SYNC));
    CALL(pread(fd, bytes, 1, 200));
    IS(bytes[0] == 'S' && private[200] == 'S');
    CALL(pwrite(fd, "W", 1, 300));
    IS(shared[300] == 'W');
    CALL(pwrite(fd, "V", 1, 101));
    IS(private[101] != 'V');
    char *second = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    IS(second[0] == shared[4096]);
    MAP(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 100));
    int readable = open("file", O_RDONLY), writable = open("file", O_WRONLY);
    MAP(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, readable, 0));
    MAP(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, readable, 0));
    MAP(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, writable, 0));
    int folder = open(".", O_RDONLY);
    MAP(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, folder, 0));
    CALL(close(fd));
    shared[201] = 'T';
    NUMBER(private[201] == 'T' && shared[201] == 'T');
    CALL(munmap(shared, 10000));
    fd = open("file", O_RDWR);
    CALL(pread(fd, bytes, 2, 200));
    TEXT(bytes + 1);
    char *past = mmap(NULL, 5 * 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    signal(SIGBUS, bus);
    volatile int got = 0;
    if (sigsetjmp(back, 1) == 0)
        got = past[4 * 4096];
    else
        got = 1000;
    NUMBER(got);
    CALL(unlink("file"));
    NUMBER(private[100]);
    NUMBER(sum_of(past + 4096, 5904));
    int program = open("/proc/self/exe", O_RDONLY);
    char *image = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, program, 0);
    IS(memcmp(image, "\177ELF", 4) == 0);
    int zero = open("/dev/zero", O_RDWR);
    char *zeroes = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    IS(zeroes != MAP_FAILED && zeroes[8191] == 0);
    int memory = memfd_create("memory", MFD_CLOEXEC);
    CALL(ftruncate(memory, 8192));
    char *one = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    char *two = mmap(NULL, 8192, PROT_READ, MAP_SHARED, memory, 0);
    one[5000] = 'M';
    IS(two[5000] == 'M');
    return 0;
}
