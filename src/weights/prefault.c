#include "weights/prefault.h"

#include "base/checked.h"
#include "memory/populate.h"

static const uint64_t slice_bytes = 16 << 20; // then whoever else waits for a thread has a turn

static void worker_run(drayi_job *job)
{
    drayi_prefault *prefault = ((drayi_prefault_worker *)job)->prefault;
    uint64_t at = atomic_fetch_add(&prefault->next, slice_bytes);
    bool over = at >= prefault->bytes || atomic_load(&prefault->stop);
    // A failure is not lost: the I/O meets the same lack of memory and reports it with the place.
    if (!over &&
        drayi_region_populate(prefault->env, prefault->region, at,
                              drayi_min(slice_bytes, prefault->bytes - at), NULL) != DRAY_OK)
        over = true;
    if (over)
        drayi_latch_done(&prefault->latch);
    else
        drayi_pool_run(prefault->env->pool, job);
}

void drayi_prefault_start(drayi_prefault *prefault, drayi_env *env, dray_region *region)
{
    uint32_t threads = drayi_pool_threads(env->pool);
    if (threads == 0 || !dray_region_pointer(region))
        return;
    prefault->env = env;
    prefault->region = region;
    prefault->bytes = dray_region_bytes(region);
    atomic_init(&prefault->next, 0);
    atomic_init(&prefault->stop, false);
    drayi_latch_init(&prefault->latch);
    prefault->started = true;
    uint32_t workers = threads < drayi_prefault_workers_most ? threads : drayi_prefault_workers_most;
    drayi_latch_add(&prefault->latch, workers);
    for (uint32_t i = 0; i < workers; i++) {
        prefault->workers[i] =
            (drayi_prefault_worker){.job = {.run = worker_run}, .prefault = prefault};
        drayi_pool_run(env->pool, &prefault->workers[i].job);
    }
}

void drayi_prefault_stop(drayi_prefault *prefault)
{
    if (!prefault->started)
        return;
    atomic_store(&prefault->stop, true);
    drayi_latch_wait(&prefault->latch);
    drayi_latch_free(&prefault->latch);
    prefault->started = false;
}
