/// The life of a region: made, viewed, counted, given back. How each kind gets its bytes stands in
/// region_memory.c and region_file.c.
#include "memory/region.h"

#include "base/checked.h"

#include <inttypes.h>
#include <string.h>

const char *dray_storage_name(dray_storage storage)
{
    static const char *const names[DRAY_STORAGE_COUNT] = {
        [DRAY_STORAGE_SYSTEM] = "system", [DRAY_STORAGE_PINNED] = "pinned",
        [DRAY_STORAGE_DEVICE] = "device", [DRAY_STORAGE_MANAGED] = "managed",
        [DRAY_STORAGE_DISK] = "disk",     [DRAY_STORAGE_REMOTE] = "remote",
        [DRAY_STORAGE_NULL] = "null",
    };
    size_t index = (size_t)storage;
    return index < DRAY_STORAGE_COUNT && names[index] ? names[index] : "unknown";
}

dray_status drayi_region_new(drayi_env *env, dray_storage storage, uint64_t bytes, const char *name,
                             dray_region **out_region, dray_error *error)
{
    dray_region *region = drayi_new(env, dray_region, error);
    if (!region)
        return DRAY_E_NOMEM;
    region->env = env;
    atomic_init(&region->references, 1);
    region->native = (dray_region_native){
        .storage = storage,
        .bytes = bytes,
        .fd = -1,
        .direct_fd = -1,
        .name = dray_storage_name(storage),
    };
    if (name) {
        region->name_bytes = strlen(name) + 1;
        region->name = drayi_alloc(env, region->name_bytes, error);
        if (!region->name) {
            dray_region_release(region);
            return DRAY_E_NOMEM;
        }
        memcpy(region->name, name, region->name_bytes);
        region->native.name = region->name;
    }
    *out_region = region;
    return DRAY_OK;
}

dray_status dray_region_wrap(dray_context *context, dray_storage storage, void *pointer,
                             uint64_t bytes, dray_release_fn release, void *self,
                             dray_region **out_region, dray_error *error)
{
    if (storage != DRAY_STORAGE_SYSTEM && storage != DRAY_STORAGE_PINNED)
        return dray_fail(error, DRAY_E_INVALID,
                         "wrap memory: only system and pinned memory can be wrapped, not %s",
                         dray_storage_name(storage));
    if (!pointer && bytes > 0)
        return dray_fail(error, DRAY_E_INVALID, "wrap memory: %" PRIu64 " bytes at a NULL pointer",
                         bytes);
    dray_region *region;
    DRAY_TRY(drayi_region_new(drayi_env_of(context), storage, bytes, NULL, &region, error));
    region->native.pointer = pointer;
    region->native.writable = 1;
    region->release = release;
    region->release_self = self;
    *out_region = region;
    return DRAY_OK;
}

dray_status dray_region_view(dray_region *parent, uint64_t offset, uint64_t bytes,
                             dray_region **out_view, dray_error *error)
{
    if (!drayi_inside(offset, bytes, parent->native.bytes))
        return dray_fail(error, DRAY_E_INVALID,
                         "view of %s: %" PRIu64 " bytes at %" PRIu64 " leave a region of %" PRIu64
                         " bytes",
                         parent->native.name, bytes, offset, parent->native.bytes);
    dray_region *view = drayi_new(parent->env, dray_region, error);
    if (!view)
        return DRAY_E_NOMEM;
    view->env = parent->env;
    atomic_init(&view->references, 1);
    view->native = parent->native;
    view->native.bytes = bytes;
    if (view->native.pointer)
        view->native.pointer = (char *)parent->native.pointer + offset;
    view->native.file_offset += offset;
    view->native.device_address += offset;
    view->parent = dray_region_retain(parent);
    *out_view = view;
    return DRAY_OK;
}

dray_region *dray_region_retain(dray_region *region)
{
    atomic_fetch_add_explicit(&region->references, 1, memory_order_relaxed);
    return region;
}

static void region_give_back(dray_region *region)
{
    const drayi_os *os = region->env->os;
    if (region->release)
        region->release(region->release_self, region->native.pointer, region->native.bytes);
    if (region->mapping)
        os->unmap(region->mapping, region->mapping_bytes); // unlocks too
    if (region->owns_files) {
        drayi_close_file(os, region->native.fd);
        drayi_close_file(os, region->native.direct_fd);
    }
    drayi_free(region->env, region->name, region->name_bytes);
    drayi_free(region->env, region, sizeof(*region));
}

void dray_region_release(dray_region *region)
{
    while (region && atomic_fetch_sub_explicit(&region->references, 1, memory_order_acq_rel) == 1) {
        dray_region *parent = region->parent;
        region_give_back(region);
        region = parent; // the view's own reference
    }
}

uint64_t dray_region_bytes(const dray_region *region)
{
    return region->native.bytes;
}

dray_storage dray_region_storage(const dray_region *region)
{
    return region->native.storage;
}

void *dray_region_pointer(const dray_region *region)
{
    return region->native.pointer;
}

const char *dray_region_name(const dray_region *region)
{
    return region->parent ? dray_region_name(region->parent) : region->name;
}

void dray_region_get_native(const dray_region *region, dray_region_native *out_native)
{
    *out_native = region->native;
}
