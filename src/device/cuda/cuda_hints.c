/// Placement hints for CUDA's managed memory: what the driver can do, what a range is, what is set on it.
///
/// What has been set is read back with range attributes: nothing here believes that success means done.
/// The calls themselves stand in cuda_hint_queue.c.
#include "device/cuda/cuda_hints.h"

#include "base/checked.h"
#include "os/os.h"

#include <inttypes.h>

// --- what the driver can do ------------------------------------------------------------------------

static uint32_t features_of(const dray_driver *driver)
{
    const drayi_cuda_calls *calls = &driver->calls;
    uint32_t found = 0;
    found |= calls->advise1 ? DRAY_HINT_HAS_ADVISE : 0u;
    found |= calls->advise2 ? DRAY_HINT_HAS_ADVISE_V2 : 0u;
    found |= calls->prefetch1 ? DRAY_HINT_HAS_PREFETCH : 0u;
    found |= calls->prefetch2 ? DRAY_HINT_HAS_PREFETCH_V2 : 0u;
    found |= calls->prefetch_batch ? DRAY_HINT_HAS_PREFETCH_BATCH : 0u;
    found |= calls->discard_batch ? DRAY_HINT_HAS_DISCARD_BATCH : 0u;
    found |= calls->range_attributes ? DRAY_HINT_HAS_RANGE_STATE : 0u;
    // attributes have no symbol: the ones that know nodes came with the calls that do
    found |= calls->range_attributes && calls->advise2 && driver->version >= 12020
                 ? DRAY_HINT_HAS_RANGE_NODES
                 : 0u;
    return found;
}

/// A device that does not answer has no free memory that we know of, and all the rest.
static void memory_describe(dray_device_self *device, dray_hint_device *out)
{
    const drayi_cuda_calls *calls = &device->driver->calls;
    size_t total = 0, free_bytes = 0;
    out->total_bytes = out->free_bytes = DRAY_UNKNOWN;
    if (calls->device_memory(&total, device->device) == DRAYI_CUDA_SUCCESS)
        out->total_bytes = total;
    if (!calls->memory_info || drayi_cuda_enter(device, NULL) != DRAY_OK)
        return;
    if (calls->memory_info(&free_bytes, &total) == DRAYI_CUDA_SUCCESS && free_bytes <= total)
        out->free_bytes = free_bytes;
    drayi_cuda_leave(device);
}

static uint32_t is_set(const dray_device_self *device, int attribute)
{
    return drayi_cuda_attribute_of(device, attribute, 0) != 0;
}

static dray_status cuda_hints_probe(dray_device_self *device, dray_hint_abilities *out_abilities,
                                    dray_error *error)
{
    dray_driver *driver = device->driver;
    const drayi_cuda_calls *calls = &driver->calls;
    if (!calls->advise1 && !calls->advise2 && !calls->prefetch1 && !calls->prefetch2)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the driver has neither cuMemAdvise nor cuMemPrefetchAsync");
    if (!calls->pointer_attributes)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the driver has no cuPointerGetAttributes, which tells managed memory");
    if (driver->absent & DRAYI_CUDA_COPY)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "the driver lacks calls for events: %s",
                         driver->missing);
    out_abilities->family = "cuda";
    out_abilities->features = features_of(driver);
    out_abilities->driver_version = (uint32_t)driver->version;
    out_abilities->ordinal = device->ordinal;
    out_abilities->device_count = (uint32_t)drayi_min(driver->count, DRAY_HINT_DEVICES_MAX);
    for (uint32_t i = 0; i < out_abilities->device_count; i++) {
        dray_device_self *each = &driver->devices[i];
        dray_hint_device *out = &out_abilities->devices[i];
        *out = (dray_hint_device){
            .managed = is_set(each, DRAYI_CUDA_ATTRIBUTE_MANAGED),
            .concurrent_managed = is_set(each, DRAYI_CUDA_ATTRIBUTE_CONCURRENT_MANAGED),
            .pageable = is_set(each, DRAYI_CUDA_ATTRIBUTE_PAGEABLE),
            .host_page_tables = is_set(each, DRAYI_CUDA_ATTRIBUTE_HOST_PAGE_TABLES),
            .integrated = is_set(each, DRAYI_CUDA_ATTRIBUTE_INTEGRATED),
            .numa_node = drayi_cuda_attribute_of(each, DRAYI_CUDA_ATTRIBUTE_HOST_NUMA_ID, -1),
        };
        memory_describe(each, out);
    }
    return DRAY_OK;
}

// --- what a range is, and what is set on it --------------------------------------------------------

/// What the plural query answers: zeros for a pointer that the driver does not know.
typedef struct pointer_facts {
    unsigned memory_type;
    unsigned is_managed; // zeroed: drivers may write a byte of it or all four
    CUdeviceptr first;
    size_t bytes;
    int ordinal;
} pointer_facts;

static dray_status pointer_ask(dray_device_self *device, const dray_hint_range *range,
                               pointer_facts *out, dray_error *error)
{
    const dray_driver *driver = device->driver;
    drayi_cuda_pointer_attribute attributes[] = {
        (drayi_cuda_pointer_attribute)DRAYI_CUDA_POINTER_MEMORY_TYPE,
        (drayi_cuda_pointer_attribute)DRAYI_CUDA_POINTER_IS_MANAGED,
        (drayi_cuda_pointer_attribute)DRAYI_CUDA_POINTER_RANGE_START,
        (drayi_cuda_pointer_attribute)DRAYI_CUDA_POINTER_RANGE_SIZE,
        (drayi_cuda_pointer_attribute)DRAYI_CUDA_POINTER_DEVICE_ORDINAL,
    };
    void *values[] = {&out->memory_type, &out->is_managed, &out->first, &out->bytes, &out->ordinal};
    *out = (pointer_facts){0};
    DRAY_TRY(drayi_cuda_enter(device, error));
    CUresult code =
        driver->calls.pointer_attributes(sizeof(attributes) / sizeof(attributes[0]), attributes,
                                         values, drayi_cuda_address_of(range));
    drayi_cuda_leave(device);
    return code == DRAYI_CUDA_SUCCESS
               ? DRAY_OK
               : drayi_cuda_fail(driver, device, error, code, "cuPointerGetAttributes", "of %p",
                                 range->pointer);
}

static dray_status cuda_hints_look(dray_device_self *device, const dray_hint_range *range,
                                   dray_hint_memory *out_memory, dray_error *error)
{
    *out_memory = (dray_hint_memory){0};
    if (!range->pointer)
        return DRAY_OK;
    pointer_facts facts;
    DRAY_TRY(pointer_ask(device, range, &facts, error));
    out_memory->kind =
        facts.is_managed                                     ? DRAY_HINT_MEMORY_MANAGED
        : facts.memory_type == DRAYI_CUDA_MEMORY_TYPE_DEVICE ? DRAY_HINT_MEMORY_DEVICE
        : facts.memory_type == DRAYI_CUDA_MEMORY_TYPE_HOST   ? DRAY_HINT_MEMORY_PINNED
                                                             : DRAY_HINT_MEMORY_UNKNOWN;
    if (out_memory->kind == DRAY_HINT_MEMORY_UNKNOWN)
        return DRAY_OK;
    out_memory->first = facts.first;
    out_memory->bytes = facts.bytes;
    out_memory->ordinal = facts.ordinal > 0 ? (uint32_t)facts.ordinal : 0;
    return DRAY_OK;
}

/// The attributes of a range; processors as the driver writes them.
typedef struct range_facts {
    int read_mostly, preferred, last_prefetch;
    int preferred_type, preferred_id, last_type, last_id;
    int accessed_by[DRAYI_CUDA_DEVICES_MAX + 1];
} range_facts;

static dray_status range_ask(dray_device_self *device, const dray_hint_range *range, bool nodes,
                             range_facts *out, dray_error *error)
{
    const dray_driver *driver = device->driver;
    *out = (range_facts){.preferred = DRAYI_CUDA_DEVICE_INVALID,
                         .last_prefetch = DRAYI_CUDA_DEVICE_INVALID};
    for (uint32_t i = 0; i <= DRAYI_CUDA_DEVICES_MAX; i++)
        out->accessed_by[i] = DRAYI_CUDA_DEVICE_INVALID;
    const struct {
        int attribute;
        void *value;
        size_t bytes;
    } all[] = {
        {DRAYI_CUDA_RANGE_READ_MOSTLY, &out->read_mostly, sizeof(int)},
        {DRAYI_CUDA_RANGE_PREFERRED, &out->preferred, sizeof(int)},
        {DRAYI_CUDA_RANGE_ACCESSED_BY, out->accessed_by, (driver->count + 1) * sizeof(int)},
        {DRAYI_CUDA_RANGE_LAST_PREFETCH, &out->last_prefetch, sizeof(int)},
        {DRAYI_CUDA_RANGE_PREFERRED_TYPE, &out->preferred_type, sizeof(int)},
        {DRAYI_CUDA_RANGE_PREFERRED_ID, &out->preferred_id, sizeof(int)},
        {DRAYI_CUDA_RANGE_LAST_PREFETCH_TYPE, &out->last_type, sizeof(int)},
        {DRAYI_CUDA_RANGE_LAST_PREFETCH_ID, &out->last_id, sizeof(int)},
    };
    enum { all_count = sizeof(all) / sizeof(all[0]) };
    const size_t count = nodes ? all_count : 4;
    void *values[all_count];
    size_t bytes[all_count];
    drayi_cuda_range_attribute attributes[all_count];
    for (size_t i = 0; i < count; i++) {
        values[i] = all[i].value;
        bytes[i] = all[i].bytes;
        attributes[i] = (drayi_cuda_range_attribute)all[i].attribute;
    }
    DRAY_TRY(drayi_cuda_enter(device, error));
    CUresult code = driver->calls.range_attributes(
        values, bytes, attributes, count, drayi_cuda_address_of(range), (size_t)range->bytes);
    drayi_cuda_leave(device);
    return code == DRAYI_CUDA_SUCCESS
               ? DRAY_OK
               : drayi_cuda_fail(driver, device, error, code, "cuMemRangeGetAttributes",
                                 "of %" PRIu64 " bytes at %p", range->bytes, range->pointer);
}

/// The number of a device, -1 for the host, anything else: none.
static dray_hint_location location_of_number(const dray_driver *driver, int number)
{
    if (number == DRAYI_CUDA_DEVICE_CPU)
        return dray_hint_at_host();
    if (number >= 0 && (uint32_t)number < driver->count)
        return dray_hint_at_device((uint32_t)number);
    return (dray_hint_location){.place = DRAY_HINT_NOWHERE};
}

static dray_hint_location location_of_type(const dray_driver *driver, int type, int id)
{
    switch (type) {
    case DRAYI_CUDA_LOCATION_DEVICE:
        return location_of_number(driver, id < 0 ? DRAYI_CUDA_DEVICE_INVALID : id);
    case DRAYI_CUDA_LOCATION_HOST:
        return dray_hint_at_host();
    case DRAYI_CUDA_LOCATION_HOST_NUMA:
        return id >= 0 ? dray_hint_at_numa((uint32_t)id) : dray_hint_at_host();
    case DRAYI_CUDA_LOCATION_HOST_NUMA_CURRENT:
        return (dray_hint_location){.place = DRAY_HINT_CURRENT_NUMA};
    default:
        return (dray_hint_location){.place = DRAY_HINT_NOWHERE};
    }
}

static dray_status cuda_hints_state(dray_device_self *device, const dray_hint_range *range,
                                    dray_hint_state *out_state, dray_error *error)
{
    const dray_driver *driver = device->driver;
    const bool nodes = (features_of(driver) & DRAY_HINT_HAS_RANGE_NODES) != 0;
    if (!driver->calls.range_attributes)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "the driver has no cuMemRangeGetAttributes");
    range_facts facts;
    DRAY_TRY(range_ask(device, range, nodes, &facts, error));
    *out_state = (dray_hint_state){
        .known = DRAY_HINT_KNOWS_READ_MOSTLY | DRAY_HINT_KNOWS_PREFERRED |
                 DRAY_HINT_KNOWS_ACCESSED_BY | DRAY_HINT_KNOWS_LAST_PREFETCH,
        .read_mostly = facts.read_mostly == 1,
        .preferred = nodes ? location_of_type(driver, facts.preferred_type, facts.preferred_id)
                           : location_of_number(driver, facts.preferred),
        .last_prefetch = nodes ? location_of_type(driver, facts.last_type, facts.last_id)
                               : location_of_number(driver, facts.last_prefetch),
        .may_be_mixed = range->bytes > driver->env->os->page_bytes(),
    };
    for (uint32_t i = 0; i <= driver->count; i++) {
        dray_hint_location who = location_of_number(driver, facts.accessed_by[i]);
        if (who.place == DRAY_HINT_HOST)
            out_state->accessed_by.host = 1;
        else if (who.place == DRAY_HINT_DEVICE && who.index < DRAY_HINT_DEVICES_MAX)
            out_state->accessed_by.devices |= UINT64_C(1) << who.index;
    }
    return DRAY_OK;
}

const dray_device_hints_ops drayi_cuda_hints = {
    .abi = DRAY_HINTS_ABI,
    .probe = cuda_hints_probe,
    .look = cuda_hints_look,
    .state = cuda_hints_state,
    .queue_open = drayi_cuda_queue_open,
    .queue_close = drayi_cuda_queue_close,
    .call = drayi_cuda_queue_call,
    .mark = drayi_cuda_queue_mark,
    .query = drayi_cuda_queue_query,
    .wait = drayi_cuda_queue_wait,
    .code_name = drayi_cuda_code_name,
};
