/* Says that its machine is over, and goes on all the same. */
#include "attack.h"
#include <signal.h>
#include <sys/time.h>

/* VcpuPage::over of guest/abi. */
#define PLACE 44
#define OVER 0x0e4d00feu

int main(void) {
    say("running\n");
    *(volatile u32 *)(RAM + VCPU_PAGES + PLACE) = OVER;
    /* While it runs, a timer is the monitor's affair: it looks at that page then. */
    signal(SIGALRM, SIG_IGN);
    struct itimerval often = {{0, 10000}, {0, 10000}};
    setitimer(ITIMER_REAL, &often, 0);
    for (;;) __asm__ volatile("pause");
}
