/// Regions under handles: what an agent's backends know and its peers may reach.
///
/// Registering shows the region to every backend that has a way from or to its kind. Handles are counted
/// up in 64 bits and never used again, so an old one never means something else.
#include "base/quote.h"
#include "dray/spi/device.h"
#include "transfer/agent.h"
#include "transfer/agent_metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *dray_memory_type_name(dray_memory_type memory)
{
    static const char *const names[] = {"dram", "vram", "file"};
    return (uint32_t)memory <= DRAY_MEMORY_FILE ? names[memory] : "unknown";
}

bool drayi_agent_serves(const dray_agent *agent, uint32_t backend, dray_storage storage)
{
    for (uint64_t i = 0; i < agent->edge_count; i++) {
        const drayi_agent_edge *edge = &agent->edges[i];
        if (edge->backend == backend && (edge->edge.from == storage || edge->edge.to == storage))
            return true;
    }
    return false;
}

void dray_region_describe(const dray_region *region, dray_descriptor *out_descriptor)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    dray_descriptor descriptor = {.bytes = native.bytes, .writable = native.writable != 0};
    if (native.storage == DRAY_STORAGE_DISK) {
        descriptor.memory = DRAY_MEMORY_FILE;
        descriptor.address = native.file_offset;
        descriptor.device_id = (uint64_t)native.fd;
    } else if (native.storage == DRAY_STORAGE_DEVICE) {
        dray_device_native device;
        dray_device_get_native(native.device, &device);
        descriptor.memory = DRAY_MEMORY_VRAM;
        descriptor.address = native.device_address;
        descriptor.device_id = device.ordinal;
    } else {
        descriptor.memory = DRAY_MEMORY_DRAM;
        descriptor.address = (uint64_t)(uintptr_t)native.pointer;
    }
    *out_descriptor = descriptor;
}

static dray_descriptor descriptor_of(const drayi_registration *registration)
{
    dray_descriptor descriptor;
    dray_region_describe(registration->region, &descriptor);
    descriptor.handle = registration->handle;
    descriptor.writable = registration->writable;
    return descriptor;
}

/// "copy, posix"
static void list_backends(const dray_agent *agent, char *out, size_t capacity)
{
    size_t used = 0;
    snprintf(out, capacity, "none");
    for (uint64_t i = 0; i < agent->backend_count && used < capacity; i++) {
        int wrote = snprintf(out + used, capacity - used, "%s%s", used ? ", " : "",
                             agent->backends[i].ops->name);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

static dray_status arguments_check(const dray_agent *agent, const dray_region_native *native,
                                   const dray_register_options *options, dray_error *error)
{
    if (native->storage == DRAY_STORAGE_REMOTE || native->storage == DRAY_STORAGE_NULL)
        return dray_fail(error, DRAY_E_INVALID, "a %s region has no bytes of ours to register",
                         dray_storage_name(native->storage));
    if (options->writable && !native->writable)
        return dray_fail(error, DRAY_E_INVALID, "it is read only, peers cannot be let write");
    if (!options->name)
        return DRAY_OK;
    size_t length = strlen(options->name);
    if (!drayi_metadata_name_fits(options->name, length, DRAYI_METADATA_NAME_MAX))
        return dray_fail(error, DRAY_E_INVALID,
                         "the name for peers has %zu bytes; 1 to %d of UTF-8 without control "
                         "characters are wanted",
                         length, DRAYI_METADATA_NAME_MAX);
    for (uint64_t i = 0; i < agent->registration_count; i++) {
        const drayi_registration *each = &agent->registrations[i];
        if (each->name && strcmp(each->name, options->name) == 0)
            return dray_fail(error, DRAY_E_INVALID, "the name %s is taken by handle %" PRIu64,
                             drayi_quote((dray_text){options->name, length}).text, each->handle);
    }
    return DRAY_OK;
}

static void backends_detach(dray_agent *agent, dray_region *region, uint64_t backends)
{
    for (uint32_t i = 0; i < backends; i++) {
        if (drayi_agent_serves(agent, i, dray_region_storage(region)))
            drayi_agent_detach(agent, i, region);
    }
}

static dray_status backends_attach(dray_agent *agent, dray_region *region, dray_error *error)
{
    dray_storage storage = dray_region_storage(region);
    bool served = false;
    for (uint32_t i = 0; i < agent->backend_count; i++) {
        if (!drayi_agent_serves(agent, i, storage))
            continue;
        dray_status status = drayi_agent_attach(agent, i, region, error);
        if (status != DRAY_OK) {
            backends_detach(agent, region, i);
            return status;
        }
        served = true;
    }
    if (served)
        return DRAY_OK;
    char list[256];
    list_backends(agent, list, sizeof(list));
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "no backend of the agent serves regions of kind %s; it has %s",
                     dray_storage_name(storage), list);
}

static dray_status registration_build(dray_agent *agent, drayi_registration *registration,
                                      dray_region *region, const dray_register_options *options,
                                      dray_error *error)
{
    if (options->name) {
        registration->name_bytes = strlen(options->name) + 1;
        registration->name = drayi_alloc(agent->env, registration->name_bytes, error);
        if (!registration->name)
            return DRAY_E_NOMEM;
        memcpy(registration->name, options->name, registration->name_bytes);
    }
    DRAY_TRY(drayi_grow(agent->env, (void **)&agent->registrations, &agent->registration_capacity,
                        agent->registration_count + 1, sizeof(*agent->registrations), error));
    return backends_attach(agent, region, error);
}

dray_status dray_agent_register(dray_agent *agent, dray_region *region,
                                const dray_register_options *given, dray_descriptor *out_descriptor,
                                dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    dray_register_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_register_options", error));
    drayi_registration fresh = {.writable = options.writable != 0};
    dray_status status = arguments_check(agent, &native, &options, error);
    if (status == DRAY_OK)
        status = registration_build(agent, &fresh, region, &options, error);
    if (status != DRAY_OK) {
        drayi_free(agent->env, fresh.name, fresh.name_bytes);
        return dray_fail_within(error, status, "agent %s: register %s", agent->name, native.name);
    }
    fresh.handle = ++agent->last_handle;
    fresh.region = dray_region_retain(region);
    agent->registrations[agent->registration_count++] = fresh;
    *out_descriptor = descriptor_of(&fresh);
    return DRAY_OK;
}

static void registration_end(dray_agent *agent, drayi_registration *registration)
{
    backends_detach(agent, registration->region, agent->backend_count);
    dray_region_release(registration->region);
    drayi_free(agent->env, registration->name, registration->name_bytes);
}

/// Handles rise. The place of the handle, or registration_count.
static uint64_t registration_at(const dray_agent *agent, uint64_t handle)
{
    uint64_t first = 0, behind = agent->registration_count;
    while (first < behind) {
        uint64_t middle = first + (behind - first) / 2;
        if (agent->registrations[middle].handle < handle)
            first = middle + 1;
        else
            behind = middle;
    }
    bool here = first < agent->registration_count && agent->registrations[first].handle == handle;
    return here ? first : agent->registration_count;
}

static dray_status not_registered(const dray_agent *agent, const char *what, uint64_t handle,
                                  dray_error *error)
{
    return dray_fail(error, DRAY_E_NOTFOUND,
                     "agent %s: %s: handle %" PRIu64 " is not registered; %" PRIu64
                     " regions are, handles up to %" PRIu64 " were given",
                     agent->name, what, handle, agent->registration_count, agent->last_handle);
}

dray_status dray_agent_find(const dray_agent *agent, uint64_t handle,
                            dray_descriptor *out_descriptor, dray_region **out_region,
                            dray_error *error)
{
    uint64_t at = registration_at(agent, handle);
    if (at == agent->registration_count)
        return not_registered(agent, "find", handle, error);
    *out_descriptor = descriptor_of(&agent->registrations[at]);
    if (out_region)
        *out_region = agent->registrations[at].region;
    return DRAY_OK;
}

dray_status dray_agent_deregister(dray_agent *agent, uint64_t handle, dray_error *error)
{
    uint64_t at = registration_at(agent, handle);
    if (at == agent->registration_count)
        return not_registered(agent, "deregister", handle, error);
    registration_end(agent, &agent->registrations[at]);
    agent->registration_count--;
    memmove(&agent->registrations[at], &agent->registrations[at + 1],
            (agent->registration_count - at) * sizeof(*agent->registrations));
    return DRAY_OK;
}

void drayi_agent_deregister_all(dray_agent *agent)
{
    for (uint64_t i = 0; i < agent->registration_count; i++)
        registration_end(agent, &agent->registrations[i]);
    drayi_free(agent->env, agent->registrations,
               agent->registration_capacity * sizeof(*agent->registrations));
}

// --- export --------------------------------------------------------------------------------------------------------

/// The first backend that takes regions to other agents; UINT32_MAX: none.
static uint32_t remote_backend(const dray_agent *agent)
{
    for (uint32_t i = 0; i < agent->backend_count; i++) {
        if (agent->backends[i].ops->remote)
            return i;
    }
    return UINT32_MAX;
}

static dray_text text_of(const char *text)
{
    return (dray_text){.bytes = text ? text : "", .length = text ? strlen(text) : 0};
}

static dray_status regions_collect(const dray_agent *agent, uint32_t index,
                                   drayi_metadata *metadata, dray_error *error)
{
    const drayi_agent_backend *backend = &agent->backends[index];
    for (uint64_t i = 0; i < agent->registration_count; i++) {
        const drayi_registration *each = &agent->registrations[i];
        if (!drayi_agent_serves(agent, index, dray_region_storage(each->region)))
            continue; // files stay at home
        drayi_metadata_region *region = &metadata->regions[metadata->region_count];
        dray_status status = backend->ops->remote->key(backend->self, each->region, &region->key,
                                                       &region->key_bytes, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "backend %s", backend->ops->name);
        region->descriptor = descriptor_of(each);
        region->name = text_of(each->name);
        metadata->region_count++;
    }
    return DRAY_OK;
}

static dray_status export_write(const dray_agent *agent, uint32_t index, drayi_metadata *metadata,
                                drayi_metadata_backend *section, void *out, uint64_t capacity,
                                uint64_t *out_bytes, dray_error *error)
{
    const drayi_agent_backend *backend = &agent->backends[index];
    section->name = text_of(backend->ops->name);
    metadata->agent = text_of(agent->name);
    metadata->epoch = agent->epoch;
    DRAY_TRY(backend->ops->remote->address(backend->self, &section->address,
                                           &section->address_bytes, error));
    DRAY_TRY(regions_collect(agent, index, metadata, error));
    *out_bytes = drayi_metadata_write(metadata, out, capacity);
    if (*out_bytes <= capacity)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_NOSPACE, "%" PRIu64 " bytes wanted, there is room for %" PRIu64,
                     *out_bytes, capacity);
}

dray_status dray_agent_export(dray_agent *agent, void *out, uint64_t capacity, uint64_t *out_bytes,
                              dray_error *error)
{
    *out_bytes = 0;
    uint32_t index = remote_backend(agent);
    if (index == UINT32_MAX)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "agent %s: export: none of its backends reaches other agents; create it "
                         "with \"ucx\"",
                         agent->name);
    drayi_metadata_backend section = {0};
    drayi_metadata metadata = {.backends = &section, .backend_count = 1};
    metadata.regions =
        drayi_alloc_array(agent->env, agent->registration_count, sizeof(*metadata.regions), error);
    if (!metadata.regions)
        return DRAY_E_NOMEM;
    dray_status status =
        export_write(agent, index, &metadata, &section, out, capacity, out_bytes, error);
    drayi_free(agent->env, metadata.regions, agent->registration_count * sizeof(*metadata.regions));
    return status == DRAY_OK ? DRAY_OK
                             : dray_fail_within(error, status, "agent %s: export", agent->name);
}

uint64_t dray_agent_epoch(const dray_agent *agent)
{
    return agent->epoch;
}

const char *dray_agent_name(const dray_agent *agent)
{
    return agent->name;
}

dray_context *dray_agent_context(const dray_agent *agent)
{
    return agent->context;
}
