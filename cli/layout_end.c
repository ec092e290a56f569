/// One side of a move of blocks. See layout_end.h.
#include "layout_end.h"

#include "text.h"
#include <dray/listener.h>
#include <dray/spi/region.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- the line ----------------------------------------------------------------------------------------

bool layout_end_parse(const char *name, const char *text, layout_end *out, option_problem *problem)
{
    dray_error error;
    const char *place;
    *out = (layout_end){.name = name};
    dray_status status = dray_layout_parse(text, &out->config, &place, &error);
    if (status != DRAY_OK) {
        char *safe = text_safe_start(error.message, strlen(error.message), 300);
        option_wrong(problem, "the %s: %s", name, safe);
        free(safe);
        return false;
    }
    if (place && location_parse(place, &out->at) && out->at.storage != DRAY_STORAGE_NULL)
        return true;
    char *safe = text_safe_start(place ? place : text, strlen(place ? place : text), 64);
    option_wrong(
        problem,
        "the %s %s \"%s\"; wanted LAYOUT@PLACE with one of system, pinned, disk:PATH, a device like "
        "opencl:0, managed:DEVICE or agent://HOST:PORT/REGION as its place",
        name, place ? "is at" : "has no @PLACE:", safe);
    free(safe);
    return false;
}

bool layout_end_is_fresh(const layout_end *end)
{
    return end->at.storage != DRAY_STORAGE_DISK && end->at.storage != DRAY_STORAGE_REMOTE;
}

// --- memory, files, peers ------------------------------------------------------------------------------

static dray_status allocated_build(layout_end *end, dray_agent *agent, dray_error *error)
{
    const dray_layout_allocation memory = {.struct_bytes = sizeof(memory),
                                           .storage = end->at.storage,
                                           .device = end->device,
                                           .path = end->at.path};
    const dray_layout_options options = {.struct_bytes = sizeof(options),
                                         .config = &end->config,
                                         .allocate = &memory,
                                         .unregistered = 1};
    dray_status status = dray_layout_build(agent, &options, &end->layout, error);
    end->made = status == DRAY_OK && end->at.storage == DRAY_STORAGE_DISK;
    return status;
}

/// Up to the end of the last region, or with the padding behind it. `exactly`: not more, either.
static dray_status size_check(const layout_end *end, const char *what, bool exactly,
                              dray_error *error)
{
    const dray_layout_geometry *geometry = &end->geometry;
    uint64_t has = dray_region_bytes(end->base);
    uint64_t least =
        dray_layout_region_offset(geometry, geometry->region_count - 1) + geometry->region_bytes;
    if (has >= least && (has <= geometry->base_bytes || !exactly))
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID,
                     "%s: %s has %" PRIu64 " bytes, the layout wants %" PRIu64, end->name, what,
                     has, least);
}

static dray_status file_build(layout_end *end, dray_agent *agent, dray_error *error)
{
    const dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    dray_status status =
        dray_region_open(dray_agent_context(agent), end->at.path, &writable, &end->base, error);
    if (status == DRAY_OK)
        status = size_check(end, end->at.path, true, error);
    const dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = &end->base, .region_count = 1, .is_base = 1};
    const dray_layout_options options = {.struct_bytes = sizeof(options),
                                         .config = &end->config,
                                         .provided = &provided,
                                         .unregistered = 1};
    return status == DRAY_OK ? dray_layout_build(agent, &options, &end->layout, error) : status;
}

static uint64_t handle_find(const dray_peer *peer, const char *wanted)
{
    for (uint64_t i = 0; i < dray_peer_region_count(peer); i++) {
        dray_descriptor descriptor;
        const char *name;
        dray_peer_describe(peer, i, &descriptor, &name);
        if (strcmp(name, wanted) == 0)
            return descriptor.handle;
    }
    return 0;
}

/// Views of the peer's region, as the builder would cut it.
static dray_status views_build(layout_end *end, dray_agent *agent, dray_peer *peer,
                               dray_error *error)
{
    uint64_t count = end->geometry.region_count, made = 0;
    dray_region **views = text_memory(NULL, count * sizeof(dray_region *));
    uint64_t *handles = text_memory(NULL, count * sizeof(uint64_t));
    dray_status status = DRAY_OK;
    while (made < count && status == DRAY_OK) {
        handles[made] = handle_find(peer, end->at.region);
        status = dray_region_view(end->base, dray_layout_region_offset(&end->geometry, made),
                                  end->geometry.region_bytes, &views[made], error);
        made += status == DRAY_OK;
    }
    const dray_layout_registered registered = {.struct_bytes = sizeof(registered),
                                               .regions = views,
                                               .handles = handles,
                                               .region_count = count,
                                               .peer = peer};
    const dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &end->config, .registered = &registered};
    if (status == DRAY_OK)
        status = dray_layout_build(agent, &options, &end->layout, error);
    while (made > 0)
        dray_region_release(views[--made]);
    free(views);
    free(handles);
    return status;
}

static dray_status peer_build(layout_end *end, dray_agent *agent, const secret *shared,
                              dray_error *error)
{
    const dray_connect_options options = {.struct_bytes = sizeof(options),
                                          .secret = secret_bytes((secret *)(uintptr_t)shared),
                                          .secret_bytes = shared->count};
    dray_peer *peer;
    dray_status status = dray_agent_connect(agent, end->at.address, &options, &peer, error);
    if (status == DRAY_OK)
        status = dray_peer_open(peer, end->at.region, &end->base, error);
    if (status == DRAY_OK)
        status = size_check(end, end->at.region, false, error);
    return status == DRAY_OK ? views_build(end, agent, peer, error) : status;
}

dray_status layout_end_open(layout_end *end, dray_agent *agent, const secret *shared, bool make,
                            dray_error *error)
{
    dray_status status = dray_layout_measure(&end->config, end->at.storage, &end->geometry, error);
    if (status != DRAY_OK)
        return status;
    if (end->at.storage == DRAY_STORAGE_REMOTE)
        return peer_build(end, agent, shared, error);
    if (end->at.storage != DRAY_STORAGE_DISK)
        return allocated_build(end, agent, error);
    if (access(end->at.path, F_OK) == 0)
        return file_build(end, agent, error);
    if (!make)
        return dray_fail(error, DRAY_E_NOTFOUND, "%s: %s does not exist; --fill makes it",
                         end->name, end->at.path);
    return allocated_build(end, agent, error);
}

dray_status layout_end_sync(const layout_end *end, dray_error *error)
{
    dray_region_native native;
    if (end->at.storage != DRAY_STORAGE_DISK)
        return DRAY_OK;
    dray_region_get_native(dray_layout_region(end->layout, 0), &native);
    return fdatasync(native.fd) == 0
               ? DRAY_OK
               : dray_fail_os(error, errno, "fdatasync", "write %s", end->at.path);
}

void layout_end_close(layout_end *end, bool failed)
{
    dray_layout_destroy(end->layout);
    dray_region_release(end->base);
    dray_device_release(end->device);
    if (failed && end->made)
        unlink(end->at.path);
}
