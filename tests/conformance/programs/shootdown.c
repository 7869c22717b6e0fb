/* Translations that must be forgotten on every processor: one thread takes pages away, makes them
   read-only, moves or replaces them, while others read and write there. Once the call has returned nobody
   may reach what was there, whatever his processor remembers. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>

enum { PAGE = 4096, TOUCHERS = 2, ROUNDS = 12, LOOKED_AT = 8, HUGE = 2 << 20 };

/* What is shared: an area that changes, its generation (odd while it changes), and how far each
   thread has looked. Of many pages some are looked at. */
static volatile uint64_t *area;
static size_t pages = LOOKED_AT, step = 1;
static uint64_t *elsewhere;
static volatile unsigned generation;
static volatile int stop;
static volatile unsigned seen[TOUCHERS], faults[TOUCHERS];
/* What holds while the generation is even. */
static volatile int readable, writable;
static volatile uint64_t expected;
static volatile long wrong;

static __thread sigjmp_buf back;
static __thread volatile int guarded;

static void fault(int number)
{
    if (guarded)
        siglongjmp(back, number);
    _exit(77);
}

/* Reads a word, or says that it cannot. */
static int reads(volatile uint64_t *place, uint64_t *value)
{
    int done = 0;
    guarded = 1;
    if (sigsetjmp(back, 0) == 0) {
        *value = *place;
        done = 1;
    }
    guarded = 0;
    return done;
}

static int writes(volatile uint64_t *place, uint64_t value)
{
    int done = 0;
    guarded = 1;
    if (sigsetjmp(back, 0) == 0) {
        *place = value;
        done = 1;
    }
    guarded = 0;
    return done;
}

/* Touches the pages again and again; what it met counts only if nothing changed meanwhile: an even
   generation before, and the same after it. */
static void *touch(void *number)
{
    long own = (long)number;
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    while (!stop) {
        unsigned before = generation;
        if (before % 2 != 0) {
            for (size_t page = 0; page < pages; page += step) {
                uint64_t value;
                faults[own] += !reads(area + page * PAGE / 8, &value);
            }
            continue;
        }
        int may_read = readable, may_write = writable;
        uint64_t right = expected;
        for (size_t page = 0; page < pages; page += step) {
            volatile uint64_t *place = area + page * PAGE / 8;
            uint64_t value = right;
            int did_read = reads(place, &value);
            /* Words of its own, so that nobody's word is disturbed. */
            int did_write = writes(place + 8 + own, before);
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            if (generation != before)
                break;
            if (did_read != may_read || did_write != may_write || value != right)
                __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
        }
        if (generation == before)
            seen[own] = before;
    }
    return NULL;
}

/* From now on the area is as said; waits until everybody has looked. */
static void settled(int may_read, int may_write, uint64_t value)
{
    readable = may_read;
    writable = may_write;
    expected = value;
    unsigned now = __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST);
    for (int thread = 0; thread < TOUCHERS; thread++)
        while (seen[thread] != now)
            sched_yield();
}

/* The area is about to change. */
static void changes(void) { __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST); }

static const int rw = PROT_READ | PROT_WRITE;

static void *map_at(volatile void *place, size_t size)
{
    int fixed = place == NULL ? 0 : MAP_FIXED;
    return mmap((void *)place, size, rw, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
}

static void fill(uint64_t value)
{
    for (size_t page = 0; page < pages; page += step)
        area[page * PAGE / 8] = value;
}

static void protect_and_back(uint64_t round)
{
    size_t size = pages * PAGE;
    fill(round);
    settled(1, 1, round);
    changes();
    mprotect((void *)area, size, PROT_READ);
    settled(1, 0, round);
    changes();
    mprotect((void *)area, size, PROT_NONE);
    settled(0, 0, round);
    changes();
    mprotect((void *)area, size, rw);
    settled(1, 1, round);
    changes();
}

static void unmap_and_map(uint64_t round)
{
    size_t size = pages * PAGE;
    fill(round);
    settled(1, 1, round);
    changes();
    munmap((void *)area, size);
    settled(0, 0, round);
    changes();
    /* What the pages held belongs to somebody else now, who must not be written to. */
    uint64_t *other = map_at(elsewhere, size);
    for (size_t word = 0; word < size / 8; word++)
        other[word] = 0x5a5a;
    sched_yield();
    for (size_t word = 0; word < size / 8; word++)
        wrong += other[word] != 0x5a5a;
    munmap(other, size);
    map_at(area, size);
    settled(1, 1, 0);
    changes();
}

/* Other memory at the same place, in one step. */
static void replace(uint64_t round)
{
    size_t size = pages * PAGE;
    fill(round);
    settled(1, 1, round);
    changes();
    map_at(area, size);
    settled(1, 1, 0);
    changes();
    madvise((void *)area, size, MADV_DONTNEED);
    settled(1, 1, 0);
    changes();
}

/* Away and back, with what it holds. */
static void move(uint64_t round)
{
    size_t size = pages * PAGE;
    fill(round);
    settled(1, 1, round);
    changes();
    uint64_t *there = mremap((void *)area, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
    settled(0, 0, round);
    for (size_t page = 0; page < pages; page += step)
        wrong += there[page * PAGE / 8] != round;
    changes();
    mremap(there, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)area);
    settled(1, 1, round);
    changes();
}

static void all(const char *name, void (*work)(uint64_t), unsigned rounds)
{
    wrong = 0;
    for (unsigned round = 1; round <= rounds; round++)
        work(round);
    printf("%s: %ld wrong\n", name, wrong);
}

int main(void)
{
    struct sigaction action = {.sa_handler = fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    /* A block of its own, so that whole page tables go with it. */
    char *room = map_at(NULL, 4 * HUGE);
    area = (uint64_t *)(((uintptr_t)room + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
    elsewhere = (uint64_t *)((char *)area + HUGE);
    generation = 1;
    pthread_t threads[TOUCHERS];
    for (long number = 0; number < TOUCHERS; number++)
        pthread_create(&threads[number], NULL, touch, (void *)number);
    all("protect", protect_and_back, ROUNDS);
    all("unmap", unmap_and_map, ROUNDS);
    all("replace", replace, ROUNDS);
    all("move", move, ROUNDS);
    pages = HUGE / PAGE;
    step = pages / LOOKED_AT;
    all("protect a block", protect_and_back, 1);
    all("unmap a block", unmap_and_map, 1);
    all("replace a block", replace, 1);
    all("move a block", move, 1);
    stop = 1;
    for (int number = 0; number < TOUCHERS; number++)
        pthread_join(threads[number], NULL);
    IS(faults[0] + faults[1] > 0);
    return 0;
}
