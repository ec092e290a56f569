/// Memory on a chosen NUMA node: asked for before it is touched, looked at afterwards.
#ifndef DRAY_MEMORY_NUMA_H
#define DRAY_MEMORY_NUMA_H

#include "base/env.h"

/// Pages of the range, none of which is there yet, come from `node` as long as it has room. Nothing is asked
/// on a machine with one node. DRAY_E_INVALID: no such node. DRAY_E_UNSUPPORTED: the kernel does not let us.
dray_status drayi_numa_ask(drayi_env *env, void *at, uint64_t bytes, int32_t node,
                           dray_error *error);
/// Do they? Looks at every page of up to 256 MiB, and at as many, evenly spread, of more. DRAY_E_NOMEM: some
/// lie elsewhere; says how many. DRAY_E_UNSUPPORTED: the kernel does not tell.
dray_status drayi_numa_check(drayi_env *env, void *at, uint64_t bytes, int32_t node,
                             dray_error *error);

#endif
