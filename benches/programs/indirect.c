/* Calls through pointers that no predictor can guess, as an interpreter makes them. */
#include "bench.h"

typedef uint64_t (*operation)(uint64_t);
static uint64_t add(uint64_t x) { return x + 0x9e37; }
static uint64_t twist(uint64_t x) { return x ^ x >> 7; }
static uint64_t times(uint64_t x) { return x * 5; }
static uint64_t turn(uint64_t x) { return x << 13 | x >> 51; }
static uint64_t flip(uint64_t x) { return ~x; }
static uint64_t less(uint64_t x) { return x - 77; }
static uint64_t half(uint64_t x) { return x / 2 + (x << 63); }
static uint64_t same(uint64_t x) { return x; }

static operation volatile table[8] = {add, twist, times, turn, flip, less, half, same};

int main(void)
{
    uint64_t value = 1, state = 7, start = now_ns();
    for (int step = 0; step < 50000000; step++)
        value = table[next_random(&state) & 7](value);
    return report(start, 1, value);
}
