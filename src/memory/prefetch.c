/// One chunk is the device's read-ahead limit: the kernel cuts a longer MADV_WILLNEED short in silence.
/// The next chunk's I/O is started (WILLNEED) before this one is waited for (MADV_POPULATE_READ, Linux
/// 5.14), so the disk never idles. POPULATE_READ answers EFAULT where the file ends too early, instead
/// of a signal. On older kernels the chunk is read into a scratch buffer, which waits for it just as
/// well, touches no mapping, and costs one copy.
#include "memory/prefetch.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum {
    chunk_default = 128 << 10,
    chunk_min = 64 << 10,
    chunk_max = 64 << 20,
    scratch_bytes = 16 << 10
};

/// A small decimal number in a file of sysfs; 0: there is none.
static uint64_t number_read(const drayi_os *os, const char *path)
{
    int fd = os->open(path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    char text[24];
    ssize_t got = os->pread(fd, text, sizeof(text) - 1, 0);
    os->close(fd);
    uint64_t number = 0;
    for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9' && number < UINT32_MAX; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    return number;
}

uint64_t drayi_read_ahead_bytes(drayi_env *env, int fd)
{
    // a disk; a partition, whose queue is its disk's; a file system without a device (NFS, overlay)
    static const char *const places[] = {"/sys/dev/block/%u:%u/queue/read_ahead_kb",
                                         "/sys/dev/block/%u:%u/../queue/read_ahead_kb",
                                         "/sys/class/bdi/%u:%u/read_ahead_kb"};
    drayi_file_facts facts;
    if (env->os->facts(fd, &facts) < 0)
        return chunk_default;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[96];
        snprintf(path, sizeof(path), places[i], (unsigned)(facts.device >> 32),
                 (unsigned)facts.device);
        uint64_t kib = number_read(env->os, path);
        if (kib > 0)
            return drayi_min(drayi_max(kib * 1024, chunk_min), chunk_max) &
                   ~(uint64_t)(chunk_min - 1);
    }
    return chunk_default;
}

/// Waits for a chunk without touching its mapping.
static dray_status chunk_read(const drayi_os *os, const drayi_extent *chunk, dray_error *error)
{
    uint8_t scratch[scratch_bytes];
    for (uint64_t done = 0; done < chunk->bytes;) {
        uint64_t bytes = drayi_min(scratch_bytes, chunk->bytes - done);
        DRAY_TRY(drayi_pread_all(os, chunk->fd, chunk->name, scratch, bytes,
                                 chunk->file_offset + done, NULL, error));
        done += bytes;
    }
    return DRAY_OK;
}

/// `bytes` of the extent itself inside `pages`: what is behind them in the last page may not exist.
static dray_status chunk_load(const drayi_os *os, const drayi_extent *pages, uint64_t bytes,
                              dray_error *error)
{
    int code;
    do
        code = os->advise(pages->at, (size_t)pages->bytes, MADV_POPULATE_READ);
    while (code == -EINTR);
    if (code == 0)
        return DRAY_OK;
    // Not known here (EINVAL), or it met the file's end (EFAULT): reading tells which byte is missing.
    drayi_extent chunk = *pages;
    chunk.bytes = bytes;
    return chunk_read(os, &chunk, error);
}

dray_status drayi_prefetch(drayi_env *env, const drayi_extent *extent, drayi_progress_fn progress,
                           void *self, dray_error *error)
{
    const drayi_os *os = env->os;
    drayi_extent pages = drayi_extent_outwards(extent, os->page_bytes());
    uint64_t head = (uint64_t)(extent->at - pages.at),
             end = head + extent->bytes; // of the extent, within its pages
    uint64_t chunk_bytes = drayi_read_ahead_bytes(env, extent->fd);
    os->advise(pages.at, (size_t)drayi_min(chunk_bytes, pages.bytes), MADV_WILLNEED);
    for (uint64_t done = 0; done < pages.bytes;) {
        drayi_extent chunk =
            drayi_extent_part(&pages, done, drayi_min(chunk_bytes, pages.bytes - done));
        uint64_t next = done + chunk.bytes, next_bytes = drayi_min(chunk_bytes, pages.bytes - next);
        if (next_bytes > 0)
            os->advise(pages.at + next, (size_t)next_bytes, MADV_WILLNEED);
        DRAY_TRY(chunk_load(os, &chunk, drayi_min(end, next) - done, error));
        done = next;
        uint64_t loaded = drayi_min(done, end) - drayi_min(head, done);
        if (progress && !progress(self, loaded, extent->bytes))
            return dray_fail(error, DRAY_E_CANCELLED,
                             "prefetch %s: stopped after %" PRIu64 " of %" PRIu64 " bytes",
                             extent->name, loaded, extent->bytes);
    }
    return DRAY_OK;
}
