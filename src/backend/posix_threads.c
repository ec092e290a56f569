/// Without io_uring: each operation is a job of the pool that calls preadv or pwritev; without a pool
/// the caller does one operation at each poll.
#include "backend/posix_engine.h"

static void job_run(drayi_job *job)
{
    drayi_posix_slot *slot =
        (drayi_posix_slot *)(void *)((char *)job - offsetof(drayi_posix_slot, job));
    drayi_posix_slot_transfer(slot);
    drayi_posix_end(slot);
}

static void threads_start(dray_backend *backend, drayi_posix_slot *slot)
{
    slot->job.run = job_run;
    drayi_pool_run(backend->env->pool, &slot->job);
}

static void caller_start(dray_backend *backend, drayi_posix_slot *slot)
{
    drayi_queue_push(&backend->queued, &slot->link);
}

static void caller_poll(dray_backend *backend)
{
    drayi_posix_slot *slot = drayi_queue_pop(&backend->queued);
    if (!slot)
        return;
    drayi_posix_slot_transfer(slot);
    drayi_posix_end(slot);
}

static bool caller_needs_poll(const dray_backend *backend)
{
    return backend->queued.first != NULL;
}

const drayi_posix_engine drayi_posix_threads = {
    .start = threads_start,
};

const drayi_posix_engine drayi_posix_caller = {
    .start = caller_start,
    .poll = caller_poll,
    .needs_poll = caller_needs_poll,
};

const drayi_posix_engine *drayi_posix_fallback(const dray_backend *backend)
{
    return drayi_pool_threads(backend->env->pool) > 0 ? &drayi_posix_threads : &drayi_posix_caller;
}
