/// One queue, one lock, N workers. Jobs here are milliseconds long (hashing, copying, faulting pages
/// in), so a plain queue is not what costs.
#include "os/pool.h"

#include <signal.h>
#include <string.h>

struct drayi_pool {
    drayi_env *env;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    drayi_queue jobs; // guarded by lock
    bool stop;        // guarded by lock
    uint32_t thread_count;
    uint32_t thread_room; // as allocated
    pthread_t *threads;
};

static void *worker(void *argument)
{
    drayi_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->jobs.first && !pool->stop)
            pthread_cond_wait(&pool->wake, &pool->lock);
        drayi_job *job = drayi_queue_pop(&pool->jobs);
        if (!job)
            break;
        pthread_mutex_unlock(&pool->lock);
        job->run(job); // may free the job's owner
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/// The host program's signals are none of our workers' business.
static int thread_start(pthread_t *out, drayi_pool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); // a guarded read may run in the pool
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(out, NULL, worker, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

dray_status drayi_pool_create(drayi_env *env, uint32_t thread_count, drayi_pool **out,
                              dray_error *error)
{
    drayi_pool *pool = drayi_new(env, drayi_pool, error);
    if (!pool)
        return DRAY_E_NOMEM;
    pool->env = env;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = drayi_alloc_array(env, thread_count, sizeof(pthread_t), error);
    pool->thread_room = thread_count;
    dray_status status = pool->threads ? DRAY_OK : DRAY_E_NOMEM;
    while (status == DRAY_OK && pool->thread_count < thread_count) {
        int code = thread_start(&pool->threads[pool->thread_count], pool);
        if (code == 0)
            pool->thread_count++;
        else
            status = dray_fail_os(error, code, "pthread_create", "thread pool: thread %u of %u",
                                  pool->thread_count + 1, thread_count);
    }
    if (status != DRAY_OK)
        drayi_pool_destroy(pool);
    else
        *out = pool;
    return status;
}

void drayi_pool_destroy(drayi_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    drayi_free(pool->env, pool->threads, pool->thread_room * sizeof(pthread_t));
    drayi_free(pool->env, pool, sizeof(*pool));
}

uint32_t drayi_pool_threads(const drayi_pool *pool)
{
    return pool ? pool->thread_count : 0;
}

void drayi_pool_run(drayi_pool *pool, drayi_job *job)
{
    if (!pool) {
        job->run(job);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    drayi_queue_push(&pool->jobs, &job->link);
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void drayi_latch_init(drayi_latch *latch)
{
    pthread_mutex_init(&latch->lock, NULL);
    pthread_cond_init(&latch->changed, NULL);
    latch->pending = 0;
}

void drayi_latch_free(drayi_latch *latch)
{
    pthread_cond_destroy(&latch->changed);
    pthread_mutex_destroy(&latch->lock);
}

void drayi_latch_add(drayi_latch *latch, uint64_t count)
{
    pthread_mutex_lock(&latch->lock);
    latch->pending += count;
    pthread_mutex_unlock(&latch->lock);
}

void drayi_latch_done(drayi_latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    if (--latch->pending == 0)
        pthread_cond_broadcast(&latch->changed);
    pthread_mutex_unlock(&latch->lock); // the waiter may free the latch only after this
}

void drayi_latch_wait(drayi_latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    while (latch->pending)
        pthread_cond_wait(&latch->changed, &latch->lock);
    pthread_mutex_unlock(&latch->lock);
}
