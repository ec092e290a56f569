/// No target may share a byte with another target or with a source. What is checked, cheapest first:
///
/// 1. The boxes around all copies of a group, sorted: boxes that do not cross prove everything, in one
///    pass. Most plans end here.
/// 2. Copies whose boxes cross and have loops, pair by pair: when all strides are multiples of g and the
///    two runs lie apart modulo g, they never meet. Interleaved slices of a tensor are proven so.
/// 3. All runs of those copies one by one, up to DRAYI_OVERLAP_RUNS_MAX; beyond that the plan is refused,
///    because a proof is wanted and not a guess.
#include "base/checked.h"
#include "base/sort.h"
#include "transfer/planner.h"

#include <inttypes.h>
#include <string.h>

/// Pairs that step 2 looks at before it gives the group to step 3.
enum { pairs_max = 1 << 16 };

static int extent_compare(const void *left, const void *right, const void *self)
{
    (void)self;
    const drayi_extent *a = left, *b = right;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    return a->start < b->start ? -1 : a->start > b->start;
}

enum { radix_least = 64, digit_values = 256, start_digits = 8, digits = start_digits + 4 };

/// The order in bytes, least significant first: the start, then the group.
static uint32_t digit_of(const drayi_extent *extent, uint32_t digit)
{
    uint64_t whole = digit < start_digits ? extent->start >> (8 * digit)
                                          : (uint64_t)extent->group >> (8 * (digit - start_digits));
    return (uint32_t)(whole % digit_values);
}

/// Stable: entries with the same digit keep their order.
static void digit_sort(const drayi_extent *from, drayi_extent *to, uint64_t count, uint32_t digit)
{
    uint64_t next[digit_values] = {0}, at = 0;
    for (uint64_t i = 0; i < count; i++)
        next[digit_of(&from[i], digit)]++;
    for (uint32_t value = 0; value < digit_values; value++) {
        uint64_t many = next[value];
        next[value] = at;
        at += many;
    }
    for (uint64_t i = 0; i < count; i++)
        to[next[digit_of(&from[i], digit)]++] = from[i];
}

/// Digits in which all agree are left out: of the copies of one region two or three remain.
static void radix_sort(drayi_extent *extents, drayi_extent *scratch, uint64_t count)
{
    drayi_extent differs = {0};
    for (uint64_t i = 1; i < count; i++) {
        differs.start |= extents[i].start ^ extents[0].start;
        differs.group |= extents[i].group ^ extents[0].group;
    }
    drayi_extent *from = extents, *to = scratch;
    for (uint32_t digit = 0; digit < digits; digit++) {
        if (digit_of(&differs, digit) == 0)
            continue;
        digit_sort(from, to, count, digit);
        drayi_extent *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != extents)
        memcpy(extents, from, count * sizeof(*extents));
}

void drayi_extents_sort(drayi_extent *extents, drayi_extent *scratch, uint64_t count)
{
    if (count >= radix_least &&
        !drayi_in_order(extents, count, sizeof(*extents), extent_compare, NULL))
        radix_sort(extents, scratch, count);
    else
        drayi_sort(extents, scratch, count, sizeof(*extents), extent_compare, NULL);
}

// --- one side of a move ----------------------------------------------------------------------------

static uint64_t loop_stride(const dray_loop *loop, bool target)
{
    return target ? loop->target_stride : loop->source_stride;
}

/// The box around one side. Bounds were checked: nothing overflows.
static drayi_extent side_box(const drayi_planner *planner, uint32_t index, bool target)
{
    const drayi_move *move = &planner->moves[index];
    const drayi_plan_region *region = &planner->plan->regions[target ? move->target : move->source];
    uint64_t start = region->base + (target ? move->target_offset : move->source_offset),
             end = start + move->run_bytes;
    for (uint32_t i = 0; i < move->loop_count; i++)
        end += (move->loops[i].count - 1) * loop_stride(&move->loops[i], target);
    return (drayi_extent){.start = start,
                          .end = end,
                          .move = index,
                          .group = region->group & 0x7fffffffu,
                          .is_target = target};
}

/// Writes the runs of one side, outermost loop slowest; returns one past the last.
static drayi_extent *side_runs(const drayi_planner *planner, drayi_extent box, drayi_extent *out)
{
    const drayi_move *move = &planner->moves[box.move];
    uint64_t at[DRAY_LOOPS_MAX] = {0}, start = box.start;
    for (uint64_t run = 0; run < move->runs; run++) {
        *out = box;
        out->start = start;
        out->end = start + move->run_bytes;
        out++;
        for (uint32_t level = move->loop_count; level-- > 0;) {
            uint64_t stride = loop_stride(&move->loops[level], box.is_target);
            start += stride;
            if (++at[level] < move->loops[level].count)
                break;
            start -= stride * move->loops[level].count;
            at[level] = 0;
        }
    }
    return out;
}

// --- messages ----------------------------------------------------------------------------------------

static uint64_t copy_of(const drayi_planner *planner, const drayi_extent *extent)
{
    return planner->moves[extent->move].copy_index;
}

/// `a` and `b` share bytes; at least one is a target. `a` starts first.
static dray_status overlap_found(const drayi_planner *planner, const drayi_extent *a,
                                 const drayi_extent *b, dray_error *error)
{
    if (!b->is_target || (a->is_target && copy_of(planner, a) > copy_of(planner, b))) {
        const drayi_extent *swap = a; // b is a target, and of two targets the later copy
        a = b;
        b = swap;
    }
    const drayi_move *move = &planner->moves[b->move];
    const drayi_plan_region *region = &planner->plan->regions[move->target];
    uint64_t start = drayi_max(a->start, b->start), end = drayi_min(a->end, b->end);
    dray_status status =
        dray_fail(error, DRAY_E_INVALID,
                  "copy %u: its target overlaps the %s of copy %" PRIu64 " in %" PRIu64
                  " bytes at %" PRIu64 " of %s",
                  move->copy_index, a->is_target ? "target" : "source", copy_of(planner, a),
                  end - start, start - region->base, region->native->name);
    if (error)
        error->index = move->copy_index;
    return status;
}

static dray_status not_proven(const drayi_planner *planner, const drayi_extent *cluster,
                              uint64_t count, uint64_t runs, dray_error *error)
{
    dray_status status = dray_fail(
        error, DRAY_E_UNSUPPORTED,
        "copy %" PRIu64 ": %" PRIu64
        " ranges that cross cannot be proven disjoint: they are %" PRIu64 " runs, at most %" PRIu64
        " are compared; make fewer runs, or prove it and set targets_disjoint",
        copy_of(planner, cluster), count, runs, DRAYI_OVERLAP_RUNS_MAX);
    if (error)
        error->index = copy_of(planner, cluster);
    return status;
}

// --- the three checks ----------------------------------------------------------------------------------

/// Which of the extents seen so far reaches furthest, per side.
typedef struct reach {
    const drayi_extent *target, *source;
} reach;

/// Compares `extent` with those that start before it, then adds it. NULL: nothing that matters is shared.
static const drayi_extent *reach_crossed(reach *so_far, const drayi_extent *extent,
                                         bool targets_disjoint)
{
    const drayi_extent *crossed = NULL;
    if (so_far->target && so_far->target->end > extent->start &&
        !(extent->is_target && targets_disjoint))
        crossed = so_far->target;
    else if (so_far->source && so_far->source->end > extent->start && extent->is_target)
        crossed = so_far->source;
    const drayi_extent **furthest = extent->is_target ? &so_far->target : &so_far->source;
    if (!*furthest || (*furthest)->end < extent->end)
        *furthest = extent;
    return crossed;
}

static bool matters(const drayi_extent *a, const drayi_extent *b, bool targets_disjoint)
{
    return a->is_target && b->is_target ? !targets_disjoint : a->is_target || b->is_target;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t side_gcd(const drayi_move *move, bool target, uint64_t so_far)
{
    for (uint32_t i = 0; i < move->loop_count; i++)
        so_far = gcd(so_far, loop_stride(&move->loops[i], target));
    return so_far;
}

/// Do the runs lie apart modulo the common divisor of all strides? Sound, not complete.
static bool apart_modulo(const drayi_planner *planner, const drayi_extent *a, const drayi_extent *b)
{
    const drayi_move *a_move = &planner->moves[a->move], *b_move = &planner->moves[b->move];
    uint64_t divisor = side_gcd(b_move, b->is_target, side_gcd(a_move, a->is_target, 0));
    if (divisor == 0)
        return false;                                    // two plain runs, and their boxes cross
    uint64_t distance = (b->start - a->start) % divisor; // a starts first
    return distance >= a_move->run_bytes && divisor - distance >= b_move->run_bytes;
}

/// True: every pair of the cluster whose boxes cross is proven disjoint.
static bool pairs_proven(const drayi_planner *planner, const drayi_extent *cluster, uint64_t count)
{
    bool targets_disjoint = planner->options.targets_disjoint != 0;
    uint64_t looked_at = 0;
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t k = i + 1; k < count && cluster[k].start < cluster[i].end; k++) {
            if (++looked_at > pairs_max)
                return false;
            if (matters(&cluster[i], &cluster[k], targets_disjoint) &&
                !apart_modulo(planner, &cluster[i], &cluster[k]))
                return false;
        }
    }
    return true;
}

static dray_status runs_compare(const drayi_planner *planner, const drayi_extent *sorted,
                                uint64_t count, dray_error *error)
{
    reach so_far = {0};
    for (uint64_t i = 0; i < count; i++) {
        const drayi_extent *crossed =
            reach_crossed(&so_far, &sorted[i], planner->options.targets_disjoint != 0);
        if (crossed)
            return overlap_found(planner, crossed, &sorted[i], error);
    }
    return DRAY_OK;
}

static dray_status cluster_enumerate(const drayi_planner *planner, const drayi_extent *cluster,
                                     uint64_t count, dray_error *error)
{
    uint64_t runs = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!drayi_add(runs, planner->moves[cluster[i].move].runs, &runs))
            runs = UINT64_MAX;
    }
    if (runs > DRAYI_OVERLAP_RUNS_MAX)
        return not_proven(planner, cluster, count, runs, error);
    drayi_extent *extents = drayi_alloc_array(planner->env, runs * 2, sizeof(*extents), error);
    if (!extents)
        return DRAY_E_NOMEM;
    drayi_extent *end = extents;
    for (uint64_t i = 0; i < count; i++)
        end = side_runs(planner, cluster[i], end);
    drayi_extents_sort(extents, extents + runs, runs);
    dray_status status = runs_compare(planner, extents, runs, error);
    drayi_free(planner->env, extents, runs * 2 * sizeof(*extents));
    return status;
}

/// Extents of one group, sorted, each box crossing the reach of those before it.
static dray_status cluster_check(const drayi_planner *planner, const drayi_extent *cluster,
                                 uint64_t count, dray_error *error)
{
    reach so_far = {0};
    const drayi_extent *crossed = NULL, *crossing = NULL;
    bool loops = false;
    for (uint64_t i = 0; i < count; i++) {
        loops = loops || planner->moves[cluster[i].move].loop_count > 0;
        const drayi_extent *met =
            reach_crossed(&so_far, &cluster[i], planner->options.targets_disjoint != 0);
        if (met && !crossed) {
            crossed = met;
            crossing = &cluster[i];
        }
    }
    if (!crossed)
        return DRAY_OK;
    if (!loops)
        return overlap_found(planner, crossed, crossing, error);
    return pairs_proven(planner, cluster, count)
               ? DRAY_OK
               : cluster_enumerate(planner, cluster, count, error);
}

static dray_status extents_check(const drayi_planner *planner, const drayi_extent *sorted,
                                 uint64_t count, dray_error *error)
{
    for (uint64_t begin = 0, end; begin < count; begin = end) {
        uint64_t furthest = sorted[begin].end;
        for (end = begin + 1; end < count && sorted[end].group == sorted[begin].group &&
                              sorted[end].start < furthest;
             end++)
            furthest = drayi_max(furthest, sorted[end].end);
        if (end - begin > 1)
            DRAY_TRY(cluster_check(planner, sorted + begin, end - begin, error));
    }
    return DRAY_OK;
}

/// Do the loops of one target nest: does each stride step over everything inside it?
static bool target_nests(const drayi_move *move)
{
    bool used[DRAY_LOOPS_MAX] = {false};
    uint64_t reach_bytes = move->run_bytes;
    for (uint32_t round = 0; round < move->loop_count; round++) {
        uint32_t smallest = DRAY_LOOPS_MAX;
        for (uint32_t i = 0; i < move->loop_count; i++) {
            bool smaller = smallest == DRAY_LOOPS_MAX ||
                           move->loops[i].target_stride < move->loops[smallest].target_stride;
            if (!used[i] && smaller)
                smallest = i;
        }
        const dray_loop *loop = &move->loops[smallest];
        if (loop->target_stride < reach_bytes)
            return false;
        used[smallest] = true;
        reach_bytes += (loop->count - 1) * loop->target_stride;
    }
    return true;
}

static dray_status self_check(const drayi_planner *planner, uint32_t index, dray_error *error)
{
    const drayi_move *move = &planner->moves[index];
    if (move->loop_count == 0 || target_nests(move))
        return DRAY_OK;
    drayi_extent box = side_box(planner, index, true);
    return cluster_enumerate(planner, &box, 1, error);
}

/// A target matters where its group has another target or a source; a source where its group has a target.
static dray_status sides_choose(const drayi_planner *planner, dray_error *error)
{
    dray_plan *plan = planner->plan;
    bool targets_disjoint = planner->options.targets_disjoint != 0;
    typedef struct group_use {
        bool source, target;
    } group_use;
    uint64_t bytes = plan->region_count * sizeof(group_use); // there are at most as many groups
    group_use *uses = drayi_alloc(planner->env, bytes, error);
    if (!uses)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < plan->region_count; i++) {
        const drayi_plan_region *region = &plan->regions[i];
        bool keeps = region->native->storage != DRAY_STORAGE_NULL;
        uses[region->group].source |= region->is_source;
        uses[region->group].target |= region->is_target && keeps;
    }
    for (uint64_t i = 0; i < plan->region_count; i++) {
        drayi_plan_region *region = &plan->regions[i];
        const group_use *use = &uses[region->group];
        region->compared_as_source = use->target;
        region->compared_as_target = use->target && (use->source || !targets_disjoint);
    }
    drayi_free(planner->env, uses, bytes);
    return DRAY_OK;
}

/// Counts the sides to compare, and writes their boxes unless `out` is NULL.
static uint64_t boxes_collect(const drayi_planner *planner, drayi_extent *out)
{
    const drayi_plan_region *regions = planner->plan->regions;
    uint64_t count = 0;
    for (uint32_t i = 0; i < planner->move_count; i++) {
        const drayi_move *move = &planner->moves[i];
        bool target = regions[move->target].compared_as_target;
        bool source = regions[move->source].compared_as_source;
        count += (uint64_t)target + source;
        if (out && target)
            *out++ = side_box(planner, i, true);
        if (out && source)
            *out++ = side_box(planner, i, false);
    }
    return count;
}

dray_status drayi_planner_check_overlap(drayi_planner *planner, dray_error *error)
{
    if (planner->options.targets_disjoint == DRAY_DISJOINT_ALL)
        return DRAY_OK;
    DRAY_TRY(sides_choose(planner, error));
    for (uint32_t i = 0; planner->options.targets_disjoint == 0 && i < planner->move_count; i++) {
        if (planner->plan->regions[planner->moves[i].target].compared_as_target)
            DRAY_TRY(self_check(planner, i, error));
    }
    uint64_t count = boxes_collect(planner, NULL);
    if (count == 0)
        return DRAY_OK;
    drayi_extent *extents = drayi_alloc_array_raw(planner->env, count * 2, sizeof(*extents), error);
    if (!extents)
        return DRAY_E_NOMEM;
    boxes_collect(planner, extents);
    drayi_extents_sort(extents, extents + count, count);
    dray_status status = extents_check(planner, extents, count, error);
    drayi_free(planner->env, extents, count * 2 * sizeof(*extents));
    return status;
}
