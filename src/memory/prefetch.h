/// Bringing an extent of a mapped file into memory, really, and looking afterwards.
#ifndef DRAY_MEMORY_PREFETCH_H
#define DRAY_MEMORY_PREFETCH_H

#include "base/env.h"
#include "memory/extent.h"

typedef bool (*drayi_progress_fn)(void *self, uint64_t done, uint64_t total);

/// How far the device of a file reads ahead, in bytes (sysfs); a default where it does not tell.
uint64_t drayi_read_ahead_bytes(drayi_env *env, int fd);

/// Loads the extent chunk by chunk. DRAY_E_CANCELLED: `progress` (may be NULL) returned false.
/// DRAY_E_CORRUPT: the file ends before the extent does. No signal is raised in any case.
dray_status drayi_prefetch(drayi_env *env, const drayi_extent *extent, drayi_progress_fn progress,
                           void *self, dray_error *error);

#endif
