/// MADV_POPULATE_READ (Linux 5.14) loads a range and waits for it: the faults it takes read ahead in
/// large folios, by themselves. Measured on a disk that reads ahead 8 MiB: one such stream 2.0 GB/s, four
/// of them 2.3, and 1.0 GB/s where MADV_WILLNEED started each piece first, because WILLNEED fills the
/// page cache page by page. So a prefetch is dealt to a few streams, each over a stretch of its own.
///
/// Where the device reads ahead little (128 KiB is a common default), WILLNEED is worth its price: it
/// starts the next chunk while this one is waited for. It loads at most the device's limit, and cuts
/// longer requests short in silence; so that limit is the size of a chunk.
///
/// POPULATE_READ answers EFAULT where the file ends too early, instead of a signal. On older kernels the
/// chunk is read into a scratch buffer, which waits for it just as well, touches no mapping, and costs
/// one copy.
#include "memory/prefetch.h"

#include "os/advice.h"
#include "os/os.h"
#include "os/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

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

/// One number of the device: of a disk; of a partition, whose queue is its disk's.
static uint64_t queue_number(const drayi_os *os, uint64_t device, const char *name)
{
    static const char *const places[] = {"/sys/dev/block/%u:%u/queue/%s",
                                         "/sys/dev/block/%u:%u/../queue/%s"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[96];
        snprintf(path, sizeof(path), places[i], (unsigned)(device >> 32), (unsigned)device, name);
        uint64_t number = number_read(os, path);
        if (number > 0)
            return number;
    }
    return 0;
}

/// In bytes; 0: not told.
typedef struct device_limits {
    uint64_t read_ahead; // what a fault reads ahead by itself
    uint64_t request;    // the longest single request
} device_limits;

static device_limits limits_of(drayi_env *env, int fd)
{
    drayi_file_facts facts;
    if (env->os->facts(fd, &facts) < 0)
        return (device_limits){0};
    device_limits limits = {
        .read_ahead = queue_number(env->os, facts.device, "read_ahead_kb") * 1024,
        .request = queue_number(env->os, facts.device, "max_sectors_kb") * 1024,
    };
    if (limits.read_ahead == 0) { // a file system without a device: NFS, overlay
        char path[96];
        snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
                 (unsigned)(facts.device >> 32), (unsigned)facts.device);
        limits.read_ahead = number_read(env->os, path) * 1024;
    }
    return limits;
}

/// One MADV_WILLNEED loads the larger of the two at most.
static uint64_t chunk_of(const device_limits *limits)
{
    uint64_t bytes = drayi_max(limits->read_ahead, limits->request);
    return bytes == 0
               ? chunk_default
               : drayi_min(drayi_max(bytes, chunk_min), chunk_max) & ~(uint64_t)(chunk_min - 1);
}

uint64_t drayi_read_ahead_bytes(drayi_env *env, int fd)
{
    device_limits limits = limits_of(env, fd);
    return chunk_of(&limits);
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

// --- streams -----------------------------------------------------------------------------------------

enum { streams_most = 4, stream_chunks = 4, willneed_below = 1 << 20 };

/// A stretch of the range, loaded from its beginning to its end.
typedef struct stream {
    drayi_job job; // first
    struct loading *load;
    _Atomic uint64_t next; // offset in the pages
    uint64_t begin, end;
} stream;

/// A prefetch under way.
typedef struct loading {
    drayi_env *env;
    const drayi_extent *extent;
    drayi_extent pages; // of the extent, outwards
    uint64_t end;       // of the extent within its pages
    uint64_t chunk_bytes;
    bool ask_ahead; // the device reads too little ahead by itself
    stream streams[streams_most];
    uint32_t stream_count;
    _Atomic uint64_t loaded; // bytes of pages
    _Atomic uint64_t stop_at; // nothing from this offset on is begun; 0: cancelled. Written under lock
    drayi_latch latch;        // streams that a thread may still work on
    pthread_mutex_t lock;
    uint64_t failed_at; // guarded by lock: of the first chunk that failed; UINT64_MAX: none
    dray_status status; // guarded by lock
    dray_error error;   // guarded by lock
} loading;

/// What lies before goes on: of a file that ends too early, only its first missing chunk tells where.
static void failed(loading *load, uint64_t at, dray_status status, const dray_error *error)
{
    pthread_mutex_lock(&load->lock);
    if (at < load->failed_at) {
        load->failed_at = at;
        load->status = status;
        load->error = *error;
        if (atomic_load(&load->stop_at) > at)
            atomic_store(&load->stop_at, at);
    }
    pthread_mutex_unlock(&load->lock);
}

static void cancel(loading *load)
{
    pthread_mutex_lock(&load->lock);
    atomic_store(&load->stop_at, 0);
    pthread_mutex_unlock(&load->lock);
}

/// Starts the I/O behind a chunk (and of the first one, its own) where the device would not by itself.
static void start_ahead(const loading *load, const stream *stretch, uint64_t at, uint64_t bytes)
{
    const drayi_os *os = load->env->os;
    uint64_t next = at + bytes, next_bytes = drayi_min(load->chunk_bytes, stretch->end - next);
    if (!load->ask_ahead)
        return;
    if (at == stretch->begin)
        os->advise(load->pages.at + at, (size_t)bytes, MADV_WILLNEED);
    if (next_bytes > 0)
        os->advise(load->pages.at + next, (size_t)next_bytes, MADV_WILLNEED);
}

/// Takes the next chunk of a stretch and loads it. False: there is none, or it has to end.
static bool load_one(loading *load, stream *stretch)
{
    dray_error error = {.index = DRAY_UNKNOWN};
    uint64_t at = atomic_fetch_add(&stretch->next, load->chunk_bytes);
    if (at >= stretch->end || at >= atomic_load(&load->stop_at))
        return false;
    drayi_extent chunk =
        drayi_extent_part(&load->pages, at, drayi_min(load->chunk_bytes, stretch->end - at));
    start_ahead(load, stretch, at, chunk.bytes);
    dray_status status =
        chunk_load(load->env->os, &chunk, drayi_min(load->end, at + chunk.bytes) - at, &error);
    if (status != DRAY_OK)
        failed(load, at, status, &error);
    else
        atomic_fetch_add(&load->loaded, chunk.bytes);
    return status == DRAY_OK;
}

/// One chunk at a time, then whoever else waits for a thread has a turn.
static void stream_run(drayi_job *job)
{
    stream *stretch = (stream *)job;
    if (load_one(stretch->load, stretch))
        drayi_pool_run(stretch->load->env->pool, job);
    else
        drayi_latch_done(&stretch->load->latch);
}

/// The caller works on every stretch, its own first, and is the one that tells of progress.
static bool work_along(loading *load, drayi_progress_fn progress, void *self)
{
    for (uint32_t i = 0; i < load->stream_count; i++) {
        while (load_one(load, &load->streams[i])) {
            uint64_t loaded = drayi_min(atomic_load(&load->loaded), load->extent->bytes);
            if (progress && !progress(self, loaded, load->extent->bytes)) {
                cancel(load);
                return false;
            }
        }
    }
    return true;
}

static void streams_deal(loading *load, uint32_t count)
{
    uint64_t chunks = (load->pages.bytes + load->chunk_bytes - 1) / load->chunk_bytes, first = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t end = drayi_min(chunks * (i + 1) / count * load->chunk_bytes, load->pages.bytes);
        load->streams[i] =
            (stream){.job = {.run = stream_run}, .load = load, .begin = first, .end = end};
        atomic_init(&load->streams[i].next, first);
        first = end;
    }
    load->stream_count = count;
}

static bool work_together(loading *load, drayi_progress_fn progress, void *self)
{
    drayi_latch_init(&load->latch);
    drayi_latch_add(&load->latch, load->stream_count - 1);
    for (uint32_t i = 1; i < load->stream_count; i++)
        drayi_pool_run(load->env->pool, &load->streams[i].job);
    bool wanted = work_along(load, progress, self);
    drayi_latch_wait(&load->latch);
    drayi_latch_free(&load->latch);
    return wanted;
}

static dray_status prefetch_end(loading *load, bool wanted, dray_error *error)
{
    if (load->status != DRAY_OK) {
        if (error)
            *error = load->error;
        return load->status;
    }
    if (wanted)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_CANCELLED,
                     "prefetch %s: stopped after %" PRIu64 " of %" PRIu64 " bytes",
                     load->extent->name, drayi_min(atomic_load(&load->loaded), load->extent->bytes),
                     load->extent->bytes);
}

dray_status drayi_prefetch(drayi_env *env, const drayi_extent *extent, drayi_progress_fn progress,
                           void *self, dray_error *error)
{
    device_limits limits = limits_of(env, extent->fd);
    loading load = {.env = env,
                    .extent = extent,
                    .pages = drayi_extent_outwards(extent, env->os->page_bytes()),
                    .chunk_bytes = chunk_of(&limits),
                    .ask_ahead = limits.read_ahead < willneed_below,
                    .lock = PTHREAD_MUTEX_INITIALIZER,
                    .stop_at = UINT64_MAX,
                    .failed_at = UINT64_MAX};
    load.end = (uint64_t)(extent->at - load.pages.at) + extent->bytes;
    uint64_t stretches = load.pages.bytes / (load.chunk_bytes * stream_chunks);
    bool together = stretches >= 2 && drayi_pool_threads(env->pool) > 0;
    streams_deal(&load, together ? (uint32_t)drayi_min(stretches, streams_most) : 1);
    bool wanted =
        together ? work_together(&load, progress, self) : work_along(&load, progress, self);
    // streams end out of order: the last word is that all of it is there
    if (wanted && load.status == DRAY_OK && progress && together)
        wanted = progress(self, extent->bytes, extent->bytes);
    return prefetch_end(&load, wanted, error);
}
