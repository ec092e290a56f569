/// Moves into segments that an edge can carry: loops kept or unrolled, runs cut to the size of a step,
/// and at a file the aligned middle of a run to the direct edge, its head and tail to the other.
///
/// Direct I/O covers whole pages of the file only, so no page is ever touched by both kinds: mixing them
/// in one page is where page cache and disk part ways.
#include "base/checked.h"
#include "transfer/planner.h"

#include <assert.h>
#include <inttypes.h>

/// A step this long or longer is cut at page boundaries.
#define CUT_ALIGNED_FROM UINT64_C(65536)

static dray_status fail_copy(dray_error *error, dray_status status, const dray_segment *run)
{
    if (error)
        error->index = run->copy_index;
    return dray_fail_within(error, status, "copy %u", run->copy_index);
}

// --- plain runs ----------------------------------------------------------------------------------------

/// `run` in pieces of at most `limit`. When `alignment` is not 0 the cuts lie where `position` + the
/// bytes before them is a multiple of it.
static dray_status cut_pieces(drayi_planner *planner, uint32_t edge, dray_segment run,
                              uint64_t limit, uint64_t position, uint64_t alignment,
                              dray_error *error)
{
    for (uint64_t left = run.run_bytes, piece; left > 0; left -= piece) {
        piece = drayi_min(left, limit);
        if (piece < left && alignment)
            piece -= (position + piece) % alignment;
        run.run_bytes = piece;
        DRAY_TRY(drayi_planner_pack(planner, edge, &run, piece, error));
        run.source_offset += piece;
        run.target_offset += piece;
        position += piece;
    }
    return DRAY_OK;
}

/// `position`: of the run in its file; cuts there fall between pages. DRAY_UNKNOWN: no file, cut anywhere.
static dray_status cut_plain(drayi_planner *planner, const drayi_hop *hop, const dray_segment *run,
                             uint64_t position, dray_error *error)
{
    if (run->run_bytes == 0)
        return DRAY_OK;
    if (hop->plain == DRAYI_NO_EDGE)
        return fail_copy(
            error,
            dray_fail(error, DRAY_E_UNSUPPORTED,
                      "%" PRIu64 " bytes are not aligned for direct I/O, and no backend moves them "
                      "through the page cache",
                      run->run_bytes),
            run);
    uint64_t limit = drayi_planner_step_bytes(planner, &planner->plan->edges[hop->plain].edge);
    bool between_pages = position != DRAY_UNKNOWN && limit >= CUT_ALIGNED_FROM;
    return cut_pieces(planner, hop->plain, *run, limit, position,
                      between_pages ? planner->page_bytes : 0, error);
}

// --- direct I/O -----------------------------------------------------------------------------------------

/// One end of a hop; NULL: the staging slot, whose first byte is aligned for everything.
typedef struct hop_ends {
    const drayi_plan_region *source, *target;
} hop_ends;

/// The direct part of a run, if there is one: its first byte and length, counted from the run's start.
typedef struct direct_part {
    uint64_t skip, bytes;
    uint64_t limit, alignment;
    uint64_t position;   // of the run, in the file
    const char *refusal; // NULL, or why its whole pages cannot go past the page cache
} direct_part;

static bool is_file(const drayi_plan_region *region)
{
    return region && region->native->storage == DRAY_STORAGE_DISK;
}

/// Can the edge carry `part` from or to this memory address? What the file demands of addresses, it
/// demands of the host's; device memory (`address` DRAY_UNKNOWN) is the backend's own affair.
static const char *direct_refusal(const drayi_planner *planner, const drayi_hop *hop,
                                  const drayi_plan_region *file, uint64_t address, direct_part *part)
{
    if (hop->direct == DRAYI_NO_EDGE)
        return "no backend of the agent does direct I/O here";
    if (file->native->direct_fd < 0)
        return "the file system takes no direct I/O on this file";
    if (file->native->direct_memory_align && address != DRAY_UNKNOWN &&
        (address + part->skip) % file->native->direct_memory_align != 0)
        return "the memory does not have the file's phase";
    const dray_edge *edge = &planner->plan->edges[hop->direct].edge;
    part->limit = drayi_round_down(drayi_planner_step_bytes(planner, edge), part->alignment);
    if (part->limit == 0 && (edge->max_bytes == 0 || edge->max_bytes >= part->alignment))
        part->limit = part->alignment; // step_bytes asks for less than direct I/O can do
    return part->limit ? NULL : "the edge's largest operation is smaller than one aligned block";
}

/// One of the ends is a file, and only one.
static direct_part direct_find(const drayi_planner *planner, const drayi_hop *hop, hop_ends ends,
                               const dray_segment *run)
{
    bool reads = is_file(ends.source);
    const drayi_plan_region *file = reads ? ends.source : ends.target,
                            *memory = reads ? ends.target : ends.source;
    assert(file);
    uint64_t file_offset = reads ? run->source_offset : run->target_offset;
    uint64_t address =
        (memory ? memory->base : 0) + (reads ? run->target_offset : run->source_offset);
    direct_part part = {.alignment =
                            drayi_max(planner->page_bytes, file->native->direct_offset_align),
                        .position = file->base + file_offset};
    uint64_t first = (part.position + part.alignment - 1) / part.alignment * part.alignment;
    uint64_t end = (part.position + run->run_bytes) / part.alignment * part.alignment;
    if (first >= end)
        return part; // not one whole page: nothing to do directly
    part.skip = first - part.position;
    bool on_host = !memory || memory->native->pointer;
    part.refusal = direct_refusal(planner, hop, file, on_host ? address : DRAY_UNKNOWN, &part);
    part.bytes = part.refusal ? 0 : end - first;
    return part;
}

/// One plain run over one hop.
static dray_status cut_run(drayi_planner *planner, const drayi_hop *hop, hop_ends ends,
                           const dray_segment *run, dray_error *error)
{
    dray_direct policy = planner->options.direct;
    if (!is_file(ends.source) && !is_file(ends.target))
        return cut_plain(planner, hop, run, DRAY_UNKNOWN, error);
    if (is_file(ends.source) && is_file(ends.target)) // no memory of ours that could be aligned
        return cut_plain(planner, hop, run, ends.target->base + run->target_offset, error);
    direct_part part = direct_find(planner, hop, ends, run);
    if (policy == DRAY_DIRECT_NEVER)
        return cut_plain(planner, hop, run, part.position, error);
    if (part.refusal && (policy == DRAY_DIRECT_ONLY || hop->plain == DRAYI_NO_EDGE))
        return fail_copy(
            error,
            dray_fail(error, DRAY_E_UNSUPPORTED, "direct I/O cannot carry it: %s", part.refusal),
            run);
    if (part.bytes == 0)
        return cut_plain(planner, hop, run, part.position, error);
    dray_segment head = *run, middle = *run, tail = *run;
    head.run_bytes = part.skip;
    middle.source_offset += part.skip;
    middle.target_offset += part.skip;
    middle.run_bytes = part.bytes;
    tail.source_offset += part.skip + part.bytes;
    tail.target_offset += part.skip + part.bytes;
    tail.run_bytes -= part.skip + part.bytes;
    DRAY_TRY(cut_plain(planner, hop, &head, part.position, error));
    DRAY_TRY(cut_pieces(planner, hop->direct, middle, part.limit, part.position + part.skip,
                        part.alignment, error));
    return cut_plain(planner, hop, &tail, part.position + part.skip + part.bytes, error);
}

// --- loops -----------------------------------------------------------------------------------------------

/// A walk over a move: what is carried as loops by the edge, what is unrolled here.
typedef struct loop_walk {
    drayi_planner *planner;
    const drayi_move *move;
    const drayi_route *route;
    hop_ends ends;
    uint64_t limit;     // most bytes of a looped segment
    uint32_t max_loops; // the edge's
} loop_walk;

/// Bytes inside loop `level` and everything it encloses; bounds were checked, nothing overflows.
static uint64_t inner_bytes(const drayi_move *move, uint32_t level)
{
    uint64_t bytes = move->run_bytes;
    for (uint32_t i = level; i < move->loop_count; i++)
        bytes *= move->loops[i].count;
    return bytes;
}

/// Refuses before millions of segments are made, not after.
static dray_status unrolled_check(const drayi_planner *planner, const drayi_move *move,
                                  uint32_t levels, dray_error *error)
{
    uint64_t runs = 1;
    for (uint32_t i = 0; i < levels; i++)
        runs *= move->loops[i].count;
    if (runs <=
        DRAYI_PLAN_SEGMENTS_MAX - drayi_min(planner->plan->segment_count, DRAYI_PLAN_SEGMENTS_MAX))
        return DRAY_OK;
    dray_status status =
        dray_fail(error, DRAY_E_UNSUPPORTED,
                  "copy %u: its loops unroll into %" PRIu64 " segments, a plan holds %" PRIu64
                  " and has %" PRIu64 "; make the runs longer, or split the list over several plans",
                  move->copy_index, runs, DRAYI_PLAN_SEGMENTS_MAX, planner->plan->segment_count);
    if (error)
        error->index = move->copy_index;
    return status;
}

/// The loops from `level` on in segments that do at most `per_segment` turns of loop `level` each.
static dray_status emit_looped(const loop_walk *walk, uint32_t level, dray_segment segment,
                               uint64_t per_segment, dray_error *error)
{
    const dray_loop *loop = &walk->move->loops[level];
    uint32_t count = walk->move->loop_count - level;
    uint64_t body = inner_bytes(walk->move, level + 1);
    const dray_loop *whole = loop;
    for (uint64_t left = loop->count, turns; left > 0; left -= turns) {
        turns = drayi_min(left, per_segment);
        if (turns > 1 && turns != whole->count) {
            dray_loop *own =
                drayi_arena_alloc(&walk->planner->plan->loops, count * sizeof(*own), error);
            if (!own)
                return DRAY_E_NOMEM;
            for (uint32_t i = 0; i < count; i++)
                own[i] = loop[i];
            own[0].count = turns;
            whole = own;
        }
        segment.loop_count = turns > 1 ? count : count - 1;
        segment.loops = turns > 1 ? whole : (count > 1 ? loop + 1 : NULL);
        DRAY_TRY(drayi_planner_pack(walk->planner, walk->route->hops[0].plain, &segment,
                                    turns * body, error));
        segment.source_offset += turns * loop->source_stride;
        segment.target_offset += turns * loop->target_stride;
    }
    return DRAY_OK;
}

/// At most DRAY_LOOPS_MAX deep.
static dray_status walk_level(const loop_walk *walk, uint32_t level, dray_segment segment,
                              dray_error *error)
{
    const drayi_move *move = walk->move;
    if (level == move->loop_count)
        return cut_run(walk->planner, &walk->route->hops[0], walk->ends, &segment, error);
    const dray_loop *loop = &move->loops[level];
    uint64_t body = inner_bytes(move, level + 1);
    if (move->loop_count - level <= walk->max_loops && body <= walk->limit)
        return emit_looped(walk, level, segment, drayi_min(loop->count, walk->limit / body), error);
    for (uint64_t i = 0; i < loop->count; i++) {
        DRAY_TRY(walk_level(walk, level + 1, segment, error));
        segment.source_offset += loop->source_stride;
        segment.target_offset += loop->target_stride;
    }
    return DRAY_OK;
}

/// How many of the outer loops walk_level() unrolls at least.
static uint32_t unrolled_levels(const loop_walk *walk)
{
    uint32_t level = 0;
    while (level < walk->move->loop_count && (walk->move->loop_count - level > walk->max_loops ||
                                              inner_bytes(walk->move, level + 1) > walk->limit))
        level++;
    return level;
}

static dray_segment first_segment(const drayi_planner *planner, const drayi_move *move)
{
    return (dray_segment){
        .source = planner->plan->regions[move->source].region,
        .target = planner->plan->regions[move->target].region,
        .source_offset = move->source_offset,
        .target_offset = move->target_offset,
        .run_bytes = move->run_bytes,
        .copy_index = move->copy_index,
    };
}

static dray_status cut_straight(drayi_planner *planner, const drayi_move *move,
                                const drayi_route *route, hop_ends ends, dray_error *error)
{
    const drayi_hop *hop = &route->hops[0];
    loop_walk walk = {.planner = planner, .move = move, .route = route, .ends = ends};
    bool direct = planner->options.direct != DRAY_DIRECT_NEVER &&
                  (is_file(ends.source) || is_file(ends.target)) &&
                  move->run_bytes >= planner->page_bytes;
    if (hop->plain != DRAYI_NO_EDGE &&
        !direct) { // runs that may hold whole pages are looked at one by one
        const dray_edge *edge = &planner->plan->edges[hop->plain].edge;
        walk.max_loops = edge->max_loops;
        walk.limit = drayi_planner_step_bytes(planner, edge);
    }
    if (move->loop_count)
        DRAY_TRY(unrolled_check(planner, move, unrolled_levels(&walk), error));
    return walk_level(&walk, 0, first_segment(planner, move), error);
}

// --- through staging ---------------------------------------------------------------------------------------

static dray_status flush_hop(drayi_planner *planner, drayi_packing packing, dray_error *error)
{
    planner->packing = packing;
    for (uint32_t i = 0; i < planner->staged_count; i++) {
        const drayi_staged_run *run = &planner->staged[i];
        dray_segment segment = first_segment(planner, run->move);
        segment.run_bytes = run->bytes;
        segment.source_offset = run->source_offset;
        segment.target_offset = run->target_offset;
        hop_ends ends = {0};
        if (packing == DRAYI_PACK_INTO_SLOT) {
            ends.source = &planner->plan->regions[run->move->source];
            segment.target = NULL;
            segment.target_offset = run->slot_offset;
        } else {
            ends.target = &planner->plan->regions[run->move->target];
            segment.source = NULL;
            segment.source_offset = run->slot_offset;
        }
        uint32_t hop = packing == DRAYI_PACK_INTO_SLOT ? 0 : 1;
        const drayi_hop *way = &planner->staged_hops[hop];
        if (run->loops && run->looped_hop == hop) {
            segment.run_bytes = run->move->run_bytes;
            segment.loops = run->loops;
            segment.loop_count = run->loop_count;
            DRAY_TRY(drayi_planner_pack(planner, way->plain, &segment, run->bytes, error));
        } else {
            DRAY_TRY(cut_run(planner, way, ends, &segment, error));
        }
    }
    return drayi_planner_flush(planner, error);
}

dray_status drayi_planner_flush_staged(drayi_planner *planner, dray_error *error)
{
    if (planner->staged_count == 0)
        return DRAY_OK;
    DRAY_TRY(drayi_planner_open_unit(planner, error));
    DRAY_TRY(flush_hop(planner, DRAYI_PACK_INTO_SLOT, error));
    DRAY_TRY(flush_hop(planner, DRAYI_PACK_OUT_OF_SLOT, error));
    planner->packing = DRAYI_PACK_STRAIGHT;
    planner->plan->slot_bytes = drayi_max(planner->plan->slot_bytes, planner->slot_used);
    planner->staged_count = 0;
    planner->slot_used = 0;
    return DRAY_OK;
}

/// The file's position, which the slot mirrors so that direct I/O works on it; else the target's.
static uint64_t mirrored_position(hop_ends ends, const dray_segment *run)
{
    if (is_file(ends.source) || !is_file(ends.target))
        return ends.source->base + run->source_offset;
    return ends.target->base + run->target_offset;
}

/// Fills the slot with pieces of the run, each at the phase of its file; full slots become units.
static dray_status stage_run(drayi_planner *planner, const drayi_move *move, hop_ends ends,
                             dray_segment run, dray_error *error)
{
    uint64_t alignment = planner->staged_alignment;
    while (run.run_bytes > 0) {
        uint64_t phase = mirrored_position(ends, &run) % alignment;
        uint64_t at =
            planner->slot_used + (phase + alignment - planner->slot_used % alignment) % alignment;
        if (planner->staged_count == DRAYI_STAGED_RUNS_MAX || at >= planner->staged_max) {
            DRAY_TRY(drayi_planner_flush_staged(planner, error)); // an empty slot always has room
            continue;
        }
        uint64_t piece = drayi_min(run.run_bytes, planner->staged_max - at);
        planner->staged[planner->staged_count++] =
            (drayi_staged_run){.move = move,
                               .source_offset = run.source_offset,
                               .target_offset = run.target_offset,
                               .bytes = piece,
                               .slot_offset = at};
        planner->slot_used = at + piece;
        run.source_offset += piece;
        run.target_offset += piece;
        run.run_bytes -= piece;
    }
    return DRAY_OK;
}

static dray_status stage_level(drayi_planner *planner, const drayi_move *move, hop_ends ends,
                               uint32_t level, dray_segment segment, dray_error *error)
{
    if (level == move->loop_count)
        return stage_run(planner, move, ends, segment, error);
    for (uint64_t i = 0; i < move->loops[level].count; i++) {
        DRAY_TRY(stage_level(planner, move, ends, level + 1, segment, error));
        segment.source_offset += move->loops[level].source_stride;
        segment.target_offset += move->loops[level].target_stride;
    }
    return DRAY_OK;
}

/// Neither end is a file, so a run is cut by its length only.
static drayi_track track_of(const drayi_planner *planner, const drayi_move *move,
                            const drayi_route *route, hop_ends ends)
{
    const drayi_hop *hop = &route->hops[0];
    if (is_file(ends.source) || is_file(ends.target) || hop->plain == DRAYI_NO_EDGE)
        return (drayi_track){.known = false};
    return (drayi_track){
        .known = true,
        .source = move->source,
        .target = move->target,
        .edge = hop->plain,
        .limit = drayi_planner_step_bytes(planner, &planner->plan->edges[hop->plain].edge)};
}

static bool is_on_track(const drayi_track *track, const drayi_move *move)
{
    return track->known && track->source == move->source && track->target == move->target &&
           move->loop_count == 0 && move->run_bytes <= track->limit;
}

dray_status drayi_planner_cut(drayi_planner *planner, const drayi_move *move, dray_error *error)
{
    if (is_on_track(&planner->track, move)) {
        dray_segment segment = first_segment(planner, move);
        return drayi_planner_pack(planner, planner->track.edge, &segment, move->run_bytes, error);
    }
    const drayi_route *route;
    DRAY_TRY(drayi_planner_route(planner, move, &route, error));
    hop_ends ends = {&planner->plan->regions[move->source], &planner->plan->regions[move->target]};
    if (route->hop_count == 1) {
        bool gathered = false;
        if (move->loop_count && route->gathers)
            DRAY_TRY(drayi_planner_gather(planner, move, route, &gathered, error));
        if (gathered)
            return DRAY_OK;
        planner->track = track_of(planner, move, route, ends);
        return cut_straight(planner, move, route, ends, error);
    }
    if (planner->staged_hops != route->hops)
        DRAY_TRY(drayi_planner_flush_staged(planner, error));
    planner->staged_hops = route->hops;
    DRAY_TRY(unrolled_check(planner, move, move->loop_count, error));
    return stage_level(planner, move, ends, 0, first_segment(planner, move), error);
}
