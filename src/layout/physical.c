/// The builder: request read, memory had, regions checked, registered; and the end of what it made.
#include "layout/physical.h"

#include "dray/spi/device.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdio.h>

dray_status drayi_layout_new(dray_agent *agent, const dray_layout_geometry *geometry,
                             dray_layout **out_layout, dray_error *error)
{
    drayi_env *env = drayi_env_of(dray_agent_context(agent));
    dray_layout *layout = drayi_new(env, dray_layout, error);
    if (!layout)
        return DRAY_E_NOMEM;
    layout->env = env;
    layout->agent = agent;
    layout->geometry = *geometry;
    snprintf(layout->owner, sizeof(layout->owner), "%s", dray_agent_name(agent));
    layout->regions = drayi_alloc_array(env, geometry->region_count, sizeof(dray_region *), error);
    if (!layout->regions) {
        dray_layout_destroy(layout);
        return DRAY_E_NOMEM;
    }
    *out_layout = layout;
    return DRAY_OK;
}

void dray_layout_destroy(dray_layout *layout)
{
    if (!layout)
        return;
    drayi_env *env = layout->env;
    uint64_t count = layout->geometry.region_count;
    for (uint64_t i = 0; i < layout->handle_count; i++)
        dray_agent_deregister(layout->agent, layout->handles[i], NULL);
    for (uint64_t i = 0; layout->regions && i < count; i++)
        dray_region_release(layout->regions[i]);
    dray_region_release(layout->base);
    drayi_free(env, layout->handles, layout->handle_room * sizeof(uint64_t));
    drayi_free(env, layout->descriptors, count * sizeof(dray_descriptor));
    drayi_free(env, layout->regions, count * sizeof(dray_region *));
    drayi_free(env, layout, sizeof(*layout));
}

/// The regions themselves: made and cut, or the caller's.
static dray_status memory_get(dray_layout *layout, const drayi_layout_request *request,
                              dray_error *error)
{
    const dray_layout_options *options = &request->options;
    if (options->allocate) {
        DRAY_TRY(drayi_layout_allocate(layout, &request->allocate, error));
        return drayi_layout_slice(layout, error);
    }
    if (options->provided && request->provided.is_base) {
        layout->base = dray_region_retain(request->provided.regions[0]);
        return drayi_layout_slice(layout, error);
    }
    dray_region *const *regions =
        options->provided ? request->provided.regions : request->registered.regions;
    for (uint64_t i = 0; i < layout->geometry.region_count; i++) {
        if (options->provided && dray_region_storage(regions[i]) == DRAY_STORAGE_REMOTE)
            return dray_fail(error, DRAY_E_INVALID,
                             "layout: provided memory region %" PRIu64
                             " is remote: it is registered "
                             "already, with its own agent",
                             i);
        layout->regions[i] = dray_region_retain(regions[i]);
    }
    return DRAY_OK;
}

static dray_status layout_build(dray_layout *layout, const drayi_layout_request *request,
                                dray_error *error)
{
    const dray_layout_options *options = &request->options;
    const char *whose = options->allocate   ? "allocated"
                        : options->provided ? "provided"
                                            : "registered";
    DRAY_TRY(memory_get(layout, request, error));
    DRAY_TRY(drayi_layout_regions_check(layout, whose, error));
    if (options->registered)
        return drayi_layout_adopt(layout, &request->registered, error);
    return options->unregistered
               ? DRAY_OK
               : drayi_layout_register(layout, options->peers_may_write != 0, error);
}

dray_status dray_layout_build(dray_agent *agent, const dray_layout_options *options,
                              dray_layout **out_layout, dray_error *error)
{
    drayi_layout_request request;
    dray_layout *layout;
    if (!agent)
        return dray_fail(error, DRAY_E_INVALID, "layout: the agent is missing");
    DRAY_TRY(drayi_layout_request_read(options, &request, error));
    DRAY_TRY(drayi_layout_new(agent, &request.geometry, &layout, error));
    dray_status status = layout_build(layout, &request, error);
    if (status == DRAY_OK) {
        *out_layout = layout;
        return DRAY_OK;
    }
    bool made_file = layout->made_file;
    dray_layout_destroy(layout);
    if (made_file)
        drayi_env_of(dray_agent_context(agent))->os->unlink(request.allocate.path);
    return status;
}

// --- what it is ----------------------------------------------------------------------------------------------------

const dray_layout_geometry *dray_layout_get_geometry(const dray_layout *layout)
{
    return &layout->geometry;
}

dray_region *dray_layout_region(const dray_layout *layout, uint64_t index)
{
    return layout->regions[index];
}

void dray_layout_get_location(const dray_layout *layout, dray_layout_location *out_location)
{
    *out_location = (dray_layout_location){
        .storage = layout->storage,
        .device = layout->device ? dray_device_name(layout->device) : NULL,
    };
}

void dray_layout_get_metadata(const dray_layout *layout, dray_layout_metadata *out_metadata)
{
    dray_descriptor first;
    if (layout->descriptors)
        first = layout->descriptors[0];
    else
        dray_region_describe(layout->regions[0], &first);
    *out_metadata = (dray_layout_metadata){
        .agent = layout->owner,
        .memory = first.memory,
        .device_id = first.device_id,
        .registered = layout->descriptors != NULL,
    };
}

dray_status dray_layout_descriptor(const dray_layout *layout, uint64_t index,
                                   dray_descriptor *out_descriptor, dray_error *error)
{
    if (!layout->descriptors)
        return dray_fail(error, DRAY_E_NOTFOUND,
                         "layout: its memory regions are not registered with agent %s",
                         dray_agent_name(layout->agent));
    if (index >= layout->geometry.region_count)
        return dray_fail(error, DRAY_E_NOTFOUND,
                         "layout: there is no memory region %" PRIu64 ", there are %" PRIu64, index,
                         layout->geometry.region_count);
    *out_descriptor = layout->descriptors[index];
    return DRAY_OK;
}

static void span_of(const dray_layout *layout, const dray_layout_place *place, dray_span *out_span)
{
    *out_span = (dray_span){
        .region = layout->regions[place->region], .offset = place->offset, .bytes = place->bytes};
}

dray_status dray_layout_span(const dray_layout *layout, uint64_t block, uint64_t layer,
                             uint64_t outer, dray_span *out_span, dray_error *error)
{
    dray_layout_place place;
    DRAY_TRY(dray_layout_locate(&layout->geometry, block, layer, outer, &place, error));
    span_of(layout, &place, out_span);
    return DRAY_OK;
}

dray_status dray_layout_block(const dray_layout *layout, uint64_t block, dray_span *out_span,
                              dray_error *error)
{
    dray_layout_place place;
    DRAY_TRY(dray_layout_locate_block(&layout->geometry, block, &place, error));
    span_of(layout, &place, out_span);
    return DRAY_OK;
}
