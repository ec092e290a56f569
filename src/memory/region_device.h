/// What memory asks of a device: to make regions. Memory stands below devices and knows no more of them;
/// every dray_device begins with this.
#ifndef DRAY_MEMORY_REGION_DEVICE_H
#define DRAY_MEMORY_REGION_DEVICE_H

#include "dray/memory.h"

typedef struct drayi_region_maker {
    dray_status (*make)(struct dray_device *device, const dray_region_options *options,
                        dray_region **out_region, dray_error *error);
    int32_t (*node)(const struct dray_device *device); // of the host, near it; -1: not known
    const char *(*name)(const struct dray_device *device);
} drayi_region_maker;

static inline const drayi_region_maker *drayi_region_maker_of(const struct dray_device *device)
{
    return (const drayi_region_maker *)(const void *)device;
}

#endif
