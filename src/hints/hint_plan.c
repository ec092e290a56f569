/// Plans: entries in the order in which they were added. What a single entry can have wrong is found by
/// the add, what two of them have wrong by hint_check.c.
#include "hints/hint_plan.h"

#include "hints/hint_words.h"
#include "memory/region.h"

#include <inttypes.h>

dray_status dray_hint_plan_create(dray_context *context, dray_hint_plan **out_plan,
                                  dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_hint_plan *plan = drayi_new(env, dray_hint_plan, error);
    if (!plan)
        return DRAY_E_NOMEM;
    plan->env = env;
    plan->is_sorted = true;
    *out_plan = plan;
    return DRAY_OK;
}

void dray_hint_plan_destroy(dray_hint_plan *plan)
{
    if (!plan)
        return;
    drayi_env *env = plan->env;
    for (uint64_t i = 0; i < plan->block_count; i++)
        drayi_free(env, plan->blocks[i], DRAYI_HINT_BLOCK * sizeof(dray_hint_entry));
    drayi_free(env, plan->blocks, (size_t)plan->block_capacity * sizeof(void *));
    drayi_free(env, plan, sizeof(*plan));
}

drayi_hint_spot drayi_hint_spot_of(const dray_hint_range *range)
{
    if (range->pointer)
        return (drayi_hint_spot){.first = (uintptr_t)range->pointer};
    const dray_region *region = range->region;
    uint64_t first = region->native.file_offset + range->offset;
    while (region->parent)
        region = region->parent; // which knows its file
    uint64_t file = region->file_device * UINT64_C(0x9E3779B97F4A7C15) ^ region->file_inode;
    return (drayi_hint_spot){.space = file ? file : 1, .first = first};
}

// --- adding ------------------------------------------------------------------------------------------

static dray_status release_check(dray_hint_release release, dray_error *error)
{
    if (release == DRAY_HINT_COLD || release == DRAY_HINT_OUT || release == DRAY_HINT_DISCARD)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID, "release %d is none of cold (1), out (2), discard (3)",
                     (int)release);
}

static dray_status entry_check(const dray_hint_entry *entry, dray_error *error)
{
    DRAY_TRY(drayi_hint_range_check(&entry->range, error));
    switch (entry->kind) {
    case DRAY_HINT_POLICY:
        return dray_hint_policy_check(&entry->policy, error);
    case DRAY_HINT_ADVICE:
        return drayi_hint_advice_check(&entry->advice, error);
    case DRAY_HINT_PREFETCH:
        if (entry->location.place == DRAY_HINT_NOWHERE)
            return dray_fail(error, DRAY_E_INVALID, "a prefetch needs a location");
        return drayi_hint_location_check(entry->location, error);
    case DRAY_HINT_RELEASE:
        return release_check(entry->release, error);
    case DRAY_HINT_HUGE_PAGES:
        return DRAY_OK;
    }
    return dray_fail(error, DRAY_E_INVALID, "kind %d of hint: kinds are numbered 1 to 5",
                     (int)entry->kind);
}

static dray_status block_add(dray_hint_plan *plan, dray_error *error)
{
    DRAY_TRY(drayi_grow(plan->env, (void **)&plan->blocks, &plan->block_capacity,
                        plan->block_count + 1, sizeof(void *), error));
    dray_hint_entry *block =
        drayi_alloc_array_raw(plan->env, DRAYI_HINT_BLOCK, sizeof(dray_hint_entry), error);
    if (!block)
        return DRAY_E_NOMEM;
    plan->blocks[plan->block_count++] = block;
    return DRAY_OK;
}

static bool lies_behind(drayi_hint_spot spot, drayi_hint_spot last)
{
    return spot.space != last.space ? spot.space > last.space : spot.first >= last.first;
}

static dray_status plan_add(dray_hint_plan *plan, const dray_hint_entry *entry, dray_error *error)
{
    DRAY_TRY(entry_check(entry, error));
    if (plan->count == plan->block_count * DRAYI_HINT_BLOCK)
        DRAY_TRY(block_add(plan, error));
    drayi_hint_spot spot = drayi_hint_spot_of(&entry->range);
    plan->blocks[plan->count / DRAYI_HINT_BLOCK][plan->count % DRAYI_HINT_BLOCK] = *entry;
    plan->is_sorted &= plan->count == 0 || lies_behind(spot, plan->last);
    plan->has_advice |= entry->kind == DRAY_HINT_ADVICE;
    plan->prefetches += entry->kind == DRAY_HINT_PREFETCH;
    plan->last = spot;
    plan->count++;
    return DRAY_OK;
}

dray_hint_plan *dray_hint_plan_add(dray_hint_plan *plan, const dray_hint_entry *entry)
{
    if (plan->wrong)
        return plan;
    dray_status status = plan_add(plan, entry, &plan->mistake);
    if (status != DRAY_OK) {
        plan->wrong = true;
        dray_fail_within(&plan->mistake, status, "hint %" PRIu64, plan->count);
        plan->mistake.index = plan->count;
    }
    return plan;
}

dray_hint_plan *dray_hint_plan_policy(dray_hint_plan *plan, dray_hint_range range,
                                      dray_hint_policy policy)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_POLICY, .range = range, .policy = policy};
    return dray_hint_plan_add(plan, &entry);
}

dray_hint_plan *dray_hint_plan_advice(dray_hint_plan *plan, dray_hint_range range,
                                      dray_hint_advice advice)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_ADVICE, .range = range, .advice = advice};
    return dray_hint_plan_add(plan, &entry);
}

dray_hint_plan *dray_hint_plan_prefetch(dray_hint_plan *plan, dray_hint_range range,
                                        dray_hint_location location)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_PREFETCH, .range = range, .location = location};
    return dray_hint_plan_add(plan, &entry);
}

dray_hint_plan *dray_hint_plan_release(dray_hint_plan *plan, dray_hint_range range,
                                       dray_hint_release release)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_RELEASE, .release = release, .range = range};
    return dray_hint_plan_add(plan, &entry);
}

dray_hint_plan *dray_hint_plan_huge_pages(dray_hint_plan *plan, dray_hint_range range)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_HUGE_PAGES, .range = range};
    return dray_hint_plan_add(plan, &entry);
}

// --- looking -----------------------------------------------------------------------------------------

uint64_t dray_hint_plan_length(const dray_hint_plan *plan)
{
    return plan->count;
}

bool dray_hint_plan_is_empty(const dray_hint_plan *plan)
{
    return plan->count == 0;
}

const dray_hint_entry *dray_hint_plan_at(const dray_hint_plan *plan, uint64_t index)
{
    return index < plan->count ? drayi_hint_entry(plan, index) : NULL;
}
