/// What the files of the simulated device share.
///
///     device_sim.c   the family, memory, copies
///     sim_hints.c    placement hints on the model of migration
#ifndef DRAY_DEVICE_SIM_SIM_INSIDE_H
#define DRAY_DEVICE_SIM_SIM_INSIDE_H

#include "base/env.h"
#include "device/sim/sim.h"

#include <pthread.h>

struct dray_driver {
    drayi_env *env;
};

struct dray_device_self {
    drayi_env *env;
    uint32_t ordinal;
    pthread_mutex_t lock;
    // guarded by lock:
    drayi_sim_faults faults;
    uint64_t allocations, jobs_started, jobs_ended; // since the faults were set
    drayi_sim_counters counters;
    bool lost;
    struct sim_block *managed; // blocks of kind MANAGED
    uint64_t managed_bytes;    // of them, together
    uint64_t hints_made;       // since the faults were set
};

/// The handle of an allocation.
typedef struct sim_block {
    char *bytes;
    uint64_t size, mapped;
    struct sim_block *next;          // kind MANAGED: in its device's list
    struct drayi_sim_hinted *hinted; // kind MANAGED: what hints said of it; NULL: nothing yet
} sim_block;

/// "<what>: SIM_FAILED (3)".
dray_status drayi_sim_fail(dray_error *error, dray_status status, int32_t code, const char *origin,
                           const char *what);

// sim_hints.c
extern const struct dray_device_hints_ops drayi_sim_hints;
/// NULL is accepted.
void drayi_sim_hinted_destroy(drayi_env *env, struct drayi_sim_hinted *hinted);

#endif
