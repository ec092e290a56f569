/// The host's inside: Linux memory as a backend of hints, in the shape of a family of devices.
///
///     host_hints.c   what there is, what a range is, what is set on it; the table
///     host_calls.c   making the calls, and measuring what they did
///     host_maps.c    /proc/self/smaps
#ifndef DRAY_HINTS_HOST_H
#define DRAY_HINTS_HOST_H

#include "base/env.h"
#include "dray/spi/hints.h"
#include "hints/host_maps.h"
#include "memory/extent.h"

extern const dray_device_hints_ops drayi_host_hints;

/// The host as a device. Owns: what it read of the mappings.
dray_status drayi_host_open(drayi_env *env, dray_device_self **out_host, dray_error *error);
void drayi_host_close(dray_device_self *host);

/// What is true of the host for all backends: pages, nodes, locks, free memory.
void drayi_host_facts(drayi_env *env, dray_hint_abilities *out);

// host_calls.c
struct dray_device_self {
    drayi_env *env;
    uint32_t queues;      // open ones; the mappings are remembered only between their calls
    drayi_host_maps maps; // count 0: to be read
};
dray_status drayi_host_call(dray_hint_queue *queue, const dray_hint_call *call,
                            const dray_hint_call_range *ranges, dray_hint_answer *out_answer,
                            dray_error *error);
/// The mappings as of now; with their settings where `settings`.
dray_status drayi_host_look_up(dray_device_self *host, bool settings, dray_error *error);

#endif
