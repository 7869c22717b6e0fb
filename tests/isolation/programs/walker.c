/* Walks the volume /v over and over by every way there is to name a file, and says so if
 * it ever sees a secret: `walker SECONDS`. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char SECRET[] = "the secret outside";
static unsigned long opened, refused, secrets;
static int budget;

static void look(int folder, const char *name) {
    char bytes[256] = {0};
    int flags[] = {O_RDONLY, O_RDONLY | O_NOFOLLOW, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_CREAT};
    int file = openat(folder, name, flags[rand() % 5], 0600);
    if (file < 0) {
        refused++;
        return;
    }
    opened++;
    if (read(file, bytes, sizeof bytes - 1) > 0 && strstr(bytes, SECRET)) {
        secrets++;
        printf("SECRET by %s\n", name);
    }
    if (write(file, "written by the guest", 20) < 0) refused++;
    close(file);
}

static void walk(int folder, int depth) {
    DIR *list = fdopendir(folder);
    if (!list) {
        close(folder);
        return;
    }
    for (struct dirent *entry; budget-- > 0 && (entry = readdir(list));) {
        struct stat facts;
        char target[256];
        int here = dirfd(list);
        fstatat(here, entry->d_name, &facts, rand() % 2 ? AT_SYMLINK_NOFOLLOW : 0);
        if (readlinkat(here, entry->d_name, target, sizeof target) < 0) refused++;
        look(here, entry->d_name);
        int next = depth < 4 ? openat(here, entry->d_name, O_RDONLY | O_DIRECTORY) : -1;
        if (next >= 0) walk(next, depth + 1);
    }
    closedir(list);
}

static const char *const NAMES[] = {
    "/v/swap/secret", "/v/swap/deep/secret", "/v/link/secret", "/v/up/secret", "/v/swap/../secret",
    "/v/swap/../../outside/secret", "/v/swap/deep/../../../outside/secret", "/v/absolute/secret",
    "/v/nest/inner/secret", "/v/nest/inner/../../../outside/secret", "/v/file", "/v/swap/new", "/v/magic/secret", "/v/../outside/secret",
};

int main(int count, char **arguments) {
    time_t end = time(0) + (count > 1 ? atoi(arguments[1]) : 1);
    puts("walking");
    fflush(stdout);
    unsigned long rounds = 0;
    int kept = open("/v/swap", O_RDONLY | O_DIRECTORY);
    for (; time(0) < end; rounds++) {
        for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) look(AT_FDCWD, NAMES[i]);
        look(kept, "secret");
        look(kept, "../secret");
        look(kept, "../../outside/secret");
        rename("/v/swap/new", "/v/swap/deep/newer");
        unlink("/v/swap/deep/newer");
        mkdir("/v/swap/folder", 0700);
        rmdir("/v/swap/folder");
        link("/v/swap/secret", "/v/stolen");
        unlink("/v/stolen");
        symlink("/outside", "/v/swap/mine");
        unlink("/v/swap/mine");
        budget = 200;
        int root = open("/v", O_RDONLY | O_DIRECTORY);
        if (root >= 0) walk(root, 0);
    }
    printf("rounds %lu, opened %lu, refused %lu, secrets %lu\n", rounds, opened, refused, secrets);
    return secrets != 0;
}
