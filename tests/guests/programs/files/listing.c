/* Folders, entry by entry. */
#include "files.h"

static int by_name(const void *one, const void *two)
{
    return strcmp(*(char *const *)one, *(char *const *)two);
}

/* Says what is in a folder, sorted, each with its kind. */
static void list(const char *name)
{
    char *names[64], text[300];
    int count = 0;
    struct dirent *entry;
    DIR *folder = opendir(name);
    if (!folder) {
        call(name, -1);
        return;
    }
    while ((entry = readdir(folder)) && count < 64) {
        sprintf(text, "%s:%d", entry->d_name, entry->d_type);
        names[count++] = strdup(text);
    }
    closedir(folder);
    qsort(names, count, sizeof *names, by_name);
    say(" [");
    for (int at = 0; at < count; at++)
        say(at ? " %s" : "%s", names[at]);
    say("]");
}

static void make(int count)
{
    char name[40];
    for (int number = 0; number < count; number++) {
        sprintf(name, "entry-with-a-long-name-%d", number);
        close(open(name, O_CREAT | O_WRONLY, 0644));
    }
}

/* The number of entries from here on, and the sum of their numbers. */
static void count(const char *what, DIR *folder)
{
    struct dirent *entry;
    long found = 0, numbers = 0;
    while ((entry = readdir(folder))) {
        int number;
        if (sscanf(entry->d_name, "entry-with-a-long-name-%d", &number) == 1)
            found++, numbers += number;
    }
    say(" %s=%ld:%ld", what, found, numbers);
}

static void empty(void)
{
    mkdir("folder", 0755);
    list("folder");
    list("none");
    put("file", "");
    list("file");
}

static void kinds(void)
{
    put("file", "");
    mkdir("folder", 0755);
    symlink("x", "link");
    mkfifo("fifo", 0644);
    list(".");
}

static void many(void)
{
    make(2000);
    DIR *folder = opendir(".");
    count("all", folder);
    rewinddir(folder);
    count("again", folder);
}

static void goes_back(void)
{
    make(500);
    DIR *folder = opendir(".");
    for (int number = 0; number < 250; number++)
        readdir(folder);
    long place = telldir(folder);
    char next[300];
    strcpy(next, readdir(folder)->d_name);
    for (int number = 0; number < 100; number++)
        readdir(folder);
    seekdir(folder, place);
    say(" same=%d", strcmp(next, readdir(folder)->d_name) == 0);
    long rest = 1;
    while (readdir(folder))
        rest++;
    say(" rest=%ld", rest);
}

static void removed_meanwhile(void)
{
    make(600);
    DIR *folder = opendir(".");
    struct dirent *entry;
    long removed = 0;
    while ((entry = readdir(folder)))
        if (entry->d_name[0] == 'e' && unlink(entry->d_name) == 0)
            removed++;
    say(" removed=%ld", removed);
    list(".");
}

static void numbers_agree(void)
{
    struct dirent *entry;
    struct stat seen;
    int wrong = 0, all = 0;
    make(50);
    mkdir("folder", 0755);
    DIR *folder = opendir(".");
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        all++;
        if (lstat(entry->d_name, &seen) < 0 || seen.st_ino != entry->d_ino)
            wrong++;
    }
    say(" all=%d wrong=%d", all, wrong);
}

static void after_changes(void)
{
    put("a", "");
    put("b", "");
    list(".");
    rename("a", "c");
    unlink("b");
    list(".");
    mkdir("d", 0755);
    rename("c", "d/c");
    list(".");
    list("d");
    DIR *folder = opendir("d");
    call("remove", unlink("d/c"));
    call("rmdir", rmdir("d"));
    say(" entries=%d", readdir(folder) != 0);
}

static void by_descriptor(void)
{
    mkdir("folder", 0755);
    put("folder/file", "");
    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    struct stat seen;
    call("fstatat", fstatat(folder, "file", &seen, 0));
    call("unlinkat", unlinkat(folder, "file", 0));
    call("read", read(folder, &seen, 1));
    call("fchdir", fchdir(folder));
    call("mkdir", mkdir("here", 0755));
    list(".");
}

static void links_of_folders(void)
{
    look(".");
    mkdir("one", 0755);
    mkdir("two", 0755);
    put("file", "");
    look(".");
    rename("two", "one/two");
    look(".");
    look("one");
    rmdir("one/two");
    look("one");
}

const struct family_case listing[] = {
    { "empty", empty },
    { "kinds", kinds },
    { "many", many },
    { "goes back", goes_back },
    { "removed meanwhile", removed_meanwhile },
    { "numbers agree", numbers_agree },
    { "after changes", after_changes },
    { "by descriptor", by_descriptor },
    { "links of folders", links_of_folders },
    { 0, 0 },
};
