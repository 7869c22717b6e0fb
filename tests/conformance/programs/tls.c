/* Thread-local variables of every model, and errno. */
#include "check.h"

static __thread int initialised = 77;
static __thread long zero[1000];
static __thread char aligned[64] __attribute__((aligned(64))) = "aligned";
_Thread_local double number = 2.5;
__thread int exported = 3;

__attribute__((noinline)) static int *address_of(void) { return &initialised; }

int main(void)
{
    NUMBER(initialised);
    initialised += 1;
    NUMBER(*address_of());
    zero[999] = 5;
    NUMBER(zero[0] + zero[999]);
    TEXT(aligned);
    NUMBER((uintptr_t)aligned % 64);
    NUMBER(number * 10);
    exported *= 7;
    NUMBER(exported);
    IS(address_of() == &initialised);
    uintptr_t base, own;
    __asm__("mov %%fs:0, %0" : "=r"(base));
    __asm__("mov %%fs:0x10, %0" : "=r"(own));
    IS(base == own);
    errno = 0;
    CALL(close(-1));
    IS(errno == EBADF);
    return 0;
}
