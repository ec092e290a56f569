/// What transfers are measured against, each as a good engineer would write it: memcpy, non-temporal
/// stores, pread and pwrite, an io_uring of the same depth, and a bare loop of OpenCL enqueues.
#include "bench.h"
#include <dray/device.h>
#include <dray/spi/region.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef DRAY_HAVE_LIBURING
#include <liburing.h>
#endif

static uint64_t block_at(const bench_batch *batch, uint32_t index)
{
    return batch->order[index] * batch->block_bytes;
}

// --- memory ------------------------------------------------------------------------------------------

void bench_memcpy(const bench_batch *batch, uint8_t *to, const uint8_t *from)
{
    for (uint32_t turn = 0; turn < batch->repeats; turn++) {
        for (uint32_t i = 0; i < batch->count; i++)
            memcpy(to + block_at(batch, i), from + block_at(batch, i), batch->block_bytes);
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

/// Both aligned to 64, as the blocks are.
static void stream_block(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += 64) {
        const __m128i *source = (const __m128i *)(const void *)(from + at);
        __m128i *target = (__m128i *)(void *)(to + at);
        _mm_stream_si128(target, _mm_load_si128(source));
        _mm_stream_si128(target + 1, _mm_load_si128(source + 1));
        _mm_stream_si128(target + 2, _mm_load_si128(source + 2));
        _mm_stream_si128(target + 3, _mm_load_si128(source + 3));
    }
    _mm_sfence();
}
#else
static void stream_block(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    memcpy(to, from, bytes);
}
#endif

void bench_stream_copy(const bench_batch *batch, uint8_t *to, const uint8_t *from)
{
    for (uint32_t turn = 0; turn < batch->repeats; turn++) {
        for (uint32_t i = 0; i < batch->count; i++)
            stream_block(to + block_at(batch, i), from + block_at(batch, i), batch->block_bytes);
    }
}

// --- files -------------------------------------------------------------------------------------------

static bool block_io(int fd, uint8_t *memory, uint64_t bytes, uint64_t at, bool write_it)
{
    for (uint64_t done = 0; done < bytes;) {
        ssize_t moved = write_it ? pwrite(fd, memory + done, bytes - done, (off_t)(at + done))
                                 : pread(fd, memory + done, bytes - done, (off_t)(at + done));
        if (moved <= 0)
            return false;
        done += (uint64_t)moved;
    }
    return true;
}

bool bench_plain_io(const bench_batch *batch, int fd, uint8_t *memory, bool write_it)
{
    for (uint32_t turn = 0; turn < batch->repeats; turn++) {
        for (uint32_t i = 0; i < batch->count; i++) {
            uint64_t at = block_at(batch, i);
            if (!block_io(fd, memory + at, batch->block_bytes, at, write_it))
                return false;
        }
    }
    return true;
}

#ifdef DRAY_HAVE_LIBURING

enum { ring_depth = 64, piece_most = 1 << 20 }; // what dray has in flight, and how large

struct bench_ring {
    struct io_uring ring;
};

bench_ring *bench_ring_open(void)
{
    bench_ring *own = calloc(1, sizeof(*own));
    if (own && io_uring_queue_init(ring_depth, &own->ring, 0) < 0) {
        free(own);
        return NULL;
    }
    return own;
}

void bench_ring_close(bench_ring *own)
{
    if (!own)
        return;
    io_uring_queue_exit(&own->ring);
    free(own);
}

/// Blocks in pieces of at most `piece_most`, one batch after the other.
static bool batch_io(struct io_uring *ring, const bench_batch *batch, int fd, uint8_t *memory,
                     bool write_it)
{
    uint64_t piece = batch->block_bytes < piece_most ? batch->block_bytes : piece_most;
    uint64_t per_block = batch->block_bytes / piece, total = batch->count * per_block;
    uint64_t next = 0, ended = 0;
    while (ended < total) {
        for (; next < total && next - ended < ring_depth; next++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
            uint64_t at = block_at(batch, (uint32_t)(next / per_block)) + next % per_block * piece;
            if (write_it)
                io_uring_prep_write(sqe, fd, memory + at, (unsigned)piece, at);
            else
                io_uring_prep_read(sqe, fd, memory + at, (unsigned)piece, at);
        }
        if (io_uring_submit_and_wait(ring, 1) < 0)
            return false;
        struct io_uring_cqe *cqe;
        for (; io_uring_peek_cqe(ring, &cqe) == 0; ended++) {
            bool whole = cqe->res >= 0 && (uint64_t)cqe->res == piece;
            io_uring_cqe_seen(ring, cqe);
            if (!whole)
                return false;
        }
    }
    return true;
}

bool bench_ring_io(bench_ring *own, const bench_batch *batch, int fd, uint8_t *memory, bool write_it)
{
    for (uint32_t turn = 0; turn < batch->repeats; turn++) {
        if (!batch_io(&own->ring, batch, fd, memory, write_it))
            return false;
    }
    return true;
}

#else

bench_ring *bench_ring_open(void)
{
    return NULL;
}

void bench_ring_close(bench_ring *own)
{
    (void)own;
}

bool bench_ring_io(bench_ring *own, const bench_batch *batch, int fd, uint8_t *memory, bool write_it)
{
    (void)own, (void)batch, (void)fd, (void)memory, (void)write_it;
    return false;
}

#endif

// --- OpenCL ------------------------------------------------------------------------------------------

typedef int32_t (*enqueue_fn)(void *queue, void *buffer, uint32_t blocking, size_t offset,
                              size_t bytes, void *memory, uint32_t waits, const void *list,
                              void *event);
typedef int32_t (*context_info_fn)(void *context, uint32_t what, size_t room, void *out,
                                   size_t *out_bytes);
typedef void *(*queue_create_fn)(void *context, void *device, uint64_t flags, int32_t *code);
typedef int32_t (*queue_fn)(void *queue);

struct bench_queue {
    void *library, *queue;
    enqueue_fn write, read;
    queue_fn finish, release;
};

static bool find(void *library, const char *name, void *out_function)
{
    void *symbol = dlsym(library, name);
    memcpy(out_function, &symbol, sizeof(symbol));
    return symbol;
}

static bool queue_make(bench_queue *own, void *context)
{
    enum { context_devices = 0x1081 };
    context_info_fn info;
    queue_create_fn create;
    void *device = NULL;
    int32_t code = 0;
    if (!find(own->library, "clEnqueueWriteBuffer", &own->write) ||
        !find(own->library, "clEnqueueReadBuffer", &own->read) ||
        !find(own->library, "clFinish", &own->finish) ||
        !find(own->library, "clReleaseCommandQueue", &own->release) ||
        !find(own->library, "clGetContextInfo", &info) ||
        !find(own->library, "clCreateCommandQueue", &create) ||
        info(context, context_devices, sizeof(device), &device, NULL) != 0)
        return false;
    own->queue = create(context, device, 0, &code);
    return own->queue && code == 0;
}

bench_queue *bench_queue_open(dray_device *device)
{
    bench_queue *own = calloc(1, sizeof(*own));
    bool opencl = strncmp(dray_device_name(device), "opencl:", 7) == 0;
    if (own && opencl)
        own->library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_NODELETE);
    if (own && own->library && queue_make(own, dray_device_handle(device)))
        return own;
    bench_queue_close(own);
    return NULL;
}

bool bench_queue_io(bench_queue *own, const bench_batch *batch, dray_region *buffer,
                    uint8_t *memory, bool to_device)
{
    dray_region_native native;
    dray_region_get_native(buffer, &native);
    for (uint32_t turn = 0; turn < batch->repeats; turn++) {
        for (uint32_t i = 0; i < batch->count; i++) {
            uint64_t at = block_at(batch, i);
            if ((to_device ? own->write : own->read)(own->queue, native.device_memory, 0,
                                                     native.device_address + at, batch->block_bytes,
                                                     memory + at, 0, NULL, NULL) != 0)
                return false;
        }
        if (own->finish(own->queue) != 0)
            return false;
    }
    return true;
}

void bench_queue_close(bench_queue *own)
{
    if (!own)
        return;
    if (own->queue)
        own->release(own->queue);
    if (own->library)
        dlclose(own->library);
    free(own);
}
