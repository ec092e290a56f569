/// Regions on a device: what the memory facet allocates, what it locks for the device, and what others
/// allocated. Each keeps its device alive and gives its bytes back the way they came.
#include "base/checked.h"
#include "device/device.h"
#include "memory/region.h"

#include <inttypes.h>

/// What a region on a device gives back at its end.
typedef struct region_hold {
    drayi_env *env;
    dray_device *device;
    dray_storage storage;
    dray_device_block block;
    enum { HOLD_NOTHING, HOLD_ALLOCATED, HOLD_PINNED, HOLD_WRAPPED } how;
    dray_region *host; // pinned: what the bytes belong to
    dray_release_fn release;
    void *release_self;
} region_hold;

static void hold_let_go(void *self, void *pointer, uint64_t bytes)
{
    (void)pointer;
    region_hold *hold = self;
    const dray_device_memory_ops *memory = hold->device->ops->memory;
    if (hold->how == HOLD_ALLOCATED)
        memory->free(hold->device->self, hold->storage, &hold->block);
    else if (hold->how == HOLD_PINNED)
        memory->unpin(hold->device->self, &hold->block);
    else if (hold->how == HOLD_WRAPPED && hold->release)
        hold->release(hold->release_self, hold->block.memory, bytes);
    dray_region_release(hold->host);
    drayi_env *env = hold->env;
    dray_device_release(hold->device);
    drayi_free(env, hold, sizeof(*hold));
}

/// A region without bytes yet, whose end is hold_let_go().
static dray_status region_begin(dray_device *device, dray_storage storage, uint64_t bytes,
                                dray_region **out_region, region_hold **out_hold, dray_error *error)
{
    dray_region *region;
    DRAY_TRY(drayi_region_new(device->env, storage, bytes, device->info.name, &region, error));
    region_hold *hold = drayi_new(device->env, region_hold, error);
    if (!hold) {
        dray_region_release(region);
        return DRAY_E_NOMEM;
    }
    hold->env = device->env;
    hold->device = dray_device_retain(device);
    hold->storage = storage;
    region->native.writable = 1;
    region->native.device = device;
    region->native.family = device->ops;
    region->release = hold_let_go;
    region->release_self = hold;
    *out_region = region;
    *out_hold = hold;
    return DRAY_OK;
}

static void region_show(dray_region *region, const dray_device_block *block)
{
    region->native.pointer = block->pointer;
    region->native.device_memory = block->memory;
    region->native.device_address = block->address;
}

/// What a kind of memory needs of the device, and what every region of the kind is aligned to.
static dray_status kind_check(const dray_device *device, dray_storage storage,
                              uint64_t *out_alignment, dray_error *error)
{
    uint32_t needed = storage == DRAY_STORAGE_DEVICE    ? DRAY_DEVICE_MEMORY
                      : storage == DRAY_STORAGE_MANAGED ? DRAY_DEVICE_MANAGED
                      : storage == DRAY_STORAGE_PINNED  ? DRAY_DEVICE_PINNED
                                                        : 0u;
    const char *name = device->info.name;
    if (!needed)
        return dray_fail(error, DRAY_E_INVALID,
                         "create region on %s: a device makes device, managed and pinned memory, "
                         "not %s",
                         name, dray_storage_name(storage));
    if (!(device->info.capabilities & needed) || !device->ops->memory)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "create region on %s: it has no %s memory%s%s",
                         name, dray_storage_name(storage),
                         device->info.missing[0] ? "; missing: " : "", device->info.missing);
    *out_alignment =
        storage == DRAY_STORAGE_DEVICE ? device->info.alignment : device->env->os->page_bytes();
    return DRAY_OK;
}

static dray_status options_check(const dray_device *device, const dray_region_options *options,
                                 dray_error *error)
{
    const char *name = device->info.name;
    uint64_t alignment;
    DRAY_TRY(kind_check(device, options->storage, &alignment, error));
    if (options->bytes == 0)
        return dray_fail(error, DRAY_E_INVALID, "create region on %s: zero bytes", name);
    if (options->phase || options->huge_pages || options->on_demand)
        return dray_fail(error, DRAY_E_INVALID,
                         "create region on %s: phase, huge_pages and on_demand are for host memory",
                         name);
    if (options->alignment && !drayi_is_power_of_two(options->alignment))
        return dray_fail(error, DRAY_E_INVALID,
                         "create region on %s: alignment %" PRIu64 " is not a power of two", name,
                         options->alignment);
    if (options->alignment > alignment)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "create region on %s: alignment %" PRIu64
                         " wanted, its %s memory has %" PRIu64,
                         name, options->alignment, dray_storage_name(options->storage), alignment);
    if (options->storage == DRAY_STORAGE_DEVICE && options->bytes > device->info.largest_bytes)
        return dray_fail(error, DRAY_E_NOMEM,
                         "create region on %s: %" PRIu64
                         " bytes wanted, its driver gives at most %" PRIu64 " at once",
                         name, options->bytes, device->info.largest_bytes);
    return DRAY_OK;
}

int32_t drayi_device_node(const dray_device *device)
{
    return device->info.numa_node;
}

/// Drivers choose the node of what they allocate themselves. Memory of ours lies where we say, and the driver
/// locks it.
static dray_status make_on_node(dray_device *device, const dray_region_options *options,
                                dray_region **out_region, dray_error *error)
{
    dray_region_options host = {.struct_bytes = sizeof(host),
                                .storage = DRAY_STORAGE_SYSTEM,
                                .bytes = options->bytes,
                                .alignment = options->alignment,
                                .numa = DRAY_NUMA_NODE};
    dray_region *memory;
    if (options->storage != DRAY_STORAGE_PINNED)
        return dray_fail(error, DRAY_E_INVALID,
                         "create region on %s: %s memory has no NUMA node of the host",
                         device->info.name, dray_storage_name(options->storage));
    DRAY_TRY(drayi_region_node(device->env, options, &host.numa_node, error));
    DRAY_TRY(drayi_region_make_memory(device->env, &host, &memory, error));
    dray_status status = dray_device_pin(device, memory, out_region, error);
    dray_region_release(memory); // the pinned one keeps it
    return status;
}

dray_status drayi_device_make_region(dray_device *device, const dray_region_options *options,
                                     dray_region **out_region, dray_error *error)
{
    DRAY_TRY(options_check(device, options, error));
    if (options->numa != DRAY_NUMA_ANY)
        return make_on_node(device, options, out_region, error);
    dray_region *region;
    region_hold *hold;
    DRAY_TRY(region_begin(device, options->storage, options->bytes, &region, &hold, error));
    dray_status status = device->ops->memory->allocate(device->self, options->storage,
                                                       options->bytes, &hold->block, error);
    if (status != DRAY_OK) {
        dray_region_release(region);
        return dray_fail_within(error, status, "create region on %s", device->info.name);
    }
    hold->how = HOLD_ALLOCATED;
    region_show(region, &hold->block);
    *out_region = region;
    return DRAY_OK;
}

dray_status dray_device_pin(dray_device *device, dray_region *host, dray_region **out_pinned,
                            dray_error *error)
{
    const char *name = device->info.name;
    dray_storage storage = dray_region_storage(host);
    void *pointer = dray_region_pointer(host);
    uint64_t bytes = dray_region_bytes(host);
    if ((storage != DRAY_STORAGE_SYSTEM && storage != DRAY_STORAGE_PINNED) || !pointer || !bytes)
        return dray_fail(error, DRAY_E_INVALID,
                         "pin on %s: only system and pinned memory can be pinned, not %" PRIu64
                         " bytes of %s",
                         name, bytes, dray_storage_name(storage));
    const dray_device_memory_ops *memory = device->ops->memory;
    if (!(device->info.capabilities & DRAY_DEVICE_REGISTER) || !memory || !memory->pin)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "pin on %s: its driver cannot register memory of the host", name);
    dray_region *region;
    region_hold *hold;
    DRAY_TRY(region_begin(device, DRAY_STORAGE_PINNED, bytes, &region, &hold, error));
    hold->host = dray_region_retain(host);
    dray_status status = memory->pin(device->self, pointer, bytes, &hold->block, error);
    if (status != DRAY_OK) {
        dray_region_release(region);
        return dray_fail_within(error, status, "pin on %s", name);
    }
    hold->how = HOLD_PINNED;
    region_show(region, &hold->block);
    dray_region_native native;
    dray_region_get_native(host, &native);
    region->native.writable = native.writable;
    *out_pinned = region;
    return DRAY_OK;
}

dray_status dray_device_wrap(dray_device *device, void *memory, uint64_t address, uint64_t bytes,
                             dray_release_fn release, void *self, dray_region **out_region,
                             dray_error *error)
{
    uint64_t end;
    if (bytes == 0 || (!memory && !address) || !drayi_add(address, bytes, &end))
        return dray_fail(error, DRAY_E_INVALID,
                         "wrap memory of %s: %" PRIu64 " bytes at address %#" PRIx64,
                         device->info.name, bytes, address);
    dray_region *region;
    region_hold *hold;
    DRAY_TRY(region_begin(device, DRAY_STORAGE_DEVICE, bytes, &region, &hold, error));
    hold->how = HOLD_WRAPPED;
    hold->block = (dray_device_block){.memory = memory, .address = address};
    hold->release = release;
    hold->release_self = self;
    region_show(region, &hold->block);
    *out_region = region;
    return DRAY_OK;
}
