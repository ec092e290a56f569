/// Moving blocks: a checked list of ids becomes copies, and those a plan of the copy engine.
#include "base/checked.h"
#include "layout/remap.h"
#include "memory/region.h"

#include <string.h>

// --- may two layouts share bytes? ----------------------------------------------------------------------

/// The host addresses of a layout; false: it has others.
static bool host_box(const dray_layout *layout, uint64_t *out_first, uint64_t *out_end)
{
    uint64_t count = dray_layout_get_geometry(layout)->region_count;
    *out_first = UINT64_MAX;
    *out_end = 0;
    for (uint64_t i = 0; i < count; i++) {
        const dray_region_native *native = &dray_layout_region(layout, i)->native;
        uint64_t first = (uint64_t)(uintptr_t)native->pointer;
        if (!native->pointer)
            return false;
        *out_first = drayi_min(*out_first, first);
        *out_end = drayi_max(*out_end, first + native->bytes);
    }
    return true;
}

/// Sound, not complete: false means that the planner has to look.
static bool surely_apart(const dray_layout *a, const dray_layout *b)
{
    uint64_t a_first, a_end, b_first, b_end;
    return host_box(a, &a_first, &a_end) && host_box(b, &b_first, &b_end) &&
           (a_end <= b_first || b_end <= a_first);
}

/// What distinct ids have proven already, as dray_plan_options.targets_disjoint says it.
static dray_disjoint disjointness(const drayi_remap *remap)
{
    const dray_layout_move *move = remap->move;
    if (remap->one_layout)
        return DRAY_DISJOINT_ALL;
    for (uint32_t i = 0; i < move->target_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (!surely_apart(move->targets[i], move->targets[k]))
                return DRAY_DISJOINT_UNKNOWN;
        }
    }
    return DRAY_DISJOINT_TARGETS;
}

// --- the public calls ------------------------------------------------------------------------------------

/// Checked, and worked out.
typedef struct worked_move {
    dray_layout_move move;
    drayi_remap remap;
    drayi_copy_list list;
} worked_move;

static dray_status move_work(drayi_env *env, const dray_layout_move *given, worked_move *out,
                             dray_error *error)
{
    *out = (worked_move){0};
    DRAY_TRY(drayi_options(&out->move, sizeof(out->move), given, "dray_layout_move", error));
    dray_status status = drayi_remap_check(env, &out->move, &out->remap, error);
    if (status == DRAY_OK)
        status = drayi_remap_copies(&out->remap, &out->list, error);
    drayi_remap_free(&out->remap);
    return status;
}

dray_status dray_layout_plan_move(dray_agent *agent, const dray_layout_move *given,
                                  const dray_plan_options *options, dray_plan **out_plan,
                                  dray_error *error)
{
    dray_plan_options planning = {0};
    DRAY_TRY(drayi_options(&planning, sizeof(planning), options, "dray_plan_options", error));
    worked_move worked;
    drayi_env *env = drayi_env_of(dray_agent_context(agent));
    DRAY_TRY(move_work(env, given, &worked, error));
    planning.struct_bytes = sizeof(planning);
    planning.targets_disjoint = disjointness(&worked.remap);
    dray_status status =
        dray_plan_create(agent, worked.list.copies, worked.list.count, &planning, out_plan, error);
    drayi_copy_list_free(env, &worked.list);
    return status;
}

/// The planner proves that no target overlaps a source; its plan is of no use here.
static dray_status overlap_check(dray_agent *agent, const worked_move *worked, dray_error *error)
{
    const dray_plan_options options = {.struct_bytes = sizeof(options),
                                       .targets_disjoint = disjointness(&worked->remap)};
    dray_plan *plan = NULL;
    dray_status status =
        dray_plan_create(agent, worked->list.copies, worked->list.count, &options, &plan, error);
    dray_plan_destroy(plan);
    return status;
}

dray_status dray_layout_move_copies(dray_agent *agent, const dray_layout_move *given,
                                    dray_copy **out_copies, uint64_t *out_count, dray_error *error)
{
    drayi_env *env = drayi_env_of(dray_agent_context(agent));
    worked_move worked;
    DRAY_TRY(move_work(env, given, &worked, error));
    dray_status status = overlap_check(agent, &worked, error);
    size_t bytes = worked.list.count * sizeof(dray_copy);
    dray_copy *copies = status == DRAY_OK ? drayi_alloc(env, bytes, error) : NULL;
    if (status == DRAY_OK && !copies)
        status = DRAY_E_NOMEM;
    if (copies) {
        if (bytes)
            memcpy(copies, worked.list.copies, bytes);
        *out_copies = copies;
        *out_count = worked.list.count;
    }
    drayi_copy_list_free(env, &worked.list);
    return status;
}

void dray_layout_copies_free(dray_agent *agent, dray_copy *copies, uint64_t count)
{
    drayi_free(drayi_env_of(dray_agent_context(agent)), copies, count * sizeof(dray_copy));
}
