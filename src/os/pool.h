/// The context's threads: a fixed set of workers that run small jobs in the order they were given.
///
/// Jobs are embedded in their owner (nothing is allocated to queue one). A NULL pool is valid: then
/// drayi_pool_run() runs the job at once in the caller.
#ifndef DRAY_OS_POOL_H
#define DRAY_OS_POOL_H

#include "base/env.h"
#include "base/queue.h"

#include <pthread.h>
#include <stdbool.h>

typedef struct drayi_job drayi_job;
typedef struct drayi_pool drayi_pool;

struct drayi_job {
    drayi_link link; // first: in the pool's queue
    void (*run)(drayi_job *job);
};

/// Counts jobs in flight; the waiter sleeps until it is zero.
typedef struct drayi_latch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t pending; // guarded by lock
} drayi_latch;

dray_status drayi_pool_create(drayi_env *env, uint32_t thread_count, drayi_pool **out,
                              dray_error *error);
/// Runs what is queued, then joins. NULL is accepted.
void drayi_pool_destroy(drayi_pool *pool);
uint32_t drayi_pool_threads(const drayi_pool *pool); // 0 for NULL
void drayi_pool_run(drayi_pool *pool, drayi_job *job);

void drayi_latch_init(drayi_latch *latch);
void drayi_latch_free(drayi_latch *latch);
void drayi_latch_add(drayi_latch *latch, uint64_t count);
void drayi_latch_done(drayi_latch *latch);
void drayi_latch_wait(drayi_latch *latch); // until zero

#endif
