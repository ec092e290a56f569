/// The real table: Linux, and nothing but thin wrappers that turn errno into a negative return.
///
/// Calls that a libc or kernel of Debian 12 (glibc 2.36, Linux 6.1) may not know are made by number and
/// answer -ENOSYS there; the callers have a way without each of them.
#include "os/os.h"
#include "os/os_module.h"
#include "os/os_net.h"
#include "os/os_uring.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x00002000U
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

static int result_of(int code)
{
    return code < 0 ? -errno : code;
}

static ssize_t count_of(ssize_t count)
{
    return count < 0 ? -errno : count;
}

// --- files ---------------------------------------------------------------------------------------

static int linux_open(const char *path, int flags, mode_t mode)
{
    return result_of(open(path, flags | O_CLOEXEC, mode));
}

static int linux_close(int fd)
{
    return result_of(close(fd));
}

static int linux_dup(int fd)
{
    return result_of(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

static int linux_reopen(int fd, int flags)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return result_of(open(path, flags | O_CLOEXEC));
}

static int linux_is_writable(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : (flags & O_ACCMODE) != O_RDONLY;
}

/// Our own mirror of struct statx: glibc 2.36 has no stx_dio_* members.
struct statx_words {
    uint32_t mask, block_bytes;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode, spare0;
    uint64_t inode, bytes, blocks, attributes_mask;
    struct {
        int64_t seconds;
        uint32_t nanoseconds;
        int32_t reserved;
    } accessed, created, changed, modified;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mount_id;
    uint32_t direct_memory_align, direct_offset_align;
    uint64_t spare[12];
};
_Static_assert(sizeof(struct statx_words) == 256, "the kernel writes 256 bytes");

static int linux_facts(int fd, drayi_file_facts *out)
{
    struct statx_words words;
    memset(&words, 0, sizeof(words));
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, &words) < 0)
        return -errno;
    *out = (drayi_file_facts){
        .bytes = words.bytes,
        .device = (uint64_t)words.dev_major << 32 | words.dev_minor,
        .inode = words.inode,
        .modified_ns = words.modified.seconds * 1000000000 + words.modified.nanoseconds,
        .mode = words.mode,
        .block_bytes = words.block_bytes,
        .direct_known = (words.mask & STATX_DIOALIGN) != 0,
        .direct_memory_align = words.direct_memory_align,
        .direct_offset_align = words.direct_offset_align,
    };
    if (S_ISBLK(words.mode)) // its size stands with the driver
        return result_of(ioctl(fd, BLKGETSIZE64, &out->bytes));
    return 0;
}

static int linux_fstatfs_magic(int fd, uint64_t *out_magic)
{
    struct statfs facts;
    if (fstatfs(fd, &facts) < 0)
        return -errno;
    *out_magic = (uint64_t)facts.f_type & UINT32_MAX;
    return 0;
}

static int linux_set_direct(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    return result_of(fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT));
}

static ssize_t linux_read(int fd, void *buffer, size_t bytes)
{
    return count_of(read(fd, buffer, bytes));
}

static ssize_t linux_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    return count_of(pread(fd, buffer, bytes, (off_t)offset));
}

static ssize_t linux_preadv_cached(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return count_of(preadv2(fd, parts, count, (off_t)offset, RWF_NOWAIT));
}

static ssize_t linux_preadv(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return count_of(preadv(fd, parts, count, (off_t)offset));
}

static ssize_t linux_write(int fd, const void *buffer, size_t bytes)
{
    return count_of(write(fd, buffer, bytes));
}

static ssize_t linux_pwrite(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    return count_of(pwrite(fd, buffer, bytes, (off_t)offset));
}

static ssize_t linux_pwritev(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return count_of(pwritev(fd, parts, count, (off_t)offset));
}

static int linux_allocate(int fd, uint64_t offset, uint64_t bytes)
{
    return result_of(fallocate(fd, 0, (off_t)offset, (off_t)bytes));
}

static int linux_truncate(int fd, uint64_t bytes)
{
    return result_of(ftruncate(fd, (off_t)bytes));
}

static int linux_sync(int fd)
{
    return result_of(fdatasync(fd));
}

static int linux_sync_range(int fd, uint64_t offset, uint64_t bytes)
{
    return result_of(sync_file_range(fd, (off64_t)offset, (off64_t)bytes,
                                     SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                         SYNC_FILE_RANGE_WAIT_AFTER));
}

static int linux_advise_file(int fd, uint64_t offset, uint64_t bytes, int advice)
{
    return -posix_fadvise(fd, (off_t)offset, (off_t)bytes, advice);
}

static int linux_cachestat(int fd, uint64_t offset, uint64_t bytes, drayi_cachestat *out)
{
    struct {
        uint64_t offset, bytes;
    } range = {offset, bytes};
    _Static_assert(sizeof(drayi_cachestat) == 5 * sizeof(uint64_t), "the kernel's struct cachestat");
    return result_of((int)syscall(SYS_cachestat, (unsigned)fd, &range, out, 0u));
}

/// The kernel's rule (can_do_mincore): the owner of the file, or who may write it.
static int linux_sees_cache(int fd)
{
    struct stat facts;
    if (fstat(fd, &facts) < 0)
        return -errno;
    if (facts.st_uid == geteuid())
        return 1;
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

static int linux_rename(const char *from, const char *to)
{
    return result_of(rename(from, to));
}

static int linux_unlink(const char *path)
{
    return result_of(unlink(path));
}

static int linux_read_dir(const char *path, void (*each)(void *self, const char *name), void *self)
{
    DIR *folder = opendir(path);
    if (!folder)
        return -errno;
    int code = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            code = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(self, entry->d_name);
    }
    closedir(folder);
    return code;
}

static int linux_is_terminal(int fd)
{
    return isatty(fd);
}

// --- memory --------------------------------------------------------------------------------------

static void *linux_map(void *where, size_t bytes, int protection, int flags, int fd,
                       uint64_t offset, int *out_code)
{
    void *at = mmap(where, bytes, protection, flags, fd, (off_t)offset);
    *out_code = at == MAP_FAILED ? -errno : 0;
    return at == MAP_FAILED ? NULL : at;
}

static int linux_unmap(void *at, size_t bytes)
{
    return result_of(munmap(at, bytes));
}

static int linux_protect(void *at, size_t bytes, int protection)
{
    return result_of(mprotect(at, bytes, protection));
}

static int linux_advise(void *at, size_t bytes, int advice)
{
    return result_of(madvise(at, bytes, advice));
}

static int linux_resident(void *at, size_t bytes, unsigned char *out_pages)
{
    return result_of(mincore(at, bytes, out_pages));
}

// libnuma is a wrapper around these four, and not everywhere.

static int linux_node_bind(void *at, size_t bytes, int mode, const uint64_t *nodes, unsigned bits,
                           unsigned flags)
{
    return result_of((int)syscall(SYS_mbind, at, bytes, mode, nodes, (unsigned long)bits, flags));
}

static int linux_node_policy(const void *at, int *out_mode, uint64_t *out_nodes, unsigned bits)
{
    const unsigned long of_address = 2; // MPOL_F_ADDR
    return result_of(
        (int)syscall(SYS_get_mempolicy, out_mode, out_nodes, (unsigned long)bits, at, of_address));
}

static int linux_page_nodes(void *const *pages, uint64_t count, const int *nodes, int *out_status)
{
    const int move_own = 2; // MPOL_MF_MOVE
    return result_of(
        (int)syscall(SYS_move_pages, 0, (unsigned long)count, pages, nodes, out_status, move_own));
}

static int linux_node_here(unsigned *out_node)
{
    unsigned cpu;
    return result_of((int)syscall(SYS_getcpu, &cpu, out_node, NULL));
}

/// "0", "0-3", "0,2": the number behind the last sign.
static unsigned linux_node_count(void)
{
    char text[256];
    int fd = open("/sys/devices/system/node/online", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 1;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    const char *last = text;
    for (const char *at = text; *at; at++) {
        if (*at == '-' || *at == ',')
            last = at + 1;
    }
    return (unsigned)strtoul(last, NULL, 10) + 1;
}

/// By number: AddressSanitizer replaces mlock() and munlock() by functions that do nothing and succeed.
static int linux_lock(void *at, size_t bytes, bool on_fault)
{
    return result_of((int)syscall(SYS_mlock2, at, bytes, on_fault ? MLOCK_ONFAULT : 0u));
}

static int linux_unlock(void *at, size_t bytes)
{
    return result_of((int)syscall(SYS_munlock, at, bytes));
}

/// Is CAP_IPC_LOCK (bit 14) in the effective set? It lifts the limit.
static bool may_lock_anything(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    if (!status)
        return false;
    char line[256];
    uint64_t capabilities = 0;
    while (fgets(line, sizeof(line), status)) {
        if (sscanf(line, "CapEff: %" SCNx64, &capabilities) == 1)
            break;
    }
    fclose(status);
    return (capabilities >> 14 & 1) != 0;
}

static int linux_lock_limit(uint64_t *out_soft, uint64_t *out_hard, bool *out_privileged)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return -errno;
    *out_soft = limit.rlim_cur;
    *out_hard = limit.rlim_max;
    *out_privileged = may_lock_anything();
    return 0;
}

static int linux_memfd(const char *name, unsigned flags)
{
    return result_of(memfd_create(name, flags));
}

static int linux_seal(int fd, int seals)
{
    return result_of(fcntl(fd, F_ADD_SEALS, seals));
}

static int linux_seals(int fd)
{
    return result_of(fcntl(fd, F_GET_SEALS));
}

/// The number behind `key` in a file of "key: number" or "key number" lines; false when it is not there.
static bool file_number(const char *path, const char *key, uint64_t *out)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char line[256];
    bool found = false;
    size_t length = strlen(key);
    while (!found && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, length) == 0)
            found = sscanf(line + length, "%*[: \t]%" SCNu64, out) == 1 ||
                    sscanf(line + length, "%" SCNu64, out) == 1;
    }
    fclose(file);
    return found;
}

/// The words of the two versions of the kernel's control groups; machines of both kinds are in use.
typedef struct cgroup_words {
    const char *root, *limit, *used;
    const char *file_pages[2]; // in memory.stat: page cache, which gives way to what is asked for
} cgroup_words;

static const cgroup_words cgroup_v1 = {"/sys/fs/cgroup/memory",
                                       "memory.limit_in_bytes",
                                       "memory.usage_in_bytes",
                                       {"total_inactive_file", "total_active_file"}};
static const cgroup_words cgroup_v2 = {
    "/sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file", "active_file"}};

static bool cgroup_number(const char *folder, const char *file, const char *key, uint64_t *out)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    return file_number(path, key, out);
}

/// Below the limit of this one group; UINT64_MAX: it has none.
static uint64_t cgroup_room_of(const cgroup_words *words, const char *folder)
{
    uint64_t limit, used;
    if (!cgroup_number(folder, words->limit, "", &limit) ||
        !cgroup_number(folder, words->used, "", &used))
        return UINT64_MAX;
    for (size_t i = 0; i < 2; i++) {
        uint64_t pages;
        if (cgroup_number(folder, "memory.stat", words->file_pages[i], &pages))
            used -= pages < used ? pages : used;
    }
    return limit > used ? limit - used : 0;
}

/// Below the tightest limit between the group `path` and the root. In a container the path may be one
/// of the world outside; what is missing is passed over, and the root is the container's own group.
static uint64_t cgroup_room_along(const cgroup_words *words, const char *path)
{
    char folder[PATH_MAX];
    uint64_t room = UINT64_MAX;
    size_t root = strlen(words->root);
    snprintf(folder, sizeof(folder), "%s%s", words->root, path);
    for (;;) {
        uint64_t here = cgroup_room_of(words, folder);
        room = here < room ? here : room;
        char *slash = strrchr(folder, '/');
        if (slash < folder + root)
            return room;
        *slash = '\0';
    }
}

/// Below the tightest memory limit of our cgroups; UINT64_MAX: there is none.
static uint64_t cgroup_room(void)
{
    char line[PATH_MAX];
    FILE *own = fopen("/proc/self/cgroup", "re"); // "4:memory:/path" (v1), "0::/path" (v2)
    if (!own)
        return UINT64_MAX;
    uint64_t room = UINT64_MAX;
    while (fgets(line, sizeof(line), own)) {
        line[strcspn(line, "\n")] = '\0';
        const char *kind = strchr(line, ':'), *path = kind ? strchr(kind + 1, ':') : NULL;
        if (!path)
            continue;
        size_t length = (size_t)(path - kind - 1);
        const cgroup_words *words = length == 0                                     ? &cgroup_v2
                                    : length == 6 && !memcmp(kind + 1, "memory", 6) ? &cgroup_v1
                                                                                    : NULL;
        uint64_t here = words ? cgroup_room_along(words, path + 1) : UINT64_MAX;
        room = here < room ? here : room;
    }
    fclose(own);
    return room;
}

static int linux_memory_facts(drayi_memory_facts *out)
{
    uint64_t total_kib, available_kib;
    if (!file_number("/proc/meminfo", "MemTotal", &total_kib) ||
        !file_number("/proc/meminfo", "MemAvailable", &available_kib))
        return -ENOSYS;
    uint64_t available = available_kib * 1024, room = cgroup_room();
    *out = (drayi_memory_facts){
        .total_bytes = total_kib * 1024,
        .available_bytes = available < room ? available : room,
        .limited_by_cgroup = room < available,
    };
    return 0;
}

static int linux_process_memory(uint64_t *out_resident, uint64_t *out_peak)
{
    uint64_t resident_kib, peak_kib;
    if (!file_number("/proc/self/status", "VmRSS", &resident_kib) ||
        !file_number("/proc/self/status", "VmHWM", &peak_kib))
        return -ENOSYS;
    *out_resident = resident_kib * 1024;
    *out_peak = peak_kib * 1024;
    return 0;
}

static uint64_t linux_page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t linux_huge_page_bytes(void)
{
    static const char folder[] = "/sys/kernel/mm/transparent_hugepage";
    char path[128], line[128] = "";
    snprintf(path, sizeof(path), "%s/enabled", folder);
    FILE *enabled = fopen(path, "re");
    if (!enabled)
        return 0;
    bool off = !fgets(line, sizeof(line), enabled) || strstr(line, "[never]") != NULL;
    fclose(enabled);
    uint64_t bytes = 0;
    snprintf(path, sizeof(path), "%s/hpage_pmd_size", folder);
    return !off && file_number(path, "", &bytes) ? bytes : 0;
}

// --- shared libraries ----------------------------------------------------------------------------

enum { signals_kept = 32 }; // the classic ones: 1 .. 31

/// Some libraries put crash handlers over the program's own as soon as they are loaded (libucs does).
static void *open_keeping_signals(const char *name)
{
    struct sigaction before[signals_kept], after;
    bool known[signals_kept];
    for (int i = 1; i < signals_kept; i++)
        known[i] = sigaction(i, NULL, &before[i]) == 0;
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (int i = 1; i < signals_kept; i++) {
        if (known[i] && sigaction(i, NULL, &after) == 0 && after.sa_handler != before[i].sa_handler)
            sigaction(i, &before[i], NULL);
    }
    return library;
}

static void *linux_library_open(const char *name, char *out_why, size_t why_bytes)
{
    void *library = open_keeping_signals(name);
    if (!library) {
        const char *why = dlerror();
        snprintf(out_why, why_bytes, "%s", why ? why : "no reason given");
    }
    return library;
}

static void *linux_library_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

static int linux_library_close(void *library)
{
    return dlclose(library) == 0 ? 0 : -EINVAL;
}

static void *linux_library_find(const char *name, bool global)
{
    return dlopen(name, RTLD_NOW | RTLD_NOLOAD | (global ? RTLD_GLOBAL : RTLD_LOCAL));
}

// --- events and time -----------------------------------------------------------------------------

static int linux_event_fd(void)
{
    return result_of(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

static int linux_timer_open(void)
{
    return result_of(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

static int linux_timer_set(int fd, int64_t in_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = in_ns / 1000000000, .tv_nsec = in_ns % 1000000000}};
    return result_of(timerfd_settime(fd, 0, &when, NULL));
}

static int linux_random(void *out, size_t bytes)
{
    ssize_t got = getrandom(out, bytes, 0);
    return got < 0 ? -errno : (size_t)got == bytes ? 0 : -EIO;
}

static int linux_wait_fd(int fd, int64_t timeout_ns)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    int code = ppoll(&wanted, 1, timeout_ns < 0 ? NULL : &timeout, NULL);
    return code < 0 ? -errno : code > 0;
}

static int linux_wait_fds(const int *fds, unsigned count, int64_t timeout_ns)
{
    struct pollfd wanted[64];
    if (count > sizeof(wanted) / sizeof(wanted[0]))
        return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        wanted[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    int code = ppoll(wanted, count, timeout_ns < 0 ? NULL : &timeout, NULL);
    return code < 0 ? -errno : code > 0;
}

static int linux_watch_open(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int linux_watch_add(int watch_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    int code = epoll_ctl(watch_fd, EPOLL_CTL_ADD, fd, &event);
    return code < 0 && errno != EEXIST ? -errno : 0;
}

static int linux_watch_change(int watch_fd, int fd, bool readable, bool writable)
{
    struct epoll_event event = {.events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u),
                                .data = {.fd = fd}};
    if (!event.events)
        return result_of(epoll_ctl(watch_fd, EPOLL_CTL_DEL, fd, &event));
    int code = result_of(epoll_ctl(watch_fd, EPOLL_CTL_MOD, fd, &event));
    return code == -ENOENT ? result_of(epoll_ctl(watch_fd, EPOLL_CTL_ADD, fd, &event)) : code;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t linux_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static int64_t linux_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void linux_sleep_ns(int64_t ns)
{
    struct timespec left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&left, NULL);
}

static uint32_t linux_cpu_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}

const drayi_os drayi_os_linux = {
    .open = linux_open,
    .close = linux_close,
    .dup = linux_dup,
    .reopen = linux_reopen,
    .is_writable = linux_is_writable,
    .facts = linux_facts,
    .fstatfs_magic = linux_fstatfs_magic,
    .set_direct = linux_set_direct,
    .read = linux_read,
    .pread = linux_pread,
    .preadv = linux_preadv,
    .preadv_cached = linux_preadv_cached,
    .write = linux_write,
    .pwrite = linux_pwrite,
    .pwritev = linux_pwritev,
    .allocate = linux_allocate,
    .truncate = linux_truncate,
    .sync = linux_sync,
    .sync_range = linux_sync_range,
    .advise_file = linux_advise_file,
    .cachestat = linux_cachestat,
    .sees_cache = linux_sees_cache,
    .rename = linux_rename,
    .unlink = linux_unlink,
    .read_dir = linux_read_dir,
    .is_terminal = linux_is_terminal,
    .map = linux_map,
    .unmap = linux_unmap,
    .protect = linux_protect,
    .advise = linux_advise,
    .resident = linux_resident,
    .lock = linux_lock,
    .unlock = linux_unlock,
    .lock_limit = linux_lock_limit,
    .node_bind = linux_node_bind,
    .node_policy = linux_node_policy,
    .page_nodes = linux_page_nodes,
    .node_here = linux_node_here,
    .node_count = linux_node_count,
    .memfd = linux_memfd,
    .seal = linux_seal,
    .seals = linux_seals,
    .memory_facts = linux_memory_facts,
    .process_memory = linux_process_memory,
    .page_bytes = linux_page_bytes,
    .huge_page_bytes = linux_huge_page_bytes,
    .library_open = linux_library_open,
    .library_symbol = linux_library_symbol,
    .library_close = linux_library_close,
    .library_find = linux_library_find,
    .module_open = drayi_module_open,
    .path_is_loaded = drayi_path_is_loaded,
    .module_base = drayi_module_base,
    .same_mapping = drayi_same_mapping,
    .soname_taken = drayi_soname_taken,
    .trial = drayi_trial_run,
    .event_fd = linux_event_fd,
    .wait_fd = linux_wait_fd,
    .wait_fds = linux_wait_fds,
    .watch_open = linux_watch_open,
    .watch_add = linux_watch_add,
    .watch_change = linux_watch_change,
    .timer_open = linux_timer_open,
    .timer_set = linux_timer_set,
    .random = linux_random,
    .now_ns = linux_now_ns,
    .cpu_ns = linux_cpu_ns,
    .sleep_ns = linux_sleep_ns,
    .cpu_count = linux_cpu_count,
    .resolve = drayi_net_resolve,
    .tcp_listen = drayi_net_listen,
    .tcp_accept = drayi_net_accept,
    .tcp_connect = drayi_net_connect,
    .tcp_connected = drayi_net_connected,
    .tcp_where = drayi_net_where,
    .send = drayi_net_send,
    .receive = drayi_net_receive,
    .wait_writable = drayi_net_wait_writable,
    .uring_open = drayi_uring_open,
    .uring_close = drayi_uring_close,
    .uring_read = drayi_uring_read,
    .uring_write = drayi_uring_write,
    .uring_cancel = drayi_uring_cancel,
    .uring_submit = drayi_uring_submit,
    .uring_reap = drayi_uring_reap,
    .uring_event_fd = drayi_uring_event_fd,
    .uring_wait = drayi_uring_wait,
};
