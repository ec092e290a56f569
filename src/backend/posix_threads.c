/// Without io_uring: each operation is a job of the pool that calls preadv or pwritev; without a pool
/// the caller does one operation at each poll.
///
/// Files in memory, with io_uring or without: large operations stand in a queue that the pool's threads and a
/// caller that waits take from; without threads that is the caller alone, one operation at each poll. Nobody sleeps on a
/// device, so one more who works is always a gain.
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

// --- large operations on files in memory -----------------------------------------------------------

void drayi_posix_shared_open(dray_backend *backend)
{
    drayi_posix_shared *shared = &backend->shared;
    pthread_mutex_init(&shared->lock, NULL);
    drayi_latch_init(&shared->at_work);
    for (uint32_t i = 0; i < DRAYI_POSIX_HELPERS; i++)
        shared->helpers[i].backend = backend;
}

void drayi_posix_shared_close(dray_backend *backend)
{
    drayi_latch_wait(
        &backend->shared.at_work); // the last operation is handed out before its thread has left
    drayi_latch_free(&backend->shared.at_work);
    pthread_mutex_destroy(&backend->shared.lock);
}

/// NULL: none; then the helper (may be NULL) is free again.
static drayi_posix_slot *shared_pop(drayi_posix_shared *shared, struct drayi_posix_helper *helper)
{
    pthread_mutex_lock(&shared->lock);
    drayi_posix_slot *slot = drayi_queue_pop(&shared->slots);
    if (!slot && helper)
        helper->busy = false;
    pthread_mutex_unlock(&shared->lock);
    return slot;
}

static void helper_run(drayi_job *job)
{
    struct drayi_posix_helper *helper =
        (struct drayi_posix_helper *)(void *)((char *)job -
                                              offsetof(struct drayi_posix_helper, job));
    drayi_posix_shared *shared = &helper->backend->shared;
    for (drayi_posix_slot *slot; (slot = shared_pop(shared, helper)) != NULL;) {
        drayi_posix_slot_transfer(slot);
        drayi_posix_end(slot);
    }
    drayi_latch_done(&shared->at_work);
}

/// A helper that does nothing, now busy; NULL: as many are at work as there are threads.
static struct drayi_posix_helper *helper_wake(drayi_posix_shared *shared, uint32_t threads)
{
    for (uint32_t i = 0; i < threads && i < DRAYI_POSIX_HELPERS; i++) {
        if (!shared->helpers[i].busy) {
            shared->helpers[i].busy = true;
            return &shared->helpers[i];
        }
    }
    return NULL;
}

void drayi_posix_shared_start(dray_backend *backend, drayi_posix_slot *slot)
{
    drayi_posix_shared *shared = &backend->shared;
    pthread_mutex_lock(&shared->lock);
    drayi_queue_push(&shared->slots, &slot->link);
    struct drayi_posix_helper *helper = helper_wake(shared, drayi_pool_threads(backend->env->pool));
    pthread_mutex_unlock(&shared->lock);
    if (helper) {
        helper->job.run = helper_run;
        drayi_latch_add(&shared->at_work, 1);
        drayi_pool_run(backend->env->pool, &helper->job);
    }
}

bool drayi_posix_shared_needs_poll(dray_backend *backend)
{
    if (drayi_pool_threads(backend->env->pool) > 0)
        return false;
    return drayi_queue_first(&backend->shared.slots) != NULL; // nobody else is there
}

bool drayi_posix_shared_help(dray_backend *backend)
{
    drayi_posix_slot *slot = shared_pop(&backend->shared, NULL);
    if (!slot)
        return false;
    drayi_posix_slot_transfer(slot);
    drayi_posix_end(slot);
    return true;
}
