/* Touches memory until none is left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    for (long total = 0; total < 1l << 30; total += 1 << 20) {
        char *block = malloc(1 << 20);
        if (!block) {
            puts("refused");
            return 3;
        }
        memset(block, 1, 1 << 20);
    }
    puts("one gigabyte and no end");
    return 4;
}
