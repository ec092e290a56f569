/// Every member asks gate() first: does this call fail, and how? State is one struct behind one lock;
/// the wrapped calls run outside it.
#include "fault_os.h"

#include "core/context.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#define REFUSED_ROOM 256
#define LOCKED_ROOM 256

typedef struct refused_request {
    struct io_uring *ring; // NULL: free
    uint64_t user_data;
} refused_request;

typedef struct locked_range {
    char *at; // NULL: free
    size_t bytes;
} locked_range;

static struct {
    pthread_mutex_t lock;
    // all of these are guarded by lock
    fault_plan plan;
    uint64_t calls, hits;
    const char *last_hit;
    unsigned absent;
    bool lock_limited;
    uint64_t lock_limit_bytes;
    int64_t clock_ns;
    refused_request refused[REFUSED_ROOM];
    locked_range locked[LOCKED_ROOM];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .last_hit = ""};

static const drayi_os *const real = &drayi_os_linux;

typedef enum verdict { PASS, FAIL, SHORTEN } verdict;

/// Counts the call; FAIL: *out_code is the negative errno; SHORTEN: move half.
static verdict gate(unsigned group, const char *name, int *out_code)
{
    verdict answer = PASS;
    pthread_mutex_lock(&state.lock);
    unsigned groups = state.plan.groups ? state.plan.groups : FAULT_ANY;
    if (state.plan.code == 0 && state.plan.at) // only transfers can be short
        groups &= FAULT_READ | FAULT_WRITE | FAULT_COMPLETION | FAULT_NET;
    if (groups & group) {
        uint64_t call = ++state.calls;
        uint64_t repeat = state.plan.repeat ? state.plan.repeat : 1;
        if (state.plan.at && call >= state.plan.at && call - state.plan.at < repeat) {
            *out_code = state.plan.code;
            answer = state.plan.code < 0 ? FAIL : SHORTEN;
            state.hits++;
            state.last_hit = name;
        }
    }
    pthread_mutex_unlock(&state.lock);
    return answer;
}

static bool is_absent(unsigned part)
{
    pthread_mutex_lock(&state.lock);
    bool absent = (state.absent & part) != 0;
    pthread_mutex_unlock(&state.lock);
    return absent;
}

static bool refuses_direct(int fd)
{
    return is_absent(FAULT_DIRECT_REFUSED) && fcntl(fd, F_GETFL) & O_DIRECT;
}

/// The parts of a transfer cut to half of its bytes, at least one. Returns how many parts are left.
static int halve(const struct iovec *parts, int count, struct iovec *out)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    size_t left = total > 1 ? total / 2 : total;
    int kept = 0;
    for (; kept < count && left > 0; kept++) {
        out[kept] = parts[kept];
        if (out[kept].iov_len > left)
            out[kept].iov_len = left;
        left -= out[kept].iov_len;
    }
    return kept;
}

/// For calls that cannot be short: 0, or the negative errno to return.
static int refused(unsigned group, const char *name)
{
    int code = 0;
    return gate(group, name, &code) == FAIL ? code : 0;
}

// --- files ---------------------------------------------------------------------------------------

static int fault_open(const char *path, int flags, mode_t mode)
{
    int code = refused(FAULT_OPEN, "open");
    if (code < 0)
        return code;
    if (flags & O_DIRECT && is_absent(FAULT_NO_DIRECT))
        return -EINVAL;
    return real->open(path, flags, mode);
}

static int fault_close(int fd)
{
    int result = real->close(fd);
    int code = refused(FAULT_OPEN, "close");
    return code < 0 ? code : result;
}

static int fault_dup(int fd)
{
    int code = refused(FAULT_OPEN, "dup");
    if (code < 0)
        return code;
    return real->dup(fd);
}

static int fault_reopen(int fd, int flags)
{
    int code = refused(FAULT_OPEN, "reopen");
    if (code < 0)
        return code;
    if (flags & O_DIRECT && is_absent(FAULT_NO_DIRECT))
        return -EINVAL;
    return real->reopen(fd, flags);
}

static int fault_is_writable(int fd)
{
    int code = refused(FAULT_FACTS, "is_writable");
    if (code < 0)
        return code;
    return real->is_writable(fd);
}

static int fault_facts(int fd, drayi_file_facts *out)
{
    int code = refused(FAULT_FACTS, "facts");
    if (code < 0)
        return code;
    int result = real->facts(fd, out);
    if (result >= 0 && is_absent(FAULT_NO_DIRECT_ALIGN)) {
        out->direct_known = false;
        out->direct_memory_align = 0;
        out->direct_offset_align = 0;
    }
    return result;
}

static int fault_fstatfs_magic(int fd, uint64_t *out_magic)
{
    int code = refused(FAULT_FACTS, "fstatfs_magic");
    if (code < 0)
        return code;
    int result = real->fstatfs_magic(fd, out_magic);
    if (result >= 0 && is_absent(FAULT_NO_SHORT_CUT))
        *out_magic = 0xef53; // ext4
    if (result >= 0 && is_absent(FAULT_NO_DISK))
        *out_magic = 0x01021994; // tmpfs
    return result;
}

static int fault_set_direct(int fd, bool on)
{
    int code = refused(FAULT_OPEN, "set_direct");
    if (code < 0)
        return code;
    if (on && is_absent(FAULT_NO_DIRECT))
        return -EINVAL;
    return real->set_direct(fd, on);
}

static ssize_t fault_read(int fd, void *buffer, size_t bytes)
{
    int code = 0;
    verdict answer = gate(FAULT_READ, "read", &code);
    if (answer == FAIL)
        return code;
    return real->read(fd, buffer, answer == SHORTEN && bytes > 1 ? bytes / 2 : bytes);
}

static ssize_t fault_write(int fd, const void *buffer, size_t bytes)
{
    int code = 0;
    verdict answer = gate(FAULT_WRITE, "write", &code);
    if (answer == FAIL)
        return code;
    return real->write(fd, buffer, answer == SHORTEN && bytes > 1 ? bytes / 2 : bytes);
}

/// A positioned transfer in either direction, through every kind of fault.
static ssize_t fault_transfer(unsigned group, const char *name, int fd, const struct iovec *parts,
                              int count, uint64_t offset)
{
    int code = 0;
    verdict answer = gate(group, name, &code);
    if (answer == FAIL)
        return code;
    if (refuses_direct(fd))
        return -EINVAL;
    struct iovec half[1024];
    if (answer == SHORTEN && count <= 1024) {
        count = halve(parts, count, half);
        parts = half;
    }
    return group == FAULT_READ ? real->preadv(fd, parts, count, offset)
                               : real->pwritev(fd, parts, count, offset);
}

static ssize_t fault_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    struct iovec part = {.iov_base = buffer, .iov_len = bytes};
    return fault_transfer(FAULT_READ, "pread", fd, &part, 1, offset);
}

static ssize_t fault_preadv(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return fault_transfer(FAULT_READ, "preadv", fd, parts, count, offset);
}

/// The page cache answers or not as it likes; a direct descriptor has none.
static ssize_t fault_preadv_cached(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    if (is_absent(FAULT_NO_SHORT_CUT))
        return -EOPNOTSUPP;
    int code = 0;
    verdict answer = gate(FAULT_READ, "preadv_cached", &code);
    if (answer == FAIL)
        return code;
    struct iovec half[1024];
    if (answer == SHORTEN && count <= 1024) {
        count = halve(parts, count, half);
        parts = half;
    }
    return real->preadv_cached(fd, parts, count, offset);
}

static ssize_t fault_pwrite(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    struct iovec part = {.iov_len = bytes};
    memcpy(&part.iov_base, &buffer, sizeof(buffer)); // an iovec has no const
    return fault_transfer(FAULT_WRITE, "pwrite", fd, &part, 1, offset);
}

static ssize_t fault_pwritev(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return fault_transfer(FAULT_WRITE, "pwritev", fd, parts, count, offset);
}

static int fault_allocate(int fd, uint64_t offset, uint64_t bytes)
{
    int code = refused(FAULT_FILE, "allocate");
    if (code < 0)
        return code;
    return real->allocate(fd, offset, bytes);
}

static int fault_truncate(int fd, uint64_t bytes)
{
    int code = refused(FAULT_FILE, "truncate");
    if (code < 0)
        return code;
    return real->truncate(fd, bytes);
}

static int fault_sync(int fd)
{
    int code = refused(FAULT_FILE, "sync");
    if (code < 0)
        return code;
    return real->sync(fd);
}

static int fault_sync_range(int fd, uint64_t offset, uint64_t bytes)
{
    int code = refused(FAULT_FILE, "sync_range");
    if (code < 0)
        return code;
    return real->sync_range(fd, offset, bytes);
}

static int fault_advise_file(int fd, uint64_t offset, uint64_t bytes, int advice)
{
    int code = refused(FAULT_FILE, "advise_file");
    if (code < 0)
        return code;
    return real->advise_file(fd, offset, bytes, advice);
}

static int fault_cachestat(int fd, uint64_t offset, uint64_t bytes, drayi_cachestat *out)
{
    int code = refused(FAULT_FACTS, "cachestat");
    if (code < 0)
        return code;
    if (is_absent(FAULT_NO_CACHESTAT | FAULT_STRANGER))
        return is_absent(FAULT_STRANGER) ? -EPERM : -ENOSYS;
    return real->cachestat(fd, offset, bytes, out);
}

static int fault_sees_cache(int fd)
{
    int code = refused(FAULT_FACTS, "sees_cache");
    if (code < 0)
        return code;
    return is_absent(FAULT_STRANGER) ? 0 : real->sees_cache(fd);
}

static int fault_rename(const char *from, const char *to)
{
    int code = refused(FAULT_FILE, "rename");
    if (code < 0)
        return code;
    return real->rename(from, to);
}

static int fault_unlink(const char *path)
{
    int code = refused(FAULT_FILE, "unlink");
    if (code < 0)
        return code;
    return real->unlink(path);
}

static int fault_read_dir(const char *path, void (*each)(void *self, const char *name), void *self)
{
    int code = refused(FAULT_FILE, "read_dir");
    if (code < 0)
        return code;
    return real->read_dir(path, each, self);
}

// --- memory --------------------------------------------------------------------------------------

static void *fault_map(void *where, size_t bytes, int protection, int flags, int fd,
                       uint64_t offset, int *out_code)
{
    int code = 0;
    if (gate(FAULT_MEMORY, "map", &code) == FAIL) {
        *out_code = code;
        return NULL;
    }
    return real->map(where, bytes, protection, flags, fd, offset, out_code);
}

/// Forgets locked ranges inside [at, at + bytes).
static void forget_locked(const void *at, size_t bytes)
{
    const char *begin = at;
    pthread_mutex_lock(&state.lock);
    for (int i = 0; i < LOCKED_ROOM; i++) {
        locked_range *range = &state.locked[i];
        if (range->at && range->at >= begin && range->at + range->bytes <= begin + bytes)
            range->at = NULL;
    }
    pthread_mutex_unlock(&state.lock);
}

/// false: the limit does not allow it.
static bool remember_locked(void *at, size_t bytes)
{
    pthread_mutex_lock(&state.lock);
    uint64_t total = bytes;
    locked_range *room = NULL;
    for (int i = 0; i < LOCKED_ROOM; i++) {
        if (state.locked[i].at)
            total += state.locked[i].bytes;
        else if (!room)
            room = &state.locked[i];
    }
    bool allowed = !state.lock_limited || total <= state.lock_limit_bytes;
    if (allowed && room)
        *room = (locked_range){.at = at, .bytes = bytes};
    pthread_mutex_unlock(&state.lock);
    return allowed;
}

/// As the kernel does it: a munmap that fails (too many mappings to split one) has unmapped nothing, and
/// may be tried again. Were it carried out, the second try would hit whoever was mapped there meanwhile.
static int fault_unmap(void *at, size_t bytes)
{
    int code = refused(FAULT_MEMORY, "unmap");
    if (code < 0)
        return code;
    forget_locked(at, bytes);
    return real->unmap(at, bytes);
}

static int fault_protect(void *at, size_t bytes, int protection)
{
    int code = refused(FAULT_MEMORY, "protect");
    if (code < 0)
        return code;
    return real->protect(at, bytes, protection);
}

/// Which part of the kernel an advice belongs to; 0: as old as madvise itself.
static unsigned advice_part(int advice)
{
    switch (advice) {
    case 20: // MADV_COLD
    case 21: // MADV_PAGEOUT
        return FAULT_NO_COLD;
    case 22: // MADV_POPULATE_READ
    case 23: // MADV_POPULATE_WRITE
        return FAULT_NO_POPULATE;
    case 25: // MADV_COLLAPSE
        return FAULT_NO_COLLAPSE;
    default:
        return 0;
    }
}

static int fault_advise(void *at, size_t bytes, int advice)
{
    int code = refused(FAULT_MEMORY, "advise");
    if (code < 0)
        return code;
    if (is_absent(advice_part(advice)))
        return -EINVAL;
    return real->advise(at, bytes, advice);
}

static int fault_resident(void *at, size_t bytes, unsigned char *out_pages)
{
    int code = refused(FAULT_MEMORY, "resident");
    if (code < 0)
        return code;
    return real->resident(at, bytes, out_pages);
}

static int fault_lock(void *at, size_t bytes, bool on_fault)
{
    int code = refused(FAULT_MEMORY, "lock");
    if (code < 0)
        return code;
    if (!remember_locked(at, bytes))
        return -ENOMEM;
    int result = real->lock(at, bytes, on_fault);
    if (result < 0)
        forget_locked(at, bytes);
    return result;
}

static int fault_unlock(void *at, size_t bytes)
{
    int result = real->unlock(at, bytes);
    forget_locked(at, bytes);
    int code = refused(FAULT_MEMORY, "unlock");
    return code < 0 ? code : result;
}

static int fault_node_bind(void *at, size_t bytes, int mode, const uint64_t *nodes, unsigned bits,
                           unsigned flags)
{
    int code = is_absent(FAULT_NO_NUMA) ? -ENOSYS : refused(FAULT_MEMORY, "node_bind");
    return code < 0 ? code : real->node_bind(at, bytes, mode, nodes, bits, flags);
}

static int fault_node_policy(const void *at, int *out_mode, uint64_t *out_nodes, unsigned bits)
{
    int code = is_absent(FAULT_NO_NUMA) ? -ENOSYS : refused(FAULT_MEMORY, "node_policy");
    return code < 0 ? code : real->node_policy(at, out_mode, out_nodes, bits);
}

static int fault_page_nodes(void *const *pages, uint64_t count, const int *nodes, int *out_status)
{
    int code = is_absent(FAULT_NO_NUMA) ? -ENOSYS : refused(FAULT_MEMORY, "page_nodes");
    return code < 0 ? code : real->page_nodes(pages, count, nodes, out_status);
}

static int fault_lock_limit(uint64_t *out_soft, uint64_t *out_hard, bool *out_privileged)
{
    int code = refused(FAULT_FACTS, "lock_limit");
    if (code < 0)
        return code;
    int result = real->lock_limit(out_soft, out_hard, out_privileged);
    pthread_mutex_lock(&state.lock);
    if (result >= 0 && state.lock_limited) {
        *out_soft = *out_hard = state.lock_limit_bytes;
        *out_privileged = false;
    }
    pthread_mutex_unlock(&state.lock);
    return result;
}

static int fault_memfd(const char *name, unsigned flags)
{
    int code = refused(FAULT_MEMORY, "memfd");
    if (code < 0)
        return code;
    if (flags & MFD_NOEXEC_SEAL && is_absent(FAULT_NO_NOEXEC_SEAL))
        return -EINVAL;
    return real->memfd(name, flags);
}

static int fault_seal(int fd, int seals)
{
    int code = refused(FAULT_MEMORY, "seal");
    if (code < 0)
        return code;
    return real->seal(fd, seals);
}

static int fault_seals(int fd)
{
    int code = refused(FAULT_MEMORY, "seals");
    if (code < 0)
        return code;
    return real->seals(fd);
}

static int fault_memory_facts(drayi_memory_facts *out)
{
    int code = refused(FAULT_FACTS, "memory_facts");
    if (code < 0)
        return code;
    return real->memory_facts(out);
}

static int fault_process_memory(uint64_t *out_resident, uint64_t *out_peak)
{
    int code = refused(FAULT_FACTS, "process_memory");
    if (code < 0)
        return code;
    return real->process_memory(out_resident, out_peak);
}

// --- events and time -----------------------------------------------------------------------------

static void *fault_module_open(const char *path, char *out_why, size_t why_bytes)
{
    if (refused(FAULT_LIBRARY, "module_open") < 0) {
        snprintf(out_why, why_bytes, "%s: injected", path);
        return NULL;
    }
    return real->module_open(path, out_why, why_bytes);
}

static int fault_module_base(void *library, const char *path, uint64_t *out_base)
{
    int code = refused(FAULT_LIBRARY, "module_base");
    return code < 0 ? code : real->module_base(library, path, out_base);
}

static int fault_same_mapping(const void *one, const void *other)
{
    int code = refused(FAULT_LIBRARY, "same_mapping");
    return code < 0 ? code : real->same_mapping(one, other);
}

static int fault_soname_taken(const char *soname, char *out_by, size_t by_bytes)
{
    int code = refused(FAULT_LIBRARY, "soname_taken");
    return code < 0 ? code : real->soname_taken(soname, out_by, by_bytes);
}

static int fault_trial(int (*work)(void *self, char *out_why, size_t why_bytes), void *self,
                       int64_t timeout_ns, drayi_trial *out)
{
    int code = refused(FAULT_LIBRARY, "trial");
    return code < 0 ? code : real->trial(work, self, timeout_ns, out);
}

static int fault_event_fd(void)
{
    int code = refused(FAULT_EVENT, "event_fd");
    if (code < 0)
        return code;
    return real->event_fd();
}

static int fault_timer_open(void)
{
    int code = refused(FAULT_EVENT, "timer_open");
    if (code < 0)
        return code;
    return real->timer_open();
}

static int fault_random(void *out, size_t bytes)
{
    int code = refused(FAULT_EVENT, "random");
    if (code < 0)
        return code;
    return real->random(out, bytes);
}

static int fault_wait_fd(int fd, int64_t timeout_ns)
{
    int code = refused(FAULT_EVENT, "wait_fd");
    if (code < 0)
        return code;
    return real->wait_fd(fd, timeout_ns);
}

static int fault_watch_change(int watch_fd, int fd, bool readable, bool writable)
{
    int code = refused(FAULT_NET, "watch_change");
    if (code < 0)
        return code;
    return real->watch_change(watch_fd, fd, readable, writable);
}

// --- network -------------------------------------------------------------------------------------

static int fault_resolve(const char *host, uint16_t port, drayi_address *out, unsigned capacity,
                         char *out_why, size_t why_bytes)
{
    if (refused(FAULT_NET, "resolve") < 0) {
        snprintf(out_why, why_bytes, "the test says so");
        return 0;
    }
    return real->resolve(host, port, out, capacity, out_why, why_bytes);
}

static int fault_tcp_listen(const drayi_address *at, int backlog)
{
    int code = refused(FAULT_NET, "tcp_listen");
    if (code < 0)
        return code;
    return real->tcp_listen(at, backlog);
}

static int fault_tcp_accept(int fd)
{
    int code = refused(FAULT_NET, "tcp_accept");
    if (code < 0)
        return code;
    return real->tcp_accept(fd);
}

static int fault_tcp_connect(const drayi_address *to)
{
    int code = refused(FAULT_NET, "tcp_connect");
    if (code < 0)
        return code;
    return real->tcp_connect(to);
}

static int fault_tcp_connected(int fd)
{
    int code = refused(FAULT_NET, "tcp_connected");
    if (code < 0)
        return code;
    return real->tcp_connected(fd);
}

static int fault_tcp_where(int fd, drayi_address *out)
{
    int code = refused(FAULT_NET, "tcp_where");
    if (code < 0)
        return code;
    return real->tcp_where(fd, out);
}

static ssize_t fault_send(int fd, const void *bytes, size_t count)
{
    int code = 0;
    verdict answer = gate(FAULT_NET, "send", &code);
    if (answer == FAIL)
        return code;
    return real->send(fd, bytes, answer == SHORTEN && count > 1 ? count / 2 : count);
}

static ssize_t fault_receive(int fd, void *out, size_t count)
{
    int code = 0;
    verdict answer = gate(FAULT_NET, "receive", &code);
    if (answer == FAIL)
        return code;
    return real->receive(fd, out, answer == SHORTEN && count > 1 ? count / 2 : count);
}

static int fault_wait_writable(int fd, int64_t timeout_ns)
{
    int code = refused(FAULT_NET, "wait_writable");
    if (code < 0)
        return code;
    return real->wait_writable(fd, timeout_ns);
}

static int64_t fault_now_ns(void)
{
    pthread_mutex_lock(&state.lock);
    int64_t added = state.clock_ns;
    pthread_mutex_unlock(&state.lock);
    return real->now_ns() + added;
}

// --- io_uring ------------------------------------------------------------------------------------

static int fault_uring_open(struct io_uring **out, unsigned entries)
{
    int code = refused(FAULT_RING, "uring_open");
    if (code < 0)
        return code;
    return is_absent(FAULT_NO_URING) ? -EPERM : real->uring_open(out, entries);
}

static void fault_uring_close(struct io_uring *ring)
{
    pthread_mutex_lock(&state.lock);
    for (int i = 0; i < REFUSED_ROOM; i++) {
        if (state.refused[i].ring == ring)
            state.refused[i].ring = NULL;
    }
    pthread_mutex_unlock(&state.lock);
    real->uring_close(ring);
}

/// A request that the kernel will answer with 0 bytes, and reap with -EINVAL.
static bool remember_refused(struct io_uring *ring, uint64_t user_data)
{
    bool done = false;
    pthread_mutex_lock(&state.lock);
    for (int i = 0; i < REFUSED_ROOM && !done; i++) {
        if (!state.refused[i].ring) {
            state.refused[i] = (refused_request){.ring = ring, .user_data = user_data};
            done = true;
        }
    }
    pthread_mutex_unlock(&state.lock);
    return done;
}

static bool was_refused(struct io_uring *ring, uint64_t user_data)
{
    bool found = false;
    pthread_mutex_lock(&state.lock);
    for (int i = 0; i < REFUSED_ROOM && !found; i++) {
        if (state.refused[i].ring == ring && state.refused[i].user_data == user_data) {
            state.refused[i].ring = NULL;
            found = true;
        }
    }
    pthread_mutex_unlock(&state.lock);
    return found;
}

static int fault_uring_read(struct io_uring *ring, int fd, const struct iovec *parts,
                            unsigned count, uint64_t offset, bool background, uint64_t user_data)
{
    int code = refused(FAULT_RING, "uring_read");
    if (code < 0)
        return code;
    if (refuses_direct(fd) && remember_refused(ring, user_data))
        count = 0;
    return real->uring_read(ring, fd, parts, count, offset, background, user_data);
}

static int fault_uring_write(struct io_uring *ring, int fd, const struct iovec *parts,
                             unsigned count, uint64_t offset, bool background, uint64_t user_data)
{
    int code = refused(FAULT_RING, "uring_write");
    if (code < 0)
        return code;
    if (refuses_direct(fd) && remember_refused(ring, user_data))
        count = 0;
    return real->uring_write(ring, fd, parts, count, offset, background, user_data);
}

static int fault_uring_cancel(struct io_uring *ring, uint64_t user_data)
{
    int code = refused(FAULT_RING, "uring_cancel");
    if (code < 0)
        return code;
    return real->uring_cancel(ring, user_data);
}

static int fault_uring_submit(struct io_uring *ring)
{
    int code = refused(FAULT_RING, "uring_submit");
    if (code < 0)
        return code;
    return real->uring_submit(ring);
}

static int fault_uring_reap(struct io_uring *ring, drayi_uring_event *out, unsigned capacity)
{
    int code = refused(FAULT_RING, "uring_reap");
    if (code < 0)
        return code;
    int count = real->uring_reap(ring, out, capacity);
    for (int i = 0; i < count; i++) {
        if (was_refused(ring, out[i].user_data))
            out[i].result = -EINVAL;
        int result = 0;
        verdict answer = gate(FAULT_COMPLETION, "completion", &result);
        if (answer == FAIL)
            out[i].result = result;
        else if (answer == SHORTEN && out[i].result > 1)
            out[i].result /= 2;
    }
    return count;
}

static int fault_uring_event_fd(struct io_uring *ring, int fd)
{
    int code = refused(FAULT_RING, "uring_event_fd");
    if (code < 0)
        return code;
    return real->uring_event_fd(ring, fd);
}

static int fault_uring_wait(struct io_uring *ring, int64_t timeout_ns)
{
    int code = refused(FAULT_RING, "uring_wait");
    if (code < 0)
        return code;
    return real->uring_wait(ring, timeout_ns);
}

// --- control -------------------------------------------------------------------------------------

void fault_os_reset(void)
{
    pthread_mutex_lock(&state.lock);
    state.plan = (fault_plan){0};
    state.calls = state.hits = 0;
    state.last_hit = "";
    state.absent = 0;
    state.lock_limited = false;
    state.clock_ns = 0;
    pthread_mutex_unlock(&state.lock);
}

int fault_os_context(void **test_state)
{
    fault_os_reset();
    return drayi_context_create_with(NULL, fault_os(), (dray_context **)test_state, NULL) != DRAY_OK;
}

int fault_os_context_end(void **test_state)
{
    dray_context_destroy(*test_state);
    return 0;
}

void fault_os_inject(const fault_plan *plan)
{
    pthread_mutex_lock(&state.lock);
    state.plan = *plan;
    state.calls = state.hits = 0;
    state.last_hit = "";
    pthread_mutex_unlock(&state.lock);
}

void fault_os_make_absent(unsigned parts)
{
    pthread_mutex_lock(&state.lock);
    state.absent = parts;
    pthread_mutex_unlock(&state.lock);
}

void fault_os_limit_lock(uint64_t bytes)
{
    pthread_mutex_lock(&state.lock);
    state.lock_limited = true;
    state.lock_limit_bytes = bytes;
    pthread_mutex_unlock(&state.lock);
}

void fault_os_advance_clock(int64_t ns)
{
    pthread_mutex_lock(&state.lock);
    state.clock_ns += ns;
    pthread_mutex_unlock(&state.lock);
}

uint64_t fault_os_calls(void)
{
    pthread_mutex_lock(&state.lock);
    uint64_t calls = state.calls;
    pthread_mutex_unlock(&state.lock);
    return calls;
}

uint64_t fault_os_hits(void)
{
    pthread_mutex_lock(&state.lock);
    uint64_t hits = state.hits;
    pthread_mutex_unlock(&state.lock);
    return hits;
}

const char *fault_os_last_hit(void)
{
    pthread_mutex_lock(&state.lock);
    const char *name = state.last_hit;
    pthread_mutex_unlock(&state.lock);
    return name;
}

int fault_os_open_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return -1;
    int count = -1; // the folder's own descriptor
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] != '.')
            count++;
    }
    closedir(folder);
    return count;
}

static drayi_os table;

/// Members that no fault reaches (page_bytes, sleep_ns, ...) are the real ones.
static void table_build(void)
{
    table = *real;
    table.open = fault_open;
    table.close = fault_close;
    table.dup = fault_dup;
    table.reopen = fault_reopen;
    table.is_writable = fault_is_writable;
    table.facts = fault_facts;
    table.fstatfs_magic = fault_fstatfs_magic;
    table.set_direct = fault_set_direct;
    table.read = fault_read;
    table.pread = fault_pread;
    table.preadv = fault_preadv;
    table.preadv_cached = fault_preadv_cached;
    table.write = fault_write;
    table.pwrite = fault_pwrite;
    table.pwritev = fault_pwritev;
    table.allocate = fault_allocate;
    table.truncate = fault_truncate;
    table.sync = fault_sync;
    table.sync_range = fault_sync_range;
    table.advise_file = fault_advise_file;
    table.cachestat = fault_cachestat;
    table.sees_cache = fault_sees_cache;
    table.rename = fault_rename;
    table.unlink = fault_unlink;
    table.read_dir = fault_read_dir;
    table.map = fault_map;
    table.unmap = fault_unmap;
    table.protect = fault_protect;
    table.advise = fault_advise;
    table.resident = fault_resident;
    table.lock = fault_lock;
    table.unlock = fault_unlock;
    table.lock_limit = fault_lock_limit;
    table.node_bind = fault_node_bind;
    table.node_policy = fault_node_policy;
    table.page_nodes = fault_page_nodes;
    table.memfd = fault_memfd;
    table.seal = fault_seal;
    table.seals = fault_seals;
    table.module_open = fault_module_open;
    table.module_base = fault_module_base;
    table.same_mapping = fault_same_mapping;
    table.soname_taken = fault_soname_taken;
    table.trial = fault_trial;
    table.memory_facts = fault_memory_facts;
    table.process_memory = fault_process_memory;
    table.event_fd = fault_event_fd;
    table.timer_open = fault_timer_open;
    table.random = fault_random;
    table.wait_fd = fault_wait_fd;
    table.now_ns = fault_now_ns;
    table.uring_open = fault_uring_open;
    table.uring_close = fault_uring_close;
    table.uring_read = fault_uring_read;
    table.uring_write = fault_uring_write;
    table.uring_cancel = fault_uring_cancel;
    table.uring_submit = fault_uring_submit;
    table.uring_reap = fault_uring_reap;
    table.uring_event_fd = fault_uring_event_fd;
    table.uring_wait = fault_uring_wait;
    table.watch_change = fault_watch_change;
    table.resolve = fault_resolve;
    table.tcp_listen = fault_tcp_listen;
    table.tcp_accept = fault_tcp_accept;
    table.tcp_connect = fault_tcp_connect;
    table.tcp_connected = fault_tcp_connected;
    table.tcp_where = fault_tcp_where;
    table.send = fault_send;
    table.receive = fault_receive;
    table.wait_writable = fault_wait_writable;
}

const drayi_os *fault_os(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, table_build);
    return &table;
}
