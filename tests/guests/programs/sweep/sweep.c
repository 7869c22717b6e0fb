/* Reads or writes blocks of a device one by one, past the cache, and says how each ended:
   sweep write DEVICE FIRST COUNT SEED, sweep check DEVICE FIRST COUNT SEED, sweep sync DEVICE.
   What a block holds depends on its number and the seed. Neighbours that ended alike are one word. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096

static uint32_t found[BLOCK / 4] __attribute__((aligned(BLOCK)));
static uint32_t wanted[BLOCK / 4] __attribute__((aligned(BLOCK)));

static void fill(uint32_t number, uint32_t seed)
{
    uint32_t value = number * 2654435761U + seed;
    for (int at = 0; at < BLOCK / 4; at++) {
        value = value * 1664525 + 1013904223;
        wanted[at] = value;
    }
}

static const char *one(int write_it, int device, uint32_t number, uint32_t seed)
{
    off_t place = (off_t)number * BLOCK;
    fill(number, seed);
    ssize_t length = write_it ? pwrite(device, wanted, BLOCK, place)
                              : pread(device, found, BLOCK, place);
    if (length < 0)
        return strerrorname_np(errno);
    if (length != BLOCK)
        return "short";
    if (write_it)
        return "ok";
    if (memcmp(found, wanted, BLOCK) == 0)
        return "same";
    memset(wanted, 0, BLOCK);
    return memcmp(found, wanted, BLOCK) ? "other" : "zero";
}

static void sweep(int write_it, int device, uint32_t first, uint32_t count, uint32_t seed)
{
    const char *before = 0;
    uint32_t since = first;
    for (uint32_t number = first; number < first + count; number++) {
        const char *now = one(write_it, device, number, seed);
        if (before && strcmp(now, before)) {
            printf(" %u-%u:%s", since, number - 1, before);
            since = number;
        }
        before = now;
    }
    printf(" %u-%u:%s", since, first + count - 1, before);
}

int main(int count, char **words)
{
    int write_it = strcmp(words[1], "write") == 0, sync = strcmp(words[1], "sync") == 0;
    int device = open(words[2], (write_it || sync ? O_RDWR : O_RDONLY) | O_DIRECT);
    printf("guest: %s %s", words[1], words[2] + strlen("/dev/"));
    if (device < 0)
        printf(" %s", strerrorname_np(errno));
    else if (sync)
        printf(" %s", fsync(device) < 0 ? strerrorname_np(errno) : "ok");
    else
        sweep(write_it, device, atoi(words[3]), atoi(words[4]), atoi(words[5]));
    printf("\n");
    return count == 0;
}
