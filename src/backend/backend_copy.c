/// The copy backend: host memory to host memory, and to nowhere.
///
/// An operation is cut into chunks by a counter that whoever works on it takes from: the pool's
/// threads, several at once when the size pays, the caller while it waits, or without a pool the caller
/// alone, a few chunks at each poll. Between two chunks a cancellation is noticed. What is small is done
/// at once, in submit: that is less work than telling another thread, and needs none of the above.
#include "backend/completions.h"
#include "backend/copy_shape.h"
#include "base/checked.h"
#include "base/env.h"
#include "base/queue.h"
#include "dray/spi/backend.h"
#include "memory/region.h"
#include "os/pool.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

// measured: docs/design/backends.md
#define CHUNK_BYTES (2u << 20)    // what one thread takes at a time
#define CHUNKS_PER_POLL 2         // without a pool: about a quarter of a millisecond
#define AT_ONCE_BYTES (64u << 10) // done in submit
#define STREAM_BYTES (12u << 20)  // from here on past the caches
#define BEST_BYTES (64u << 20)    // large enough to be recognised as large
#define SLOTS 32
#define SEGMENTS_MAX 1024
#define JOBS_MAX 16 // threads on one operation: memory has no more to give

enum { EDGE_COPY = 0, EDGE_DROP = 1 };

typedef struct copy_slot copy_slot;

typedef struct copy_job {
    drayi_job job;
    copy_slot *slot;
} copy_job;

struct copy_slot {
    drayi_link link; // first: in a queue of the backend
    dray_backend *backend;
    dray_op *op;
    uint64_t bytes;
    const drayi_stream *stream; // NULL: ordinary stores
    atomic_uint_fast64_t taken; // chunks below this byte are somebody's
    atomic_uint_fast64_t done;
    atomic_uint jobs_left;
    atomic_bool cancelled;
    copy_job jobs[JOBS_MAX];
};

struct dray_backend {
    drayi_env *env;
    drayi_completions completions;
    drayi_op_list at_once; // done in submit, without a slot, for poll to hand out
    drayi_stream stream;
    drayi_queue free_slots;
    drayi_queue queued; // without a pool: what the caller works on in poll
    copy_slot slots[SLOTS];
};

static void copy_close(dray_backend *backend)
{
    drayi_completions_close(&backend->completions);
    drayi_free(backend->env, backend, sizeof(*backend));
}

static dray_status copy_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    backend->stream = drayi_stream_choose();
    for (uint32_t i = 0; i < SLOTS; i++) {
        backend->slots[i].backend = backend;
        drayi_queue_push(&backend->free_slots, &backend->slots[i].link);
    }
    dray_status status = drayi_completions_open(&backend->completions, env->os, error);
    if (status != DRAY_OK)
        copy_close(backend);
    else
        *out_backend = backend;
    return status;
}

static uint32_t copy_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    static const dray_storage from[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED};
    static const dray_storage to[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED, DRAY_STORAGE_NULL};
    uint32_t threads = drayi_pool_threads(backend->env->pool), count = 0;
    for (uint32_t f = 0; f < 2; f++) {
        for (uint32_t t = 0; t < 3; t++, count++) {
            if (count < capacity)
                out_edges[count] = (dray_edge){
                    .from = from[f],
                    .to = to[t],
                    .id = to[t] == DRAY_STORAGE_NULL ? EDGE_DROP : EDGE_COPY,
                    .max_segments = SEGMENTS_MAX,
                    .max_loops = DRAY_LOOPS_MAX,
                    .best_bytes = BEST_BYTES,
                    .best_depth = threads + 1 < SLOTS ? threads + 1 : SLOTS,
                    .cost = 10,
                };
        }
    }
    return count;
}

// --- one operation -------------------------------------------------------------------------------

static uint8_t *address_of(const dray_region *region, uint64_t offset)
{
    return region->native.pointer ? (uint8_t *)region->native.pointer + offset : NULL;
}

/// Copies the bytes [first, first + bytes) of the operation, counted through all its segments.
static void copy_range(const copy_slot *slot, uint64_t first, uint64_t bytes)
{
    uint64_t segment_first = 0;
    for (uint32_t i = 0; i < slot->op->segment_count && bytes > 0; i++) {
        const dray_segment *segment = &slot->op->segments[i];
        uint64_t segment_bytes = drayi_segment_bytes(segment);
        if (first < segment_first + segment_bytes) {
            drayi_copy_shape shape = drayi_copy_shape_of(
                segment, address_of(segment->source, segment->source_offset),
                address_of(segment->target, segment->target_offset), slot->stream);
            uint64_t part = drayi_min(bytes, segment_first + segment_bytes - first);
            drayi_copy_shape_range(&shape, first - segment_first, part);
            first += part;
            bytes -= part;
        }
        segment_first += segment_bytes;
    }
}

/// Takes a chunk and copies it. false: there was none left, or the operation was cancelled.
static bool copy_chunk(copy_slot *slot)
{
    if (atomic_load(&slot->cancelled))
        return false;
    uint64_t first = atomic_fetch_add(&slot->taken, CHUNK_BYTES);
    if (first >= slot->bytes)
        return false;
    uint64_t bytes = drayi_min(CHUNK_BYTES, slot->bytes - first);
    copy_range(slot, first, bytes);
    atomic_fetch_add(&slot->done, bytes);
    return true;
}

static void slot_end(copy_slot *slot)
{
    dray_op *op = slot->op;
    op->bytes_done = atomic_load(&slot->done);
    op->status = DRAY_OK;
    if (op->bytes_done < slot->bytes)
        op->status = dray_fail(&op->error, DRAY_E_CANCELLED,
                               "copy: cancelled with %" PRIu64 " of %" PRIu64 " bytes done",
                               op->bytes_done, slot->bytes);
    drayi_completions_push(&slot->backend->completions, op);
}

static void job_run(drayi_job *job)
{
    copy_slot *slot = ((copy_job *)(void *)((char *)job - offsetof(copy_job, job)))->slot;
    while (copy_chunk(slot))
        continue;
    if (atomic_fetch_sub(&slot->jobs_left, 1) == 1)
        slot_end(slot);
}

static void start_in_pool(copy_slot *slot, uint32_t threads)
{
    uint64_t chunks = (slot->bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    uint32_t jobs = (uint32_t)drayi_min(drayi_min(threads, JOBS_MAX), chunks);
    atomic_store(&slot->jobs_left, jobs);
    for (uint32_t i = 0; i < jobs; i++) { // the slot may be gone after the last one
        slot->jobs[i] = (copy_job){.job.run = job_run, .slot = slot};
        drayi_pool_run(slot->backend->env->pool, &slot->jobs[i].job);
    }
}

/// What the planner promises, checked where a mistake would write anywhere.
static dray_status check_sides(const dray_segment *segment, bool drops, dray_error *error)
{
    if (!segment->source->native.pointer || (!drops && !segment->target->native.pointer))
        return dray_fail(error, DRAY_E_INVALID, "copy: from %s to %s is not between host memories",
                         dray_storage_name(dray_region_storage(segment->source)),
                         dray_storage_name(dray_region_storage(segment->target)));
    if (segment->loop_count > DRAY_LOOPS_MAX)
        return dray_fail(error, DRAY_E_INVALID, "copy: %u loops given, at most %d are possible",
                         segment->loop_count, DRAY_LOOPS_MAX);
    return DRAY_OK;
}

static void slot_begin(copy_slot *slot, dray_op *op, uint64_t bytes)
{
    slot->op = op;
    op->backend_use[0] = (uintptr_t)slot;
    slot->bytes = bytes;
    slot->stream = bytes >= STREAM_BYTES ? &slot->backend->stream : NULL;
    atomic_store(&slot->taken, 0);
    atomic_store(&slot->done, 0);
    atomic_store(&slot->cancelled, false);
}

static void segment_copy(const dray_segment *segment, uint64_t bytes)
{
    uint8_t *target = address_of(segment->target, segment->target_offset);
    const uint8_t *source = address_of(segment->source, segment->source_offset);
    if (segment->loop_count == 0) {
        memcpy(target, source, bytes);
        return;
    }
    drayi_copy_shape shape = drayi_copy_shape_of(segment, source, target, NULL);
    drayi_copy_shape_range(&shape, 0, bytes);
}

/// All of a small operation, in the calling thread. Its result is written.
static void op_copy(dray_op *op)
{
    bool drops = op->edge == EDGE_DROP;
    op->bytes_done = 0;
    op->status = DRAY_OK;
    for (uint32_t i = 0; i < op->segment_count && op->status == DRAY_OK; i++) {
        const dray_segment *segment = &op->segments[i];
        op->status = check_sides(segment, drops, &op->error);
        if (op->status != DRAY_OK)
            return;
        uint64_t bytes = drayi_segment_bytes(segment);
        if (!drops)
            segment_copy(segment, bytes);
        op->bytes_done += bytes;
    }
}

/// The operation's bytes; or, when they are more than `most`, a number above it.
static uint64_t op_bytes(const dray_op *op, uint64_t most)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->segment_count && bytes <= most; i++)
        bytes += drayi_segment_bytes(&op->segments[i]);
    return bytes;
}

static bool is_small(const dray_op *op)
{
    return op->edge == EDGE_DROP || op->flags & DRAY_OP_SMALL_SYNC ||
           op_bytes(op, AT_ONCE_BYTES) <= AT_ONCE_BYTES;
}

/// False: no slot is free.
static bool take(dray_backend *backend, dray_op *op)
{
    if (is_small(op)) {
        op->backend_use[0] = 0;
        op_copy(op);
        drayi_op_list_push(&backend->at_once, op);
        return true;
    }
    copy_slot *slot = drayi_queue_pop(&backend->free_slots);
    if (!slot)
        return false;
    slot_begin(slot, op, op_bytes(op, UINT64_MAX));
    uint32_t threads = drayi_pool_threads(backend->env->pool);
    op->status = DRAY_OK;
    for (uint32_t i = 0; i < op->segment_count && op->status == DRAY_OK; i++)
        op->status = check_sides(&op->segments[i], false, &op->error);
    if (op->status != DRAY_OK) {
        op->bytes_done = 0;
        drayi_completions_push(&backend->completions, op);
    } else if (threads > 0) {
        start_in_pool(slot, threads);
    } else {
        drayi_queue_push(&backend->queued, &slot->link);
    }
    return true;
}

// --- the table -----------------------------------------------------------------------------------

static uint32_t copy_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count && take(backend, ops[taken]))
        taken++;
    return taken;
}

static bool copy_at_once(dray_backend *backend, dray_op *op)
{
    (void)backend;
    op_copy(op);
    return true;
}

/// Without a pool: a bounded slice of the oldest operation.
static void work_in_caller(dray_backend *backend)
{
    copy_slot *slot = drayi_queue_first(&backend->queued);
    if (!slot)
        return;
    for (int i = 0; i < CHUNKS_PER_POLL && copy_chunk(slot); i++)
        continue;
    if (atomic_load(&slot->taken) >= slot->bytes || atomic_load(&slot->cancelled)) {
        drayi_queue_pop(&backend->queued);
        slot_end(slot);
    }
}

static copy_slot *slot_of(const dray_op *op)
{
    return (copy_slot *)(uintptr_t)op->backend_use[0];
}

static uint32_t copy_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    work_in_caller(backend);
    uint32_t small = drayi_op_list_take(&backend->at_once, out_ops, capacity);
    uint32_t count =
        small + drayi_completions_take(&backend->completions, out_ops + small, capacity - small);
    for (uint32_t i = small; i < count; i++)
        drayi_queue_push(&backend->free_slots, &slot_of(out_ops[i])->link);
    return count;
}

/// Becomes one of the slot's jobs for a chunk. false: there is none left.
static bool slot_help(copy_slot *slot)
{
    unsigned jobs = atomic_load(&slot->jobs_left);
    do {
        if (jobs == 0)
            return false;
    } while (!atomic_compare_exchange_weak(&slot->jobs_left, &jobs, jobs + 1));
    bool helped = copy_chunk(slot);
    if (atomic_fetch_sub(&slot->jobs_left, 1) == 1)
        slot_end(slot);
    return helped;
}

/// A caller that waits copies, too.
static bool copy_await(dray_backend *backend, int64_t timeout_ns)
{
    (void)timeout_ns; // a chunk takes less than a millisecond
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (slot_help(&backend->slots[i]))
            return true;
    }
    return false;
}

static void copy_cancel(dray_backend *backend, dray_op *op)
{
    (void)backend;
    if (slot_of(op))
        atomic_store(&slot_of(op)->cancelled, true);
}

static dray_status copy_arm(dray_backend *backend, int *out_fd, dray_error *error)
{
    if (backend->at_once.first)
        return dray_fail(error, DRAY_E_BUSY, "operations have ended already: poll first");
    if (backend->queued.first)
        return dray_fail(error, DRAY_E_BUSY, "operations wait to be carried out: poll first");
    return drayi_completions_arm(&backend->completions, out_fd, error);
}

static void copy_describe(dray_backend *backend, char *out, size_t capacity)
{
    uint32_t threads = drayi_pool_threads(backend->env->pool);
    char where[48] = "in the caller", how[64] = "";
    if (threads > 0)
        snprintf(where, sizeof(where), "%u thread%s", threads, threads == 1 ? "" : "s");
    if (backend->stream.name)
        snprintf(how, sizeof(how), ", %s streaming stores from %u MiB on", backend->stream.name,
                 STREAM_BYTES >> 20);
    snprintf(out, capacity, "memcpy, %s%s", where, how);
}

const dray_backend_ops drayi_backend_copy = {
    .abi = DRAY_BACKEND_ABI,
    .name = "copy",
    .open = copy_open,
    .close = copy_close,
    .edges = copy_edges,
    .submit = copy_submit,
    .poll = copy_poll,
    .cancel = copy_cancel,
    .arm = copy_arm,
    .describe = copy_describe,
    .at_once = copy_at_once,
    .await = copy_await,
};
