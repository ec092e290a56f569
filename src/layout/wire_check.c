/// What was read of a layout, held against its own rules and against what the peer has registered.
#include "base/checked.h"
#include "base/env.h"
#include "base/quote.h"
#include "base/reader.h"
#include "dray/spi/remote.h"
#include "layout/wire.h"

#include <inttypes.h>

enum { device_max = 31 };

/// UTF-8 without control characters.
static bool text_fits(dray_text text, uint64_t least, uint64_t most)
{
    for (uint64_t i = 0; i < text.length && i <= most; i++) {
        if ((uint8_t)text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
            return false;
    }
    return text.length >= least && text.length <= most &&
           drayi_is_utf8((const uint8_t *)text.bytes, text.length);
}

static dray_status place_check(const drayi_layout_wire *wire, dray_error *error)
{
    if (!text_fits(wire->agent, 1, DRAY_AGENT_NAME_MAX))
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.agent", DRAY_UNKNOWN,
                              "the agent's name has %" PRIu64
                              " bytes, wanted are 1 to %u of UTF-8 without control characters",
                              wire->agent.length, DRAY_AGENT_NAME_MAX);
    if (!text_fits(wire->device, 0, device_max))
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.device", DRAY_UNKNOWN,
                              "the device's name has %" PRIu64
                              " bytes, wanted are at most %d of UTF-8 without control characters",
                              wire->device.length, device_max);
    uint32_t storage = (uint32_t)wire->storage;
    if (storage < DRAY_STORAGE_SYSTEM || storage > DRAY_STORAGE_MANAGED)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.storage", DRAY_UNKNOWN,
                              "storage kind %u is not one that peers reach (system, pinned, device, "
                              "managed)",
                              storage);
    return DRAY_OK;
}

static dray_status count_check(const drayi_layout_wire *wire, const dray_layout_geometry *geometry,
                               dray_error *error)
{
    if (wire->region_count == geometry->region_count)
        return DRAY_OK;
    if (geometry->config.kind == DRAY_LAYOUT_CONTIGUOUS)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region_count", DRAY_UNKNOWN,
                              "a contiguous layout requires exactly 1 memory region, got %u",
                              wire->region_count);
    return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region_count", DRAY_UNKNOWN,
                          "a layer-separate layout requires %" PRIu64
                          " memory regions (one per layer), got %u",
                          geometry->region_count, wire->region_count);
}

static dray_status region_check(const dray_layout_geometry *geometry, const dray_descriptor *region,
                                uint32_t index, dray_error *error)
{
    uint64_t end;
    uint32_t memory = (uint32_t)region->memory;
    if (region->handle == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region", DRAY_UNKNOWN,
                              "region %u: handle 0", index);
    if (memory != DRAY_MEMORY_DRAM && memory != DRAY_MEMORY_VRAM)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region", DRAY_UNKNOWN,
                              "region %u: memory type %u is not one that peers reach (dram, vram)",
                              index, memory);
    if (!drayi_add(region->address, region->bytes, &end))
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region", DRAY_UNKNOWN,
                              "region %u: %" PRIu64 " bytes at %#" PRIx64 " overflow 64 bits",
                              index, region->bytes, region->address);
    if (region->bytes < geometry->region_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region", DRAY_UNKNOWN,
                              "region %u too small for layout: required %" PRIu64 " bytes, it has "
                              "%" PRIu64,
                              index, geometry->region_bytes, region->bytes);
    return DRAY_OK;
}

dray_status drayi_layout_wire_settle(drayi_layout_wire *wire, dray_layout_geometry *out_geometry,
                                     dray_error *error)
{
    DRAY_TRY(place_check(wire, error));
    dray_error why = {0};
    if (dray_layout_measure(&wire->config, wire->storage, out_geometry, &why) != DRAY_OK)
        return dray_fail_rule(error, DRAY_E_FORMAT, why.rule, DRAY_UNKNOWN, "%s", why.message);
    DRAY_TRY(count_check(wire, out_geometry, error));
    for (uint32_t i = 0; i < wire->region_count; i++)
        DRAY_TRY(region_check(out_geometry, &wire->regions[i], i, error));
    return DRAY_OK;
}

// --- against the peer ----------------------------------------------------------------------------------------------

/// NULL: the peer has no such handle.
static const dray_descriptor *registration_find(const dray_descriptor *peers, uint64_t count,
                                                uint64_t handle)
{
    uint64_t first = 0, behind = count;
    while (first < behind) {
        uint64_t middle = first + (behind - first) / 2;
        if (peers[middle].handle < handle)
            first = middle + 1;
        else
            behind = middle;
    }
    return first < count && peers[first].handle == handle ? &peers[first] : NULL;
}

dray_status drayi_layout_wire_check(const drayi_layout_wire *wire,
                                    const dray_layout_geometry *geometry,
                                    const dray_descriptor *peers, uint64_t peer_count,
                                    drayi_layout_reach *out, dray_error *error)
{
    for (uint32_t i = 0; i < wire->region_count; i++) {
        const dray_descriptor *region = &wire->regions[i];
        const dray_descriptor *whole = registration_find(peers, peer_count, region->handle);
        if (!whole)
            return dray_fail(error, DRAY_E_NOTFOUND,
                             "region %u: the peer has no handle %" PRIu64
                             ", at least in the metadata that was imported",
                             i, region->handle);
        if (region->memory != whole->memory || region->address < whole->address ||
            !drayi_inside(region->address - whole->address, region->bytes, whole->bytes))
            return dray_fail_rule(
                error, DRAY_E_FORMAT, "layout.bounds", DRAY_UNKNOWN,
                "region %u: %" PRIu64 " bytes of %s at %#" PRIx64 " are not inside handle %" PRIu64
                ", which is %" PRIu64 " bytes of %s at %#" PRIx64,
                i, region->bytes, dray_memory_type_name(region->memory), region->address,
                region->handle, whole->bytes, dray_memory_type_name(whole->memory), whole->address);
        if (region->address & (geometry->config.alignment - 1))
            return dray_fail_rule(error, DRAY_E_FORMAT, "layout.alignment", DRAY_UNKNOWN,
                                  "region %u: %#" PRIx64
                                  " is not a multiple of its alignment %" PRIu64,
                                  i, region->address, geometry->config.alignment);
        out[i] = (drayi_layout_reach){.handle = region->handle,
                                      .offset = region->address - whole->address};
    }
    return DRAY_OK;
}
