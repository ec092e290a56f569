/// Before anything is lowered: the devices and nodes that are named exist, and what is to be somewhere has
/// room there.
#include "base/checked.h"
#include "hints/hint_plan.h"
#include "hints/lower.h"

#include <inttypes.h>
#include <stdio.h>

// --- devices and nodes exist ---------------------------------------------------------------------------

static dray_status location_exists(const drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                   dray_hint_location location, dray_error *error)
{
    const dray_hint_abilities *abilities = lower->abilities;
    if (location.place == DRAY_HINT_DEVICE && !lower->on_host && // there they are skipped
        location.index >= abilities->device_count)
        return drayi_lower_fail(piece, error, "device %u: %s has %u device%s, numbered from 0",
                                location.index, abilities->family, abilities->device_count,
                                abilities->device_count == 1 ? "" : "s");
    if (location.place == DRAY_HINT_HOST_NUMA && location.index >= abilities->node_count)
        return drayi_lower_fail(piece, error, "NUMA node %u: this machine has %u, numbered from 0",
                                location.index, abilities->node_count);
    return DRAY_OK;
}

dray_status drayi_lower_locations_exist(const drayi_hint_lowerer *lower,
                                        const drayi_hint_piece *piece, dray_error *error)
{
    const dray_hint_entry *entry = piece->entry;
    switch (entry->kind) {
    case DRAY_HINT_POLICY:
        DRAY_TRY(location_exists(lower, piece, entry->policy.preferred, error));
        for (uint64_t rest = entry->policy.accessed_by.devices; rest; rest &= rest - 1) {
            uint32_t device = (uint32_t)__builtin_ctzll(rest);
            DRAY_TRY(location_exists(lower, piece, dray_hint_at_device(device), error));
        }
        return DRAY_OK;
    case DRAY_HINT_ADVICE:
        return location_exists(lower, piece, entry->advice.location, error);
    case DRAY_HINT_PREFETCH:
        return location_exists(lower, piece, entry->location, error);
    case DRAY_HINT_RELEASE:
    case DRAY_HINT_HUGE_PAGES:
        return DRAY_OK;
    }
    return DRAY_OK;
}

// --- admission -------------------------------------------------------------------------------------------

enum { place_host = DRAY_HINT_DEVICES_MAX, place_count };

typedef struct demand {
    uint64_t prefetched[place_count], preferred[place_count];
} demand;

static void demand_add(uint64_t *sums, dray_hint_location location, uint64_t bytes)
{
    if (location.place == DRAY_HINT_NOWHERE)
        return;
    uint32_t place = location.place == DRAY_HINT_DEVICE ? location.index : (uint32_t)place_host;
    if (!drayi_add(sums[place], bytes, &sums[place]))
        sums[place] = UINT64_MAX;
}

static void demand_of(const dray_hint_plan *plan, demand *out)
{
    *out = (demand){0};
    for (uint64_t i = 0; i < plan->count; i++) {
        const dray_hint_entry *entry = drayi_hint_entry(plan, i);
        if (entry->kind == DRAY_HINT_PREFETCH)
            demand_add(out->prefetched, entry->location, entry->range.bytes);
        else if (entry->kind == DRAY_HINT_POLICY)
            demand_add(out->preferred, entry->policy.preferred, entry->range.bytes);
        else if (entry->kind == DRAY_HINT_ADVICE && entry->advice.kind == DRAY_HINT_SET_PREFERRED)
            demand_add(out->preferred, entry->advice.location, entry->range.bytes);
    }
}

static uint64_t headroom_of(const dray_hint_lower_options *options, uint64_t free_bytes)
{
    if (options->no_headroom)
        return 0;
    if (options->headroom_bytes)
        return options->headroom_bytes;
    return drayi_min(free_bytes / 16, UINT64_C(1) << 30);
}

static dray_status place_admit(const dray_hint_lower_options *options, uint32_t place,
                               uint64_t wanted, uint64_t free_bytes, dray_error *error)
{
    uint64_t headroom = headroom_of(options, free_bytes);
    uint64_t room = free_bytes > headroom ? free_bytes - headroom : 0;
    if (wanted <= room)
        return DRAY_OK;
    char name[24] = "the host";
    if (place < place_host)
        snprintf(name, sizeof(name), "device %u", place);
    return dray_fail(error, DRAY_E_NOSPACE,
                     "hints for %s: %" PRIu64 " bytes are wanted there, %" PRIu64
                     " are free, of which %" PRIu64
                     " stay free (headroom); hint less, or ask for oversubscription",
                     name, wanted, free_bytes, headroom);
}

/// A preferred location that is too small is worse than none: the driver's protection against thrashing
/// does not move bytes away from where they are preferred.
dray_status drayi_lower_admit(const dray_hint_plan *plan, const dray_hint_abilities *abilities,
                              const dray_hint_lower_options *options, dray_error *error)
{
    demand wanted;
    demand_of(plan, &wanted);
    for (uint32_t place = 0; place < place_count; place++) {
        bool is_host = place == place_host;
        uint64_t free_bytes =
            is_host ? abilities->host_free_bytes : abilities->devices[place].free_bytes;
        bool counts = free_bytes != DRAY_UNKNOWN &&
                      (is_host || (place < abilities->device_count &&
                                   abilities->devices[place].concurrent_managed));
        uint64_t bytes = drayi_max(wanted.prefetched[place], wanted.preferred[place]);
        if (counts && bytes > 0)
            DRAY_TRY(place_admit(options, place, bytes, free_bytes, error));
    }
    return DRAY_OK;
}
