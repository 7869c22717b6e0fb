/* What /proc says of single threads, and how often they were switched. */
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

static char text[8192];

static const char *contents(const char *path)
{
    int fd = open(path, O_RDONLY);
    long got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[got < 0 ? 0 : got] = 0;
    close(fd);
    return text;
}

static const char *of_thread(int tid, const char *name)
{
    static char path[100];
    sprintf(path, "/proc/self/task/%d/%s", tid, name);
    return contents(path);
}

/* The value of a line of `status`. */
static const char *line(int tid, const char *key)
{
    static char value[200];
    const char *at = of_thread(tid, "status");
    size_t length = strlen(key);
    while (at && strncmp(at, key, length)) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    value[0] = 0;
    if (at)
        sscanf(at + length, ":%*[\t ]%199[^\n]", value);
    return value;
}

/* A field of `stat`, from 1. */
static long field(int tid, int number)
{
    const char *at = of_thread(tid, "stat");
    if (number == 1)
        return atol(at);
    at = strrchr(at, ')') + 2;
    for (int now = 3; now < number; now++)
        at = strchr(at, ' ') + 1;
    return atol(at);
}

static int count_fields(int tid)
{
    int spaces = 0;
    for (const char *at = strrchr(of_thread(tid, "stat"), ')'); *at; at++)
        spaces += *at == ' ';
    return spaces + 2;
}

static int entries(const char *path)
{
    DIR *directory = opendir(path);
    int count = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}

static sem_t ready, finish;
static int tids[2];

static void *sleeper(void *unused)
{
    tids[0] = syscall(SYS_gettid);
    pthread_setname_np(pthread_self(), "a sleeper");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    syscall(SYS_setpriority, PRIO_PROCESS, 0, 5);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    sem_post(&ready);
    sem_wait(&finish);
    return NULL;
}

static void *worker(void *unused)
{
    tids[1] = syscall(SYS_gettid);
    char path[100], link[100] = "", expected[100];
    readlink("/proc/thread-self", link, sizeof link - 1);
    sprintf(expected, "%d/task/%d", getpid(), tids[1]);
    IS(!strcmp(link, expected));
    int fd = open("/proc/thread-self/comm", O_RDWR);
    CALL(write(fd, "a name that is too long", 23));
    prctl(PR_GET_NAME, path);
    TEXT(path);
    TEXT(of_thread(tids[1], "comm"));
    CALL(write(fd, "short\n", 6));
    prctl(PR_GET_NAME, path);
    TEXT(path);
    CALL(close(fd));
    prctl(PR_SET_NAME, "by prctl");
    TEXT(contents("/proc/thread-self/comm"));
    struct rusage before, after, all;
    getrusage(RUSAGE_THREAD, &before);
    /* On a slow machine a sleep may be over before the thread gave way. */
    after = before;
    for (int round = 0; round < 2000 && after.ru_nvcsw - before.ru_nvcsw < 20; round++) {
        usleep(500);
        getrusage(RUSAGE_THREAD, &after);
    }
    getrusage(RUSAGE_SELF, &all);
    IS(after.ru_nvcsw - before.ru_nvcsw >= 20);
    IS(all.ru_nvcsw >= after.ru_nvcsw);
    IS(atol(line(tids[1], "voluntary_ctxt_switches")) >= after.ru_nvcsw);
    struct timespec used;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    while (used.tv_nsec < 60000000);
    IS(field(tids[1], 14) + field(tids[1], 15) >= 3);
    getrusage(RUSAGE_THREAD, &after);
    IS(after.ru_utime.tv_usec + after.ru_stime.tv_usec >= 30000);
    sem_post(&ready);
    sem_wait(&finish);
    return NULL;
}

/* How many of two were switched against their will often enough. */
static int satisfied;

static void *spin(void *unused)
{
    struct rusage usage;
    int counted = 0;
    time_t end = time(NULL) + 20;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    do {
        for (volatile int round = 0; round < 10000; round++)
            ;
        getrusage(RUSAGE_THREAD, &usage);
        if (!counted && usage.ru_nivcsw > 3)
            counted = __atomic_add_fetch(&satisfied, 1, __ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&satisfied, __ATOMIC_SEQ_CST) < 2 && time(NULL) < end);
    return (void *)usage.ru_nivcsw;
}

int main(void)
{
    pthread_t threads[2];
    sem_init(&ready, 0, 0);
    sem_init(&finish, 0, 0);
    int pid = getpid();
    NUMBER(entries("/proc/self/task"));
    TEXT(contents("/proc/self/comm"));
    prctl(PR_SET_NAME, "leader (1) x");
    TEXT(contents("/proc/self/comm"));
    NUMBER(field(pid, 20));
    pthread_create(&threads[0], NULL, sleeper, NULL);
    sem_wait(&ready);
    pthread_create(&threads[1], NULL, worker, NULL);
    sem_wait(&ready);
    usleep(20000);
    NUMBER(entries("/proc/self/task"));
    IS(strstr(of_thread(tids[0], "stat"), "(a sleeper) S "));
    IS(strstr(contents("/proc/self/stat"), "(leader (1) x) R "));
    TEXT(of_thread(tids[0], "comm"));
    TEXT(contents("/proc/self/comm"));
    NUMBER(count_fields(pid));
    NUMBER(count_fields(tids[0]));
    IS(field(tids[0], 1) == tids[0]);
    IS(field(tids[0], 4) == field(pid, 4));
    NUMBER(field(tids[0], 18));
    NUMBER(field(tids[0], 19));
    NUMBER(field(tids[0], 20));
    NUMBER(field(tids[0], 38));
    NUMBER(field(tids[0], 39));
    IS(field(tids[0], 22) >= field(pid, 22));
    TEXT(line(tids[0], "Name"));
    TEXT(line(tids[0], "State"));
    IS(atoi(line(tids[0], "Pid")) == tids[0]);
    IS(atoi(line(tids[0], "Tgid")) == pid);
    TEXT(line(tids[0], "Threads"));
    TEXT(line(tids[0], "SigBlk"));
    TEXT(line(tids[0], "Cpus_allowed_list"));
    TEXT(line(tids[1], "SigBlk"));
    IS(atoi(line(tids[0], "voluntary_ctxt_switches")) > 0);
    CALL(open("/proc/self/task/999999/stat", O_RDONLY));
    CALL(open("/proc/self/task/x", O_RDONLY));
    CALL(open("/proc/self/task/01", O_RDONLY));
    char path[100], bytes[10];
    sprintf(path, "/proc/self/task/%d/stat", tids[0]);
    int fd = open(path, O_RDONLY);
    struct stat status;
    CALL(fstat(fd, &status));
    NUMBER(status.st_mode);
    sprintf(path, "/proc/self/task/%d", tids[0]);
    CALL(stat(path, &status));
    NUMBER(status.st_mode);
    NUMBER(status.st_nlink > 1);
    sem_post(&finish);
    sem_post(&finish);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    usleep(10000);
    CALL(read(fd, bytes, sizeof bytes));
    NUMBER(entries("/proc/self/task"));
    /* Two on one processor are switched against their will. */
    void *switched;
    pthread_create(&threads[0], NULL, spin, NULL);
    pthread_create(&threads[1], NULL, spin, NULL);
    pthread_join(threads[0], &switched);
    IS((long)switched > 3);
    pthread_join(threads[1], NULL);
    struct rusage all;
    getrusage(RUSAGE_SELF, &all);
    IS(all.ru_nivcsw >= (long)switched);
    IS(all.ru_nvcsw >= 20);
    return 0;
}
