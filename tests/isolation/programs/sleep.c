/* Sleeps for ever. */
#include <unistd.h>

int main(void) {
    if (write(1, "sleeping\n", 9) != 9) return 1;
    for (;;) pause();
}
