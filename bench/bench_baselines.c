/// What dray is measured against: plain read(), a mapping that is touched, and the limit of the device:
/// a bare io_uring with O_DIRECT into memory whose pages are there already.
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef DRAY_HAVE_LIBURING
#include <liburing.h>
#endif

enum { huge_page = 2 << 20 };

static bool give_up(bench_run *run, const char *what, int code)
{
    snprintf(run->note, sizeof(run->note), "%s: %s", what, strerror(code));
    return false;
}

static int open_sized(const char *path, int flags, size_t *out_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) < 0)
        return -1;
    *out_bytes = (size_t)facts.st_size;
    return fd;
}

/// Anonymous memory rounded to whole huge pages, aligned to one.
static char *memory_map(size_t bytes, bool huge_pages, size_t *out_mapped, char **out_base)
{
    *out_mapped = bytes + 2 * (size_t)huge_page;
    char *base = mmap(NULL, *out_mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    *out_base = base;
    madvise(base, *out_mapped, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return (char *)(((uintptr_t)base + huge_page - 1) & ~(uintptr_t)(huge_page - 1));
}

bool bench_read_fresh(const char *path, bool huge_pages, bench_run *run)
{
    double begin = bench_now(), cpu = bench_cpu();
    size_t bytes = 0, mapped = 0, done = 0;
    char *base = NULL;
    int fd = open_sized(path, 0, &bytes);
    if (fd < 0)
        return give_up(run, "open", errno);
    char *memory = memory_map(bytes, huge_pages, &mapped, &base);
    while (memory && done < bytes) {
        ssize_t got = read(fd, memory + done, bytes - done);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    run->seconds = bench_now() - begin;
    run->cpu_seconds = bench_cpu() - cpu;
    run->bytes = done;
    close(fd);
    if (memory)
        munmap(base, mapped);
    return done == bytes ? true : give_up(run, "read", errno);
}

bool bench_map_touch(const char *path, bench_run *run)
{
    double begin = bench_now(), cpu = bench_cpu();
    size_t bytes = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = open_sized(path, 0, &bytes);
    if (fd < 0)
        return give_up(run, "open", errno);
    const volatile unsigned char *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        close(fd);
        return give_up(run, "mmap", errno);
    }
    unsigned sum = 0;
    for (size_t i = 0; i < bytes; i += page)
        sum += at[i];
    run->seconds = bench_now() - begin;
    run->cpu_seconds = bench_cpu() - cpu;
    run->bytes = bytes;
    snprintf(run->note, sizeof(run->note), "one byte of each page, sum %u", sum);
    munmap((void *)(uintptr_t)at, bytes);
    close(fd);
    return true;
}

#ifdef DRAY_HAVE_LIBURING

enum { ring_depth = 16, ring_step = 1 << 20 };

/// Queues the next piece at `*next` into the memory; the last piece may reach past the end of the file.
static void ring_queue(struct io_uring *ring, int fd, char *memory, size_t bytes, size_t *next)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    size_t left = bytes - *next,
           wanted = left < ring_step ? (left + 4095) & ~(size_t)4095 : ring_step;
    io_uring_prep_read(sqe, fd, memory + *next, (unsigned)wanted, *next);
    io_uring_sqe_set_data64(sqe, *next + wanted > bytes ? left : wanted);
    *next += wanted < left ? wanted : left;
}

/// Reads the whole file with `ring_depth` pieces in flight; false: a piece failed or came short.
static bool ring_read(struct io_uring *ring, int fd, char *memory, size_t bytes)
{
    size_t next = 0, done = 0;
    bool good = true;
    unsigned in_flight = 0;
    while (good ? done < bytes : in_flight > 0) {
        while (good && next < bytes && in_flight < ring_depth) {
            ring_queue(ring, fd, memory, bytes, &next);
            in_flight++;
        }
        struct io_uring_cqe *cqe;
        if (io_uring_submit_and_wait(ring, 1) < 0)
            return false;
        while (io_uring_peek_cqe(ring, &cqe) == 0) {
            good = good && cqe->res >= 0 && (uint64_t)cqe->res == io_uring_cqe_get_data64(cqe);
            done += good ? (size_t)cqe->res : 0;
            in_flight--;
            io_uring_cqe_seen(ring, cqe);
        }
    }
    return good;
}

bool bench_ring_direct(const char *path, bench_run *run)
{
    size_t bytes = 0, mapped = 0;
    char *base = NULL;
    int fd = open_sized(path, O_DIRECT, &bytes);
    if (fd < 0)
        return give_up(run, "open with O_DIRECT", errno);
    double apart = bench_now(), apart_cpu = bench_cpu();
    char *memory = memory_map(bytes, true, &mapped, &base);
    if (memory)
        memset(memory, 0, bytes); // the pages are there before the clock runs
    run->apart_seconds = bench_now() - apart;
    run->apart_cpu_seconds = bench_cpu() - apart_cpu;
    double begin = bench_now(), cpu = bench_cpu();
    struct io_uring ring;
    int code = memory ? io_uring_queue_init(ring_depth, &ring, 0) : -ENOMEM;
    bool good = code == 0 && ring_read(&ring, fd, memory, bytes);
    if (code == 0)
        io_uring_queue_exit(&ring);
    run->seconds = bench_now() - begin;
    run->cpu_seconds = bench_cpu() - cpu;
    run->bytes = bytes;
    if (memory)
        munmap(base, mapped);
    close(fd);
    return good ? true : give_up(run, "io_uring with O_DIRECT", code < 0 ? -code : EIO);
}

#else

bool bench_ring_direct(const char *path, bench_run *run)
{
    (void)path;
    return give_up(run, "built without liburing", ENOSYS);
}

#endif
