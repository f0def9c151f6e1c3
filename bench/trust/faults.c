/* Preloaded (LD_PRELOAD) by `edgemem bench trust crashes`: counts every call that changes something under one folder,
 * and at the n-th kills the process for real, or says that the disk is full. What SQLite does goes through here, too;
 * only the shared memory of its log (-shm, mapped) does not: SQLite makes it anew after a death.
 *
 * edgemem_fault(folder, n, mode): 1 kill before the n-th effect; 2 kill in the middle of it (a write's first half is
 * on disk); 3 the disk is full from the n-th on; 4 the n-th write is short, then the disk is full. n = 0: only count.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { KILL = 1, HALF = 2, FULL = 3, SHORT = 4 };
static char folder[4096], kinds[65536];
static int at, mode, count;

void edgemem_fault(const char *below, int n, int what)
{
    snprintf(folder, sizeof folder, "%s/", below);
    at = n, mode = what, count = 0, kinds[0] = 0;
}

int edgemem_effects(void) { return count; }
const char *edgemem_kinds(void) { return kinds; } /* one letter per effect: w(rite) o(pen) r(ename) s(ync) ... */

static int below(const char *path) { return folder[0] && path && !strncmp(path, folder, strlen(folder)); }

static int file_below(int fd)
{
    char name[64], path[4096];
    ssize_t size;
    if (!folder[0])
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    size = readlink(name, path, sizeof path - 2);
    if (size < 0)
        return 0;
    path[size] = '/', path[size + 1] = 0; /* the folder itself counts */
    return below(path);
}

/* Counts one effect; nonzero: refuse it, the disk is full. */
static int effect(char kind, int grows)
{
    if (count + 1 < (int)sizeof kinds)
        kinds[count] = kind, kinds[count + 1] = 0;
    count++;
    if (at && count == at && (mode == KILL || (mode == HALF && kind != 'w')))
        kill(getpid(), SIGKILL);
    if (at && grows && ((mode == FULL && count >= at) || (mode == SHORT && count > at))) {
        errno = ENOSPC;
        return 1;
    }
    return 0;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* How much of a write of `size` bytes is to be done now (all of it, or its first half). */
static size_t part(size_t size)
{
    return at && count == at && (mode == HALF || mode == SHORT) && size > 1 ? size / 2 : size;
}

static void after_half(void)
{
    if (at && count == at && mode == HALF)
        kill(getpid(), SIGKILL);
}

#define WRITES(function, NAMED, CALL) \
    ssize_t function NAMED \
    { \
        ssize_t done; \
        REAL_OF(function) \
        if (!file_below(fd)) \
            return CALL; \
        if (effect('w', 1)) \
            return -1; \
        size = part(size); \
        done = CALL; \
        after_half(); \
        return done; \
    }
#define REAL_OF(function) REAL_##function
#define REAL_write REAL(ssize_t, "write", int, const void *, size_t);
#define REAL_pwrite REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
#define REAL_pwrite64 REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
WRITES(write, (int fd, const void *data, size_t size), real(fd, data, size))
WRITES(pwrite, (int fd, const void *data, size_t size, off_t to), real(fd, data, size, to))
WRITES(pwrite64, (int fd, const void *data, size_t size, off64_t to), real(fd, data, size, to))

static int creates(const char *path, int flags)
{
    struct stat found;
    return below(path) && (((flags & O_CREAT) && stat(path, &found)) || ((flags & O_TRUNC) && !stat(path, &found)));
}

#define OPENS(function, name, BEFORE, NAMES) \
    int function(BEFORE const char *path, int flags, ...) \
    { \
        mode_t rights = 0; \
        va_list rest; \
        REAL_OF(function) \
        va_start(rest, flags); \
        if (flags & (O_CREAT | __O_TMPFILE)) \
            rights = va_arg(rest, mode_t); \
        va_end(rest); \
        if (creates(path, flags) && effect('o', flags & O_CREAT)) \
            return -1; \
        return real(NAMES path, flags, rights); \
    }
#define REAL_open REAL(int, "open", const char *, int, ...);
#define REAL_open64 REAL(int, "open64", const char *, int, ...);
#define REAL_openat REAL(int, "openat", int, const char *, int, ...);
#define REAL_openat64 REAL(int, "openat64", int, const char *, int, ...);
#define COMMA ,
OPENS(open, "open", , )
OPENS(open64, "open64", , )
OPENS(openat, "openat", int at_fd COMMA, at_fd COMMA)
OPENS(openat64, "openat64", int at_fd COMMA, at_fd COMMA)

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    return below(to) && effect('r', 0) ? -1 : real(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(int, "renameat", int, const char *, int, const char *);
    return below(to) && effect('r', 0) ? -1 : real(from_fd, from, to_fd, to);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    return below(path) && effect('u', 0) ? -1 : real(path);
}

int unlinkat(int fd, const char *path, int flags)
{
    REAL(int, "unlinkat", int, const char *, int);
    return (below(path) || file_below(fd)) && effect('u', 0) ? -1 : real(fd, path, flags);
}

int rmdir(const char *path)
{
    REAL(int, "rmdir", const char *);
    return below(path) && effect('u', 0) ? -1 : real(path);
}

int mkdir(const char *path, mode_t rights)
{
    REAL(int, "mkdir", const char *, mode_t);
    return below(path) && effect('m', 1) ? -1 : real(path, rights);
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return file_below(fd) && effect('s', 0) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return file_below(fd) && effect('s', 0) ? -1 : real(fd);
}

int ftruncate(int fd, off_t size)
{
    REAL(int, "ftruncate", int, off_t);
    return file_below(fd) && effect('t', 0) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(int, "ftruncate64", int, off64_t);
    return file_below(fd) && effect('t', 0) ? -1 : real(fd, size);
}
