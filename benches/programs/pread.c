/* Reading 4 KiB at a time of a cached file of the host: the program itself. */
#include "bench.h"
#include <fcntl.h>
#include <unistd.h>

enum { BLOCK = 4096 };

int main(int argc, char **argv)
{
    static char block[BLOCK];
    int fd = open(argv[0], O_RDONLY);
    const uint64_t blocks = (uint64_t)lseek(fd, 0, SEEK_END) / BLOCK;
    if (argc < 1 || fd < 0 || blocks == 0)
        return 1;
    uint64_t result = 0, turn = 0, start = now_ns();
    while (now_ns() - start < LONG_ENOUGH_NS)
        for (uint64_t end = turn + 1000; turn < end; turn++)
            result += (uint64_t)pread(fd, block, BLOCK, (off_t)(turn * 7 % blocks * BLOCK));
    return report(start, turn, result);
}
