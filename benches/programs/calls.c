/* Calls and returns: recursion. */
#include "bench.h"

__attribute__((noinline)) static uint64_t fibonacci(uint64_t n)
{
    __asm__ volatile("");
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__attribute__((noinline)) static uint64_t ackermann(uint64_t m, uint64_t n)
{
    __asm__ volatile("");
    if (m == 0)
        return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

int main(void)
{
    uint64_t start = now_ns();
    uint64_t result = fibonacci(39) + ackermann(3, 9);
    return report(start, 1, result);
}
