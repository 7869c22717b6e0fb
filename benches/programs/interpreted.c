/* Work for interpreters of whole machines, each part with a line before and after it: who reads
   them takes the time, for such a machine's own clock may go as it likes. Small enough for all. */
#include "bench.h"
#include <immintrin.h>
#include <math.h>
#include <termios.h>
#include <unistd.h>

/* So often each part is done: some hosts' clocks of processor time have no more than ticks. */
#define TURNS 4

#define WORK __attribute__((noinline)) static uint64_t

static unsigned char composite[400000];
static unsigned char from[8 << 20], to[8 << 20];
static float in[1 << 14], out[1 << 14];
static double left[64][64], right[64][64], product[64][64];

/* Five instructions a turn, on registers alone. */
WORK registers(void)
{
    uint64_t sum = 0, turns = 60000000, mixed = 0x9e3779b97f4a7c15;
    __asm__ volatile("1: add %1, %0\n\txor %0, %1\n\tlea 7(%0,%1,2), %0\n\tsub $1, %2\n\tjnz 1b"
                     : "+r"(sum), "+r"(mixed), "+r"(turns) : : "cc");
    return sum;
}

WORK integer(void)
{
    uint64_t primes = 0, steps = 0;
    memset(composite, 0, sizeof composite);
    for (size_t number = 2; number < sizeof composite; number++) {
        if (composite[number])
            continue;
        primes++;
        for (size_t multiple = number * number; multiple < sizeof composite; multiple += number)
            composite[multiple] = 1;
    }
    for (uint64_t start = 1; start < 150000; start++)
        for (uint64_t number = start; number != 1; steps++)
            number = number % 2 ? 3 * number + 1 : number / 2;
    return primes + steps;
}

WORK fibonacci(uint64_t n)
{
    __asm__ volatile("");
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

WORK calls(void)
{
    return fibonacci(33);
}

typedef uint64_t (*operation)(uint64_t);
static uint64_t add(uint64_t x) { return x + 0x9e37; }
static uint64_t twist(uint64_t x) { return x ^ x >> 7; }
static uint64_t times(uint64_t x) { return x * 5; }
static uint64_t flip(uint64_t x) { return ~x; }
static operation volatile table[4] = {add, twist, times, flip};

WORK indirect(void)
{
    uint64_t value = 1, state = 7;
    for (int step = 0; step < 6000000; step++)
        value = table[next_random(&state) & 3](value);
    return value;
}

WORK strings(void)
{
    uint64_t result = 0;
    for (int turn = 0; turn < 32; turn++) {
        memcpy(to, from, sizeof to);
        memset(from, turn, sizeof from);
        result += to[(size_t)turn * 99983 % sizeof to];
    }
    return result;
}

WORK vector_copy(void)
{
    for (int turn = 0; turn < 8; turn++)
        for (size_t at = 0; at < sizeof to; at += 64) {
            __m128i a = _mm_loadu_si128((const __m128i *)(from + at));
            __m128i b = _mm_loadu_si128((const __m128i *)(from + at + 16));
            __m128i c = _mm_loadu_si128((const __m128i *)(from + at + 32));
            __m128i d = _mm_loadu_si128((const __m128i *)(from + at + 48));
            _mm_storeu_si128((__m128i *)(to + at), a);
            _mm_storeu_si128((__m128i *)(to + at + 16), b);
            _mm_storeu_si128((__m128i *)(to + at + 32), c);
            _mm_storeu_si128((__m128i *)(to + at + 48), d);
        }
    return to[12345];
}

/* Scalar double precision: attraction between bodies, and a series. */
WORK floating(void)
{
    double place[8] = {1, 5, 2, 9, 4, 7, 3, 8}, speed[8] = {0}, sum = 0;
    for (int turn = 0; turn < 20000; turn++) {
        for (int a = 0; a < 8; a++)
            for (int b = 0; b < 8; b++) {
                double apart = place[b] - place[a], square = apart * apart + 0.01;
                speed[a] += apart * 1e-4 / (square * sqrt(square));
            }
        for (int a = 0; a < 8; a++)
            place[a] += 1e-4 * speed[a];
    }
    for (int term = 1; term < 400000; term++)
        sum += 1.0 / ((double)term * (double)term);
    return (uint64_t)(sum * 1e9 + place[0] * 1e3);
}

WORK x87(void)
{
    volatile long double step = 1e-5L;
    long double sum = 0, at = 0;
    for (int turn = 0; turn < 1000000; turn++, at += step)
        sum += at * at - sum * 1e-6L;
    return (uint64_t)(sum * 1e3L);
}

WORK sse2(void)
{
    const __m128 quarter = _mm_set1_ps(0.25f), half = _mm_set1_ps(0.5f);
    __m128i sum = _mm_setzero_si128();
    for (int turn = 0; turn < 200; turn++) {
        for (size_t at = 4; at + 8 < sizeof in / sizeof *in; at += 4) {
            __m128 sides = _mm_add_ps(_mm_loadu_ps(in + at - 1), _mm_loadu_ps(in + at + 1));
            __m128 middle = _mm_mul_ps(_mm_load_ps(in + at), half);
            _mm_store_ps(out + at, _mm_add_ps(middle, _mm_mul_ps(sides, quarter)));
        }
        for (size_t at = 0; at < 1 << 16; at += 16) {
            __m128i value = _mm_load_si128((const __m128i *)(from + at));
            __m128i mixed = _mm_xor_si128(_mm_slli_epi16(value, 3), _mm_shuffle_epi32(value, 27));
            sum = _mm_add_epi64(sum, _mm_sad_epu8(mixed, _mm_setzero_si128()));
        }
    }
    return (uint64_t)_mm_cvtsi128_si64(sum) + (uint64_t)(out[100] * 1000);
}

__attribute__((target("avx2,fma"))) WORK avx2(void)
{
    for (int turn = 0; turn < 40; turn++)
        for (int row = 0; row < 64; row++)
            for (int column = 0; column < 64; column += 4) {
                __m256d sum = _mm256_setzero_pd();
                for (int at = 0; at < 64; at++)
                    sum = _mm256_fmadd_pd(_mm256_set1_pd(left[row][at]),
                                          _mm256_loadu_pd(&right[at][column]), sum);
                _mm256_storeu_pd(&product[row][column], sum);
            }
    return (uint64_t)(product[3][5] * 1e3);
}

static const struct { const char *name; uint64_t (*work)(void); } parts[] = {
    {"registers", registers}, {"integer", integer},   {"calls", calls},
    {"indirect", indirect},   {"strings", strings},   {"vector-copy", vector_copy},
    {"floating", floating},   {"x87", x87},           {"sse2", sse2},
    {"avx2", avx2},
};

/* Whether a part is asked for: all are without arguments. */
static int wants(int count, char **names, const char *part)
{
    for (int at = 1; at < count; at++)
        if (strcmp(names[at], part) == 0)
            return 1;
    return count < 2;
}

int main(int count, char **names)
{
    uint64_t state = 5;
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t at = 0; at < sizeof in / sizeof *in; at++)
        in[at] = (float)(next_random(&state) >> 50);
    for (int row = 0; row < 64; row++)
        for (int column = 0; column < 64; column++)
            left[row][column] = row + column, right[row][column] = row - column;
    for (size_t at = 0; at < sizeof from; at++)
        from[at] = (unsigned char)(at * 7);
    memset(to, 1, sizeof to);
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++) {
        if (!wants(count, names, parts[part].name))
            continue;
        if (parts[part].work == avx2 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) {
            printf("part %s: this processor has none\n", parts[part].name);
            continue;
        }
        printf("begin %s\n", parts[part].name);
        /* On a serial line the machine goes on before the line has left it. */
        tcdrain(STDOUT_FILENO);
        uint64_t result = 0;
        for (int turn = 0; turn < TURNS; turn++)
            result += parts[part].work();
        printf("end %s %llx\n", parts[part].name, (unsigned long long)result);
        tcdrain(STDOUT_FILENO);
    }
    return 0;
}
