/// A list of accesses, and the reader of its text.
#ifndef DRAY_HINTS_ACCESS_TRACE_H
#define DRAY_HINTS_ACCESS_TRACE_H

#include "base/env.h"
#include "dray/simulate.h"

struct dray_trace {
    drayi_env *env;
    dray_access *accesses;
    uint64_t count, capacity;
    uint64_t end_bytes;
    uint32_t devices;
};

#endif
