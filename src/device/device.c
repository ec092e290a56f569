/// Opening a device by its name, and holding on to it. What a device does stands in its family's folder.
///
/// Each opened device has loaded its own driver: drivers count their users themselves, and nothing here
/// is shared between two devices or outlives the last of them.
#include "device/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(offsetof(dray_device, maker) == 0, "drayi_region_maker_of() relies on it");

const char *dray_device_capability_name(uint32_t capability)
{
    switch (capability) {
    case DRAY_DEVICE_MEMORY:
        return "memory";
    case DRAY_DEVICE_MANAGED:
        return "managed";
    case DRAY_DEVICE_PINNED:
        return "pinned";
    case DRAY_DEVICE_REGISTER:
        return "register";
    case DRAY_DEVICE_COPY:
        return "copy";
    case DRAY_DEVICE_BATCH:
        return "batch";
    case DRAY_DEVICE_PEER:
        return "peer";
    case DRAY_DEVICE_CONCURRENT_MANAGED:
        return "concurrent_managed";
    case DRAY_DEVICE_PAGEABLE:
        return "pageable";
    case DRAY_DEVICE_INTEGRATED:
        return "integrated";
    default:
        return NULL;
    }
}

dray_status drayi_device_describe(const dray_device_ops *ops, dray_driver *driver, uint32_t ordinal,
                                  dray_device_info *out_info, dray_error *error)
{
    *out_info = (dray_device_info){
        .family = ops->family,
        .unproven = ops->unproven,
        .backend = ops->backend,
        .ordinal = ordinal,
        .numa_node = -1,
        .total_bytes = DRAY_UNKNOWN,
        .free_bytes = DRAY_UNKNOWN,
        .largest_bytes = DRAY_UNKNOWN,
        .alignment = 1,
    };
    snprintf(out_info->name, sizeof(out_info->name), "%s:%u", ops->family, ordinal);
    return ops->describe(driver, ordinal, out_info, error);
}

// --- finding -----------------------------------------------------------------------------------------

/// "cuda:12" -> length of the family's name, 12.
static bool name_parse(const char *name, size_t *out_length, uint32_t *out_ordinal)
{
    const char *colon = strchr(name, ':');
    if (!colon || colon == name || strlen(colon + 1) < 1 || strlen(colon + 1) > 4)
        return false;
    uint32_t ordinal = 0;
    for (const char *digit = colon + 1; *digit; digit++) {
        if (*digit < '0' || *digit > '9')
            return false;
        ordinal = ordinal * 10 + (uint32_t)(*digit - '0');
    }
    *out_length = (size_t)(colon - name);
    *out_ordinal = ordinal;
    return true;
}

static const dray_device_ops *family_find(const drayi_env *env, const char *name, size_t length)
{
    for (const dray_device_ops *const *each = env->devices; *each; each++) {
        if (strlen((*each)->family) == length && memcmp((*each)->family, name, length) == 0)
            return *each;
    }
    return NULL;
}

static dray_status family_unknown(const drayi_env *env, const char *name, dray_error *error)
{
    char list[128] = "";
    size_t used = 0;
    for (const dray_device_ops *const *each = env->devices; *each && used < sizeof(list); each++) {
        int wrote =
            snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", (*each)->family);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return dray_fail(error, DRAY_E_NOTFOUND, "device %.64s: there is no such family; there are: %s",
                     name, used ? list : "none");
}

// --- a device's life -----------------------------------------------------------------------------------

static void device_destroy(dray_device *device)
{
    if (device->self)
        device->ops->close(device->self);
    if (device->driver)
        device->ops->unload(device->driver);
    drayi_free(device->env, device, sizeof(*device));
}

static dray_status device_build(dray_device *device, uint32_t ordinal, dray_error *error)
{
    const dray_device_ops *ops = device->ops;
    DRAY_TRY(ops->load(device->env, &device->driver, error));
    uint32_t count = ops->count(device->driver);
    if (ordinal >= count)
        return dray_fail(error, DRAY_E_NOTFOUND, "%s has %u device%s here, numbered from 0",
                         ops->family, count, count == 1 ? "" : "s");
    DRAY_TRY(drayi_device_describe(ops, device->driver, ordinal, &device->info, error));
    return ops->open(device->driver, ordinal, &device->self, error);
}

dray_status dray_device_open(dray_context *context, const char *name, dray_device **out_device,
                             dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    size_t length;
    uint32_t ordinal;
    if (!name_parse(name, &length, &ordinal))
        return dray_fail(error, DRAY_E_INVALID,
                         "device %.64s: a device is named family:number, like cuda:0", name);
    const dray_device_ops *ops = family_find(env, name, length);
    if (!ops)
        return family_unknown(env, name, error);
    if (ops->abi != DRAY_DEVICE_ABI)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "device %s: its table is of version %u, this library speaks %u", name,
                         ops->abi, DRAY_DEVICE_ABI);
    dray_device *device = drayi_new(env, dray_device, error);
    if (!device)
        return DRAY_E_NOMEM;
    device->maker.make = drayi_device_make_region;
    device->maker.node = drayi_device_node;
    device->maker.name = dray_device_name;
    device->env = env;
    device->ops = ops;
    atomic_init(&device->references, 1);
    dray_status status = device_build(device, ordinal, error);
    if (status != DRAY_OK) {
        device_destroy(device);
        return dray_fail_within(error, status, "device %s", name);
    }
    *out_device = device;
    return DRAY_OK;
}

dray_device *dray_device_retain(dray_device *device)
{
    atomic_fetch_add_explicit(&device->references, 1, memory_order_relaxed);
    return device;
}

void dray_device_release(dray_device *device)
{
    if (device && atomic_fetch_sub_explicit(&device->references, 1, memory_order_acq_rel) == 1)
        device_destroy(device);
}

const char *dray_device_name(const dray_device *device)
{
    return device->info.name;
}

dray_status dray_device_get_info(dray_device *device, dray_device_info *out_info, dray_error *error)
{
    return drayi_device_describe(device->ops, device->driver, device->info.ordinal, out_info, error);
}

void *dray_device_handle(const dray_device *device)
{
    return device->ops->handle ? device->ops->handle(device->self) : NULL;
}

void dray_device_get_native(const dray_device *device, dray_device_native *out_native)
{
    *out_native = (dray_device_native){
        .ops = device->ops, .self = device->self, .ordinal = device->info.ordinal};
}
