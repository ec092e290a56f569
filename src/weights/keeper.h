/// Bytes that several results stand on, counted: they live as long as the last who points at them.
#ifndef DRAY_WEIGHTS_KEEPER_H
#define DRAY_WEIGHTS_KEEPER_H

#include "base/env.h"
#include "dray/model_data.h"

/// Either a region of our own or model data (ours, or borrowed from the caller).
/// Threads: retain and release from any.
typedef struct drayi_keeper drayi_keeper;

/// Takes over the caller's reference of `region`, also on failure.
dray_status drayi_keeper_of_region(drayi_env *env, dray_region *region, drayi_keeper **out,
                                   dray_error *error);
/// `owned`: closes `data` at the end, and at once on failure.
dray_status drayi_keeper_of_data(drayi_env *env, dray_model_data *data, bool owned,
                                 drayi_keeper **out, dray_error *error);
drayi_keeper *drayi_keeper_retain(drayi_keeper *keeper);
/// NULL is accepted.
void drayi_keeper_release(drayi_keeper *keeper);

/// Where the bytes are; borrowed.
dray_region *drayi_keeper_region(const drayi_keeper *keeper);
/// NULL: a region of our own.
dray_model_data *drayi_keeper_data(const drayi_keeper *keeper);

#endif
