/// A finished plan: what the planner hands to the runner and to the printer.
///
/// Units are dealt to lanes round-robin: unit u runs on lane u % lanes. A unit is one step, or, for
/// bytes that pass through staging, the steps into the lane's slot and then those out of it. The steps
/// of a unit run one after the other.
#ifndef DRAY_TRANSFER_PLAN_H
#define DRAY_TRANSFER_PLAN_H

#include "base/arena.h"
#include "dray/transfer.h"
#include "memory/region.h"

/// Most segments in one plan: 2^26 of them are 3.5 GiB of bookkeeping already.
#define DRAYI_PLAN_SEGMENTS_MAX (UINT64_C(1) << 26)

/// An edge of the agent, with what this plan sends over it.
typedef struct drayi_plan_edge {
    dray_edge edge;
    uint32_t backend;         // index in the agent's list
    const char *backend_name; // static, from the backend's table
    bool must_poll;           // it cannot wake a sleeper
    uint64_t bytes, segments, steps;
} drayi_plan_edge;

/// One operation of one backend.
typedef struct drayi_step {
    uint64_t bytes;
    uint32_t first_segment, segment_count;
    uint32_t edge;  // index in dray_plan.edges
    uint32_t lands; // 1: afterwards the bytes are at their target; 0: in staging
} drayi_step;

/// A backend's reason not to take a region; its edges were passed over.
typedef struct drayi_refusal {
    struct drayi_refusal *next;
    const char *backend_name; // static
    char why[256];
} drayi_refusal;

/// A region that the plan touches, looked at once.
typedef struct drayi_plan_region {
    dray_region *region;
    const dray_region_native *native;
    uint64_t base;       // address, or file offset, of its first byte
    uint64_t refused_by; // bit per backend of the agent that does not take it
    bool asked;          // refused_by is known
    uint32_t group;      // regions that may share bytes have the same one
    bool is_source, is_target;
    bool compared_as_source, compared_as_target; // by the overlap check
} drayi_plan_region;

struct dray_plan {
    drayi_env *env;
    const dray_agent *agent; // compared, never followed: the plan may outlive it
    drayi_plan_edge *edges;
    uint32_t edge_count;

    drayi_plan_region *regions;
    uint64_t region_count, region_capacity;
    drayi_refusal *refusals;

    dray_segment *segments; // a NULL region is the lane's staging slot
    uint64_t segment_count, segment_capacity;
    drayi_step *steps;
    uint64_t step_count, step_capacity;
    uint32_t *units; // first step of each
    uint64_t unit_count, unit_capacity;

    uint32_t *copy_segments; // per copy: segments that land; 0: the copy is empty
    uint64_t copy_count;
    drayi_arena loops; // what segments[].loops points to

    uint32_t lanes;
    uint64_t slot_bytes, slot_alignment; // one staging slot; 0: the plan needs none
    struct dray_device *staging_device;  // locks the slots; NULL: they are ordinary memory
    uint64_t bytes, direct_bytes;
};

/// One past the last step of a unit.
static inline uint64_t drayi_plan_unit_end(const dray_plan *plan, uint64_t unit)
{
    return unit + 1 < plan->unit_count ? plan->units[unit + 1] : plan->step_count;
}

#endif
