// Counts the calls that change what lies below some folders, over all processes of a command, and acts at one of them:
// the command is killed there, asked to end, or the disk is full from there on. Preloaded; still until it is armed by
// the environment:
//
//   INTERPOSED_PLACES  folders, separated by colons
//   INTERPOSED_NUMBER  of the call, from 1; 0 acts at none
//   INTERPOSED_ACTION  kill, term or full
//   INTERPOSED_COUNT   a file of 8 bytes, in which the calls are counted; of 16, where the next 8 are the NUMBER, which
//                      may become another at any time: 0, or one beyond the calls so far, gives the disk room again
//   INTERPOSED_FORKS   of full, a folder: at each call that the first process's main thread makes, a copy of it goes on
//                      with a full disk in a view of its own of the folder INTERPOSED_VIEW; how that ends is left below
//                      FORKS/number: printed.1, printed.2, code, out and tmp. The process itself is not disturbed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char places[4 * PATH_MAX];
static long number;
static char action;                 // k, t or f; 0: not armed
static _Atomic long *count, *live;  // live: the number, where it may become another
static int limited;
static const char *forks, *view;
static pid_t forker;
static int is_fork;

#define REAL(name, ...)            \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);

// By a forked child whose environment has changed
void arm_from_environment(void) {
    const char *folders = getenv("INTERPOSED_PLACES");
    if (!folders) return;
    FILE *counter = fopen(getenv("INTERPOSED_COUNT"), "r+");
    count =
        counter ? mmap(NULL, 2 * sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(counter), 0) : MAP_FAILED;
    struct stat size;
    if (count == MAP_FAILED || fstat(fileno(counter), &size)) abort();
    live = size.st_size >= 16 ? count + 1 : NULL;
    fclose(counter);
    snprintf(places, sizeof places, "%s", folders);
    number = atol(getenv("INTERPOSED_NUMBER"));
    action = getenv("INTERPOSED_ACTION")[0];
    forks = getenv("INTERPOSED_FORKS"), view = getenv("INTERPOSED_VIEW");
    forker = getpid();
}

// Processes that it starts only count
__attribute__((constructor)) static void arm_at_start(void) {
    arm_from_environment();
    forks = NULL;
}

static int below(int folder, const char *path) {
    char whole[2 * PATH_MAX] = "";
    if (!action || !path) return 0;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, whole, PATH_MAX - 1);
            if (length < 0) return 0;
            whole[length] = 0;
        }
        strcat(whole, "/");
    }
    strncat(whole, path, PATH_MAX);
    char copy[sizeof places], *rest;
    strcpy(copy, places);
    for (char *place = strtok_r(copy, ":", &rest); place; place = strtok_r(NULL, ":", &rest)) {
        size_t length = strlen(place);
        if (!strncmp(whole, place, length) && (whole[length] == '/' || !whole[length])) return 1;
    }
    return 0;
}

// Whether a descriptor is of a file below
static int of_below(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!action) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return below(AT_FDCWD, path);
}

#include "copy.h"

enum { NONE, ROOM, ONCE };

// Whether what a C library writes of its buffers by itself fails, too
static void limit_files(int limits) {
    struct rlimit limit = {0, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limits ? 0 : limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    limited = limits;
}

// The number of the call to act at, as it is now
static long acts_at(void) {
    if (live) number = atomic_load(live);
    if (limited && (!number || atomic_load(count) + 1 < number)) limit_files(0);
    return number;
}

// A call: whether it must fail for want of ROOM. What takes NONE is not counted where the disk is full; a new name for
// what is there takes it once, of its folder.
static int met_here(int takes) {
    acts_at();
    long now = atomic_fetch_add(count, 1) + 1;
    if (!number || now < number || (action == 'f' && takes == ONCE && now > number)) return 0;
    if (action == 'f') {
        limit_files(1);
        errno = ENOSPC;
        return 1;
    }
    if (now == number) {
        if (action == 'k') kill(0, SIGKILL), pause();
        kill(getpid(), SIGTERM);
    }
    return 0;
}

static int met(int takes) {
    if (action == 'f' && takes == NONE) return 0;
    if (action == 'f') forked(atomic_load(count) + 1);
    return met_here(takes);
}

#define OPENS(name)                                                                                      \
    int name(const char *path, int flags, ...) {                                                         \
        REAL(name)                                                                                       \
        va_list rest;                                                                                    \
        va_start(rest, flags);                                                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                          \
        va_end(rest);                                                                                    \
        if (flags & O_ACCMODE && below(AT_FDCWD, path) && met(flags & O_CREAT ? ROOM : NONE)) return -1; \
        return real(path, flags, mode);                                                                  \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                                 \
    int name(int folder, const char *path, int flags, ...) {                                           \
        REAL(name)                                                                                     \
        va_list rest;                                                                                  \
        va_start(rest, flags);                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                        \
        va_end(rest);                                                                                  \
        if (flags & O_ACCMODE && below(folder, path) && met(flags & O_CREAT ? ROOM : NONE)) return -1; \
        return real(folder, path, flags, mode);                                                        \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define OPENS_STREAM(name)                                                           \
    FILE *name(const char *path, const char *mode) {                                 \
        REAL(name)                                                                   \
        if (strpbrk(mode, "wa+") && below(AT_FDCWD, path) && met(ROOM)) return NULL; \
        return real(path, mode);                                                     \
    }
OPENS_STREAM(fopen)
OPENS_STREAM(fopen64)

// A disk has room for half of what it is asked for, and then for nothing: so half is written, and the next call fails.
// A process that is killed has written half.
#define WRITES(name, kind, length, note, parameters, call, half)                            \
    ssize_t name parameters {                                                               \
        REAL(name)                                                                          \
        if (!of_below(kind)) {                                                              \
            note;                                                                           \
            return real call;                                                               \
        }                                                                                   \
        if (action == 'f') forked(atomic_load(count) + 1);                                  \
        if (acts_at() && action != 't' && atomic_load(count) + 1 == number && length > 1) { \
            if (action == 'f') {                                                            \
                ssize_t done = real half;                                                   \
                met_here(ROOM);                                                             \
                return done;                                                                \
            }                                                                               \
            real half;                                                                      \
        }                                                                                   \
        if (met_here(ROOM)) return -1;                                                      \
        return real call;                                                                   \
    }
#define NOTHING (void)0
#define PRINTED \
    if (forks && getpid() == forker && (descriptor == 1 || descriptor == 2)) printed(forks, descriptor, from, length)
WRITES(write, descriptor, length, PRINTED, (int descriptor, const void *from, size_t length),
       (descriptor, from, length), (descriptor, from, length / 2))
WRITES(pwrite, descriptor, length, NOTHING, (int descriptor, const void *from, size_t length, off_t at),
       (descriptor, from, length, at), (descriptor, from, length / 2, at))
WRITES(pwrite64, descriptor, length, NOTHING, (int descriptor, const void *from, size_t length, off64_t at),
       (descriptor, from, length, at), (descriptor, from, length / 2, at))
WRITES(sendfile, to, length, NOTHING, (int to, int from, off_t *at, size_t length), (to, from, at, length),
       (to, from, at, length / 2))
WRITES(sendfile64, to, length, NOTHING, (int to, int from, off64_t *at, size_t length), (to, from, at, length),
       (to, from, at, length / 2))
WRITES(copy_file_range, to, length, NOTHING,
       (int from, off64_t *at, int to, off64_t *there, size_t length, unsigned flags),
       (from, at, to, there, length, flags), (from, at, to, there, length / 2, flags))
WRITES(writev, descriptor, 0, NOTHING, (int descriptor, const struct iovec *parts, int length),
       (descriptor, parts, length), (descriptor, parts, length))

size_t fwrite(const void *from, size_t size, size_t length, FILE *stream) {
    REAL(fwrite)
    if (of_below(fileno(stream)) && met(ROOM)) return real(from, size, length / 2, stream);
    return real(from, size, length, stream);
}

#define CHANGES(name, takes, is, parameters, call) \
    int name parameters {                          \
        REAL(name)                                 \
        if ((is) && met(takes)) return -1;         \
        return real call;                          \
    }
#define AT AT_FDCWD
CHANGES(rename, ONCE, below(AT, to), (const char *from, const char *to), (from, to))
CHANGES(renameat, ONCE, below(there, to), (int here, const char *from, int there, const char *to),
        (here, from, there, to))
CHANGES(renameat2, ONCE, below(there, to), (int here, const char *from, int there, const char *to, unsigned flags),
        (here, from, there, to, flags))
CHANGES(link, ONCE, below(AT, to), (const char *from, const char *to), (from, to))
CHANGES(linkat, ONCE, below(there, to), (int here, const char *from, int there, const char *to, int flags),
        (here, from, there, to, flags))
CHANGES(symlink, ONCE, below(AT, to), (const char *from, const char *to), (from, to))
CHANGES(mkdir, ROOM, below(AT, path), (const char *path, mode_t mode), (path, mode))
CHANGES(mkdirat, ROOM, below(folder, path), (int folder, const char *path, mode_t mode), (folder, path, mode))
CHANGES(unlink, NONE, below(AT, path), (const char *path), (path))
CHANGES(unlinkat, NONE, below(folder, path), (int folder, const char *path, int flags), (folder, path, flags))
CHANGES(rmdir, NONE, below(AT, path), (const char *path), (path))
CHANGES(chmod, NONE, below(AT, path), (const char *path, mode_t mode), (path, mode))
CHANGES(fchmodat, NONE, below(folder, path), (int folder, const char *path, mode_t mode, int flags),
        (folder, path, mode, flags))
CHANGES(ftruncate, ROOM, of_below(descriptor), (int descriptor, off_t length), (descriptor, length))
CHANGES(ftruncate64, ROOM, of_below(descriptor), (int descriptor, off64_t length), (descriptor, length))

CHANGES(fsync, ROOM, of_below(descriptor), (int descriptor), (descriptor))
CHANGES(fdatasync, ROOM, of_below(descriptor), (int descriptor), (descriptor))
