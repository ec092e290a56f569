/// Short runs between host memory and a place where every run costs an operation: a file, a device, a peer. Where
/// many of them lie together on the far side, they are put together in staging, by one copy with loops, and
/// cross over in one piece; or the other way round.
///
/// Blocks that are reshaped on their way to a file are such runs: a head of a token here, all of a block there.
#include "base/checked.h"
#include "transfer/planner.h"

enum {
    short_run = 16 << 10, // longer ones are worth an operation each
    joined_least = 4,     // fewer are not worth a detour
    slot_alignment = 64   // of pieces that mirror no file
};

/// A move, taken apart: what one piece holds, and what is done for every piece.
typedef struct gathering {
    drayi_planner *planner;
    const drayi_move *move;
    bool far_is_target;
    dray_loop inner[DRAY_LOOPS_MAX], outer[DRAY_LOOPS_MAX + 1]; // outermost first
    uint32_t inner_count, outer_count;
    uint64_t piece_bytes;
    const dray_loop *loops; // `inner`, as long as the plan lives
} gathering;

static uint64_t far_stride(const gathering *own, const dray_loop *loop)
{
    return own->far_is_target ? loop->target_stride : loop->source_stride;
}

static const drayi_plan_region *far_region(const gathering *own)
{
    return &own->planner->plan->regions[own->far_is_target ? own->move->target : own->move->source];
}

static bool far_is_file(const gathering *own)
{
    return far_region(own)->native->storage == DRAY_STORAGE_DISK;
}

static void inner_add(gathering *own, dray_loop loop)
{
    for (uint32_t i = own->inner_count; i > 0; i--)
        own->inner[i] = own->inner[i - 1];
    own->inner[0] = loop;
    own->inner_count++;
    own->piece_bytes *= loop.count;
}

/// The most turns of a loop that fit, in equal parts.
static uint64_t turns_that_fit(const dray_loop *loop, uint64_t most)
{
    uint64_t turns = drayi_min(loop->count, most);
    while (turns > 1 && loop->count % turns != 0)
        turns--;
    return turns;
}

/// The loop that continues the piece on the far side, or loop_count.
static uint32_t loop_next(const gathering *own, const bool used[DRAY_LOOPS_MAX])
{
    const drayi_move *move = own->move;
    uint32_t i = 0;
    while (i < move->loop_count && (used[i] || far_stride(own, &move->loops[i]) != own->piece_bytes))
        i++;
    return i;
}

/// From the run outwards: loops that continue it on the far side belong to the piece, up to `limit` bytes.
static void take_apart(gathering *own, uint64_t limit)
{
    const drayi_move *move = own->move;
    bool used[DRAY_LOOPS_MAX] = {false};
    dray_loop rest = {.count = 1};
    own->piece_bytes = move->run_bytes;
    for (uint32_t i = loop_next(own, used); i < move->loop_count && rest.count == 1;
         i = loop_next(own, used)) {
        dray_loop loop = move->loops[i];
        uint64_t turns = turns_that_fit(&loop, limit / own->piece_bytes);
        if (turns <= 1)
            break;
        used[i] = true;
        rest =
            (dray_loop){loop.count / turns, loop.source_stride * turns, loop.target_stride * turns};
        loop.count = turns;
        inner_add(own, loop);
    }
    for (uint32_t i = 0; i < move->loop_count; i++) {
        if (!used[i])
            own->outer[own->outer_count++] = move->loops[i];
    }
    if (rest.count > 1)
        own->outer[own->outer_count++] = rest;
}

/// Finds room in the slot, at the phase of the file.
static dray_status piece_stage(gathering *own, uint64_t source, uint64_t target, dray_error *error)
{
    drayi_planner *planner = own->planner;
    bool file = far_is_file(own);
    uint64_t alignment = file ? planner->staged_alignment : slot_alignment;
    uint64_t position = file ? far_region(own)->base + (own->far_is_target ? target : source) : 0;
    for (;;) {
        uint64_t phase = (position + alignment - planner->slot_used % alignment) % alignment;
        uint64_t at = planner->slot_used + phase;
        if (planner->staged_count < DRAYI_STAGED_RUNS_MAX &&
            at + own->piece_bytes <= planner->staged_max) {
            planner->staged[planner->staged_count++] =
                (drayi_staged_run){.move = own->move,
                                   .source_offset = source,
                                   .target_offset = target,
                                   .bytes = own->piece_bytes,
                                   .slot_offset = at,
                                   .loops = own->loops,
                                   .loop_count = own->inner_count,
                                   .looped_hop = own->far_is_target ? 0 : 1};
            planner->slot_used = at + own->piece_bytes;
            return DRAY_OK;
        }
        DRAY_TRY(drayi_planner_flush_staged(planner, error)); // an empty slot has room for a piece
    }
}

static dray_status pieces_stage(gathering *own, uint32_t level, uint64_t source, uint64_t target,
                                dray_error *error)
{
    // The bound is never met; without it the optimizer warns of a level behind the last.
    if (level >= own->outer_count || level > DRAY_LOOPS_MAX)
        return piece_stage(own, source, target, error);
    const dray_loop *loop = &own->outer[level];
    for (uint64_t i = 0; i < loop->count; i++)
        DRAY_TRY(pieces_stage(own, level + 1, source + i * loop->source_stride,
                              target + i * loop->target_stride, error));
    return DRAY_OK;
}

static dray_status loops_keep(gathering *own, dray_error *error)
{
    dray_loop *kept =
        drayi_arena_alloc(&own->planner->plan->loops, own->inner_count * sizeof(*kept), error);
    if (!kept)
        return DRAY_E_NOMEM;
    for (uint32_t i = 0; i < own->inner_count; i++)
        kept[i] = own->inner[i];
    own->loops = kept;
    return DRAY_OK;
}

/// Are there enough short runs together for a detour, however large a piece may be?
static bool is_worth_it(const gathering *own, uint64_t most)
{
    return own->move->run_bytes < most && own->piece_bytes / own->move->run_bytes >= joined_least;
}

/// Sizes the slots when nobody has yet. False: the caller allows too little memory for them.
static dray_status slots_size(drayi_planner *planner, const drayi_route *route, bool *out_room,
                              dray_error *error)
{
    const drayi_route both = {.hop_count = 2, .hops = {route->gather[0], route->gather[1]}};
    dray_error why;
    *out_room = true;
    if (planner->staged_lanes)
        return DRAY_OK;
    dray_status status = drayi_planner_size_staging(planner, &both, &why);
    *out_room = status == DRAY_OK;
    if (status == DRAY_OK || status == DRAY_E_NOSPACE)
        return DRAY_OK;
    if (error)
        *error = why;
    return status;
}

dray_status drayi_planner_gather(drayi_planner *planner, const drayi_move *move,
                                 const drayi_route *route, bool *out_taken, dray_error *error)
{
    const dray_storage from = planner->plan->regions[move->source].native->storage;
    const gathering fresh = {.planner = planner,
                             .move = move,
                             .far_is_target =
                                 from == DRAY_STORAGE_SYSTEM || from == DRAY_STORAGE_PINNED};
    const drayi_hop *near_hop = &route->gather[fresh.far_is_target ? 0 : 1];
    const uint64_t most = far_is_file(&fresh) ? planner->page_bytes : short_run;
    gathering own = fresh;
    bool room = false;
    *out_taken = false;
    take_apart(&own, UINT64_MAX);
    if (near_hop->plain == DRAYI_NO_EDGE || !is_worth_it(&own, most))
        return DRAY_OK;
    DRAY_TRY(slots_size(planner, route, &room, error));
    if (!room)
        return DRAY_OK;
    const dray_edge *near_edge = &planner->plan->edges[near_hop->plain].edge;
    own = fresh;
    take_apart(&own, drayi_min(planner->staged_max - planner->staged_alignment,
                               drayi_planner_step_bytes(planner, near_edge)));
    uint64_t joined = own.piece_bytes / move->run_bytes;
    if (!is_worth_it(&own, most) || own.inner_count > near_edge->max_loops ||
        move->runs / joined > DRAYI_PLAN_SEGMENTS_MAX)
        return DRAY_OK;
    if (planner->staged_hops != route->gather)
        DRAY_TRY(drayi_planner_flush_staged(planner, error));
    planner->staged_hops = route->gather;
    DRAY_TRY(loops_keep(&own, error));
    *out_taken = true;
    return pieces_stage(&own, 0, move->source_offset, move->target_offset, error);
}
