/* Fault injection for the tests: preload this library and it counts every change of a file below
 * one folder, or every read, and at a chosen one kills the process, lets the call fail or fall
 * short, or sends a signal.
 *
 * The tests and all preloaded processes share `struct settings`, a file named by FAULT_SETTINGS.
 * injection.py has the same layout. Access through mmap and inside stdio cannot be seen. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { COUNT, KILL, KILL_ALL, KILL_HALF, FAIL_ONCE, FAIL_FROM, SHORT, SIGNAL };
enum domain { CHANGES, READS };
enum verdict { PASS, FAIL, HALF_THEN_KILL, HALF };
enum { N_LOGGED = 4096 };

struct operation {
    char name[16];
    int32_t takes_space; /* it can fail because the disk is full */
    char path[204];      /* relative to the folder */
};

struct settings {
    int32_t armed, kind, error, signal;
    int32_t driver;          /* the process that gets the signals */
    int32_t domain;          /* what is counted */
    int64_t at, count, hit;  /* the operation to strike, those so far, the one that was struck */
    char folder[512];        /* with a slash at the end */
    struct operation log[N_LOGGED];
};

static struct settings *shared;

__attribute__((constructor)) static void share_settings(void) {
    const char *path = getenv("FAULT_SETTINGS");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    int fd = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        shared = at;
}

/* Which file */

static void path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = 0;
}

static void absolute(int folder, const char *name, char *path) {
    char base[PATH_MAX] = "";
    if (name[0] != '/' && folder != AT_FDCWD)
        path_of_fd(folder, base);
    else if (name[0] != '/' && !getcwd(base, sizeof base))
        base[0] = 0;
    int n = snprintf(path, PATH_MAX, "%s%s%s", base, name[0] == '/' ? "" : "/", name);
    if (n >= PATH_MAX)
        path[0] = 0;
}

/* What is to happen to it */

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void record(int64_t number, const char *name, const char *path, int takes_space) {
    if (number > N_LOGGED)
        return;
    struct operation *entry = &shared->log[number - 1];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->path, sizeof entry->path, "%s", path);
    entry->takes_space = takes_space;
}

static enum verdict strike(int64_t number) {
    shared->hit = number;
    errno = shared->error;
    switch (shared->kind) {
    case KILL_ALL:
        kill(shared->driver, SIGKILL); /* fall through */
    case KILL:
        die(); /* fall through */
    case KILL_HALF:
        return HALF_THEN_KILL;
    case SHORT:
        return HALF;
    case SIGNAL:
        kill(shared->driver, shared->signal);
        return PASS;
    default:
        return FAIL;
    }
}

static enum verdict judge(const char *name, const char *path, int takes_space) {
    size_t n = strlen(shared->folder);
    if (strncmp(path, shared->folder, n))
        return PASS;
    int64_t number = __atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
    record(number, name, path + n, takes_space);
    if (shared->kind == COUNT || number < shared->at)
        return PASS;
    if (number == shared->at)
        return strike(number);
    int stays = shared->kind == FAIL_FROM || shared->kind == SHORT;
    if (!stays || !takes_space)
        return PASS;
    errno = shared->error;
    return FAIL;
}

static int is_counted(enum domain domain) {
    return shared && shared->armed && shared->domain == domain;
}

static enum verdict judge_fd(enum domain domain, const char *name, int fd, int takes_space) {
    char path[PATH_MAX];
    if (!is_counted(domain) || fd <= 2)
        return PASS;
    path_of_fd(fd, path);
    return judge(name, path, takes_space);
}

static enum verdict judge_path(enum domain domain, const char *name, int folder, const char *at,
                               int takes_space) {
    char path[PATH_MAX];
    if (!is_counted(domain) || !at || !*at)
        return PASS;
    absolute(folder, at, path);
    return judge(name, path, takes_space);
}

/* Half of a call that moves no bytes is none of it. */
static int refused(enum verdict verdict) {
    if (verdict == HALF_THEN_KILL)
        die();
    return verdict != PASS;
}

#define REAL(function)                                                                             \
    static __typeof__(&function) real;                                                             \
    if (!real)                                                                                     \
    real = dlsym(RTLD_NEXT, #function)

/* A function that changes what `at`, below the open `folder`, names. */
#define BY_PATH(function, name, parameters, arguments, folder, at, takes_space)                    \
    int function parameters {                                                                      \
        REAL(function);                                                                            \
        return refused(judge_path(CHANGES, name, folder, at, takes_space)) ? -1 : real arguments;  \
    }

/* A function that changes an open file. */
#define BY_FD(type, function, name, parameters, arguments, fd, takes_space)                        \
    type function parameters {                                                                     \
        REAL(function);                                                                            \
        return refused(judge_fd(CHANGES, name, fd, takes_space)) ? -1 : real arguments;            \
    }

/* Opening */

static int open_file(int folder, const char *name, int flags, mode_t mode) {
    static int (*real)(int, const char *, int, ...);
    if (!real)
        real = dlsym(RTLD_NEXT, "openat64");
    int there = !faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW);
    int creates = (flags & O_CREAT) && !there;
    if (creates || (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) {
        if (refused(judge_path(CHANGES, creates ? "create" : "open", folder, name, creates)))
            return -1;
    } else if (!(flags & O_PATH) && refused(judge_path(READS, "open", folder, name, 0))) {
        return -1;
    }
    return real(folder, name, flags, mode);
}

#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode = va_arg(more, mode_t);                                                               \
        va_end(more);                                                                              \
    }

int open(const char *name, int flags, ...) {
    MODE(flags)
    return open_file(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    MODE(flags)
    return open_file(AT_FDCWD, name, flags, mode);
}

int openat(int folder, const char *name, int flags, ...) {
    MODE(flags)
    return open_file(folder, name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...) {
    MODE(flags)
    return open_file(folder, name, flags, mode);
}

static FILE *open_stream(const char *name, const char *mode) {
    static FILE *(*real)(const char *, const char *);
    if (!real)
        real = dlsym(RTLD_NEXT, "fopen64");
    int writes = strpbrk(mode, "wa+") != 0;
    if (refused(judge_path(writes ? CHANGES : READS, "fopen", AT_FDCWD, name, writes)))
        return 0;
    return real(name, mode);
}

FILE *fopen(const char *name, const char *mode) { return open_stream(name, mode); }
FILE *fopen64(const char *name, const char *mode) { return open_stream(name, mode); }

/* Writing */

ssize_t write(int fd, const void *data, size_t n) {
    REAL(write);
    enum verdict verdict = judge_fd(CHANGES, "write", fd, 1);
    if (verdict == HALF_THEN_KILL) {
        real(fd, data, n / 2);
        die();
    }
    if (verdict == HALF && n > 1)
        return real(fd, data, n / 2);
    return verdict == PASS ? real(fd, data, n) : -1;
}

BY_FD(ssize_t, pwrite, "pwrite", (int fd, const void *d, size_t n, off_t o), (fd, d, n, o), fd, 1)
BY_FD(ssize_t, pwrite64, "pwrite", (int fd, const void *d, size_t n, off64_t o), (fd, d, n, o),
      fd, 1)
BY_FD(ssize_t, writev, "writev", (int fd, const struct iovec *v, int n), (fd, v, n), fd, 1)
BY_FD(ssize_t, sendfile, "sendfile", (int to, int fd, off_t *o, size_t n), (to, fd, o, n), to, 1)
BY_FD(ssize_t, sendfile64, "sendfile", (int to, int fd, off64_t *o, size_t n), (to, fd, o, n),
      to, 1)
BY_FD(ssize_t, copy_file_range, "copy_file_range",
      (int fd, off64_t *a, int to, off64_t *b, size_t n, unsigned f), (fd, a, to, b, n, f), to, 1)
BY_FD(int, ftruncate, "ftruncate", (int fd, off_t n), (fd, n), fd, 0)
BY_FD(int, ftruncate64, "ftruncate", (int fd, off64_t n), (fd, n), fd, 0)
BY_FD(int, fallocate, "fallocate", (int fd, int m, off_t o, off_t n), (fd, m, o, n), fd, 1)
BY_FD(int, fallocate64, "fallocate", (int fd, int m, off64_t o, off64_t n), (fd, m, o, n), fd, 1)
BY_FD(int, fchmod, "fchmod", (int fd, mode_t m), (fd, m), fd, 0)
BY_FD(int, futimens, "futimens", (int fd, const struct timespec t[2]), (fd, t), fd, 0)

/* The power stays on: waiting for the disk would show nothing. */
int fsync(int fd) { return refused(judge_fd(CHANGES, "fsync", fd, 1)) ? -1 : 0; }
int fdatasync(int fd) { return refused(judge_fd(CHANGES, "fdatasync", fd, 1)) ? -1 : 0; }

/* Reading: a short read gives half of the bytes that were asked for, and the next one goes on. */

#define READ(function, name, parameters, arguments, n)                                             \
    ssize_t function parameters {                                                                  \
        REAL(function);                                                                            \
        enum verdict verdict = judge_fd(READS, name, fd, 0);                                       \
        if (verdict == HALF)                                                                       \
            n -= n / 2;                                                                            \
        else if (refused(verdict))                                                                 \
            return -1;                                                                             \
        return real arguments;                                                                     \
    }

READ(read, "read", (int fd, void *data, size_t n), (fd, data, n), n)
READ(pread, "pread", (int fd, void *data, size_t n, off_t o), (fd, data, n, o), n)
READ(pread64, "pread", (int fd, void *data, size_t n, off64_t o), (fd, data, n, o), n)

DIR *opendir(const char *name) {
    REAL(opendir);
    return refused(judge_path(READS, "list", AT_FDCWD, name, 0)) ? 0 : real(name);
}

DIR *fdopendir(int fd) {
    REAL(fdopendir);
    return refused(judge_fd(READS, "list", fd, 0)) ? 0 : real(fd);
}

/* A function that looks at what `at`, below the open `folder`, names. */
#define LOOK(function, parameters, arguments, folder, at)                                          \
    int function parameters {                                                                      \
        REAL(function);                                                                            \
        return refused(judge_path(READS, "stat", folder, at, 0)) ? -1 : real arguments;            \
    }

LOOK(stat, (const char *a, struct stat *s), (a, s), AT_FDCWD, a)
LOOK(stat64, (const char *a, struct stat64 *s), (a, s), AT_FDCWD, a)
LOOK(lstat, (const char *a, struct stat *s), (a, s), AT_FDCWD, a)
LOOK(lstat64, (const char *a, struct stat64 *s), (a, s), AT_FDCWD, a)
LOOK(fstatat, (int d, const char *a, struct stat *s, int f), (d, a, s, f), d, a)
LOOK(fstatat64, (int d, const char *a, struct stat64 *s, int f), (d, a, s, f), d, a)

/* Names */

BY_PATH(rename, "rename", (const char *a, const char *b), (a, b), AT_FDCWD, b, 0)
BY_PATH(renameat, "rename", (int c, const char *a, int d, const char *b), (c, a, d, b), d, b, 0)
BY_PATH(renameat2, "rename", (int c, const char *a, int d, const char *b, unsigned f),
        (c, a, d, b, f), d, b, 0)
BY_PATH(link, "link", (const char *a, const char *b), (a, b), AT_FDCWD, b, 1)
BY_PATH(linkat, "link", (int c, const char *a, int d, const char *b, int f), (c, a, d, b, f),
        d, b, 1)
BY_PATH(symlink, "symlink", (const char *a, const char *b), (a, b), AT_FDCWD, b, 1)
BY_PATH(symlinkat, "symlink", (const char *a, int d, const char *b), (a, d, b), d, b, 1)
BY_PATH(unlink, "unlink", (const char *a), (a), AT_FDCWD, a, 0)
BY_PATH(unlinkat, "unlink", (int d, const char *a, int f), (d, a, f), d, a, 0)
BY_PATH(rmdir, "rmdir", (const char *a), (a), AT_FDCWD, a, 0)
BY_PATH(mkdir, "mkdir", (const char *a, mode_t m), (a, m), AT_FDCWD, a, 1)
BY_PATH(mkdirat, "mkdir", (int d, const char *a, mode_t m), (d, a, m), d, a, 1)
BY_PATH(truncate, "truncate", (const char *a, off_t n), (a, n), AT_FDCWD, a, 0)
BY_PATH(truncate64, "truncate", (const char *a, off64_t n), (a, n), AT_FDCWD, a, 0)
BY_PATH(chmod, "chmod", (const char *a, mode_t m), (a, m), AT_FDCWD, a, 0)
BY_PATH(utimensat, "utimens", (int d, const char *a, const struct timespec t[2], int f),
        (d, a, t, f), d, a, 0)
