/// The runner: lanes that carry out a plan, one operation each.
///
///     step fetched -> READY (queued at its backend) -> IN_FLIGHT (the backend took it) -> handed back
///
/// Each backend has one queue of ready lanes over all transfers of the agent, first come first served: no
/// transfer starves, and shares are in proportion to lanes. All bookkeeping of a poll is done before the
/// first callback runs, so callbacks may start, poll and cancel transfers.
#ifndef DRAY_TRANSFER_RUN_H
#define DRAY_TRANSFER_RUN_H

#include "transfer/agent.h"
#include "transfer/plan.h"

/// An operation this small, alone and waited for, is done at once instead of being queued.
#define DRAYI_SMALL_SYNC_BYTES UINT64_C(65536)
/// A transfer this small that takes nothing but the processor is done at once by whoever waits for it.
#define DRAYI_AT_ONCE_BYTES (UINT64_C(2) << 20)

typedef enum drayi_lane_state {
    DRAYI_LANE_IDLE,
    DRAYI_LANE_READY,
    DRAYI_LANE_IN_FLIGHT
} drayi_lane_state;

typedef struct drayi_lane {
    dray_op op;
    dray_transfer *transfer;
    struct drayi_lane *next_ready;
    dray_region *slot; // staging; NULL: none
    uint64_t unit;
    uint32_t step, step_end;
    uint32_t backend; // of the current step
    drayi_lane_state state;
} drayi_lane;

typedef enum drayi_run_state {
    DRAYI_RUN_NEVER,
    DRAYI_RUN_GOES_ON,
    DRAYI_RUN_ENDED
} drayi_run_state;

struct dray_transfer {
    dray_agent *agent;
    dray_plan *plan;
    dray_transfer_options options;
    drayi_lane *lanes;
    uint32_t lane_count;    // the plan's, and one more for the notice when there is one
    dray_peer *notice_peer; // NULL: nobody is notified
    uint32_t notice_backend;
    dray_notice notice;
    void *notice_bytes;         // our copy
    bool notice_told;           // in this run, or it is on its way
    dray_segment *own_segments; // the plan's, with the lanes' slots put in; NULL: the plan's own serve
    dray_region *staging;       // all slots
    bool *uses_backend;         // per backend of the agent
    uint64_t attached_count;    // how many (region, backend) pairs were attached, in attach order
    int watch_fd;               // joins the fds of several backends for arm; -1: not opened
    bool can_be_held;           // small enough to be held back until somebody polls or waits
    bool at_once;               // of these, one that needs nothing but the processor

    drayi_run_state state;
    bool held;     // nothing is queued yet, and copy_left not filled: wait may have it done at once
    bool stopping; // nothing more is submitted
    uint64_t in_flight;
    uint64_t working_lanes; // lanes that have a step in hand
    dray_error error;       // why it stopped
    dray_status status;

    uint32_t *empty_list; // copies that are done before they start
    uint64_t empty_copies;
    uint32_t *copy_left;             // per copy: segments that have not landed
    uint32_t *done_copies;           // copies in the order they were completed
    uint64_t done_count, told_count; // how many are done; of how many the caller was told
    uint64_t bytes_done, bytes_told;
    bool telling; // a callback runs
    bool listed;  // in agent->running
    dray_transfer *next_running;
};

/// Puts every lane to its first step. The transfer is in agent->running afterwards.
void drayi_run_start(dray_transfer *transfer);
/// Queues what start held back. `waiting`: the caller does nothing else meanwhile.
void drayi_run_release(dray_transfer *transfer, bool waiting);
/// Carries out what start held back, in the calling thread, as far as the backends do that; the rest is
/// queued. The caller waits for this transfer, and no other one runs.
void drayi_run_at_once(dray_transfer *transfer);
/// Nothing more is submitted; the run ends when nothing is in flight. `error` says why.
void drayi_run_stop(dray_transfer *transfer, dray_status status, const dray_error *error);
/// Gives every backend as many ready operations as it takes.
bool drayi_agent_submit(dray_agent *agent);
/// Lets backends work, takes back operations and submits new ones, without any callback.
/// True: something moved.
bool drayi_agent_work(dray_agent *agent);
/// Makes the callbacks that are due and takes ended transfers off the list.
void drayi_agent_tell(dray_agent *agent);
/// Sleeps until a backend has news, at most until the deadline (-1: none). `*idle` counts the calls
/// without news in a row.
void drayi_agent_sleep(dray_agent *agent, int64_t deadline_ns, uint32_t *idle);
void drayi_agent_unlist(dray_agent *agent, dray_transfer *transfer);

#endif
