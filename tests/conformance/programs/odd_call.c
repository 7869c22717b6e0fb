/* Makes a system call that a machine does not have. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    long result = syscall(SYS_perf_event_open, 0, 0, 0, 0, 0);
    return result == -1 && errno == ENOSYS ? 9 : 1;
}
