/* Random mapping, unmapping, moving, protecting and dropping of memory, small and large, with what
   must be in each page known at every step: fresh pages are zero, kept ones keep their content. */
#include "check.h"

enum { REGIONS = 48, PAGES_MAX = 700, STEPS = 30000 };
#define PAGE 4096ul

struct region {
    unsigned char *at;
    unsigned pages;
    /* What the first word of each page holds. */
    uint64_t *content;
    int writable;
};

static struct region regions[REGIONS];
static uint64_t state = 88172645463325252ull, wrong, checked, counts[8];

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void check(const struct region *region)
{
    for (unsigned page = 0; page < region->pages; page++) {
        volatile uint64_t *word = (volatile uint64_t *)(region->at + page * PAGE);
        wrong += word[0] != region->content[page];
        wrong += word[511] != 0 || word[256] != 0;
        checked++;
    }
}

static void fill(struct region *region, unsigned from, unsigned to)
{
    for (unsigned page = from; region->writable && page < to; page++) {
        region->content[page] = next();
        *(volatile uint64_t *)(region->at + page * PAGE) = region->content[page];
    }
}

static void map(struct region *region)
{
    unsigned pages = 1 + next() % (next() % 8 ? 40 : PAGES_MAX);
    void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return;
    *region = (struct region){at, pages, calloc(pages, 8), 1};
    if (next() % 2)
        check(region);
    fill(region, 0, next() % (pages + 1));
}

static void unmap(struct region *region)
{
    check(region);
    munmap(region->at, region->pages * PAGE);
    free(region->content);
    *region = (struct region){0};
}

/* Takes the end of a region away. */
static void cut(struct region *region)
{
    unsigned kept = 1 + next() % region->pages;
    munmap(region->at + kept * PAGE, (region->pages - kept) * PAGE);
    region->pages = kept;
}

static void resize(struct region *region)
{
    unsigned pages = 1 + next() % PAGES_MAX;
    void *at = mremap(region->at, region->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return;
    region->at = at;
    region->content = realloc(region->content, pages * 8);
    for (unsigned page = region->pages; page < pages; page++)
        region->content[page] = 0;
    region->pages = pages;
}

static void drop(struct region *region)
{
    unsigned from = next() % region->pages, count = 1 + next() % (region->pages - from);
    madvise(region->at + from * PAGE, count * PAGE, MADV_DONTNEED);
    memset(region->content + from, 0, count * 8);
}

static void protect(struct region *region)
{
    region->writable = !region->writable;
    int rights = region->writable ? PROT_READ | PROT_WRITE : PROT_READ;
    mprotect(region->at, region->pages * PAGE, rights);
}

int main(void)
{
    for (int step = 0; step < STEPS; step++) {
        struct region *region = &regions[next() % REGIONS];
        unsigned choice = next() % 8;
        counts[choice]++;
        if (region->at == NULL)
            map(region);
        else if (choice == 0)
            unmap(region);
        else if (choice == 1)
            cut(region);
        else if (choice == 2)
            resize(region);
        else if (choice == 3)
            drop(region);
        else if (choice == 4)
            protect(region);
        else if (choice == 5)
            fill(region, 0, region->pages);
        else
            check(region);
    }
    for (int i = 0; i < REGIONS; i++)
        if (regions[i].at != NULL)
            check(&regions[i]);
    NUMBER(wrong);
    NUMBER(checked);
    for (int i = 0; i < 8; i++)
        NUMBER(counts[i]);
    return wrong != 0;
}
