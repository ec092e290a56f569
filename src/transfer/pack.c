/// Segments into steps, steps into units: every edge collects segments until its step is full.
///
/// Collecting per edge, and not in the order of arrival, lets the unaligned heads and tails of many
/// copies share one operation while the aligned middles between them go their own way.
#include "base/checked.h"
#include "transfer/planner.h"

#include <inttypes.h>
#include <string.h>

enum { collected_max = 1024 }; // segments of one step, whatever the edge allows

dray_status drayi_planner_packers(drayi_planner *planner, dray_error *error)
{
    uint64_t count = (uint64_t)planner->plan->edge_count * 2;
    planner->packers = drayi_alloc_array(planner->env, count, sizeof(*planner->packers), error);
    if (!planner->packers)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++) {
        const dray_edge *edge = &planner->plan->edges[i / 2].edge;
        planner->packers[i].limit = drayi_planner_step_bytes(planner, edge);
        planner->packers[i].capacity =
            edge->max_segments < collected_max ? edge->max_segments : collected_max;
    }
    return DRAY_OK;
}

dray_status drayi_planner_open_unit(drayi_planner *planner, dray_error *error)
{
    dray_plan *plan = planner->plan;
    if (plan->unit_count == plan->unit_capacity)
        DRAY_TRY(drayi_grow(planner->env, (void **)&plan->units, &plan->unit_capacity,
                            plan->unit_count + 1, sizeof(*plan->units), error));
    plan->units[plan->unit_count++] = (uint32_t)plan->step_count;
    return DRAY_OK;
}

static dray_status segments_append(drayi_planner *planner, const drayi_packer *packer,
                                   dray_error *error)
{
    dray_plan *plan = planner->plan;
    uint64_t wanted = plan->segment_count + packer->count;
    if (wanted > DRAYI_PLAN_SEGMENTS_MAX)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "copy %u: the plan needs more than %" PRIu64
                         " segments; make the copies' runs longer, or "
                         "split the list over several plans",
                         packer->segments[0].copy_index, DRAYI_PLAN_SEGMENTS_MAX);
    if (wanted > plan->segment_capacity)
        DRAY_TRY(drayi_grow(planner->env, (void **)&plan->segments, &plan->segment_capacity, wanted,
                            sizeof(*plan->segments), error));
    memcpy(plan->segments + plan->segment_count, packer->segments,
           packer->count * sizeof(*plan->segments));
    plan->segment_count = wanted;
    return DRAY_OK;
}

/// The packer's segments as a step; a step outside staging is a unit of its own.
static dray_status step_write(drayi_planner *planner, uint32_t edge, drayi_packer *packer,
                              dray_error *error)
{
    dray_plan *plan = planner->plan;
    bool lands = planner->packing != DRAYI_PACK_INTO_SLOT;
    if (planner->packing == DRAYI_PACK_STRAIGHT)
        DRAY_TRY(drayi_planner_open_unit(planner, error));
    uint64_t first = plan->segment_count;
    DRAY_TRY(segments_append(planner, packer, error));
    if (plan->step_count == plan->step_capacity)
        DRAY_TRY(drayi_grow(planner->env, (void **)&plan->steps, &plan->step_capacity,
                            plan->step_count + 1, sizeof(*plan->steps), error));
    plan->steps[plan->step_count++] = (drayi_step){
        .bytes = packer->bytes,
        .first_segment = (uint32_t)first,
        .segment_count = packer->count,
        .edge = edge,
        .lands = lands,
    };
    for (uint32_t i = 0; lands && i < packer->count; i++)
        plan->copy_segments[packer->segments[i].copy_index]++;
    drayi_plan_edge *sums = &plan->edges[edge];
    sums->bytes += packer->bytes;
    sums->segments += packer->count;
    sums->steps++;
    if (sums->edge.flags & DRAY_EDGE_DIRECT)
        plan->direct_bytes += packer->bytes;
    packer->count = 0;
    packer->bytes = 0;
    return DRAY_OK;
}

/// Does `next` begin where `last` ends, on the side of the file?
static bool file_neighbours(const dray_edge *edge, const dray_segment *last,
                            const dray_segment *next)
{
    if (last->loop_count || next->loop_count)
        return false;
    if (edge->from == DRAY_STORAGE_DISK)
        return last->source == next->source &&
               last->source_offset + last->run_bytes == next->source_offset;
    return last->target == next->target &&
           last->target_offset + last->run_bytes == next->target_offset;
}

/// Does `next` only continue `last`, on both sides and of the same copy?
static bool continues(const dray_segment *last, const dray_segment *next)
{
    return last->copy_index == next->copy_index && !last->loop_count && !next->loop_count &&
           last->source == next->source && last->target == next->target &&
           last->source_offset + last->run_bytes == next->source_offset &&
           last->target_offset + last->run_bytes == next->target_offset;
}

static drayi_packer *packer_of(drayi_planner *planner, uint32_t edge)
{
    return &planner->packers[2 * edge + (planner->packing != DRAYI_PACK_STRAIGHT)];
}

dray_status drayi_planner_pack(drayi_planner *planner, uint32_t edge_index,
                               const dray_segment *segment, uint64_t bytes, dray_error *error)
{
    drayi_packer *packer = packer_of(planner, edge_index);
    const dray_edge *edge = &planner->plan->edges[edge_index].edge;
    if (packer->count > 0) {
        dray_segment *last = &packer->segments[packer->count - 1];
        bool has_room = bytes <= packer->limit - drayi_min(packer->bytes, packer->limit);
        if (has_room && continues(last, segment)) {
            last->run_bytes += bytes;
            packer->bytes += bytes;
            return DRAY_OK;
        }
        bool apart = (edge->flags & DRAY_EDGE_SCATTER) && !file_neighbours(edge, last, segment);
        if (!has_room || apart || packer->count == packer->capacity)
            DRAY_TRY(step_write(planner, edge_index, packer, error));
    }
    if (packer->count == packer->room)
        DRAY_TRY(drayi_grow(planner->env, (void **)&packer->segments, &packer->room,
                            packer->count + 1, sizeof(*packer->segments), error));
    packer->segments[packer->count++] = *segment;
    packer->bytes += bytes;
    return DRAY_OK;
}

dray_status drayi_planner_flush(drayi_planner *planner, dray_error *error)
{
    for (uint32_t edge = 0; edge < planner->plan->edge_count; edge++) {
        drayi_packer *packer = packer_of(planner, edge);
        if (packer->count > 0)
            DRAY_TRY(step_write(planner, edge, packer, error));
    }
    return DRAY_OK;
}
