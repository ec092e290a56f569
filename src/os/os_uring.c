/// io_uring through liburing: one ring, used by one thread at a time.
///
/// The ring is opened without the single-issuer and deferred-work modes: the object above it may move
/// between threads, and both modes bind a ring to the thread that made it. Kernels without the
/// features we rely on (completions are never dropped, iovecs are copied at submit, waits take a
/// timeout: all there since 5.11) are treated as if they had no io_uring.
#include "os/os_uring.h"

#include <errno.h>
#include <stdlib.h>

#ifdef DRAY_HAVE_LIBURING

#include <liburing.h>

#define CANCEL_ANSWER (UINT64_MAX - 1)
#define NEEDED_FEATURES (IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG)

int drayi_uring_open(struct io_uring **out, unsigned entries)
{
    struct io_uring *ring = calloc(1, sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    struct io_uring_params params = {.flags = IORING_SETUP_CLAMP};
    int code = io_uring_queue_init_params(entries, ring, &params);
    if (code == 0 && (params.features & NEEDED_FEATURES) != NEEDED_FEATURES) {
        io_uring_queue_exit(ring);
        code = -ENOSYS;
    }
    if (code < 0) {
        free(ring);
        return code;
    }
    *out = ring;
    return 0;
}

void drayi_uring_close(struct io_uring *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(ring);
    free(ring);
}

static void finish(struct io_uring_sqe *entry, bool background, uint64_t user_data)
{
    if (background)
        entry->flags |= IOSQE_ASYNC;
    io_uring_sqe_set_data64(entry, user_data);
}

int drayi_uring_read(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                     uint64_t offset, bool background, uint64_t user_data)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    if (!entry)
        return -EAGAIN;
    if (count == 1 && parts->iov_len <= UINT32_MAX)
        io_uring_prep_read(entry, fd, parts->iov_base, (unsigned)parts->iov_len, offset);
    else
        io_uring_prep_readv(entry, fd, parts, count, offset);
    finish(entry, background, user_data);
    return 0;
}

int drayi_uring_write(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                      uint64_t offset, bool background, uint64_t user_data)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    if (!entry)
        return -EAGAIN;
    if (count == 1 && parts->iov_len <= UINT32_MAX)
        io_uring_prep_write(entry, fd, parts->iov_base, (unsigned)parts->iov_len, offset);
    else
        io_uring_prep_writev(entry, fd, parts, count, offset);
    finish(entry, background, user_data);
    return 0;
}

int drayi_uring_cancel(struct io_uring *ring, uint64_t user_data)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    if (!entry)
        return -EAGAIN;
    io_uring_prep_cancel64(entry, user_data, 0);
    io_uring_sqe_set_data64(entry, CANCEL_ANSWER);
    return 0;
}

int drayi_uring_submit(struct io_uring *ring)
{
    return io_uring_submit(ring);
}

int drayi_uring_reap(struct io_uring *ring, drayi_uring_event *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        struct io_uring_cqe *entry;
        int code = io_uring_peek_cqe(ring, &entry);
        if (code == -EAGAIN)
            break;
        if (code < 0) // events that were already taken off the queue come first
            return count > 0 ? (int)count : code;
        if (entry->user_data != CANCEL_ANSWER)
            out[count++] = (drayi_uring_event){.user_data = entry->user_data, .result = entry->res};
        io_uring_cqe_seen(ring, entry);
    }
    return (int)count;
}

int drayi_uring_event_fd(struct io_uring *ring, int fd)
{
    return io_uring_register_eventfd(ring, fd);
}

int drayi_uring_wait(struct io_uring *ring, int64_t timeout_ns)
{
    struct io_uring_cqe *entry;
    if (timeout_ns < 0) {
        int code = io_uring_wait_cqe(ring, &entry);
        return code < 0 ? code : 1;
    }
    struct __kernel_timespec limit = {.tv_sec = timeout_ns / 1000000000,
                                      .tv_nsec = timeout_ns % 1000000000};
    int code = io_uring_wait_cqe_timeout(ring, &entry, &limit);
    if (code == -ETIME)
        return 0;
    return code < 0 ? code : 1;
}

#else

int drayi_uring_open(struct io_uring **out, unsigned entries)
{
    (void)out, (void)entries;
    return -ENOSYS;
}

void drayi_uring_close(struct io_uring *ring)
{
    (void)ring;
}

int drayi_uring_read(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                     uint64_t offset, bool background, uint64_t user_data)
{
    (void)ring, (void)fd, (void)parts, (void)count, (void)offset, (void)background;
    (void)user_data;
    return -ENOSYS;
}

int drayi_uring_write(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                      uint64_t offset, bool background, uint64_t user_data)
{
    (void)ring, (void)fd, (void)parts, (void)count, (void)offset, (void)background;
    (void)user_data;
    return -ENOSYS;
}

int drayi_uring_cancel(struct io_uring *ring, uint64_t user_data)
{
    (void)ring, (void)user_data;
    return -ENOSYS;
}

int drayi_uring_submit(struct io_uring *ring)
{
    (void)ring;
    return -ENOSYS;
}

int drayi_uring_reap(struct io_uring *ring, drayi_uring_event *out, unsigned capacity)
{
    (void)ring, (void)out, (void)capacity;
    return -ENOSYS;
}

int drayi_uring_event_fd(struct io_uring *ring, int fd)
{
    (void)ring, (void)fd;
    return -ENOSYS;
}

int drayi_uring_wait(struct io_uring *ring, int64_t timeout_ns)
{
    (void)ring, (void)timeout_ns;
    return -ENOSYS;
}

#endif
