/* Integer arithmetic and branches: a sieve and the lengths of Collatz runs. */
#include "bench.h"

static unsigned char composite[4000000];

static uint64_t sieve(void)
{
    uint64_t primes = 0;
    memset(composite, 0, sizeof composite);
    for (size_t number = 2; number < sizeof composite; number++) {
        if (composite[number])
            continue;
        primes++;
        for (size_t multiple = number * number; multiple < sizeof composite; multiple += number)
            composite[multiple] = 1;
    }
    return primes;
}

static uint64_t collatz(uint64_t limit)
{
    uint64_t steps = 0;
    for (uint64_t start = 1; start < limit; start++)
        for (uint64_t number = start; number != 1; steps++)
            number = number % 2 ? 3 * number + 1 : number / 2;
    return steps;
}

int main(void)
{
    uint64_t start = now_ns(), result = 0;
    for (int turn = 0; turn < 3; turn++)
        result += sieve() + collatz(400000);
    return report(start, 1, result);
}
