/// Lanes are as wide as everything allows: all offsets, strides and the length of a run are looked at, because
/// a lane that the first run would take may be misaligned in a later one.
#include "device/run_loops.h"

#include "base/checked.h"

uint64_t drayi_device_run_count(const dray_device_run *run)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < run->loop_count; i++)
        count *= run->loops[i].count;
    return count;
}

static void side_advance(dray_device_side *side, uint64_t bytes)
{
    if (side->pointer)
        side->pointer = (char *)side->pointer + bytes;
    side->address += bytes;
}

dray_device_run drayi_device_run_at(const dray_device_run *run, uint64_t index)
{
    dray_device_run one = {.from = run->from, .to = run->to, .bytes = run->bytes};
    uint64_t source = 0, target = 0;
    for (uint32_t i = run->loop_count; i-- > 0;) {
        const dray_loop *loop = &run->loops[i];
        source += index % loop->count * loop->source_stride;
        target += index % loop->count * loop->target_stride;
        index /= loop->count;
    }
    side_advance(&one.from, source);
    side_advance(&one.to, target);
    return one;
}

static uint32_t lane_bytes(const dray_device_run *run, uint64_t source, uint64_t target)
{
    uint64_t all = source | target | run->bytes | 16;
    for (uint32_t i = 0; i < run->loop_count; i++)
        all |= run->loops[i].source_stride | run->loops[i].target_stride;
    return (uint32_t)(all & (~all + 1)); // the lowest bit that is set anywhere
}

bool drayi_device_lanes_of(const dray_device_run *run, uint64_t source, uint64_t target,
                           drayi_device_lanes *out)
{
    uint32_t lane = lane_bytes(run, source, target);
    uint64_t total = run->bytes / lane;
    *out = (drayi_device_lanes){.source = source / lane,
                                .target = target / lane,
                                .counts = {1, 1, 1, 1},
                                .run = (uint32_t)total,
                                .lane_bytes = lane};
    for (uint32_t i = 0; i < run->loop_count; i++) {
        const dray_loop *loop = &run->loops[i];
        uint32_t at = DRAY_LOOPS_MAX - run->loop_count + i;
        out->counts[at] = (uint32_t)loop->count;
        out->source_strides[at] = loop->source_stride / lane;
        out->target_strides[at] = loop->target_stride / lane;
        if (!drayi_mul(total, loop->count, &total))
            return false;
    }
    out->total = (uint32_t)total;
    return total <= INT32_MAX; // whoever counts on from there by some millions stays below 2^32
}

uint32_t drayi_device_lanes_kernel(const drayi_device_lanes *lanes)
{
    return (uint32_t)__builtin_ctz(lanes->lane_bytes);
}
