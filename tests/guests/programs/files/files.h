/* What the cases of the file-system test share. Each case runs in an empty folder of its own, in a
   process of its own, and says what it saw on one line. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

struct family_case {
    const char *name;
    void (*run)(void);
};

extern const struct family_case opening[], naming[], linking[], moving[], mapping[], locking[],
    describing[], listing[];

/* Appends to the case's line. */
void say(const char *format, ...);
/* Says what a call returned: a number, or the name of its error. */
long call(const char *what, long result);
/* Says only whether it succeeded; returns the result. */
int done(const char *what, int result);

/* Makes a file with this text; open for reading and writing. */
int put(const char *name, const char *text);
/* Says a file's content, by path or from a descriptor's start. */
void show(const char *name);
void show_open(const char *what, int file);
/* Says kind and permissions, size and number of links. */
void about(const char *what, const struct stat *seen);
void look(const char *name);
/* Says the sum of a file's bytes, which is the same only for the same bytes. */
void sum(const char *what, int file);
/* Fills with bytes that differ from place to place. */
void fill(char *bytes, size_t length, unsigned seed);
/* Runs `then` in another process; says how that ended. */
void aside(void (*then)(void));
