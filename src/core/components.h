/// The plug-ins of this build. CMake generates the definition from src/components.cmake.
#ifndef DRAY_CORE_COMPONENTS_H
#define DRAY_CORE_COMPONENTS_H

#include "dray/context.h"
#include "dray/spi/backend.h"
#include "dray/spi/codec.h"
#include "dray/spi/device.h"
#include "dray/spi/format.h"
#include "dray/spi/loader.h"

typedef struct drayi_component_list {
    const dray_backend_ops *const *backends; // NULL-terminated
    const dray_format_ops *const *formats;   // NULL-terminated
    const dray_codec_ops *const *codecs;     // NULL-terminated
    const dray_device_ops *const *devices;   // NULL-terminated
    const dray_loader_ops *const *loaders;   // NULL-terminated
    const dray_component_info *infos;
    uint32_t info_count;
} drayi_component_list;

extern const drayi_component_list drayi_components;

#endif
