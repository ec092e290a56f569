/// The numbers of one replay: made in simulate.c, drawn in simulate_plot.c.
#ifndef DRAY_HINTS_SIMULATION_H
#define DRAY_HINTS_SIMULATION_H

#include "base/env.h"
#include "dray/simulate.h"

struct dray_simulation {
    drayi_env *env;
    dray_simulation_report report;
    uint64_t begin_ns, end_ns; // of the trace
    uint64_t point_ns;         // width of a point
    dray_simulation_point *points;
    uint32_t point_count, point_capacity;
};

#endif
