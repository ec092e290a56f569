/// What a load has to know of the device it goes to.
#include "weights/load.h"

#include <inttypes.h>
#include <stdio.h>

static dray_status room_check(const drayi_load *load, dray_error *error)
{
    const dray_device_info *info = &load->device;
    uint64_t wanted = load->placement.phase + load->placement.bytes;
    if (load->options.storage != DRAY_STORAGE_DEVICE || info->free_bytes == DRAY_UNKNOWN ||
        wanted <= info->free_bytes)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_NOMEM,
                     "load: %" PRIu64 " bytes of memory are needed on %s, %" PRIu64 " of %" PRIu64
                     " are free; load fewer tensors or layers",
                     wanted, info->name, info->free_bytes, info->total_bytes);
}

dray_status drayi_load_device(drayi_load *load, dray_error *error)
{
    if (!load->options.device)
        return DRAY_OK;
    DRAY_TRY(dray_device_get_info(load->options.device, &load->device, error));
    const dray_device_info *info = &load->device;
    if (!(info->capabilities & DRAY_DEVICE_COPY) || !info->backend)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "load: %s cannot copy%s%s", info->name,
                         info->missing[0] ? "; its driver lacks " : "", info->missing);
    return room_check(load, error);
}

bool drayi_load_in_host_memory(const drayi_load *load)
{
    switch (load->options.storage) {
    case DRAY_STORAGE_SYSTEM:
    case DRAY_STORAGE_PINNED:
    case DRAY_STORAGE_MANAGED: // it may be there
        return true;
    case DRAY_STORAGE_DEVICE:
        return load->device.capabilities & DRAY_DEVICE_INTEGRATED;
    default:
        return false;
    }
}

struct dray_device *drayi_load_staging_device(const drayi_load *load)
{
    bool locks = load->device.capabilities & (DRAY_DEVICE_PINNED | DRAY_DEVICE_REGISTER);
    return locks ? load->options.device : NULL;
}

const char *drayi_load_place_name(const drayi_load *load, char *out, size_t room)
{
    const char *storage = dray_storage_name(load->options.storage);
    if (!load->options.device)
        return storage;
    snprintf(out, room, "%s memory of %s", storage, load->device.name);
    return out;
}

bool drayi_load_reads_back(const drayi_load *load)
{
    dray_storage storage = load->options.storage;
    return storage == DRAY_STORAGE_DISK || storage == DRAY_STORAGE_DEVICE ||
           storage == DRAY_STORAGE_MANAGED;
}
