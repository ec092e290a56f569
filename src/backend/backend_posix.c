/// The posix backend: files to and from host memory, through the page cache or past it.
///
/// Operations live in a fixed number of slots, made at open; submit takes as many as there are free
/// ones. An engine carries them out: io_uring where the kernel allows it, else the pool's threads with
/// preadv and pwritev, else the caller itself in poll. Small operations that somebody waits for are
/// done at once, in submit. posix_engine.h says what is in which file.
#include "backend/posix_engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BEST_BYTES (2u << 20) // measured: docs/design/backends.md
#define BEST_DEPTH 16         // of such operations; of smaller ones as many as there are slots
#define MAX_BYTES (64u << 20)

void drayi_posix_end(drayi_posix_slot *slot)
{
    drayi_completions_push(&slot->backend->completions, slot->op);
}

static void posix_close(dray_backend *backend)
{
    drayi_posix_ring_close(backend);
    drayi_posix_shared_close(backend);
    drayi_completions_close(&backend->completions);
    drayi_free(backend->env, backend, sizeof(*backend));
}

static dray_status posix_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    backend->os = env->os;
    backend->uncached_fd = -1;
    drayi_posix_shared_open(backend);
    dray_status status = drayi_completions_open(&backend->completions, env->os, error);
    if (status != DRAY_OK) {
        posix_close(backend);
        return status;
    }
    for (uint32_t i = 0; i < DRAYI_POSIX_SLOTS; i++) {
        backend->slots[i].backend = backend;
        drayi_queue_push(&backend->free_slots, &backend->slots[i].link);
    }
    drayi_posix_ring_open(backend);
    backend->engine = backend->ring.ring ? &drayi_posix_ring : drayi_posix_fallback(backend);
    *out_backend = backend;
    return DRAY_OK;
}

static dray_edge edge_of(dray_storage memory, uint32_t id)
{
    bool direct = id & DRAYI_POSIX_EDGE_DIRECT, write = id & DRAYI_POSIX_EDGE_WRITE;
    return (dray_edge){
        .from = write ? memory : DRAY_STORAGE_DISK,
        .to = write ? DRAY_STORAGE_DISK : memory,
        .flags = DRAY_EDGE_SCATTER | (direct ? DRAY_EDGE_DIRECT : 0u),
        .id = id,
        .max_bytes = MAX_BYTES,
        .max_segments = DRAYI_POSIX_PARTS,
        .best_bytes = BEST_BYTES,
        .best_depth = BEST_DEPTH,
        .most_depth = DRAYI_POSIX_SLOTS,
        .cost = direct ? 50 : 100,
    };
}

static uint32_t posix_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    (void)backend;
    static const dray_storage memories[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED};
    uint32_t count = 0;
    for (uint32_t m = 0; m < 2; m++) {
        for (uint32_t id = 0; id < 4; id++, count++) {
            if (count < capacity)
                out_edges[count] = edge_of(memories[m], id);
        }
    }
    return count;
}

static drayi_posix_slot *slot_of(const dray_op *op)
{
    return (drayi_posix_slot *)(uintptr_t)op->backend_use[0];
}

static void take(dray_backend *backend, dray_op *op)
{
    drayi_posix_slot *slot = drayi_queue_pop(&backend->free_slots);
    slot->op = op;
    op->backend_use[0] = (uintptr_t)slot;
    bool ended = drayi_posix_slot_begin(slot) != DRAY_OK;
    if (!ended && (op->flags & DRAY_OP_SMALL_SYNC || slot->bytes == 0)) {
        drayi_posix_slot_transfer(slot);
        ended = true;
    }
    if (ended || drayi_posix_slot_try(slot))
        drayi_posix_end(slot);
    else if (slot->in_memory)
        drayi_posix_shared_start(backend, slot);
    else
        backend->engine->start(backend, slot);
}

static uint32_t posix_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    uint32_t taken = 0;
    for (; taken < count && backend->free_slots.first; taken++)
        take(backend, ops[taken]);
    if (backend->engine->flush)
        backend->engine->flush(backend);
    return taken;
}

/// Past the completions: whoever waits for this one takes its result here.
static bool posix_at_once(dray_backend *backend, dray_op *op)
{
    drayi_posix_slot *slot = drayi_queue_pop(&backend->free_slots);
    if (!slot)
        return false;
    slot->op = op;
    bool ended = drayi_posix_slot_begin(slot) != DRAY_OK;
    if (!ended && (slot->in_memory || op->flags & DRAY_OP_SMALL_SYNC)) {
        drayi_posix_slot_transfer(slot);
        ended = true;
    }
    drayi_queue_push(&backend->free_slots, &slot->link);
    return ended;
}

/// Work first. Then the ring is asked itself: that is one system call, its eventfd would be three.
static bool posix_await(dray_backend *backend, int64_t timeout_ns)
{
    if (drayi_posix_shared_help(backend))
        return true;
    if (backend->engine != &drayi_posix_ring || drayi_posix_ring_needs_poll(backend) ||
        backend->ring.air_count == 0)
        return false;
    int code = backend->os->uring_wait(backend->ring.ring, timeout_ns);
    return code >= 0 || code == -EINTR;
}

static uint32_t posix_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    drayi_posix_ring_poll(backend);
    if (backend->engine->poll)
        backend->engine->poll(backend);
    if (drayi_posix_shared_needs_poll(backend))
        drayi_posix_shared_help(backend);
    uint32_t count = drayi_completions_take(&backend->completions, out_ops, capacity);
    for (uint32_t i = 0; i < count; i++)
        drayi_queue_push(&backend->free_slots, &slot_of(out_ops[i])->link);
    return count;
}

static void posix_cancel(dray_backend *backend, dray_op *op)
{
    drayi_posix_slot *slot = slot_of(op);
    atomic_store(&slot->cancelled, true);
    if (backend->engine->cancel)
        backend->engine->cancel(backend, slot);
}

static dray_status posix_arm(dray_backend *backend, int *out_fd, dray_error *error)
{
    DRAY_TRY(drayi_completions_arm(&backend->completions, out_fd, error));
    drayi_posix_ring_poll(backend); // what ended before the fd was drained
    const drayi_posix_engine *engine = backend->engine;
    if (drayi_posix_ring_needs_poll(backend) || drayi_posix_shared_needs_poll(backend) ||
        (engine->needs_poll && engine->needs_poll(backend)))
        return dray_fail(error, DRAY_E_BUSY, "operations wait to be carried out: poll first");
    return DRAY_OK;
}

static void posix_describe(dray_backend *backend, char *out, size_t capacity)
{
    char refusal[96] = "", buffered[96] = "", text[64];
    if (backend->ring.refusal)
        snprintf(refusal, sizeof(refusal), " (io_uring: %s)",
                 strerror_r(backend->ring.refusal, text, sizeof(text)));
    uint64_t instead = atomic_load(&backend->buffered_instead);
    if (instead)
        snprintf(buffered, sizeof(buffered),
                 "; %" PRIu64 " direct operations went through the page cache", instead);
    if (backend->engine == &drayi_posix_ring)
        snprintf(out, capacity, "io_uring, depth %d; cached bytes in the caller%s",
                 DRAYI_POSIX_SLOTS, buffered);
    else if (backend->engine == &drayi_posix_threads)
        snprintf(out, capacity, "threads and pread%s%s", refusal, buffered);
    else
        snprintf(out, capacity, "pread in the caller%s%s", refusal, buffered);
}

const dray_backend_ops drayi_backend_posix = {
    .abi = DRAY_BACKEND_ABI,
    .name = "posix",
    .open = posix_open,
    .close = posix_close,
    .edges = posix_edges,
    .submit = posix_submit,
    .poll = posix_poll,
    .cancel = posix_cancel,
    .arm = posix_arm,
    .describe = posix_describe,
    .at_once = posix_at_once,
    .await = posix_await,
};
