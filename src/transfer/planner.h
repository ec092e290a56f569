/// The planner at work: what plan.c, plan_regions.c, overlap.c, route.c, cut.c and pack.c share.
///
///     copies --(plan.c: check, normalise)--> moves --(overlap.c)--> --(route.c)--> hops
///            --(cut.c)--> plain or looped segments --(pack.c)--> steps, units
///
/// Nothing here makes a system call; everything lives until dray_plan_create() returns.
#ifndef DRAY_TRANSFER_PLANNER_H
#define DRAY_TRANSFER_PLANNER_H

#include "transfer/agent.h"
#include "transfer/plan.h"

#define DRAYI_NO_EDGE UINT32_MAX
/// Runs that the exact overlap check enumerates at most, per group of copies that cross.
#define DRAYI_OVERLAP_RUNS_MAX (UINT64_C(1) << 20)

/// A copy after the checks: no loop of count 1, none that only continues the run.
typedef struct drayi_move {
    uint32_t source, target; // indices in dray_plan.regions
    uint64_t source_offset, target_offset;
    uint64_t run_bytes;
    uint64_t runs;          // product of the loops' counts
    const dray_loop *loops; // in the plan's arena; NULL when loop_count is 0
    uint32_t loop_count;
    uint32_t copy_index;
} drayi_move;

/// [start, end) of the address space of a group: the box around one side of a move, or one of its runs.
typedef struct drayi_extent {
    uint64_t start, end;
    uint32_t move;
    uint32_t group : 31;
    uint32_t is_target : 1;
} drayi_extent;

/// From one storage kind to another: the cheapest edge, and the cheapest one past the page cache.
typedef struct drayi_hop {
    uint32_t plain, direct; // indices in dray_plan.edges, or DRAYI_NO_EDGE
} drayi_hop;

typedef struct drayi_route {
    bool known;
    uint32_t hop_count; // 0: no way
    drayi_hop hops[2];
    bool gathers; // one hop with host memory at one end, that could go through staging, too
    drayi_hop gather[2];
} drayi_route;

/// A route with a device at one end or both, or one that some backend refuses to serve.
typedef struct drayi_device_route {
    struct drayi_device_route *next;
    dray_storage from, to;
    const struct dray_device *source, *target; // NULL: no device at that end
    uint64_t refused[2];                       // drayi_plan_region.refused_by of both ends
    drayi_route route;
} drayi_device_route;

/// Collects the segments of the next step of one edge.
typedef struct drayi_packer {
    dray_segment *segments;
    uint64_t room; // of `segments`, which grow up to `capacity`
    uint32_t count, capacity;
    uint64_t bytes;
    uint64_t limit; // most bytes of a step
} drayi_packer;

/// On its way through staging: a plain run, or several that lie together in the slot and on one side (gather.c).
typedef struct drayi_staged_run {
    const drayi_move *move;
    uint64_t source_offset, target_offset, bytes;
    uint64_t slot_offset;
    const dray_loop *loops; // between the other side and the slot; NULL: a plain run
    uint32_t loop_count;
    uint32_t looped_hop; // 0: into the slot, 1: out of it
} drayi_staged_run;

#define DRAYI_STAGED_RUNS_MAX 256

/// What the segments being packed do: a step of its own makes a unit; a unit in staging has several.
typedef enum drayi_packing {
    DRAYI_PACK_STRAIGHT,
    DRAYI_PACK_INTO_SLOT,
    DRAYI_PACK_OUT_OF_SLOT
} drayi_packing;

/// Where the last plain run between two memories went: most copies of a list are like the one before.
typedef struct drayi_track {
    bool known;
    uint32_t source, target, edge;
    uint64_t limit; // most bytes of one segment
} drayi_track;

typedef struct drayi_planner {
    drayi_env *env;
    const dray_agent *agent;
    dray_plan *plan;
    dray_plan_options options;
    uint64_t page_bytes;
    const dray_copy *copies;

    drayi_move *moves; // one per copy that is not empty
    uint64_t move_count;
    uint32_t *region_slots; // open hash from region to index + 1
    uint64_t region_slot_count;
    uint32_t last_source, last_target; // most copies use the regions of the copy before

    drayi_track track;
    drayi_route routes[DRAY_STORAGE_COUNT][DRAY_STORAGE_COUNT];
    drayi_device_route *device_routes; // newest first
    drayi_packing packing;
    drayi_packer *packers; // two per edge: for single hops, for the unit in staging
    drayi_staged_run *staged;
    uint32_t staged_count;
    const drayi_hop *staged_hops; // both hops of what is being staged
    uint64_t slot_used;           // bytes of the slot that the unit being built takes
    uint64_t staged_max;          // bytes of a unit
    uint64_t staged_alignment;
    uint32_t staged_lanes; // 0: no copy needs staging so far
} drayi_planner;

// plan_regions.c
/// The index of a region, which is looked at when it is new.
dray_status drayi_planner_region(drayi_planner *planner, dray_region *region, uint32_t *out_index,
                                 dray_error *error);
/// Gives regions that may share bytes the same group. Call when all are known.
dray_status drayi_planner_group_regions(drayi_planner *planner, dray_error *error);

// overlap.c
/// Sorts by group and start; `scratch` holds `count` too.
void drayi_extents_sort(drayi_extent *extents, drayi_extent *scratch, uint64_t count);
/// Refuses targets that overlap each other or a source.
dray_status drayi_planner_check_overlap(drayi_planner *planner, dray_error *error);

// route.c
dray_status drayi_planner_route(drayi_planner *planner, const drayi_move *move,
                                const drayi_route **out_route, dray_error *error);
/// Most bytes that a step on this edge should have; UINT64_MAX when nobody minds.
uint64_t drayi_planner_step_bytes(const drayi_planner *planner, const dray_edge *edge);
/// At the first copy that needs staging: how large, how many slots (planner->staged_*).
dray_status drayi_planner_size_staging(drayi_planner *planner, const drayi_route *route,
                                       dray_error *error);

// cut.c
dray_status drayi_planner_cut(drayi_planner *planner, const drayi_move *move, dray_error *error);
/// Ends the unit in staging, if one is being built.
dray_status drayi_planner_flush_staged(drayi_planner *planner, dray_error *error);

// gather.c
/// Takes a move of short runs through staging where that joins them; *out_taken: it did.
dray_status drayi_planner_gather(drayi_planner *planner, const drayi_move *move,
                                 const drayi_route *route, bool *out_taken, dray_error *error);

// pack.c
dray_status drayi_planner_packers(drayi_planner *planner, dray_error *error);
/// Adds a segment (`bytes` in all) to the step that the edge collects.
dray_status drayi_planner_pack(drayi_planner *planner, uint32_t edge, const dray_segment *segment,
                               uint64_t bytes, dray_error *error);
/// Writes the steps that are still being collected in the planner's way of packing.
dray_status drayi_planner_flush(drayi_planner *planner, dray_error *error);
/// The steps written from now on start a new unit.
dray_status drayi_planner_open_unit(drayi_planner *planner, dray_error *error);

#endif
