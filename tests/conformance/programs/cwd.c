/* The working folder. */
#include "check.h"
#include <limits.h>

static const char *last(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : "none";
}

int main(void)
{
    char path[PATH_MAX], small[2];
    IS(getcwd(path, sizeof path) == path);
    IS(path[0] == '/');
    IS(getcwd(small, sizeof small) == NULL && errno == ERANGE);
    CALL(mkdir("one", 0755));
    CALL(mkdir("one/two", 0755));
    CALL(chdir("one/two"));
    TEXT(last(getcwd(path, sizeof path)));
    CALL(chdir(".."));
    TEXT(last(getcwd(path, sizeof path)));
    CALL(chdir("none"));
    close(make_file("file", 5));
    CALL(chdir("file"));
    int folder = open("two", O_RDONLY);
    CALL(fchdir(folder));
    TEXT(last(getcwd(path, sizeof path)));
    CALL(fchdir(99));
    int file = open("../file", O_RDONLY);
    CALL(fchdir(file));
    CALL(symlink("..", "up"));
    CALL(chdir("up/up/up/two") < 0);
    CALL(chdir("up"));
    TEXT(last(getcwd(path, sizeof path)));
    CALL(chdir("two/./../two//"));
    TEXT(last(getcwd(path, sizeof path)));
    CALL(unlink("up"));
    CALL(rmdir("../two"));
    IS(getcwd(path, sizeof path) == NULL && errno == ENOENT);
    CALL(open("new", O_CREAT | O_WRONLY, 0644));
    CALL(chdir("/"));
    TEXT(getcwd(path, sizeof path));
    CALL(chdir(".."));
    TEXT(getcwd(path, sizeof path));
    char *name = malloc(5000);
    memset(name, 'x', 4999);
    name[4999] = 0;
    CALL(chdir(name));
    name[300] = 0;
    CALL(chdir(name));
    return 0;
}
