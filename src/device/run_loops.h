/// Copies with loops, as devices see them: run by run, or as numbers for a kernel.
#ifndef DRAY_DEVICE_RUN_LOOPS_H
#define DRAY_DEVICE_RUN_LOOPS_H

#include "dray/spi/device.h"

/// Product of the loops' counts; the planner has checked that it fits.
uint64_t drayi_device_run_count(const dray_device_run *run);
/// Run `index` alone, outermost loop slowest.
dray_device_run drayi_device_run_at(const dray_device_run *run, uint64_t index);

/// What a kernel is told, in lanes of lane_bytes: places in its source and target, and how a lane's number is
/// taken apart: first its place in the run, then the turn of each loop, the innermost first. Loops that are not
/// there have one turn.
typedef struct drayi_device_lanes {
    uint64_t source, target;
    uint64_t source_strides[DRAY_LOOPS_MAX], target_strides[DRAY_LOOPS_MAX]; // outermost first
    uint32_t counts[DRAY_LOOPS_MAX];
    uint32_t run;        // lanes of a run
    uint32_t total;      // of all runs
    uint32_t lane_bytes; // 1, 2, 4, 8 or 16
} drayi_device_lanes;

enum { DRAYI_LANE_WIDTHS = 5 };

/// `source` and `target`: where the sides begin, in bytes from an address that any lane may begin at. The lane is
/// the widest that fits every run on both sides. False: more lanes than a kernel counts.
bool drayi_device_lanes_of(const dray_device_run *run, uint64_t source, uint64_t target,
                           drayi_device_lanes *out);
/// 0 to DRAYI_LANE_WIDTHS - 1: which of the kernels copies such lanes.
uint32_t drayi_device_lanes_kernel(const drayi_device_lanes *lanes);

#endif
