/// The simulated device's inside door: tests make it slow, small and broken.
#ifndef DRAY_DEVICE_SIM_SIM_H
#define DRAY_DEVICE_SIM_SIM_H

#include "dray/spi/device.h"

enum {
    DRAYI_SIM_DEVICES = 2,
    // its "driver codes"
    DRAYI_SIM_INVALID = 1,
    DRAYI_SIM_OUT_OF_MEMORY = 2,
    DRAYI_SIM_FAILED = 3, // a job failed on the device
    DRAYI_SIM_LOST = 4    // sticky: nothing works any more
};
#define DRAYI_SIM_CAPACITY (UINT64_C(1) << 30)

/// Counted from drayi_sim_set_faults() on; 0: never.
typedef struct drayi_sim_faults {
    uint64_t allocate_at; // the Nth allocation finds no memory
    uint64_t start_at;    // the Nth job is refused
    uint64_t finish_at;   // the Nth job fails on the device, with half of its first run done
    uint64_t hint_at;     // the Nth hint is refused
    bool sticky;          // after a job that failed, everything fails
    uint32_t queries_before_done; // how often a job answers "not yet"
    uint64_t capacity_bytes;      // 0: DRAYI_SIM_CAPACITY
} drayi_sim_faults;

typedef struct drayi_sim_counters {
    uint64_t used_bytes, streams, jobs, runs, bytes;
} drayi_sim_counters;

void drayi_sim_set_faults(dray_device_self *device, const drayi_sim_faults *faults);
void drayi_sim_get_counters(dray_device_self *device, drayi_sim_counters *out);

#endif
