/* 128-bit vectors: a filter over floats and over bytes. */
#include "bench.h"
#include <emmintrin.h>

static float in[1 << 16], out[1 << 16];
static unsigned char bytes[1 << 16];

static uint64_t filter(void)
{
    const __m128 quarter = _mm_set1_ps(0.25f), half = _mm_set1_ps(0.5f);
    for (size_t at = 4; at + 8 < sizeof in / sizeof *in; at += 4) {
        __m128 left = _mm_loadu_ps(in + at - 1), right = _mm_loadu_ps(in + at + 1);
        __m128 middle = _mm_load_ps(in + at);
        __m128 sides = _mm_mul_ps(_mm_add_ps(left, right), quarter);
        _mm_store_ps(out + at, _mm_add_ps(_mm_mul_ps(middle, half), sides));
    }
    __m128i sum = _mm_setzero_si128();
    for (size_t at = 0; at < sizeof bytes; at += 16) {
        __m128i value = _mm_load_si128((const __m128i *)(bytes + at));
        __m128i mixed = _mm_xor_si128(_mm_slli_epi16(value, 3), _mm_shuffle_epi32(value, 0x1b));
        sum = _mm_add_epi64(sum, _mm_sad_epu8(mixed, _mm_setzero_si128()));
    }
    return (uint64_t)_mm_cvtsi128_si64(sum) + (uint64_t)(out[100] * 1000);
}

int main(void)
{
    uint64_t state = 5, result = 0;
    for (size_t at = 0; at < sizeof in / sizeof *in; at++) {
        in[at] = (float)(next_random(&state) >> 50);
        bytes[at] = (unsigned char)next_random(&state);
    }
    uint64_t start = now_ns();
    for (int turn = 0; turn < 20000; turn++)
        result += filter();
    return report(start, 1, result);
}
