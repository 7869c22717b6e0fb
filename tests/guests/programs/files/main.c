/* Runs all cases, or those of the named families, each on one line of the output. */
#include "files.h"
#include <ftw.h>

static char line[8192];
static size_t used;

void say(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line + used, sizeof line - used - 1, format, values);
    va_end(values);
    used += length;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
}

long call(const char *what, long result)
{
    if (result == -1)
        say(" %s=%s", what, strerrorname_np(errno));
    else
        say(" %s=%ld", what, result);
    return result;
}

int done(const char *what, int result)
{
    say(" %s=%s", what, result == -1 ? strerrorname_np(errno) : "ok");
    return result;
}

int put(const char *name, const char *text)
{
    int file = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text))
        say(" put(%s)=%s", name, strerrorname_np(errno));
    return file;
}

void show_open(const char *what, int file)
{
    char text[200];
    ssize_t length = pread(file, text, sizeof text - 1, 0);
    if (length < 0) {
        call(what, -1);
        return;
    }
    for (ssize_t at = 0; at < length; at++)
        if (text[at] < ' ' || text[at] > '~')
            text[at] = '.';
    text[length] = 0;
    say(" %s='%s'", what, text);
}

void show(const char *name)
{
    int file = open(name, O_RDONLY);
    if (file < 0)
        call(name, -1);
    else
        show_open(name, file);
    close(file);
}

void about(const char *what, const struct stat *seen)
{
    int folder = S_ISDIR(seen->st_mode);
    say(" %s=%o/%ld/%ld", what, seen->st_mode, folder ? 0L : (long)seen->st_size,
        (long)seen->st_nlink);
}

void look(const char *name)
{
    struct stat seen;
    if (lstat(name, &seen) < 0)
        call(name, -1);
    else
        about(name, &seen);
}

void sum(const char *what, int file)
{
    static unsigned char bytes[65536];
    unsigned long long hash = 14695981039346656037ULL, length = 0;
    ssize_t count;
    while ((count = pread(file, bytes, sizeof bytes, length)) > 0) {
        for (ssize_t at = 0; at < count; at++)
            hash = (hash ^ bytes[at]) * 1099511628211ULL;
        length += count;
    }
    say(" %s=%llu:%016llx", what, length, hash);
}

void fill(char *bytes, size_t length, unsigned seed)
{
    for (size_t at = 0; at < length; at++) {
        seed = seed * 1103515245 + 12345;
        bytes[at] = seed >> 16;
    }
}

void aside(void (*then)(void))
{
    fflush(stdout);
    int ends[2], status;
    size_t before = used;
    if (pipe(ends) < 0)
        abort();
    pid_t child = fork();
    if (child == 0) {
        then();
        if (write(ends[1], line + before, used - before) < 0)
            abort();
        _exit(0);
    }
    close(ends[1]);
    ssize_t length;
    while ((length = read(ends[0], line + used, sizeof line - used - 1)) > 0)
        used += length;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (status)
        say(" other ended by %#x", status);
}

static int discard(const char *path, const struct stat *seen, int kind, struct FTW *place)
{
    (void)seen, (void)kind, (void)place;
    return remove(path);
}

/* The case's process: it alone knows what is on the line. */
static void inside(const char *family, const struct family_case *one)
{
    alarm(30);
    umask(022);
    say("%s/%s:", family, one->name);
    if (mkdir("case", 0755) < 0 || chdir("case") < 0)
        call("folder", -1);
    else
        one->run();
    line[used++] = '\n';
    if (write(1, line, used) < 0)
        abort();
    _exit(0);
}

static void run(const char *family, const struct family_case *cases)
{
    for (; cases->name; cases++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            inside(family, cases);
        waitpid(child, &status, 0);
        if (status)
            dprintf(1, "%s/%s: ended by %#x\n", family, cases->name, status);
        nftw("case", discard, 16, FTW_DEPTH | FTW_PHYS);
    }
}

int main(void)
{
    run("opening", opening);
    run("naming", naming);
    run("linking", linking);
    run("moving", moving);
    run("mapping", mapping);
    run("locking", locking);
    run("describing", describing);
    run("listing", listing);
    return 0;
}
