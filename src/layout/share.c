/// A layout given to peers, and a peer's layout as one of ours.
#include "base/arena.h"
#include "base/quote.h"
#include "dray/spi/region.h"
#include "layout/physical.h"
#include "layout/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// --- export --------------------------------------------------------------------------------------------------------

static dray_status exportable(const dray_layout *layout, dray_layout_form form, dray_error *error)
{
    if (form != DRAY_LAYOUT_BINARY && form != DRAY_LAYOUT_JSON)
        return dray_fail(error, DRAY_E_INVALID, "there is no form %u; there are binary and json",
                         (unsigned)form);
    if (layout->storage == DRAY_STORAGE_REMOTE)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "its regions are those of agent %s, which has to export it itself",
                         layout->owner);
    if (layout->storage == DRAY_STORAGE_DISK)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "it is on disk, and files stay at home: peers reach memory only");
    if (!layout->descriptors)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "its memory regions are not registered");
    return DRAY_OK;
}

static dray_text text_of(const char *text)
{
    return (dray_text){.bytes = text ? text : "", .length = text ? strlen(text) : 0};
}

dray_status dray_layout_export(const dray_layout *layout, dray_layout_form form, void *out,
                               uint64_t capacity, uint64_t *out_bytes, dray_error *error)
{
    *out_bytes = 0;
    dray_status status = exportable(layout, form, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "export layout");
    dray_layout_location location;
    dray_layout_get_location(layout, &location);
    drayi_layout_wire wire = {
        .agent = text_of(layout->owner),
        .epoch = dray_agent_epoch(layout->agent),
        .storage = layout->storage,
        .device = text_of(location.device),
        .config = layout->geometry.config,
        .regions = layout->descriptors,
        .region_count = (uint32_t)layout->geometry.region_count,
    };
    uint64_t sum = 0;
    drayi_arena arena = {.env = layout->env};
    if (form == DRAY_LAYOUT_BINARY)
        *out_bytes = drayi_layout_wire_write(&wire, out, capacity);
    else if (drayi_layout_wire_sum(&wire, &arena, &sum, error))
        *out_bytes = drayi_layout_wire_write_json(&wire, sum, out, capacity);
    drayi_arena_free(&arena);
    if (*out_bytes == 0)
        return DRAY_E_NOMEM;
    if (*out_bytes <= capacity)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_NOSPACE,
                     "export layout: %" PRIu64 " bytes wanted, there is room for %" PRIu64,
                     *out_bytes, capacity);
}

// --- import --------------------------------------------------------------------------------------------------------

/// Of the same agent, in the same life of it.
static dray_status exporter_check(const drayi_layout_wire *wire, const dray_peer *peer,
                                  dray_error *error)
{
    const char *name = dray_peer_name(peer);
    if (wire->agent.length != strlen(name) || memcmp(wire->agent.bytes, name, strlen(name)) != 0)
        return dray_fail(error, DRAY_E_INVALID, "agent name mismatch: expected '%s', got '%s'",
                         name, drayi_quote(wire->agent).text);
    if (wire->epoch != dray_peer_epoch(peer))
        return dray_fail(error, DRAY_E_INVALID,
                         "agent %s has restarted since: the layout is of its life %016" PRIx64
                         ", the metadata that was imported of %016" PRIx64
                         "; have both exported again",
                         name, wire->epoch, dray_peer_epoch(peer));
    return DRAY_OK;
}

/// All registrations of the peer, by rising handle.
static dray_status peer_list(dray_peer *peer, drayi_arena *arena, dray_descriptor **out,
                             uint64_t *out_count, dray_error *error)
{
    uint64_t count = dray_peer_region_count(peer);
    *out_count = count;
    *out = drayi_arena_alloc(arena, count * sizeof(**out), error);
    if (!*out)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++)
        dray_peer_describe(peer, i, &(*out)[i], NULL);
    return DRAY_OK;
}

static dray_status regions_open(dray_layout *layout, dray_peer *peer, const drayi_layout_wire *wire,
                                const drayi_layout_reach *reach, dray_error *error)
{
    for (uint32_t i = 0; i < wire->region_count; i++) {
        dray_region *whole;
        DRAY_TRY(dray_peer_open_handle(peer, reach[i].handle, &whole, error));
        dray_status status = dray_region_view(whole, reach[i].offset, layout->geometry.region_bytes,
                                              &layout->regions[i], error);
        dray_region_release(whole); // the view keeps it
        DRAY_TRY(status);
    }
    return DRAY_OK;
}

static dray_status import_build(dray_layout *layout, dray_peer *peer, const drayi_layout_wire *wire,
                                const drayi_layout_reach *reach, dray_error *error)
{
    uint64_t count = layout->geometry.region_count;
    DRAY_TRY(regions_open(layout, peer, wire, reach, error));
    DRAY_TRY(drayi_layout_regions_check(layout, "imported", error));
    layout->descriptors = drayi_alloc_array(layout->env, count, sizeof(dray_descriptor), error);
    if (!layout->descriptors)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++) {
        dray_region_native native;
        dray_region_get_native(layout->regions[i], &native);
        layout->descriptors[i] = wire->regions[i];
        layout->descriptors[i].bytes = native.bytes;
        layout->descriptors[i].writable = native.writable; // as the peer's metadata says it
    }
    snprintf(layout->owner, sizeof(layout->owner), "%s", dray_peer_name(peer));
    return DRAY_OK;
}

static dray_status import_read(dray_agent *agent, dray_peer *peer, const void *bytes, uint64_t count,
                               drayi_arena *arena, dray_layout **out_layout, dray_error *error)
{
    drayi_layout_wire wire;
    dray_layout_geometry geometry;
    dray_descriptor *registered;
    uint64_t registered_count;
    DRAY_TRY(drayi_layout_wire_read(bytes, count, arena, &wire, error));
    DRAY_TRY(drayi_layout_wire_settle(&wire, &geometry, error));
    DRAY_TRY(exporter_check(&wire, peer, error));
    DRAY_TRY(peer_list(peer, arena, &registered, &registered_count, error));
    drayi_layout_reach *reach = drayi_arena_alloc(arena, wire.region_count * sizeof(*reach), error);
    if (!reach)
        return DRAY_E_NOMEM;
    DRAY_TRY(drayi_layout_wire_check(&wire, &geometry, registered, registered_count, reach, error));
    dray_layout *layout;
    DRAY_TRY(drayi_layout_new(agent, &geometry, &layout, error));
    dray_status status = import_build(layout, peer, &wire, reach, error);
    if (status != DRAY_OK)
        dray_layout_destroy(layout);
    else
        *out_layout = layout;
    return status;
}

dray_status dray_layout_import(dray_agent *agent, dray_peer *peer, const void *bytes,
                               uint64_t count, dray_layout **out_layout, dray_error *error)
{
    drayi_arena arena = {.env = drayi_env_of(dray_agent_context(agent))};
    dray_status status = import_read(agent, peer, bytes, count, &arena, out_layout, error);
    drayi_arena_free(&arena);
    if (status == DRAY_OK)
        return DRAY_OK;
    return dray_fail_within(error, status, "import layout of %s", dray_peer_name(peer));
}
