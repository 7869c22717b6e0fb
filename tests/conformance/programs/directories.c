/* Reading folders: complete, each name once, positions that can be returned to. */
#include "check.h"
#include <dirent.h>
#include <sys/syscall.h>

enum { COUNT = 700 };
static int seen[COUNT];

static int number_of(const char *name)
{
    int number = -1;
    return sscanf(name, "file-%d", &number) == 1 ? number : -1;
}

static void read_all(void)
{
    DIR *folder = opendir("many");
    int once = 0, more = 0, others = 0, files = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        int number = number_of(entry->d_name);
        if (number < 0)
            others++;
        else if (++seen[number] == 1)
            once++;
        else
            more++;
        files += entry->d_type == DT_REG;
    }
    printf("%d once, %d more often, %d others, %d plain files\n", once, more, others, files);
    rewinddir(folder);
    int again = 0;
    while (readdir(folder))
        again++;
    NUMBER(again);
    closedir(folder);
}

static void go_back(void)
{
    DIR *folder = opendir("many");
    for (int turn = 0; turn < 300; turn++)
        readdir(folder);
    long place = telldir(folder);
    char name[256];
    strcpy(name, readdir(folder)->d_name);
    for (int turn = 0; turn < 100; turn++)
        readdir(folder);
    seekdir(folder, place);
    IS(strcmp(name, readdir(folder)->d_name) == 0);
    closedir(folder);
}

static void small_buffer(void)
{
    int folder = open("many", O_RDONLY | O_DIRECTORY);
    char buffer[100];
    long total = 0, got;
    while ((got = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < got; at += *(unsigned short *)(buffer + at + 16))
            total++;
    NUMBER(got);
    NUMBER(total);
    CALL(lseek(folder, 0, SEEK_SET));
    CALL(syscall(SYS_getdents64, folder, buffer, 8));
    int file = open("many/file-3", O_RDONLY);
    CALL(syscall(SYS_getdents64, file, buffer, sizeof buffer));
    CALL(syscall(SYS_getdents64, 99, buffer, sizeof buffer));
    CALL(read(folder, buffer, 1));
    CALL(write(folder, buffer, 1));
}

int main(void)
{
    char name[64];
    CALL(mkdir("many", 0755));
    for (int number = 0; number < COUNT; number++) {
        snprintf(name, sizeof name, "many/file-%d", number);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    read_all();
    go_back();
    small_buffer();
    CALL(rmdir("many"));
    DIR *folder = opendir("many");
    int removed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(name, sizeof name, "many/%.50s", entry->d_name);
        if (entry->d_name[0] != '.')
            removed += unlink(name) == 0;
    }
    closedir(folder);
    NUMBER(removed);
    CALL(mkdir("many/inner", 0700));
    struct stat about;
    CALL(stat("many", &about));
    NUMBER(about.st_nlink);
    CALL(rmdir("many/inner"));
    CALL(rmdir("many"));
    CALL(rmdir("."));
    IS(opendir("none") == NULL);
    IS(opendir("/proc/self/fd") != NULL);
    IS(opendir("/dev") != NULL);
    return 0;
}
