/*
 * A disk that can be cut off, for one process: loaded before libc (LD_PRELOAD), it writes down every change the process
 * makes below one folder, in order, and fails or slows what it is told to. disk.rs reads what was written down, and makes the
 * folder that a power loss would have left.
 *
 *   POWERLOSS_FOLDER   absolute path; everything outside of it passes untouched
 *   POWERLOSS_TRACE    file for the record of changes; without it nothing is recorded
 *   POWERLOSS_BOOT     file that is read in place of the system's boot id: after a power loss it is another one
 *   POWERLOSS_CONTROL  file of 8 little-endian i64, mapped, changed by the test at any time (see enum control)
 *
 * Where changes are recorded, syncs are recorded too and not handed to the disk: what the machine keeps does not matter
 * then, only what the record says. Not seen: stdio (RocksDB's own text log), memory maps, and system calls made without libc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum control { WRITE_ERRNO, SYNC_ERRNO, SYNC_DELAY_US, CLOCK_OFFSET_S, SHORT_WRITES, WRITES_FAILED, SYNCS, SYNCS_FAILED };
enum kind { OPEN = 1, WRITE, SIZE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK };
enum { CREATED = 1, TRUNCATED = 2, DIRECTORY = 4 };

struct record {
    uint32_t kind, handle;
    uint64_t offset;
    uint32_t flags, a, b, reserved;
};

#define FDS 65536
static struct { uint32_t handle; int append; char *path; } table[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX - 256];
static size_t folder_length;
static const char *boot;
static int trace = -1;
static uint64_t records;
static uint32_t handles;
static volatile int64_t *control;
static volatile int64_t no_control[8];

#define REAL(name) ({ static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); real; })

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("POWERLOSS_FOLDER");
    control = no_control;
    if (!name || strlen(name) >= sizeof folder) return;
    folder_length = strlen(name);
    memcpy(folder, name, folder_length + 1);
    boot = getenv("POWERLOSS_BOOT");
    if ((name = getenv("POWERLOSS_TRACE"))) trace = REAL(open)(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((name = getenv("POWERLOSS_CONTROL"))) {
        int fd = REAL(open)(name, O_RDWR | O_CLOEXEC);
        void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) control = page;
        if (fd >= 0) REAL(close)(fd);
    }
}

/* The path below the folder ("" for the folder itself), or NULL. */
static const char *inside(int dirfd, const char *path, char *whole) {
    if (!folder_length || !path) return NULL;
    if (path[0] != '/') {
        if (dirfd == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX)) return NULL;
        } else if (dirfd >= 0 && dirfd < FDS && table[dirfd].handle && table[dirfd].path) {
            snprintf(whole, PATH_MAX, "%s%s%s", folder, *table[dirfd].path ? "/" : "", table[dirfd].path);
        } else {
            return NULL;
        }
        size_t length = strlen(whole);
        snprintf(whole + length, PATH_MAX - length, "/%s", path);
    } else {
        snprintf(whole, PATH_MAX, "%s", path);
    }
    /* "//" and "/./" say nothing. */
    char *out = whole;
    for (const char *in = whole; *in;) {
        if (in[0] == '/' && in[1] == '/') in++;
        else if (in[0] == '/' && in[1] == '.' && (in[2] == '/' || !in[2])) in += 2;
        else *out++ = *in++;
    }
    while (out > whole + 1 && out[-1] == '/') out--;
    *out = 0;
    if (strncmp(whole, folder, folder_length)) return NULL;
    if (!whole[folder_length]) return whole + folder_length;
    return whole[folder_length] == '/' ? whole + folder_length + 1 : NULL;
}

/* Under the lock. */
static void put(struct record head, const void *a, const void *b) {
    records++;
    if (trace < 0) return;
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)a, head.a}, {(void *)b, head.b}};
    ssize_t want = sizeof head + head.a + head.b;
    if (REAL(writev)(trace, parts, 3) != want) abort();
}

static void put_paths(enum kind kind, const char *a, const char *b) {
    put((struct record){.kind = kind, .a = strlen(a), .b = b ? strlen(b) : 0}, a, b);
}

static uint32_t tracked(int fd) {
    return fd >= 0 && fd < FDS ? __atomic_load_n(&table[fd].handle, __ATOMIC_ACQUIRE) : 0;
}

static void forget(int fd) {
    if (fd < 0 || fd >= FDS || !tracked(fd)) return;
    free(table[fd].path);
    table[fd].path = NULL;
    __atomic_store_n(&table[fd].handle, 0, __ATOMIC_RELEASE);
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    const char *below = inside(dirfd, path, whole);
    if (!below) {
        if (boot && path && !strcmp(path, "/proc/sys/kernel/random/boot_id")) path = boot;
        int fd = REAL(openat)(dirfd, path, flags, mode);
        if (fd >= 0 && tracked(fd)) {
            pthread_mutex_lock(&lock);
            forget(fd);
            pthread_mutex_unlock(&lock);
        }
        return fd;
    }
    pthread_mutex_lock(&lock);
    struct stat seen;
    int existed = !stat(whole, &seen);
    int fd;
    if (!existed && (flags & O_CREAT) && control[WRITE_ERRNO]) {
        control[WRITES_FAILED]++;
        errno = control[WRITE_ERRNO];
        fd = -1;
    } else {
        fd = REAL(openat)(dirfd, path, flags, mode);
    }
    int error = errno;
    if (fd >= 0 && fd < FDS) {
        forget(fd);
        fstat(fd, &seen);
        uint32_t what = (S_ISDIR(seen.st_mode) ? DIRECTORY : 0) | (existed ? 0 : CREATED) | (flags & O_TRUNC ? TRUNCATED : 0);
        table[fd].path = strdup(below);
        table[fd].append = !!(flags & O_APPEND);
        uint32_t handle = ++handles;
        put((struct record){.kind = OPEN, .handle = handle, .flags = what, .a = strlen(below)}, below, NULL);
        __atomic_store_n(&table[fd].handle, handle, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) { MODE_OF(flags); return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags); return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int dirfd, const char *path, int flags, ...) { MODE_OF(flags); return open_any(dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { MODE_OF(flags); return open_any(dirfd, path, flags | O_LARGEFILE, mode); }
int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags | O_LARGEFILE, 0); }
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode); }

int close(int fd) {
    if (tracked(fd)) {
        pthread_mutex_lock(&lock);
        forget(fd);
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

/* What stdio writes goes past this library. */
FILE *fdopen(int fd, const char *mode) {
    if (tracked(fd)) {
        pthread_mutex_lock(&lock);
        forget(fd);
        pthread_mutex_unlock(&lock);
    }
    return REAL(fdopen)(fd, mode);
}

/* A disk that is full takes the first half of one write, where the test asks for that, and then nothing. */
static ssize_t write_any(int fd, const void *bytes, size_t length, int64_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    int error = 0, positioned = offset >= 0;
    if (control[WRITE_ERRNO]) {
        control[WRITES_FAILED]++;
        error = control[WRITE_ERRNO];
        if (control[SHORT_WRITES] && length > 1) {
            control[SHORT_WRITES]--;
            length /= 2;
            error = 0;
        }
    }
    if (!error) {
        if (!positioned) {
            struct stat seen;
            if (table[fd].append && !fstat(fd, &seen)) offset = seen.st_size;
            else offset = lseek(fd, 0, SEEK_CUR);
        }
        done = positioned ? REAL(pwrite)(fd, bytes, length, offset) : REAL(write)(fd, bytes, length);
        error = errno;
        if (done > 0) put((struct record){.kind = WRITE, .handle = table[fd].handle, .offset = offset, .a = done}, bytes, NULL);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static ssize_t writev_any(int fd, const struct iovec *parts, int count, int64_t offset) {
    size_t length = 0, at = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    char *bytes = malloc(length ? length : 1);
    if (!bytes) { errno = ENOMEM; return -1; }
    for (int i = 0; i < count; i++) { memcpy(bytes + at, parts[i].iov_base, parts[i].iov_len); at += parts[i].iov_len; }
    ssize_t done = write_any(fd, bytes, length, offset);
    int error = errno;
    free(bytes);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return tracked(fd) ? write_any(fd, bytes, length, -1) : REAL(write)(fd, bytes, length);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return tracked(fd) ? write_any(fd, bytes, length, offset) : REAL(pwrite)(fd, bytes, length, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return tracked(fd) ? write_any(fd, bytes, length, offset) : REAL(pwrite64)(fd, bytes, length, offset);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return tracked(fd) ? writev_any(fd, parts, count, -1) : REAL(writev)(fd, parts, count);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return tracked(fd) ? writev_any(fd, parts, count, offset) : REAL(pwritev)(fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return tracked(fd) ? writev_any(fd, parts, count, offset) : REAL(pwritev64)(fd, parts, count, offset);
}

/* Copies go through write, which is recorded; callers know what to do without these. */
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *into, size_t length, unsigned flags) {
    if (tracked(to)) { errno = ENOSYS; return -1; }
    return REAL(copy_file_range)(from, at, to, into, length, flags);
}

static int resize(int fd, int64_t size, int result, int error) {
    if (!result) {
        pthread_mutex_lock(&lock);
        put((struct record){.kind = SIZE, .handle = table[fd].handle, .offset = size}, NULL, NULL);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return result;
}

int ftruncate(int fd, off_t size) {
    int result = REAL(ftruncate)(fd, size), error = errno;
    return tracked(fd) ? resize(fd, size, result, error) : result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!tracked(fd)) return REAL(fallocate)(fd, mode, offset, length);
    if (control[WRITE_ERRNO]) { errno = control[WRITE_ERRNO]; return -1; }
    int result = REAL(fallocate)(fd, mode, offset, length), error = errno;
    struct stat seen;
    /* Only the plain kind changes the size; what it adds reads as zeros. */
    if (!result && !mode && !fstat(fd, &seen)) return resize(fd, seen.st_size, 0, error);
    errno = error;
    return result;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) {
    return tracked(fd) ? (fallocate(fd, 0, offset, length) ? errno : 0) : REAL(posix_fallocate)(fd, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

/* Covers what was written before it began, and counts once it has returned. */
static int sync_any(int fd, int (*real)(int)) {
    pthread_mutex_lock(&lock);
    uint64_t covered = records;
    uint32_t handle = table[fd].handle;
    control[SYNCS]++;
    pthread_mutex_unlock(&lock);
    int64_t wait = control[SYNC_DELAY_US];
    if (wait > 0) {
        struct timespec rest = {wait / 1000000, wait % 1000000 * 1000};
        nanosleep(&rest, NULL);
    }
    if (control[SYNC_ERRNO]) {
        control[SYNCS_FAILED]++;
        errno = control[SYNC_ERRNO];
        return -1;
    }
    if (trace < 0) return real(fd);
    pthread_mutex_lock(&lock);
    put((struct record){.kind = SYNC, .handle = handle, .offset = covered}, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return tracked(fd) ? sync_any(fd, REAL(fsync)) : REAL(fsync)(fd); }
int fdatasync(int fd) { return tracked(fd) ? sync_any(fd, REAL(fdatasync)) : REAL(fdatasync)(fd); }

/* One or two names that change together. */
#define NAMES(kind, dirfd_a, a, dirfd_b, b, call) \
    char whole_a[PATH_MAX], whole_b[PATH_MAX]; \
    const char *below_a = inside(dirfd_a, a, whole_a), *below_b = inside(dirfd_b, b, whole_b); \
    if (!below_a) return call; \
    pthread_mutex_lock(&lock); \
    int result = call, error = errno; \
    if (!result) put_paths(kind, below_a, below_b); \
    pthread_mutex_unlock(&lock); \
    errno = error; \
    return result

int rename(const char *a, const char *b) { NAMES(RENAME, AT_FDCWD, a, AT_FDCWD, b, REAL(rename)(a, b)); }
int renameat(int c, const char *a, int d, const char *b) { NAMES(RENAME, c, a, d, b, REAL(renameat)(c, a, d, b)); }
int renameat2(int c, const char *a, int d, const char *b, unsigned e) { NAMES(RENAME, c, a, d, b, REAL(renameat2)(c, a, d, b, e)); }
int link(const char *a, const char *b) { NAMES(LINK, AT_FDCWD, a, AT_FDCWD, b, REAL(link)(a, b)); }
int linkat(int c, const char *a, int d, const char *b, int e) { NAMES(LINK, c, a, d, b, REAL(linkat)(c, a, d, b, e)); }
int unlink(const char *a) { NAMES(UNLINK, AT_FDCWD, a, AT_FDCWD, NULL, REAL(unlink)(a)); }
int remove(const char *a) { NAMES(UNLINK, AT_FDCWD, a, AT_FDCWD, NULL, REAL(remove)(a)); }
int rmdir(const char *a) { NAMES(RMDIR, AT_FDCWD, a, AT_FDCWD, NULL, REAL(rmdir)(a)); }
int unlinkat(int c, const char *a, int e) { NAMES(UNLINK, c, a, AT_FDCWD, NULL, REAL(unlinkat)(c, a, e)); }
int mkdir(const char *a, mode_t mode) { NAMES(MKDIR, AT_FDCWD, a, AT_FDCWD, NULL, REAL(mkdir)(a, mode)); }
int mkdirat(int c, const char *a, mode_t mode) { NAMES(MKDIR, c, a, AT_FDCWD, NULL, REAL(mkdirat)(c, a, mode)); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (!result && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += control[CLOCK_OFFSET_S];
    return result;
}
