/// A device in use: a family's driver, one opened device of it, and the references that keep both.
#ifndef DRAY_DEVICE_DEVICE_H
#define DRAY_DEVICE_DEVICE_H

#include "base/env.h"
#include "dray/spi/device.h"
#include "memory/region_device.h"

#include <stdatomic.h>

struct dray_device {
    drayi_region_maker maker; // first: memory knows only this
    drayi_env *env;
    atomic_uint references;
    const dray_device_ops *ops;
    dray_driver *driver;
    dray_device_self *self;
    dray_device_info info; // as of opening
};

// region_on_device.c
int32_t drayi_device_node(const dray_device *device);
dray_status drayi_device_make_region(dray_device *device, const dray_region_options *options,
                                     dray_region **out_region, dray_error *error);

/// Fills the fields that belong to no family and asks the family for the rest.
dray_status drayi_device_describe(const dray_device_ops *ops, dray_driver *driver, uint32_t ordinal,
                                  dray_device_info *out_info, dray_error *error);

#endif
