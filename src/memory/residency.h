/// Where the bytes of an extent are, asked of the kernel: page tables, page cache, resident memory.
///
/// Nothing here guesses. DRAY_UNKNOWN means that this kernel, or this caller's rights, do not tell.
#ifndef DRAY_MEMORY_RESIDENCY_H
#define DRAY_MEMORY_RESIDENCY_H

#include "base/env.h"
#include "dray/memory.h"
#include "memory/extent.h"

/// Bytes of `pages` (whole pages) in this process's page tables, from /proc/self/pagemap.
uint64_t drayi_mapped_bytes(drayi_env *env, const drayi_extent *pages);

/// Bytes of `pages` in the page cache (files), or resident (anonymous memory): cachestat where the
/// kernel has it, else mincore where it tells this caller the truth.
uint64_t drayi_cached_bytes(drayi_env *env, const drayi_extent *pages);

/// Bytes of [offset, offset + bytes) of a file, mapped here or not, in the page cache: the same witnesses.
uint64_t drayi_file_cached_bytes(drayi_env *env, int fd, uint64_t offset, uint64_t bytes);

/// Both, over the extent rounded outwards; locked_bytes is the caller's to fill.
void drayi_residency(drayi_env *env, const drayi_extent *extent, dray_residency *out);

#endif
