/* SHA-256 by the book (FIPS 180-4) over a buffer. */
#include "bench.h"

static uint32_t round_constants[64];

static uint32_t rotate(uint32_t value, int by) { return value >> by | value << (32 - by); }

/* The constants are the fractions of cube roots of primes; found here in integer arithmetic. */
static void make_constants(void)
{
    int count = 0;
    for (uint32_t number = 2; count < 64; number++) {
        int prime = 1;
        for (uint32_t by = 2; by * by <= number; by++)
            prime &= number % by != 0;
        if (!prime)
            continue;
        __uint128_t wanted = (__uint128_t)number << 96, low = 0, high = (__uint128_t)8 << 32;
        while (high - low > 1) {
            __uint128_t middle = (low + high) / 2;
            if (middle * middle * middle <= wanted)
                low = middle;
            else
                high = middle;
        }
        round_constants[count++] = (uint32_t)low;
    }
}

static void block(uint32_t state[8], const unsigned char *data)
{
    uint32_t w[64], v[8];
    for (int at = 0; at < 16; at++)
        w[at] = (uint32_t)data[4 * at] << 24 | (uint32_t)data[4 * at + 1] << 16 |
                (uint32_t)data[4 * at + 2] << 8 | data[4 * at + 3];
    for (int at = 16; at < 64; at++) {
        uint32_t a = w[at - 15], b = w[at - 2];
        w[at] = w[at - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[at - 7] +
                (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int at = 0; at < 64; at++) {
        uint32_t e = v[4], a = v[0];
        uint32_t one = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                       ((e & v[5]) ^ (~e & v[6])) + round_constants[at] + w[at];
        uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                       ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += one;
        v[0] = one + two;
    }
    for (int at = 0; at < 8; at++)
        state[at] += v[at];
}

int main(void)
{
    static unsigned char data[1 << 20];
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    make_constants();
    uint64_t start = now_ns();
    for (int turn = 0; turn < 100; turn++)
        for (size_t at = 0; at < sizeof data; at += 64)
            block(state, data + at);
    return report(start, 1, state[0]);
}
