/* A large file of the root in all kinds of mappings that do not change it: read, executed, written
   to in private, moved, protected, dropped, and as the argument of system calls. */
#include "check.h"
#include <setjmp.h>
#include <sys/uio.h>

#define FILE_NAME "/lib/x86_64-linux-gnu/libc.so.6"
#define LENGTH (512 << 10)
#define PAGE 4096

static sigjmp_buf back;
static void fault(int number) { siglongjmp(back, number); }

/* The signal that writing there brings, or zero. */
static int writing(volatile char *at)
{
    int got = sigsetjmp(back, 1);
    if (got == 0)
        *at = *at;
    return got;
}

static char original[LENGTH];

static int same(const char *at, size_t from, size_t length) { return memcmp(at, original + from, length) == 0; }

int main(void)
{
    signal(SIGSEGV, fault);
    signal(SIGBUS, fault);
    int fd = open(FILE_NAME, O_RDONLY);
    IS(read(fd, original, LENGTH) == LENGTH);

    char *text = mmap(NULL, LENGTH, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    IS(same(text, 0, LENGTH));
    NUMBER(writing(text + 100));

    /* Written to in private: pages far apart, one after the other, and by the kernel. */
    char *data = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    IS(same(data, 0, LENGTH));
    for (int page = 0; page < LENGTH / PAGE; page += 37)
        data[page * PAGE + 5] ^= 1;
    int wrong = 0;
    for (int at = 0; at < LENGTH; at++) {
        int changed = at % PAGE == 5 && at / PAGE % 37 == 0;
        wrong += data[at] != (original[at] ^ changed);
    }
    NUMBER(wrong);
    IS(same(text, 0, LENGTH));
    CALL(pread(fd, data + 200001, 70000, 7));
    IS(same(data + 200001, 7, 70000));
    IS(data[200000] == original[200000] && data[270001] == original[270001]);
    CALL(madvise(data, LENGTH, MADV_DONTNEED));
    IS(same(data, 0, LENGTH));
    data[LENGTH - 1] ^= 1;
    IS(same(data, 0, LENGTH - 1) && data[LENGTH - 1] != original[LENGTH - 1]);

    /* Rights that come and go. */
    char *part = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, fd, PAGE);
    CALL(mprotect(part + 16 * PAGE, 16 * PAGE, PROT_READ | PROT_WRITE));
    NUMBER(writing(part + 15 * PAGE));
    NUMBER(writing(part + 16 * PAGE));
    NUMBER(writing(part + 32 * PAGE));
    part[20 * PAGE] ^= 1;
    CALL(mprotect(part + 16 * PAGE, 16 * PAGE, PROT_NONE));
    NUMBER(writing(part + 20 * PAGE));
    CALL(mprotect(part + 16 * PAGE, 16 * PAGE, PROT_READ));
    IS(part[20 * PAGE] == (original[21 * PAGE] ^ 1));
    IS(same(part, PAGE, 20 * PAGE));
    char *none = mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE, fd, 0);
    NUMBER(writing(none));
    CALL(mprotect(none, LENGTH, PROT_READ | PROT_WRITE | PROT_EXEC));
    none[PAGE] ^= 1;
    IS(same(none, 0, PAGE) && same(none + 2 * PAGE, 2 * PAGE, LENGTH - 2 * PAGE));

    /* Moved, in part and over others. */
    char *place = mmap(NULL, 2 * LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(mremap(text, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    IS(same(place, 0, LENGTH));
    IS(mmap(place + 8 * PAGE, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == place + 8 * PAGE);
    IS(same(place, 0, 8 * PAGE) && same(place + 8 * PAGE, 0, 8 * PAGE) && same(place + 16 * PAGE, 16 * PAGE, PAGE));
    CALL(munmap(place + 3 * PAGE, PAGE));
    NUMBER(writing(place + 3 * PAGE));
    IS(same(place + 4 * PAGE, 4 * PAGE, 4 * PAGE));

    /* Shared, to be read only. */
    char *shared = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    IS(same(shared, 0, LENGTH));
    NUMBER(writing(shared));
    CALL(mprotect(shared, PAGE, PROT_READ | PROT_WRITE));
    CALL(msync(shared, LENGTH, MS_SYNC));
    CALL(madvise(shared, LENGTH, MADV_DONTNEED));
    IS(same(shared, 0, LENGTH));
    CALL(close(fd));
    IS(same(shared, 0, LENGTH) && same(data, 0, LENGTH - 1));

    /* What a system call reads and writes. */
    int ends[2];
    CALL(pipe(ends));
    char copy[3 * PAGE];
    CALL(write(ends[1], shared + 5, sizeof copy));
    CALL(read(ends[0], copy, sizeof copy));
    IS(same(copy, 5, sizeof copy));
    struct iovec pieces[2] = {{data + 10, 9000}, {shared + 9010, 3000}};
    CALL(writev(ends[1], pieces, 2));
    CALL(read(ends[0], data + 300000, 12000));
    IS(same(data + 300000, 10, 12000));
    CALL(write(ends[1], "x", 1));
    CALL(read(ends[0], shared, 1));

    /* The end of the file, in its last page and beyond. */
    struct stat status;
    CALL(stat(FILE_NAME, &status));
    fd = open(FILE_NAME, O_RDONLY);
    size_t whole = (status.st_size + PAGE - 1) / PAGE * PAGE;
    char *all = mmap(NULL, whole + 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    int rest = 0;
    for (size_t at = status.st_size; at < whole; at++)
        rest |= all[at];
    NUMBER(rest);
    NUMBER(writing(all + whole - 1));
    NUMBER(writing(all + whole));
    CALL(munmap(all, whole + 4 * PAGE));
    return 0;
}
