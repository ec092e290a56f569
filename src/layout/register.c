/// A layout's regions and the agent: registered here, or found to be registered already.
///
/// What the builder has allocated is registered as one piece, and each region's descriptor is a part of that
/// one, with its own address (files: its offset). What the caller provides is registered piece by piece.
#include "base/checked.h"
#include "dray/spi/remote.h"
#include "layout/physical.h"
#include "memory/region.h"

#include <inttypes.h>
#include <stdio.h>

static dray_status tables_make(dray_layout *layout, uint64_t handles, dray_error *error)
{
    uint64_t count = layout->geometry.region_count;
    layout->descriptors = drayi_alloc_array(layout->env, count, sizeof(dray_descriptor), error);
    layout->handle_room = handles;
    layout->handles = drayi_alloc_array(layout->env, handles, sizeof(uint64_t), error);
    return layout->descriptors && layout->handles ? DRAY_OK : DRAY_E_NOMEM;
}

static dray_status one_register(dray_layout *layout, dray_region *region, bool writable,
                                dray_descriptor *out, dray_error *error)
{
    dray_register_options options = {.struct_bytes = sizeof(options), .writable = writable};
    DRAY_TRY(dray_agent_register(layout->agent, region, &options, out, error));
    layout->handles[layout->handle_count++] = out->handle;
    return DRAY_OK;
}

dray_status drayi_layout_register(dray_layout *layout, bool writable, dray_error *error)
{
    const dray_layout_geometry *geometry = &layout->geometry;
    uint64_t count = geometry->region_count;
    DRAY_TRY(tables_make(layout, count, error));
    if (!layout->base) {
        for (uint64_t i = 0; i < count; i++) {
            dray_status status =
                one_register(layout, layout->regions[i], writable, &layout->descriptors[i], error);
            if (status != DRAY_OK)
                return dray_fail_within(error, status,
                                        "layout: memory region %" PRIu64 " of %" PRIu64, i, count);
        }
        return DRAY_OK;
    }
    dray_descriptor whole;
    dray_status status = one_register(layout, layout->base, writable, &whole, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "layout: base region of %" PRIu64 " bytes",
                                dray_region_bytes(layout->base));
    for (uint64_t i = 0; i < count; i++) {
        layout->descriptors[i] = whole;
        layout->descriptors[i].address = whole.address + i * geometry->region_pitch;
        layout->descriptors[i].bytes = geometry->region_bytes;
    }
    return DRAY_OK;
}

// --- registered by others ------------------------------------------------------------------------------------------

/// A region of ours must be what the handle means in this agent: handles of other agents are other numbers.
static dray_status own_adopt(const dray_layout *layout, uint64_t index, uint64_t handle,
                             dray_descriptor *out, dray_error *error)
{
    dray_region *found;
    const char *agent = dray_agent_name(layout->agent);
    if (dray_agent_find(layout->agent, handle, out, &found, NULL) != DRAY_OK)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: provided memory region at index %" PRIu64
                         " is not registered with agent %s: it has no handle %" PRIu64,
                         index, agent, handle);
    if (found != layout->regions[index])
        return dray_fail(
            error, DRAY_E_INVALID,
            "layout: memory region %" PRIu64 " (%s) does not carry a descriptor of agent "
            "%s: its handle %" PRIu64 " means %s there; a region of another agent is "
            "accepted only as remote",
            index, layout->regions[index]->native.name, agent, handle, found->native.name);
    return DRAY_OK;
}

static dray_status foreign_adopt(const dray_layout *layout, uint64_t index, uint64_t handle,
                                 dray_peer *peer, dray_descriptor *out, dray_error *error)
{
    const dray_region_native *native = &layout->regions[index]->native;
    if (!native->remote || native->remote->peer != peer || !native->remote->at)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: memory region %" PRIu64
                         " is not, or no longer, a region of peer %s",
                         index, dray_peer_name(peer));
    for (uint64_t i = 0; i < dray_peer_region_count(peer); i++) {
        dray_peer_describe(peer, i, out, NULL);
        if (out->handle == handle && native->file_offset >= out->address &&
            drayi_inside(native->file_offset - out->address, native->bytes, out->bytes))
            break;
        out->handle = 0;
    }
    if (out->handle != handle)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: peer %s has no handle %" PRIu64 " with the bytes of memory region "
                         "%" PRIu64,
                         dray_peer_name(peer), handle, index);
    out->address = native->file_offset;
    out->bytes = native->bytes;
    return DRAY_OK;
}

dray_status drayi_layout_adopt(dray_layout *layout, const dray_layout_registered *given,
                               dray_error *error)
{
    uint64_t count = layout->geometry.region_count;
    DRAY_TRY(tables_make(layout, 0, error));
    for (uint64_t i = 0; i < count; i++) {
        bool remote = dray_region_storage(layout->regions[i]) == DRAY_STORAGE_REMOTE;
        if (remote != (given->peer != NULL))
            return dray_fail(
                error, DRAY_E_INVALID,
                remote ? "layout: memory region %" PRIu64 " is remote, but the peer is missing"
                       : "layout: a peer is given, but memory region %" PRIu64 " is not remote",
                i);
        if (remote)
            DRAY_TRY(foreign_adopt(layout, i, given->handles[i], given->peer,
                                   &layout->descriptors[i], error));
        else
            DRAY_TRY(own_adopt(layout, i, given->handles[i], &layout->descriptors[i], error));
    }
    if (given->peer)
        snprintf(layout->owner, sizeof(layout->owner), "%s", dray_peer_name(given->peer));
    return DRAY_OK;
}
