/// Abilities of machines that are not here: for explaining a plan without a driver.
#include "hints/hint_words.h"

#include <string.h>

enum { assumed_page_bytes = 4096, assumed_huge_page_bytes = 2 << 20 };

static uint32_t features_of(const char *family)
{
    if (strcmp(family, "cuda") == 0)
        return DRAY_HINT_HAS_ADVISE | DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_PREFETCH |
               DRAY_HINT_HAS_PREFETCH_V2 | DRAY_HINT_HAS_PREFETCH_BATCH |
               DRAY_HINT_HAS_DISCARD_BATCH | DRAY_HINT_HAS_RANGE_STATE | DRAY_HINT_HAS_RANGE_NODES;
    if (strcmp(family, "opencl") == 0)
        return DRAY_HINT_HAS_SVM_MIGRATE;
    if (strcmp(family, "host") == 0)
        return DRAY_HINT_HAS_POPULATE | DRAY_HINT_HAS_COLD | DRAY_HINT_HAS_COLLAPSE |
               DRAY_HINT_HAS_CACHESTAT | DRAY_HINT_HAS_NUMA;
    return 0;
}

static const char *family_name(const char *family)
{
    static const char *const names[] = {"cuda", "opencl", "host"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(family, names[i]) == 0)
            return names[i];
    }
    return NULL;
}

dray_status dray_hint_assume(const char *family, uint32_t device_count,
                             dray_hint_abilities *out_abilities, dray_error *error)
{
    const char *name = family_name(family);
    if (!name)
        return dray_fail(error, DRAY_E_NOTFOUND,
                         "hints: there is no backend \"%.32s\"; there are: cuda, opencl, host",
                         family);
    if (device_count > DRAY_HINT_DEVICES_MAX)
        return dray_fail(error, DRAY_E_INVALID, "%u devices: at most %u", device_count,
                         DRAY_HINT_DEVICES_MAX);
    bool on_host = strcmp(name, "host") == 0;
    *out_abilities = (dray_hint_abilities){
        .family = name,
        .features = features_of(name),
        .driver_version = on_host                     ? 0
                          : strcmp(name, "cuda") == 0 ? 13000
                                                      : 300,
        .device_count = on_host ? 0 : device_count,
        .page_bytes = assumed_page_bytes,
        .huge_page_bytes = assumed_huge_page_bytes,
        .lockable_bytes = UINT64_MAX,
        .host_free_bytes = DRAY_UNKNOWN,
        .node_count = 1,
    };
    for (uint32_t i = 0; i < out_abilities->device_count; i++)
        out_abilities->devices[i] = (dray_hint_device){.managed = 1,
                                                       .concurrent_managed = 1,
                                                       .numa_node = -1,
                                                       .total_bytes = DRAY_UNKNOWN,
                                                       .free_bytes = DRAY_UNKNOWN};
    return DRAY_OK;
}
