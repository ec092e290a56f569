/// From a list of copies to a plan: check, normalise, prove disjoint, cut, deal. The stages stand in files
/// of their own (see planner.h); this one checks the list, runs them and owns the result.
#include "transfer/plan.h"

#include "base/checked.h"
#include "os/os.h"
#include "transfer/planner.h"

#include <inttypes.h>
#include <string.h>

enum { lanes_max = 4096 };

static dray_status fail_copy(dray_error *error, dray_status status, uint64_t copy)
{
    if (error)
        error->index = copy;
    return dray_fail_within(error, status, "copy %" PRIu64, copy);
}

// --- one copy ---------------------------------------------------------------------------------------------

/// One past the last byte that a side touches, counted from the region's start.
static bool side_end(const dray_copy *copy, bool target, uint64_t *out_end)
{
    uint64_t end;
    if (!drayi_add(target ? copy->target_offset : copy->source_offset, copy->run_bytes, &end))
        return false;
    for (uint32_t i = 0; i < copy->loop_count; i++) {
        const dray_loop *loop = &copy->loops[i];
        uint64_t reach;
        if (!drayi_mul(loop->count - 1, target ? loop->target_stride : loop->source_stride, &reach) ||
            !drayi_add(end, reach, &end))
            return false;
    }
    *out_end = end;
    return true;
}

static dray_status side_check(const dray_copy *copy, bool target, dray_error *error)
{
    const dray_region_native *native = target ? &copy->target->native : &copy->source->native;
    const char *side = target ? "target" : "source";
    uint64_t end;
    if (!side_end(copy, target, &end))
        return dray_fail(error, DRAY_E_INVALID, "the end of its %s overflows 64 bits", side);
    if (end > native->bytes)
        return dray_fail(error, DRAY_E_INVALID,
                         "its %s ends at %" PRIu64 ", %s has %" PRIu64 " bytes", side, end,
                         native->name, native->bytes);
    if (target && !native->writable)
        return dray_fail(error, DRAY_E_INVALID, "its target %s is read only", native->name);
    return DRAY_OK;
}

/// Empty copies are done before they start; everything else must lie inside its regions.
static dray_status copy_check(const dray_copy *copy, bool *out_empty, uint64_t *out_bytes,
                              dray_error *error)
{
    if (!copy->source || !copy->target)
        return dray_fail(error, DRAY_E_INVALID, "it has no %s region",
                         copy->source ? "target" : "source");
    if (copy->loop_count > DRAY_LOOPS_MAX)
        return dray_fail(error, DRAY_E_INVALID, "%u loops, at most %d are possible",
                         copy->loop_count, DRAY_LOOPS_MAX);
    uint64_t bytes = copy->run_bytes;
    bool fits = true;
    *out_empty = bytes == 0;
    for (uint32_t i = 0; i < copy->loop_count; i++) {
        *out_empty = *out_empty || copy->loops[i].count == 0;
        fits = fits && drayi_mul(bytes, copy->loops[i].count, &bytes);
    }
    *out_bytes = 0;
    if (*out_empty)
        return DRAY_OK;
    DRAY_TRY(side_check(copy, false, error));
    DRAY_TRY(side_check(copy, true, error));
    if (!fits)
        return dray_fail(error, DRAY_E_INVALID, "its bytes, over all loops, overflow 64 bits");
    *out_bytes = bytes;
    return DRAY_OK;
}

/// Loops that only continue the run become part of it, loops that only continue the next one are joined
/// with it, loops of one turn go.
static void move_normalise(drayi_move *move, const dray_copy *copy, dray_loop loops[DRAY_LOOPS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = copy->loop_count; i-- > 0;) { // innermost first; `loops` is built backwards
        const dray_loop *loop = &copy->loops[i];
        if (loop->count == 1)
            continue;
        if (count == 0 && loop->source_stride == move->run_bytes &&
            loop->target_stride == move->run_bytes) {
            move->run_bytes *= loop->count;
            continue;
        }
        dray_loop *inner = count ? &loops[DRAY_LOOPS_MAX - count] : NULL;
        if (inner && loop->source_stride == inner->count * inner->source_stride &&
            loop->target_stride == inner->count * inner->target_stride) {
            inner->count *= loop->count;
            continue;
        }
        loops[DRAY_LOOPS_MAX - ++count] = *loop;
    }
    move->loop_count = count;
    for (uint32_t i = 0; i < count; i++)
        move->runs *= loops[DRAY_LOOPS_MAX - count + i].count;
}

/// Mostly it is the one of the copy before.
static dray_status region_find(drayi_planner *planner, dray_region *region, uint32_t *last,
                               uint32_t *out_index, dray_error *error)
{
    if (*last >= planner->plan->region_count || planner->plan->regions[*last].region != region)
        DRAY_TRY(drayi_planner_region(planner, region, last, error));
    *out_index = *last;
    return DRAY_OK;
}

static dray_status move_take(drayi_planner *planner, uint64_t index, dray_error *error)
{
    dray_plan *plan = planner->plan;
    const dray_copy *copy = &planner->copies[index];
    bool empty;
    uint64_t bytes;
    dray_status status = copy_check(copy, &empty, &bytes, error);
    if (status == DRAY_OK && !drayi_add(plan->bytes, bytes, &plan->bytes))
        status = dray_fail(error, DRAY_E_INVALID, "the bytes of all copies so far overflow 64 bits");
    if (status != DRAY_OK)
        return fail_copy(error, status, index);
    if (empty)
        return DRAY_OK;
    drayi_move *move = &planner->moves[planner->move_count];
    *move = (drayi_move){.source_offset = copy->source_offset,
                         .target_offset = copy->target_offset,
                         .run_bytes = copy->run_bytes,
                         .runs = 1,
                         .copy_index = (uint32_t)index};
    DRAY_TRY(region_find(planner, copy->source, &planner->last_source, &move->source, error));
    DRAY_TRY(region_find(planner, copy->target, &planner->last_target, &move->target, error));
    plan->regions[move->source].is_source = true;
    plan->regions[move->target].is_target = true;
    if (copy->loop_count) {
        dray_loop loops[DRAY_LOOPS_MAX];
        move_normalise(move, copy, loops);
        if (move->loop_count) {
            size_t loop_bytes = move->loop_count * sizeof(dray_loop);
            dray_loop *own = drayi_arena_alloc(&plan->loops, loop_bytes, error);
            if (!own)
                return DRAY_E_NOMEM;
            memcpy(own, loops + DRAY_LOOPS_MAX - move->loop_count, loop_bytes);
            move->loops = own;
        }
    }
    planner->move_count++;
    return DRAY_OK;
}

// --- the whole list -----------------------------------------------------------------------------------------

static dray_status edges_copy(dray_plan *plan, const dray_agent *agent, dray_error *error)
{
    plan->edges = drayi_alloc_array(plan->env, agent->edge_count, sizeof(*plan->edges), error);
    if (!plan->edges)
        return DRAY_E_NOMEM;
    plan->edge_count = (uint32_t)agent->edge_count;
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const drayi_agent_edge *edge = &agent->edges[i];
        const drayi_agent_backend *backend = &agent->backends[edge->backend];
        plan->edges[i] = (drayi_plan_edge){.edge = edge->edge,
                                           .backend = edge->backend,
                                           .backend_name = backend->ops->name,
                                           .must_poll = !backend->ops->arm};
    }
    return DRAY_OK;
}

static dray_status planner_reserve(drayi_planner *planner, uint64_t copy_count, dray_error *error)
{
    dray_plan *plan = planner->plan;
    plan->copy_count = copy_count;
    planner->moves = drayi_alloc_array_raw(planner->env, copy_count, sizeof(*planner->moves), error);
    plan->copy_segments =
        drayi_alloc_array(planner->env, copy_count, sizeof(*plan->copy_segments), error);
    if (!planner->moves || !plan->copy_segments)
        return DRAY_E_NOMEM;
    plan->segments = drayi_alloc_array_raw(planner->env, copy_count, sizeof(*plan->segments), error);
    plan->segment_capacity = plan->segments ? copy_count : 0;
    return plan->segments ? DRAY_OK : DRAY_E_NOMEM;
}

/// How many operations of this plan the edge likes in flight: as many bytes as with those of its best size.
static uint32_t edge_depth(const drayi_plan_edge *used)
{
    const dray_edge *edge = &used->edge;
    uint64_t depth = edge->best_depth, wanted, mean = used->bytes / used->steps;
    if (edge->most_depth > depth && mean > 0 && drayi_mul(depth, edge->best_bytes, &wanted))
        depth = drayi_min(drayi_max(depth, wanted / mean), edge->most_depth);
    return (uint32_t)depth;
}

/// Lanes that the used edges like best, never more than there are units to deal.
static void lanes_choose(drayi_planner *planner)
{
    dray_plan *plan = planner->plan;
    uint32_t lanes = planner->options.lanes;
    for (uint32_t i = 0; planner->options.lanes == 0 && i < plan->edge_count; i++) {
        uint32_t depth = plan->edges[i].steps ? edge_depth(&plan->edges[i]) : 0;
        lanes = depth > lanes ? depth : lanes;
    }
    if (planner->staged_lanes) // as many as there is staging for
        lanes = planner->staged_lanes;
    lanes = lanes == 0 ? 1 : (lanes > lanes_max ? lanes_max : lanes);
    plan->lanes = lanes > plan->unit_count ? (uint32_t)plan->unit_count : lanes;
    if (plan->slot_bytes) {
        plan->slot_alignment = planner->staged_alignment;
        plan->slot_bytes +=
            (planner->staged_alignment - plan->slot_bytes % planner->staged_alignment) %
            planner->staged_alignment;
    }
}

static dray_status planner_run(drayi_planner *planner, const dray_agent *agent, uint64_t copy_count,
                               dray_error *error)
{
    DRAY_TRY(edges_copy(planner->plan, agent, error));
    DRAY_TRY(planner_reserve(planner, copy_count, error));
    DRAY_TRY(drayi_planner_packers(planner, error));
    for (uint64_t i = 0; i < copy_count; i++)
        DRAY_TRY(move_take(planner, i, error));
    DRAY_TRY(drayi_planner_group_regions(planner, error));
    DRAY_TRY(drayi_planner_check_overlap(planner, error));
    for (uint64_t i = 0; i < planner->move_count; i++)
        DRAY_TRY(drayi_planner_cut(planner, &planner->moves[i], error));
    DRAY_TRY(drayi_planner_flush_staged(planner, error));
    DRAY_TRY(drayi_planner_flush(planner, error));
    lanes_choose(planner);
    return DRAY_OK;
}

static void planner_free(drayi_planner *planner, uint64_t copy_count)
{
    drayi_env *env = planner->env;
    for (uint64_t i = 0; planner->packers && i < (uint64_t)planner->plan->edge_count * 2; i++)
        drayi_free(env, planner->packers[i].segments,
                   planner->packers[i].room * sizeof(dray_segment));
    while (planner->device_routes) {
        drayi_device_route *next = planner->device_routes->next;
        drayi_free(env, planner->device_routes, sizeof(*planner->device_routes));
        planner->device_routes = next;
    }
    drayi_free(env, planner->packers,
               (size_t)planner->plan->edge_count * 2 * sizeof(*planner->packers));
    drayi_free(env, planner->moves, copy_count * sizeof(*planner->moves));
    drayi_free(env, planner->staged, DRAYI_STAGED_RUNS_MAX * sizeof(*planner->staged));
    drayi_free(env, planner->region_slots,
               planner->region_slot_count * sizeof(*planner->region_slots));
}

static dray_status arguments_check(const dray_copy *copies, uint64_t copy_count,
                                   const dray_plan_options *options, dray_error *error)
{
    if (copy_count > 0 && !copies)
        return dray_fail(error, DRAY_E_INVALID, "plan: %" PRIu64 " copies at a NULL pointer",
                         copy_count);
    if (copy_count > DRAYI_PLAN_SEGMENTS_MAX)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "plan: %" PRIu64 " copies, at most %" PRIu64 " are possible", copy_count,
                         DRAYI_PLAN_SEGMENTS_MAX);
    if (options->lanes > lanes_max)
        return dray_fail(error, DRAY_E_INVALID, "plan: %u lanes, at most %d are possible",
                         options->lanes, lanes_max);
    if (options->direct != DRAY_DIRECT_AUTO && options->direct != DRAY_DIRECT_NEVER &&
        options->direct != DRAY_DIRECT_ONLY)
        return dray_fail(error, DRAY_E_INVALID, "plan: direct is %d, one of 0, 1, 2 is wanted",
                         (int)options->direct);
    if ((unsigned)options->targets_disjoint > DRAY_DISJOINT_ALL)
        return dray_fail(error, DRAY_E_INVALID,
                         "plan: targets_disjoint is %d, one of 0, 1, 2 is wanted",
                         (int)options->targets_disjoint);
    return DRAY_OK;
}

dray_status dray_plan_create(dray_agent *agent, const dray_copy *copies, uint64_t copy_count,
                             const dray_plan_options *given, dray_plan **out_plan, dray_error *error)
{
    drayi_env *env = agent->env;
    drayi_planner planner = {
        .env = env, .agent = agent, .page_bytes = agent->page_bytes, .copies = copies};
    DRAY_TRY(drayi_options(&planner.options, sizeof(planner.options), given, "dray_plan_options",
                           error));
    DRAY_TRY(arguments_check(copies, copy_count, &planner.options, error));
    dray_plan *plan = drayi_new(env, dray_plan, error);
    if (!plan)
        return DRAY_E_NOMEM;
    plan->env = env;
    plan->agent = agent;
    plan->loops.env = env;
    plan->staging_device = planner.options.staging_device;
    planner.plan = plan;
    dray_status status = planner_run(&planner, agent, copy_count, error);
    planner_free(&planner, copy_count);
    if (status != DRAY_OK)
        dray_plan_destroy(plan);
    else
        *out_plan = plan;
    return status;
}

void dray_plan_destroy(dray_plan *plan)
{
    if (!plan)
        return;
    drayi_env *env = plan->env;
    drayi_free(env, plan->edges, plan->edge_count * sizeof(*plan->edges));
    drayi_free(env, plan->regions, plan->region_capacity * sizeof(*plan->regions));
    while (plan->refusals) {
        drayi_refusal *next = plan->refusals->next;
        drayi_free(env, plan->refusals, sizeof(*plan->refusals));
        plan->refusals = next;
    }
    drayi_free(env, plan->segments, plan->segment_capacity * sizeof(*plan->segments));
    drayi_free(env, plan->steps, plan->step_capacity * sizeof(*plan->steps));
    drayi_free(env, plan->units, plan->unit_capacity * sizeof(*plan->units));
    drayi_free(env, plan->copy_segments, plan->copy_count * sizeof(*plan->copy_segments));
    drayi_arena_free(&plan->loops);
    drayi_free(env, plan, sizeof(*plan));
}

void dray_plan_summarize(const dray_plan *plan, dray_plan_summary *out_summary)
{
    *out_summary = (dray_plan_summary){
        .bytes = plan->bytes,
        .copies = plan->copy_count,
        .segments = plan->segment_count,
        .steps = plan->step_count,
        .lanes = plan->lanes,
        .hops = plan->slot_bytes ? 2 : 1,
        .staging_bytes = plan->slot_bytes * plan->lanes,
        .direct_bytes = plan->direct_bytes,
    };
}
