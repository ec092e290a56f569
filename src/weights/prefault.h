/// Faulting a destination in while the I/O that fills it runs already.
///
/// Fresh memory costs more to fault in and zero than to fill from a warm disk; done by the pool, ahead
/// of the I/O and in its order, it costs no time.
#ifndef DRAY_WEIGHTS_PREFAULT_H
#define DRAY_WEIGHTS_PREFAULT_H

#include "base/env.h"
#include "dray/memory.h"
#include "os/pool.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { drayi_prefault_workers_most = 8 };

typedef struct drayi_prefault drayi_prefault;

typedef struct drayi_prefault_worker {
    drayi_job job; // first: the pool hands back a pointer to it
    drayi_prefault *prefault;
} drayi_prefault_worker;

/// Must not move while it runs.
struct drayi_prefault {
    drayi_env *env;
    dray_region *region; // borrowed
    uint64_t bytes;
    atomic_uint_fast64_t next; // first byte that nobody has taken
    atomic_bool stop;
    drayi_latch latch;
    bool started;
    drayi_prefault_worker workers[drayi_prefault_workers_most];
};

/// Without a pool, or without memory behind the region, nothing starts: the I/O faults pages in itself.
void drayi_prefault_start(drayi_prefault *prefault, drayi_env *env, dray_region *region);
/// Waits until no worker touches the region any more; what is not faulted in by then is left. A zeroed
/// prefault is accepted.
void drayi_prefault_stop(drayi_prefault *prefault);

#endif
