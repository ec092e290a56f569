/// Destinations: their pages made present before the bytes arrive.
#ifndef DRAY_MEMORY_POPULATE_H
#define DRAY_MEMORY_POPULATE_H

#include "base/env.h"
#include "dray/memory.h"
#include "memory/extent.h"

/// Faults in [offset, offset + bytes) of a region for writing, pages rounded outwards. Bytes that are
/// there already stay as they are, so it may run beside the I/O that fills the range. Regions without
/// memory (disk, null) need nothing. Threads: any number at once, also over the same range.
/// DRAY_E_NOMEM: memory ran out (or the cgroup's limit).
dray_status drayi_region_populate(drayi_env *env, dray_region *region, uint64_t offset,
                                  uint64_t bytes, dray_error *error);

/// The same for whole pages that no region stands for.
dray_status drayi_populate_pages(drayi_env *env, const drayi_extent *pages, dray_error *error);

#endif
