/// This process's mappings, as /proc/self/smaps and maps tell them: what is mapped, and what is set on it.
#ifndef DRAY_HINTS_HOST_MAPS_H
#define DRAY_HINTS_HOST_MAPS_H

#include "base/env.h"

#include <stdbool.h>

typedef struct drayi_host_map {
    uint64_t first, end;
    uint64_t huge_bytes; // in transparent huge pages (with settings)
    uint32_t settings;   // drayi_host_setting; without BOUND (with settings)
    bool writable, shared, is_file;
} drayi_host_map;

/// In the order of addresses. Zeroed is empty.
typedef struct drayi_host_maps {
    drayi_host_map *maps;
    uint64_t count, capacity;
    bool has_settings;
} drayi_host_maps;

/// Reads them anew. `settings`: smaps, which walks the page tables; otherwise maps.
dray_status drayi_host_maps_read(drayi_env *env, bool settings, drayi_host_maps *maps,
                                 dray_error *error);
void drayi_host_maps_free(drayi_env *env, drayi_host_maps *maps);

/// The first mapping that ends behind `address`; NULL: none does.
const drayi_host_map *drayi_host_maps_at(const drayi_host_maps *maps, uint64_t address);
/// The one behind it, when there is nothing between them; otherwise NULL.
const drayi_host_map *drayi_host_maps_next(const drayi_host_maps *maps, const drayi_host_map *map);

#endif
