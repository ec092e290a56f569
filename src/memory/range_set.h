/// A set of byte ranges, kept sorted and apart: which pages of an object dray has locked.
#ifndef DRAY_MEMORY_RANGE_SET_H
#define DRAY_MEMORY_RANGE_SET_H

#include "base/env.h"

typedef struct drayi_range {
    uint64_t first, end;
} drayi_range;

/// Zero-initialised is empty. Threads: one at a time.
typedef struct drayi_range_set {
    drayi_range *ranges; // sorted, not touching each other
    uint64_t count, capacity;
} drayi_range_set;

/// Makes sure that the next add or remove needs no memory.
dray_status drayi_range_set_reserve(drayi_env *env, drayi_range_set *set, dray_error *error);
/// After drayi_range_set_reserve(); cannot fail. Empty ranges change nothing.
void drayi_range_set_add(drayi_range_set *set, uint64_t first, uint64_t end);
void drayi_range_set_remove(drayi_range_set *set, uint64_t first, uint64_t end);
/// Bytes of [first, end) that are in the set.
uint64_t drayi_range_set_bytes(const drayi_range_set *set, uint64_t first, uint64_t end);
void drayi_range_set_free(drayi_env *env, drayi_range_set *set);

#endif
