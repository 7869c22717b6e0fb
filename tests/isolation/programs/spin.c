/* Computes for ever and never calls anybody. */
#include <unistd.h>

int main(void) {
    if (write(1, "spinning\n", 9) != 9) return 1;
    for (volatile unsigned long i = 0;; i++) {
    }
}
