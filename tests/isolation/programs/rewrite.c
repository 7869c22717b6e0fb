/* The stub is rewritten, unmapped, replaced and moved by the calls it may make itself;
 * RAM is mapped over everything. The filter does not care where code comes from: from
 * within the stub's span the documented calls, nothing else from anywhere. */
#include "attack.h"

static const unsigned char ours[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
#define PLACE 0x9100000000ull /* guest-physical, nobody's */

static void every_number(const char *what, void *at, int inside) {
    for (u64 number = 0; number <= 600; number++) {
        u64 none[6] = {0, 0, 0, 0, ~0ull, 0}, scratch = 0;
        if (number == EXIT || number == SIGRETURN) continue;
        if (number == FUTEX) none[0] = (u64)&scratch, none[1] = 1;
        attempt(what, at, number, none, inside && documented(number, none));
    }
}

static void put(u64 at) { memcpy((void *)at, ours, sizeof ours); }

int main(void) {
    take();
    /* Code of our own in the stub's text. */
    at_gate(MPROTECT, STUB, PAGE, 7, 0, 0, 0);
    put(STUB + 0xff0);
    every_number("rewritten stub", (void *)(STUB + 0xff0), 1);

    /* A page of RAM with our code, mapped at both ends of the span and around it. */
    put(RAM + PLACE);
    u64 places[] = {STUB + STUB_SPAN - PAGE, STUB + 0x800000, STUB + STUB_SPAN, STUB - PAGE, 0x10000,
                    0x7ffffffee000, KERNEL - PAGE, 0x600000000000};
    for (int i = 0; i < 8; i++) {
        if ((int64_t)map(places[i], PLACE, PAGE, 5) < 0) continue;
        every_number("mapped code", (void *)places[i], i < 2);
    }
    /* The last bytes of the span: the instruction pointer after it lies outside. */
    map(STUB + STUB_SPAN - PAGE, PLACE, PAGE, 7);
    map(STUB + STUB_SPAN, PLACE, PAGE, 7);
    u64 edge = STUB + STUB_SPAN - 2;
    memcpy((void *)edge, ours, 3);
    every_number("edge of the span", (void *)edge, 0);
    put(RAM + PLACE);

    /* The stub's text replaced by our page while calls go on from elsewhere in the span. */
    unsigned char *second = (unsigned char *)(STUB + 0x800000);
    gate = second;
    put(RAM + PLACE + PAGE);
    unsigned char saved[4096];
    memcpy(saved, (void *)STUB, PAGE);
    memcpy((void *)(RAM + PLACE + 2 * PAGE), saved, PAGE);
    /* From here to the last map, signals would meet no handler or a wrong one. */
    at_gate(MUNMAP, STUB, PAGE, 0, 0, 0, 0);
    map(STUB, PLACE + PAGE, PAGE, 5);
    u64 word = 0, served = 0;
    for (int i = 0; i < 100; i++) served += (int64_t)at_gate(FUTEX, (u64)&word, 1, 1, 0, 0, 0) >= 0;
    map(STUB, PLACE + 2 * PAGE, PAGE, 7);
    if (served != 100) say("BROKEN the documented calls stopped working\n");
    every_number("stub of our own", second, 1);

    /* RAM over the whole of the program's part above us, and over the rest of the space. */
    u64 spans[][2] = {{0x100000000000, 1ull << 40}, {0x200000000000, 1ull << 40}, {0x7f0000000000, 0xff0000000}};
    for (int i = 0; i < 3; i++) {
        map(spans[i][0], 0, spans[i][1], 7);
        every_number("RAM everywhere", second, 1);
    }
    return finish();
}
