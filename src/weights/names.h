/// A hash index from names to positions in an array whose entries begin with a dray_text.
///
/// The table holds positions and 32 bits of hash, never pointers, so the array may move while it grows.
/// The hash is seeded per table: a file cannot be made whose names all fall together.
#ifndef DRAY_WEIGHTS_NAMES_H
#define DRAY_WEIGHTS_NAMES_H

#include "base/env.h"

#include <stdbool.h>
#include <string.h>

typedef struct drayi_name_slot {
    uint32_t hash;
    uint32_t position; // + 1; 0: empty
} drayi_name_slot;

/// Zeroed: empty; env must be set. Threads: any number of readers.
typedef struct drayi_names {
    drayi_env *env;
    drayi_name_slot *slots;
    uint64_t slot_count; // a power of two, or 0
    uint64_t used;
    uint64_t seed;
} drayi_names;

/// Position of `name`, or UINT64_MAX. `entries` is the array, `stride` the bytes of an entry.
uint64_t drayi_names_find(const drayi_names *names, const void *entries, size_t stride,
                          dray_text name);
/// Adds a name that is not there yet.
dray_status drayi_names_add(drayi_names *names, dray_text name, uint64_t position,
                            dray_error *error);
/// After the array was sorted: position p becomes moved[p].
void drayi_names_renumber(drayi_names *names, const uint32_t *moved);
void drayi_names_free(drayi_names *names);

static inline bool drayi_text_equal(dray_text a, dray_text b)
{
    return a.length == b.length &&
           (a.length == 0 || memcmp(a.bytes, b.bytes, (size_t)a.length) == 0);
}

#endif
