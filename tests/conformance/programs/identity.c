/* Who and where the program is: ids, names, sizes; only their shape. */
#include "check.h"
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/statfs.h>

int main(void)
{
    struct utsname name;
    CALL(uname(&name));
    TEXT(name.sysname);
    TEXT(name.machine);
    IS(name.release[0] >= '4' && name.release[0] <= '9');
    IS(strlen(name.version) > 0 && strlen(name.nodename) > 0);
    struct sysinfo info;
    CALL(sysinfo(&info));
    IS(info.totalram * info.mem_unit >= 16 << 20);
    IS(info.freeram <= info.totalram);
    IS(info.procs >= 1 && info.uptime >= 0);
    CALL(getuid());
    CALL(geteuid());
    CALL(getgid());
    CALL(getegid());
    IS(getpid() > 0 && getppid() >= 0);
    IS(getpid() == syscall(SYS_gettid));
    IS(getpgrp() >= 0 && getsid(0) >= 0);
    uid_t real, effective, saved;
    CALL(getresuid(&real, &effective, &saved));
    IS(real == effective && effective == saved);
    IS(getgroups(0, NULL) >= 0);
    CALL(prctl(PR_SET_NAME, "a rather long name", 0, 0, 0));
    char own[16];
    CALL(prctl(PR_GET_NAME, own, 0, 0, 0));
    TEXT(own);
    CALL(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    CALL(prctl(99999, 0, 0, 0, 0));
    IS(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    NUMBER(sysconf(_SC_PAGESIZE));
    NUMBER(sysconf(_SC_CLK_TCK));
    IS(sysconf(_SC_PHYS_PAGES) > 1000);
    cpu_set_t cpus;
    CALL(sched_getaffinity(0, sizeof cpus, &cpus) >= 0);
    IS(CPU_COUNT(&cpus) >= 1);
    CALL(sched_yield());
    CALL(getpriority(PRIO_PROCESS, 0));
    char bytes[64] = {0}, others[64] = {0};
    CALL(syscall(SYS_getrandom, bytes, 64, 0));
    CALL(syscall(SYS_getrandom, others, 64, 0));
    IS(memcmp(bytes, others, 64) != 0);
    CALL(syscall(SYS_getrandom, bytes, 64, 99));
    struct statfs system;
    CALL(statfs(".", &system));
    IS(system.f_bsize > 0 && system.f_namelen >= 200);
    CALL(statfs("none", &system));
    CALL(gethostname(own, sizeof own) == 0 || errno == ENAMETOOLONG);
    CALL(syscall(9999));
    CALL(setuid(getuid()));
    return 0;
}
