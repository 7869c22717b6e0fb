/* Following pointers through 64 MiB in random order: caches and address translation. */
#include "bench.h"

enum { COUNT = 1 << 20 };
struct node {
    struct node *next;
    uint64_t rest[7];
};
static struct node nodes[COUNT];
static uint32_t order[COUNT];

int main(void)
{
    uint64_t state = 3;
    for (uint32_t at = 0; at < COUNT; at++)
        order[at] = at;
    for (uint32_t at = COUNT - 1; at > 0; at--) {
        uint32_t other = (uint32_t)(next_random(&state) % at), swap = order[at];
        order[at] = order[other];
        order[other] = swap;
    }
    for (uint32_t at = 0; at < COUNT; at++)
        nodes[order[at]].next = &nodes[order[(at + 1) % COUNT]];
    struct node *node = nodes;
    uint64_t start = now_ns();
    for (int turn = 0; turn < 4 * COUNT; turn++)
        node = node->next;
    return report(start, 1, (uint64_t)(node - nodes));
}
