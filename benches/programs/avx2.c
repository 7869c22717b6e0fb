/* 256-bit vectors, when the CPU has them: products of small matrices and integer mixing. */
#include "bench.h"
#include <immintrin.h>

static double a[64][64] __attribute__((aligned(32))), b[64][64] __attribute__((aligned(32)));
static double c[64][64] __attribute__((aligned(32)));

__attribute__((target("avx2"))) static uint64_t multiply(void)
{
    for (int row = 0; row < 64; row++) {
        for (int column = 0; column < 64; column += 4) {
            __m256d sum = _mm256_setzero_pd();
            for (int at = 0; at < 64; at++) {
                __m256d product = _mm256_mul_pd(_mm256_set1_pd(a[row][at]), _mm256_load_pd(&b[at][column]));
                sum = _mm256_add_pd(sum, product);
            }
            _mm256_store_pd(&c[row][column], sum);
        }
    }
    __m256i mix = _mm256_set1_epi32(77);
    for (int at = 0; at < 512; at++) {
        __m256i value = _mm256_loadu_si256((const __m256i *)&c[at / 16][at % 16 * 4]);
        mix = _mm256_xor_si256(_mm256_mullo_epi32(mix, _mm256_set1_epi32(33)), value);
    }
    return (uint64_t)_mm256_extract_epi64(mix, 2);
}

int main(void)
{
    uint64_t state = 5, result = 0;
    if (!__builtin_cpu_supports("avx2")) {
        fputs("this CPU has no AVX2\n", stderr);
        return 1;
    }
    for (int at = 0; at < 4096; at++) {
        a[at / 64][at % 64] = (double)(next_random(&state) >> 50);
        b[at / 64][at % 64] = (double)(next_random(&state) >> 50);
    }
    uint64_t start = now_ns();
    for (int turn = 0; turn < 10000; turn++)
        result += multiply();
    return report(start, 1, result);
}
