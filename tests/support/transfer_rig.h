/// A context with simulated backends, files in memory and a counting allocator: where planner, agent and
/// transfers are tested.
#ifndef DRAY_TESTS_TRANSFER_RIG_H
#define DRAY_TESTS_TRANSFER_RIG_H

#include "backend_sim.h"
#include "core/context.h"
#include "counting_allocator.h"
#include "dray/transfer.h"
#include "fake_files.h"

typedef struct transfer_rig {
    counting_allocator counter;
    drayi_os os;
    dray_context *context;
    dray_agent *agent;
    dray_error error;
    char log[1024]; // what the log sink got, line by line
} transfer_rig;

/// Set up backend_sims[] before. The agent has "sim" alone, or "sim" and "sim2" with `both`, or none with
/// `agent` false.
void transfer_rig_open(transfer_rig *rig, bool agent, bool both);
/// Fails the test when memory or descriptors were not given back.
void transfer_rig_close(transfer_rig *rig);

dray_region *transfer_rig_wrap(transfer_rig *rig, void *bytes, uint64_t count);
dray_region *transfer_rig_file(transfer_rig *rig, uint32_t index, void *bytes, uint64_t count,
                               uint32_t align);
dray_region *transfer_rig_null(transfer_rig *rig, uint64_t count);

/// The whole way: plan, transfer, submit, wait. The first failure's status; rig->error says why.
dray_status transfer_rig_run(transfer_rig *rig, const dray_copy *copies, uint64_t count,
                             const dray_plan_options *options);

/// What the copies mean, element by element, on the tests' own arrays.
void transfer_rig_expect(const dray_copy *copy, const uint8_t *source, uint8_t *target);

#endif
