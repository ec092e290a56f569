/// The regions of a plan: each looked at once, found again by pointer, and put into groups.
///
/// Two regions can only share bytes when they lie in the same space (the process's addresses, or one
/// file) and their ranges touch. Such regions form a group; the overlap check never looks across groups.
#include "base/checked.h"
#include "transfer/planner.h"

static uint64_t pointer_hash(const void *pointer)
{
    uint64_t value = (uint64_t)(uintptr_t)pointer;
    value *= UINT64_C(0x9e3779b97f4a7c15);
    return value ^ (value >> 32);
}

/// The slot that holds `region`, or the free one where it belongs.
static uint32_t *region_slot(const drayi_planner *planner, const dray_region *region)
{
    uint64_t mask = planner->region_slot_count - 1;
    for (uint64_t at = pointer_hash(region) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &planner->region_slots[at];
        if (*slot == 0 || planner->plan->regions[*slot - 1].region == region)
            return slot;
    }
}

/// At most half full, so that a search is short and always ends.
static dray_status slots_grow(drayi_planner *planner, dray_error *error)
{
    uint64_t old_count = planner->region_slot_count, count = old_count ? 2 * old_count : 32;
    if (2 * (planner->plan->region_count + 1) <= old_count)
        return DRAY_OK;
    uint32_t *fresh = drayi_alloc_array(planner->env, count, sizeof(*fresh), error);
    if (!fresh)
        return DRAY_E_NOMEM;
    drayi_free(planner->env, planner->region_slots, old_count * sizeof(*fresh));
    planner->region_slots = fresh;
    planner->region_slot_count = count;
    for (uint64_t i = 0; i < planner->plan->region_count; i++)
        *region_slot(planner, planner->plan->regions[i].region) = (uint32_t)i + 1;
    return DRAY_OK;
}

dray_status drayi_planner_region(drayi_planner *planner, dray_region *region, uint32_t *out_index,
                                 dray_error *error)
{
    dray_plan *plan = planner->plan;
    DRAY_TRY(slots_grow(planner, error));
    uint32_t *slot = region_slot(planner, region);
    if (*slot == 0) {
        DRAY_TRY(drayi_grow(planner->env, (void **)&plan->regions, &plan->region_capacity,
                            plan->region_count + 1, sizeof(*plan->regions), error));
        const dray_region_native *native = &region->native;
        uint64_t base = native->pointer  ? (uint64_t)(uintptr_t)native->pointer
                        : native->device ? native->device_address
                                         : native->file_offset;
        plan->regions[plan->region_count] =
            (drayi_plan_region){.region = region, .native = native, .base = base};
        *slot = (uint32_t)++plan->region_count;
    }
    *out_index = *slot - 1;
    return DRAY_OK;
}

static const dray_region *region_root(const dray_region *region)
{
    while (region->parent)
        region = region->parent;
    return region;
}

static bool same_space(const drayi_plan_region *a, const drayi_plan_region *b)
{
    if (a->native->pointer || b->native->pointer)
        return a->native->pointer && b->native->pointer;
    if (a->native->device && b->native->device) // one address space, or one handle
        return a->native->family == b->native->family &&
               a->native->device_memory == b->native->device_memory;
    const dray_region *root = region_root(a->region), *other = region_root(b->region);
    if (a->native->remote && b->native->remote) // one peer is one address space
        return a->native->remote->peer == b->native->remote->peer;
    bool files = a->native->storage == DRAY_STORAGE_DISK && b->native->storage == DRAY_STORAGE_DISK;
    return root == other || (files && root->file_device == other->file_device &&
                             root->file_inode == other->file_inode);
}

/// Numbers the spaces: the index of the first region in each. Neighbours mostly share one.
static void spaces_number(const dray_plan *plan, drayi_extent *extents)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < plan->region_count; i++) {
        const drayi_plan_region *region = &plan->regions[i];
        if (!same_space(region, &plan->regions[last])) {
            for (last = 0; last < i && !same_space(region, &plan->regions[last]); last++)
                ;
        }
        uint32_t space = last == i ? i : extents[last].group;
        extents[i] = (drayi_extent){.start = region->base,
                                    .end = region->base + region->native->bytes,
                                    .move = i,
                                    .group = space & 0x7fffffffu};
        last = space;
    }
}

dray_status drayi_planner_group_regions(drayi_planner *planner, dray_error *error)
{
    dray_plan *plan = planner->plan;
    uint64_t count = plan->region_count;
    drayi_extent *extents = drayi_alloc_array(planner->env, count * 2, sizeof(*extents), error);
    if (!extents)
        return DRAY_E_NOMEM;
    spaces_number(plan, extents);
    drayi_extents_sort(extents, extents + count, count);
    const drayi_extent *sorted = extents;
    uint32_t group = 0;
    uint64_t end = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0 && (sorted[i].group != sorted[i - 1].group || sorted[i].start >= end))
            group++;
        if (i == 0 || group != plan->regions[sorted[i - 1].move].group)
            end = sorted[i].end;
        end = drayi_max(end, sorted[i].end);
        plan->regions[sorted[i].move].group = group;
    }
    drayi_free(planner->env, extents, count * 2 * sizeof(*extents));
    return DRAY_OK;
}
