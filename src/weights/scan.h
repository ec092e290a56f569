/// Reads ranges of files through the copy engine in windows, and shows every byte to a caller who only
/// looks: hashing a model does not need memory for all of it.
///
/// Two windows take turns: while one is being read, the other is looked at by the pool.
#ifndef DRAY_WEIGHTS_SCAN_H
#define DRAY_WEIGHTS_SCAN_H

#include "dray/transfer.h"
#include "weights/place.h"

typedef struct drayi_scan {
    dray_context *context;
    drayi_env *env;
    dray_agent *agent;           // NULL: one is made
    dray_region *const *regions; // drayi_range.file is an index into it
    const drayi_range *ranges;   // in order, not overlapping
    uint64_t range_count;
    uint64_t alignment;         // of direct I/O
    uint64_t window_bytes_most; // of each of both windows, unless one range is larger; 0: what suits
    dray_direct direct;
    void *self;
    /// Looks at one range; in the pool, several at once, in any order. Not called for empty ranges.
    void (*look)(void *self, uint64_t range, const uint8_t *bytes);
    /// The same ranges in their order, in the caller's thread, each after its look; also empty ones. Any
    /// failure ends the scan. May be NULL.
    dray_status (*take)(void *self, uint64_t range, const uint8_t *bytes, dray_error *error);
    /// False: DRAY_E_CANCELLED. May be NULL.
    bool (*progress)(void *self, uint64_t bytes_done, uint64_t bytes_total);
} drayi_scan;

/// error.index: the range that could not be read, or DRAY_UNKNOWN.
dray_status drayi_scan_run(const drayi_scan *scan, dray_error *error);

#endif
