/* All memory of the machine is used up, so that the host has no page left for what the
 * monitor touches; then `memory_full WHICH`: 0 nothing more, 1 shared pages are taken away
 * and their memory used elsewhere, 2 the same and every bell is rung, and the cell stays.
 * The monitor has to live on, or to end in a sentence. */
#include "attack.h"

#define FAR 0x8000000000ull

/* Takes pages until the host refuses one. */
static void fill(u64 from) {
    for (u64 page = 0; page < 1 << 20; page++)
        if (at_gate(MADVISE, RAM + from + page * PAGE, PAGE, 23, 0, 0, 0)) return;
}

int main(int count, char **arguments) {
    int which = count > 1 ? atoi(arguments[1]) : 0;
    say("filling\n");
    take();
    fill(FAR);
    if (which >= 1) {
        at_gate(MADVISE, RAM + VCPU_PAGES, PAGE, 9, 0, 0, 0);
        at_gate(MADVISE, RAM + CLOCK_PAGE, 2 * PAGE, 9, 0, 0, 0);
        at_gate(MADVISE, RAM + DEVICE_PAGES, 4 * PAGE, 9, 0, 0, 0);
        fill(FAR + (1ull << 32));
    }
    if (which >= 2)
        for (u64 place = 0; place < 4 * PAGE; place += 4)
            at_gate(FUTEX, RAM + DEVICE_PAGES + place, 1, 1000, 0, 0, 0);
    static u32 never;
    u64 second[2] = {1, 0};
    at_gate(FUTEX, (u64)&never, 0, 0, (u64)second, 0, 0);
    at_gate(EXIT, 3, 0, 0, 0, 0, 0);
    return 0;
}
