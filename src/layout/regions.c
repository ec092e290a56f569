/// Do the regions of a layout fit it, and each other?
///
/// That no two of them share a byte is what later lets a move prove its targets disjoint from distinct block ids
/// alone, so it is checked here, for regions that somebody else has made, once.
#include "base/checked.h"
#include "base/sort.h"
#include "dray/spi/remote.h"
#include "layout/physical.h"
#include "memory/region.h"

#include <inttypes.h>

/// Where a region lies: numbers of the same space can be compared.
typedef struct region_place {
    uint64_t space[3]; // kind of space, and which one of the kind
    uint64_t begin, bytes;
    uint64_t index;
} region_place;

enum { space_host = 1, space_file = 2, space_device = 3, space_peer = 4 };

static region_place place_of(const dray_region *region, uint64_t index)
{
    const dray_region_native *native = &region->native;
    region_place place = {.bytes = native->bytes, .index = index};
    switch (native->storage) {
    case DRAY_STORAGE_DISK: {
        const dray_region *whole = region;
        while (whole->parent)
            whole = whole->parent;
        place.space[0] = space_file;
        place.space[1] = whole->file_device;
        place.space[2] = whole->file_inode;
        place.begin = native->file_offset;
        break;
    }
    case DRAY_STORAGE_DEVICE:
        place.space[0] = space_device;
        place.space[1] = (uint64_t)(uintptr_t)native->device;
        place.space[2] = (uint64_t)(uintptr_t)native->device_memory;
        place.begin = native->device_address;
        break;
    case DRAY_STORAGE_REMOTE:
        place.space[0] = space_peer;
        place.space[1] = (uint64_t)(uintptr_t)(native->remote ? native->remote->peer : NULL);
        place.begin = native->file_offset;
        break;
    default:
        place.space[0] = space_host;
        place.begin = (uint64_t)(uintptr_t)native->pointer;
    }
    return place;
}

// --- one region ----------------------------------------------------------------------------------------------------

static dray_status region_check(const dray_layout *layout, uint64_t index, const char *whose,
                                dray_error *error)
{
    const dray_layout_geometry *geometry = &layout->geometry;
    const dray_region *region = layout->regions[index];
    region_place place = place_of(region, index);
    const char *name = region->native.name;
    if (region->native.storage == DRAY_STORAGE_NULL)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: %s memory region %" PRIu64 ": null storage keeps no bytes", whose,
                         index);
    if (place.bytes < geometry->region_bytes && geometry->region_count == 1)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: %s memory region too small for layout: required %" PRIu64
                         " bytes, %s has %" PRIu64,
                         whose, geometry->region_bytes, name, place.bytes);
    if (place.bytes < geometry->region_bytes)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: %s memory region %" PRIu64
                         " too small for layout: required %" PRIu64 " bytes, %s has %" PRIu64,
                         whose, index, geometry->region_bytes, name, place.bytes);
    if (place.begin & (geometry->config.alignment - 1))
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: %s memory region %" PRIu64 " is misaligned: %s begins at %#" PRIx64
                         ", wanted is a multiple of %" PRIu64,
                         whose, index, name, place.begin, geometry->config.alignment);
    return DRAY_OK;
}

// --- all of them ---------------------------------------------------------------------------------------------------

static bool is_host(dray_storage storage)
{
    return storage == DRAY_STORAGE_SYSTEM || storage == DRAY_STORAGE_PINNED;
}

/// Ordinary and locked memory may be mixed, and files may be several; devices and peers may not.
static bool same_location(const dray_region_native *a, const dray_region_native *b)
{
    if (is_host(a->storage) && is_host(b->storage))
        return true;
    if (a->storage != b->storage)
        return false;
    if (a->storage == DRAY_STORAGE_REMOTE)
        return a->remote && b->remote && a->remote->peer == b->remote->peer;
    return a->storage == DRAY_STORAGE_DISK || a->device == b->device;
}

static dray_status locations_check(dray_layout *layout, const char *whose, dray_error *error)
{
    const dray_region_native *first = &layout->regions[0]->native;
    layout->storage = first->storage;
    layout->device = first->device;
    for (uint64_t i = 1; i < layout->geometry.region_count; i++) {
        const dray_region_native *each = &layout->regions[i]->native;
        if (!same_location(first, each))
            return dray_fail(error, DRAY_E_INVALID,
                             "layout: all %s memory regions must share the same storage location "
                             "(found %s %s and %s %s)",
                             whose, dray_storage_name(first->storage), first->name,
                             dray_storage_name(each->storage), each->name);
        if (each->storage == DRAY_STORAGE_SYSTEM)
            layout->storage = DRAY_STORAGE_SYSTEM; // the weaker promise
        if (each->device != first->device)
            layout->device = NULL;
    }
    return DRAY_OK;
}

static int place_compare(const void *left, const void *right, const void *self)
{
    (void)self;
    const region_place *a = left, *b = right;
    for (int i = 0; i < 3; i++) {
        if (a->space[i] != b->space[i])
            return a->space[i] < b->space[i] ? -1 : 1;
    }
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static bool same_space(const region_place *a, const region_place *b)
{
    return a->space[0] == b->space[0] && a->space[1] == b->space[1] && a->space[2] == b->space[2];
}

static dray_status disjoint_check(dray_layout *layout, const char *whose, dray_error *error)
{
    uint64_t count = layout->geometry.region_count;
    if (count == 1)
        return DRAY_OK;
    region_place *places = drayi_alloc_array(layout->env, count, 2 * sizeof(*places), error);
    if (!places)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++) {
        places[i] = place_of(layout->regions[i], i);
        places[i].bytes = layout->geometry.region_bytes; // what the layout uses of it
    }
    drayi_sort(places, places + count, count, sizeof(*places), place_compare, NULL);
    dray_status status = DRAY_OK;
    for (uint64_t i = 1; i < count && status == DRAY_OK; i++) {
        const region_place *a = &places[i - 1], *b = &places[i];
        if (same_space(a, b) && b->begin - a->begin < a->bytes)
            status = dray_fail(error, DRAY_E_INVALID,
                               "layout: %s memory regions %" PRIu64 " and %" PRIu64
                               " overlap: they begin at %#" PRIx64 " and %#" PRIx64
                               " and have %" PRIu64 " bytes each",
                               whose, a->index, b->index, a->begin, b->begin, a->bytes);
    }
    drayi_free(layout->env, places, count * 2 * sizeof(*places));
    return status;
}

dray_status drayi_layout_regions_check(dray_layout *layout, const char *whose, dray_error *error)
{
    for (uint64_t i = 0; i < layout->geometry.region_count; i++)
        DRAY_TRY(region_check(layout, i, whose, error));
    DRAY_TRY(locations_check(layout, whose, error));
    return disjoint_check(layout, whose, error);
}
