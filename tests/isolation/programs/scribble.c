/* A hostile cell: writes over everything that it shares with the monitor, for
 * `scribble SEED SECONDS END`, while ringing every bell. END is how the cell ends then:
 * 0 leaves by itself, 1 waits to be killed. Once begun there is no way back: the kernel's
 * own memory is scribbled over as well. */
#include "attack.h"
#include <time.h>

struct queue { volatile u32 size, bell, asleep, reserved; volatile u64 descriptors, driver, device; };
struct device {
    volatile u32 id, size_max;
    volatile u64 offered, accepted;
    volatile u32 status, queue_count;
    struct queue queues[4];
    volatile u32 config[64];
};
struct vcpu { volatile u32 event, asleep, pending, timer_bell; volatile u64 deadline, signals; };
struct descriptor { u64 address; u32 length; uint16_t flags, next; };

#define AT(physical) ((void *)(RAM + (physical)))
#define WINDOW (FREE_START + (64ull << 20))
enum { DEVICES = 3 };

/* Where the kernel put the live rings, before anything is overwritten. */
static struct { u64 descriptors, driver, device; u32 size; } live[DEVICES][2];
static uint16_t available[DEVICES][2], used[DEVICES][2], base[DEVICES][2];
static u32 idle[DEVICES][2];
static u64 served;

static struct device *device(int number) { return AT(DEVICE_PAGES + (u64)number * PAGE); }
static struct vcpu *vcpu(void) { return AT(VCPU_PAGES); }
static u64 below(u64 limit) { return random64() % limit; }

static u64 any_physical(void) {
    switch (below(12)) {
    case 0: return random64();
    case 1: return (1ull << 40) - below(3 * PAGE);
    case 2: return (1ull << 40) + below(PAGE);
    case 3: return ~0ull - below(64);
    case 4: return DEVICE_PAGES + below(4 * PAGE);
    case 5: return VCPU_PAGES + below(64);
    case 6: return REPORT_PAGE + below(PAGE);
    case 7: return live[below(DEVICES)][below(2)].device + below(64);
    case 8: return live[below(DEVICES)][below(2)].driver + below(64);
    default: return FREE_START + below(WINDOW - FREE_START - 65536);
    }
}

/* Within the memory a megabyte at most, or what the monitor reads and writes there would
 * soon use all of it up: that is another attack (memory_full.c). */
static u32 any_length(u64 address) {
    int near_the_end = address > (1ull << 40) - 4 * PAGE;
    switch (below(8)) {
    case 0: return (u32)random64() & (near_the_end ? 0xffffffff : 0xfffff);
    case 1: return 0;
    case 2: return near_the_end ? 0xffffffff - (u32)below(4) : 0xfffff;
    case 3: return 1 + (u32)below(16);
    default: return (u32)below(16384);
    }
}

static void ring(volatile u32 *bell) {
    switch (below(6)) {
    case 0: *bell = (u32)random64(); break;
    case 1: *bell = *bell - 1; break;
    default: __sync_fetch_and_add(bell, 1);
    }
    at_gate(FUTEX, (u64)bell, 1, below(2) ? 0x7fffffff : below(4), 0, 0, 0);
}

/* Random bytes over part of one page below the free memory. */
static void scribble_bytes(void) {
    u64 place;
    switch (below(6)) {
    case 0: place = VCPU_PAGES; break;
    case 1: place = below(2) ? CLOCK_PAGE : REPORT_PAGE; break;
    case 2: case 3: place = DEVICE_PAGES + below(8) * PAGE; break;
    case 4: place = below(FREE_START / PAGE) * PAGE; break;
    default: place = live[below(DEVICES)][below(2)].driver & ~(PAGE - 1);
    }
    unsigned char *bytes = AT(place);
    u64 count = 1 + below(below(2) ? 16 : 512), at = below(PAGE - 512);
    for (u64 i = 0; i < count; i++) bytes[at + i] = (unsigned char)random64();
}

static void scribble_device(void) {
    struct device *d = device((int)below(DEVICES + 1));
    struct queue *q = &d->queues[below(4)];
    switch (below(8)) {
    case 0: q->size = (u32)(below(2) ? 1u << below(17) : random64()); break;
    case 1: q->descriptors = any_physical(); break;
    case 2: q->driver = any_physical(); break;
    case 3: q->device = any_physical(); break;
    case 4: d->status = (u32)random64(); break;
    case 5: q->asleep = (u32)below(3); break;
    case 6: d->queue_count = (u32)random64(); break;
    default: d->id = (u32)random64();
    }
    ring(&q->bell);
}

static void scribble_vcpu(void) {
    struct vcpu *v = vcpu();
    switch (below(5)) {
    case 0: v->deadline = random64() >> below(64); break;
    case 1: v->deadline = 1; break;
    case 2: v->asleep = (u32)below(2); break;
    case 3: v->pending = (u32)random64(); break;
    default: v->signals = random64();
    }
    ring(&v->timer_bell);
}

/* A request with a header that makes sense, so that the file server gets to work. */
static u32 write_request(u64 at) {
    struct { u32 length, opcode; u64 unique, node; u32 uid, gid, pid, rest; u64 body[24]; } *r = AT(at);
    u32 length = 40 + (u32)below(sizeof r->body);
    u32 opcode = (u32)below(56);
    if (opcode == 43) opcode = 1; /* fallocate: the host's disk is not ours to fill */
    r->length = below(4) ? length : any_length(~0ull);
    r->opcode = opcode;
    r->unique = random64();
    r->node = below(4) ? below(8) : random64();
    for (size_t i = 0; i < sizeof r->body / 8; i++) r->body[i] = below(3) ? below(8) : random64();
    if (opcode == 1 && below(2)) memcpy(r->body, below(2) ? ".." : "file", 5);
    return length;
}

/* Lets others have the processor. */
static void pause_a_little(void) {
    static u32 never;
    u64 time[2] = {0, 30000};
    at_gate(FUTEX, (u64)&never, 0, 0, (u64)time, 0, 0);
}

/* What the device has answered: a ring whose indices are too far apart is dead, so they
 * are kept in step. A used index that jumped is one of our own scribbles. */
static void look(int d, int q) {
    uint16_t now = ((volatile uint16_t *)AT(live[d][q].device))[1], step = (uint16_t)(now - used[d][q]);
    if (step == 0 || step > live[d][q].size) return;
    served += step;
    used[d][q] = now;
    base[d][q] = (uint16_t)(base[d][q] + step);
    idle[d][q] = 0;
}

/* A chain on a live ring, right or wrong, and its publication. */
static void submit(void) {
    int d = (int)below(DEVICES), q = d ? 1 : (int)below(2); /* files have no urgent queue */
    u32 size = live[d][q].size;
    if (!size) return;
    look(d, q);
    /* Behind: wait; for long: search for where it goes on, as each chain that has no
     * descriptor moves one of its two indices only. */
    if ((uint16_t)(available[d][q] - base[d][q]) >= size / 2) {
        if (++idle[d][q] % 64 == 0) base[d][q] = available[d][q] = (uint16_t)(used[d][q] + idle[d][q] / 64 * (size / 2));
        ring(&device(d)->queues[q].bell);
        if (below(4) == 0) pause_a_little();
        return;
    }
    struct descriptor *table = AT(live[d][q].descriptors);
    volatile uint16_t *ring_page = AT(live[d][q].driver);
    u32 links = 1 + (u32)below(4), first = (u32)below(size);
    u64 request = FREE_START + (32ull << 20) + below(1 << 20) * 8;
    for (u32 i = 0; i < links; i++) {
        struct descriptor *entry = &table[(first + i) % size];
        int sane = below(8) != 0;
        entry->address = i == 0 && sane ? request : any_physical();
        entry->length = i == 0 && sane ? write_request(request) : any_length(entry->address);
        entry->flags = (uint16_t)((i + 1 < links ? 1 : 0) | (i ? 2 : 0));
        entry->next = (uint16_t)((first + i + 1) % size);
        if (!sane) {
            entry->flags ^= (uint16_t)(1u << below(4));
            entry->next = (uint16_t)random64();
        }
    }
    ring_page[2 + available[d][q] % size] = (uint16_t)(below(16) ? first : random64());
    __sync_synchronize();
    if (below(64) == 0) {
        ring_page[1] = (uint16_t)random64();
        ring(&device(d)->queues[q].bell);
    }
    ring_page[1] = ++available[d][q];
    ring(&device(d)->queues[q].bell);
    /* Changed while the device may be looking at it. */
    if (below(2)) {
        u64 address = any_physical();
        table[first].length = any_length(address);
        table[first].address = address;
        table[first].flags = (uint16_t)random64();
    }
}

/* Shared pages taken away under the monitor's feet; the host gives it empty ones. */
static void punch(void) {
    u64 pages[] = {VCPU_PAGES, CLOCK_PAGE, REPORT_PAGE, DEVICE_PAGES, DEVICE_PAGES + PAGE, DEVICE_PAGES + 2 * PAGE};
    at_gate(MADVISE, RAM + pages[below(6)], PAGE, 9, 0, 0, 0);
}

static u64 tsc(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static u64 ticks_per_second(void) {
    struct timespec start, now;
    u64 before = tsc(), nanos;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        nanos = (u64)(now.tv_sec - start.tv_sec) * 1000000000ull + (u64)now.tv_nsec - (u64)start.tv_nsec;
    } while (nanos < 50000000);
    return (tsc() - before) * 20;
}

static void round_of_attacks(void) {
    switch (below(16)) {
    case 0: case 1: scribble_bytes(); break;
    case 2: case 3: scribble_device(); break;
    case 4: scribble_vcpu(); break;
    case 5: if (below(64) == 0) punch(); break;
    default: submit();
    }
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    random_state = strtoull(arguments[1], 0, 0);
    u64 end = tsc() + strtoull(arguments[2], 0, 0) * ticks_per_second();
    for (int d = 0; d < DEVICES; d++)
        for (int q = 0; q < 2; q++) {
            struct queue *from = &device(d)->queues[q];
            live[d][q].descriptors = from->descriptors;
            live[d][q].driver = from->driver;
            live[d][q].device = from->device;
            live[d][q].size = from->size;
            if (!from->size) continue;
            available[d][q] = ((volatile uint16_t *)AT(from->driver))[1];
            base[d][q] = used[d][q] = ((volatile uint16_t *)AT(from->device))[1];
        }
    say("scribbling\n");
    take();
    while (tsc() < end)
        for (int i = 0; i < 64; i++) round_of_attacks();
    /* The report: exited with status 0, and how many chains were answered. */
    u64 *report = AT(REPORT_PAGE);
    memset(report, 0, PAGE);
    report[7] = served;
    *(u32 *)report = 1;
    u32 never = 0;
    while (arguments[3][0] == '1') at_gate(FUTEX, (u64)&never, 0, 0, 0, 0, 0);
    at_gate(EXIT, 0, 0, 0, 0, 0, 0);
    return 0;
}
