/* Clocks run forward, sleeping takes at least as long as asked. */
#include "check.h"
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

static int64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int forward(clockid_t clock)
{
    int64_t before = now(clock);
    for (int turn = 0; turn < 100000; turn++) {
        int64_t after = now(clock);
        if (after < before)
            return 0;
        before = after;
    }
    return 1;
}

static int64_t slept(int64_t nanoseconds)
{
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    int64_t before = now(CLOCK_MONOTONIC);
    nanosleep(&time, NULL);
    return now(CLOCK_MONOTONIC) - before;
}

int main(void)
{
    struct timespec time;
    struct timeval day;
    struct tms used;
    IS(forward(CLOCK_MONOTONIC));
    IS(forward(CLOCK_MONOTONIC_RAW));
    IS(forward(CLOCK_REALTIME));
    IS(forward(CLOCK_PROCESS_CPUTIME_ID));
    IS(forward(CLOCK_THREAD_CPUTIME_ID));
    IS(forward(CLOCK_BOOTTIME));
    CALL(clock_gettime(99, &time));
    CALL(clock_getres(CLOCK_MONOTONIC, &time));
    NUMBER(time.tv_sec);
    IS(time.tv_nsec >= 1 && time.tv_nsec <= 10000000);
    IS(slept(1) >= 1);
    IS(slept(1000000) >= 1000000);
    IS(slept(30000000) >= 30000000);
    IS(slept(30000000) < 5000000000);
    struct timespec bad = {0, 1000000000};
    CALL(nanosleep(&bad, NULL));
    bad.tv_sec = -1;
    bad.tv_nsec = 0;
    CALL(nanosleep(&bad, NULL));
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += 5000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_nsec -= 1000000000;
        time.tv_sec++;
    }
    NUMBER(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
    IS(now(CLOCK_MONOTONIC) >= time.tv_sec * 1000000000ll + time.tv_nsec);
    NUMBER(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
    CALL(gettimeofday(&day, NULL));
    int64_t apart = now(CLOCK_REALTIME) / 1000 - (day.tv_sec * 1000000ll + day.tv_usec);
    IS(apart >= 0 && apart < 5000000);
    IS(llabs((long long)(clock_gettime(CLOCK_REALTIME_COARSE, &time), time.tv_sec - day.tv_sec)) <= 5);
    IS(day.tv_sec > 1700000000);
    CALL(times(&used) >= 0);
    struct rusage usage;
    CALL(getrusage(RUSAGE_SELF, &usage));
    IS(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec > 0);
    IS(usage.ru_maxrss > 0);
    return 0;
}
