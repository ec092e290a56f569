/// Dispatch and completion: see run.h. Nothing here allocates.
#include "transfer/run.h"

#include "base/checked.h"
#include "os/os.h"

#include <inttypes.h>
#include <string.h>

enum {
    batch_max = 64,           // operations per call of submit and poll
    idle_spins = 200,         // polls without news before a backend that must be polled is slept on
    idle_sleep_max = 1000000, // 1 ms
};

/// What op.status holds while the backend has it: handing it back untouched is noticed.
#define STATUS_UNTOUCHED ((dray_status)0x7fffffff)

// --- the queue of a backend ------------------------------------------------------------------------------

static void ready_push(drayi_agent_backend *backend, drayi_lane *lane)
{
    lane->state = DRAYI_LANE_READY;
    lane->next_ready = NULL;
    if (backend->ready_last)
        backend->ready_last->next_ready = lane;
    else
        backend->ready_first = lane;
    backend->ready_last = lane;
}

static drayi_lane *ready_pop(drayi_agent_backend *backend)
{
    drayi_lane *lane = backend->ready_first;
    backend->ready_first = lane->next_ready;
    if (!backend->ready_first)
        backend->ready_last = NULL;
    return lane;
}

/// Takes back what the backend did not want, to the front, in the old order.
static void ready_unpop(drayi_agent_backend *backend, drayi_lane *lane)
{
    lane->state = DRAYI_LANE_READY;
    lane->next_ready = backend->ready_first;
    backend->ready_first = lane;
    if (!backend->ready_last)
        backend->ready_last = lane;
}

static void ready_remove_all(drayi_agent_backend *backend, const dray_transfer *transfer)
{
    drayi_lane *lane = backend->ready_first;
    backend->ready_first = backend->ready_last = NULL;
    while (lane) {
        drayi_lane *next = lane->next_ready;
        if (lane->transfer == transfer)
            lane->state = DRAYI_LANE_IDLE;
        else
            ready_push(backend, lane);
        lane = next;
    }
}

// --- steps of a lane ---------------------------------------------------------------------------------------

static const dray_segment *segments_of(const dray_transfer *transfer, const drayi_step *step)
{
    const dray_segment *all =
        transfer->own_segments ? transfer->own_segments : transfer->plan->segments;
    return all + step->first_segment;
}

static void lane_queue_step(drayi_lane *lane)
{
    dray_transfer *transfer = lane->transfer;
    const dray_plan *plan = transfer->plan;
    const drayi_step *step = &plan->steps[lane->step];
    const drayi_plan_edge *edge = &plan->edges[step->edge];
    lane->backend = edge->backend;
    lane->op.segments = segments_of(transfer, step);
    lane->op.segment_count = step->segment_count;
    lane->op.edge = edge->edge.id;
    lane->op.flags = 0;
    ready_push(&transfer->agent->backends[lane->backend], lane);
}

/// The first unit of a lane is its own number; the next is `lanes` further.
static bool lane_open_unit(drayi_lane *lane, uint64_t unit)
{
    const dray_plan *plan = lane->transfer->plan;
    if (unit >= plan->unit_count)
        return false;
    lane->unit = unit;
    lane->step = plan->units[unit];
    lane->step_end = (uint32_t)drayi_plan_unit_end(plan, unit);
    lane_queue_step(lane);
    return true;
}

/// After a step: the next one, if the lane has any.
static void lane_go_on(drayi_lane *lane)
{
    if (++lane->step < lane->step_end)
        lane_queue_step(lane);
    else if (!lane_open_unit(lane, lane->unit + lane->transfer->plan->lanes))
        lane->transfer->working_lanes--;
}

// --- a run's beginning and end -------------------------------------------------------------------------------

/// All bytes are at their target: now the peer may know.
static void queue_notice(dray_transfer *transfer)
{
    drayi_lane *lane = &transfer->lanes[transfer->lane_count - 1];
    transfer->notice_told = true;
    transfer->notice.remote = drayi_peer_remote(transfer->notice_peer);
    transfer->working_lanes++;
    lane->backend = transfer->notice_backend;
    lane->op.notice = &transfer->notice;
    lane->op.segments = NULL;
    lane->op.segment_count = 0;
    lane->op.flags = 0;
    ready_push(&transfer->agent->backends[lane->backend], lane);
}

static void run_end_if_over(dray_transfer *transfer)
{
    if (transfer->notice_peer && !transfer->notice_told && !transfer->stopping &&
        transfer->working_lanes == 0)
        queue_notice(transfer);
    bool over = transfer->stopping ? transfer->in_flight == 0 : transfer->working_lanes == 0;
    if (over && transfer->state == DRAYI_RUN_GOES_ON)
        transfer->state = DRAYI_RUN_ENDED;
}

static void copy_is_done(dray_transfer *transfer, uint32_t copy)
{
    transfer->done_copies[transfer->done_count++] = copy;
}

/// Which copies are still to come.
static void books_open(dray_transfer *transfer)
{
    const dray_plan *plan = transfer->plan;
    if (plan->copy_count)
        memcpy(transfer->copy_left, plan->copy_segments,
               plan->copy_count * sizeof(*transfer->copy_left));
    for (uint64_t i = 0; i < transfer->empty_copies; i++)
        copy_is_done(transfer, transfer->empty_list[i]);
}

/// The units from `first` on, each on its own lane.
static void lanes_open(dray_transfer *transfer, uint64_t first)
{
    const dray_plan *plan = transfer->plan;
    transfer->working_lanes = 0;
    for (uint64_t unit = first; unit < first + plan->lanes; unit++)
        transfer->working_lanes += lane_open_unit(&transfer->lanes[unit % plan->lanes], unit);
}

void drayi_run_start(dray_transfer *transfer)
{
    dray_agent *agent = transfer->agent;
    transfer->state = DRAYI_RUN_GOES_ON;
    transfer->stopping = false;
    transfer->status = DRAY_OK;
    transfer->in_flight = 0;
    transfer->notice_told = false;
    transfer->done_count = transfer->told_count = 0;
    transfer->bytes_done = transfer->bytes_told = 0;
    if (!transfer->listed) {
        transfer->next_running = agent->running;
        agent->running = transfer;
        transfer->listed = true;
    }
    transfer->held = transfer->can_be_held;
    if (transfer->held)
        return;
    books_open(transfer);
    lanes_open(transfer, 0);
    run_end_if_over(transfer);
}

void drayi_run_release(dray_transfer *transfer, bool waiting)
{
    if (!transfer->held)
        return;
    transfer->held = false;
    books_open(transfer);
    lanes_open(transfer, 0);
    if (waiting && transfer->plan->step_count == 1)
        transfer->lanes[0].op.flags = DRAY_OP_SMALL_SYNC;
}

void drayi_run_stop(dray_transfer *transfer, dray_status status, const dray_error *error)
{
    if (transfer->stopping || transfer->state != DRAYI_RUN_GOES_ON)
        return; // the first failure counts
    transfer->stopping = true;
    transfer->held = false;
    transfer->status = status;
    transfer->error = *error;
    for (uint64_t i = 0; i < transfer->agent->backend_count; i++)
        ready_remove_all(&transfer->agent->backends[i], transfer);
    run_end_if_over(transfer);
}

void drayi_agent_unlist(dray_agent *agent, dray_transfer *transfer)
{
    for (dray_transfer **at = &agent->running; *at; at = &(*at)->next_running) {
        if (*at == transfer) {
            *at = transfer->next_running;
            break;
        }
    }
    transfer->listed = false;
}

// --- completion ------------------------------------------------------------------------------------------------

static uint64_t segment_bytes(const dray_segment *segment)
{
    uint64_t bytes = segment->run_bytes;
    for (uint32_t i = 0; i < segment->loop_count; i++)
        bytes *= segment->loops[i].count;
    return bytes;
}

/// Says which copies the failed step belongs to; error->index is the one that holds byte `bytes_done` of it.
static dray_status fail_step(const dray_transfer *transfer, const drayi_step *step,
                             uint64_t bytes_done, dray_status status, dray_error *error)
{
    const dray_segment *segments = segments_of(transfer, step);
    uint32_t first = segments[0].copy_index, last = segments[step->segment_count - 1].copy_index,
             at = 0;
    for (uint64_t end = segment_bytes(&segments[0]);
         end <= bytes_done && at + 1 < step->segment_count;)
        end += segment_bytes(&segments[++at]);
    error->index = segments[at].copy_index;
    if (first == last)
        return dray_fail_within(error, status, "copy %u", first);
    return dray_fail_within(error, status, "one of copies %u to %u", first < last ? first : last,
                            first < last ? last : first);
}

static void step_landed(dray_transfer *transfer, const drayi_step *step)
{
    const dray_segment *segments = segments_of(transfer, step);
    for (uint32_t i = 0; i < step->segment_count; i++) {
        if (--transfer->copy_left[segments[i].copy_index] == 0)
            copy_is_done(transfer, segments[i].copy_index);
    }
}

/// What the backend says of the step, checked: OK means every byte.
static dray_status op_verdict(const drayi_agent_backend *backend, const drayi_step *step,
                              dray_op *op)
{
    const char *name = backend->ops->name;
    if (op->status == STATUS_UNTOUCHED)
        return dray_fail(&op->error, DRAY_E_INTERNAL,
                         "backend %s: handed an operation back without a status", name);
    if (op->status == DRAY_OK && op->bytes_done != step->bytes)
        return dray_fail(&op->error, DRAY_E_INTERNAL,
                         "backend %s: called an operation of %" PRIu64 " bytes done after %" PRIu64,
                         name, step->bytes, op->bytes_done);
    if (op->status != DRAY_OK && op->error.status != op->status)
        return dray_fail(&op->error, op->status, "backend %s: failed (%s) without saying why", name,
                         dray_status_name(op->status));
    op->error.message[sizeof(op->error.message) - 1] = '\0';
    return op->status;
}

/// What counts of a step's bytes: of a backend that broke its contract, none.
static uint64_t bytes_believed(const dray_op *op, const drayi_step *step)
{
    return op->error.status == DRAY_E_INTERNAL ? 0 : drayi_min(op->bytes_done, step->bytes);
}

/// Steps [0, count) have landed.
static void steps_landed(dray_transfer *transfer, uint64_t count)
{
    const dray_plan *plan = transfer->plan;
    bool told = !transfer->options.copy_done && !transfer->options.progress;
    if (count == plan->step_count && told) { // nobody asks in which order
        transfer->done_count = transfer->told_count = plan->copy_count;
        transfer->bytes_done = transfer->bytes_told = plan->bytes;
        return;
    }
    books_open(transfer);
    for (uint64_t i = 0; i < count; i++) {
        transfer->bytes_done += plan->steps[i].bytes;
        step_landed(transfer, &plan->steps[i]);
    }
}

/// The first lane's operation goes through all steps: what is held has no staging, so every unit is a step.
void drayi_run_at_once(dray_transfer *transfer)
{
    const dray_plan *plan = transfer->plan;
    drayi_lane *lane = &transfer->lanes[0];
    dray_op *op = &lane->op;
    dray_status status = DRAY_OK;
    uint64_t step = 0;
    for (; step < plan->step_count; step++) {
        const drayi_plan_edge *edge = &plan->edges[plan->steps[step].edge];
        const drayi_agent_backend *backend = &transfer->agent->backends[edge->backend];
        op->segments = plan->segments + plan->steps[step].first_segment;
        op->segment_count = plan->steps[step].segment_count;
        op->edge = edge->edge.id;
        op->flags = plan->step_count == 1 ? DRAY_OP_SMALL_SYNC : 0;
        op->status = op->error.status = STATUS_UNTOUCHED;
        op->bytes_done = 0;
        if (!backend->ops->at_once(backend->self, op))
            break;
        status = op_verdict(backend, &plan->steps[step], op);
        if (status != DRAY_OK)
            break;
    }
    transfer->held = false;
    transfer->working_lanes = 0;
    steps_landed(transfer, step);
    if (status != DRAY_OK) {
        uint64_t moved = bytes_believed(op, &plan->steps[step]);
        transfer->bytes_done += moved;
        fail_step(transfer, &plan->steps[step], moved, status, &op->error);
        drayi_run_stop(transfer, status, &op->error);
    } else if (step < plan->step_count) {
        lanes_open(transfer, step);
    }
    run_end_if_over(transfer);
}

/// The notice came back: the run is over, well or not.
static void notice_done(const drayi_agent_backend *backend, drayi_lane *lane)
{
    static const drayi_step nothing = {0};
    dray_transfer *transfer = lane->transfer;
    dray_status status = op_verdict(backend, &nothing, &lane->op);
    transfer->working_lanes--;
    if (status != DRAY_OK && !transfer->stopping) {
        dray_fail_within(&lane->op.error, status, "notice");
        drayi_run_stop(transfer, status, &lane->op.error);
    }
    run_end_if_over(transfer);
}

static void lane_done(drayi_agent_backend *backend, drayi_lane *lane)
{
    dray_transfer *transfer = lane->transfer;
    if (lane->op.notice) {
        lane->state = DRAYI_LANE_IDLE;
        backend->in_flight--;
        transfer->in_flight--;
        notice_done(backend, lane);
        return;
    }
    const drayi_step *step = &transfer->plan->steps[lane->step];
    lane->state = DRAYI_LANE_IDLE;
    backend->in_flight--;
    transfer->in_flight--;
    dray_status status = op_verdict(backend, step, &lane->op);
    uint64_t moved = status == DRAY_E_INTERNAL ? 0 : drayi_min(lane->op.bytes_done, step->bytes);
    if (step->lands)
        transfer->bytes_done += moved;
    if (status == DRAY_OK && step->lands)
        step_landed(transfer, step);
    if (status != DRAY_OK && !transfer->stopping) {
        fail_step(transfer, step, moved, status, &lane->op.error);
        drayi_run_stop(transfer, status, &lane->op.error);
    } else if (!transfer->stopping) {
        lane_go_on(lane);
    }
    run_end_if_over(transfer);
}

/// The lane that an operation belongs to; found without trusting the pointer. NULL: none of ours.
static drayi_lane *lane_of(const dray_agent *agent, const dray_op *op)
{
    uintptr_t at = (uintptr_t)op - offsetof(drayi_lane, op);
    for (const dray_transfer *transfer = agent->running; transfer;
         transfer = transfer->next_running) {
        uintptr_t first = (uintptr_t)transfer->lanes,
                  bytes = transfer->lane_count * sizeof(drayi_lane);
        if (at >= first && at < first + bytes && (at - first) % sizeof(drayi_lane) == 0)
            return &transfer->lanes[(at - first) / sizeof(drayi_lane)];
    }
    return NULL;
}

/// The backend broke its promise: every run that uses it fails, and it is given nothing more.
static void backend_break(dray_agent *agent, uint32_t index, const char *how)
{
    drayi_agent_backend *backend = &agent->backends[index];
    backend->broken = agent->is_broken = true;
    dray_error error;
    dray_fail(&error, DRAY_E_INTERNAL, "backend %s: %s", backend->ops->name, how);
    drayi_log(agent->env, DRAY_LOG_ERROR, "agent %s: %s", agent->name, error.message);
    for (dray_transfer *each = agent->running; each; each = each->next_running) {
        if (each->uses_backend[index])
            drayi_run_stop(each, DRAY_E_INTERNAL, &error);
    }
}

static bool backend_poll(dray_agent *agent, uint32_t index)
{
    drayi_agent_backend *backend = &agent->backends[index];
    dray_op *ops[batch_max];
    bool any = false;
    bool serves = backend->ops->remote != NULL; // its peers need it, too
    for (uint32_t count = batch_max; count == batch_max && (backend->in_flight > 0 || serves);) {
        count = backend->ops->poll(backend->self, ops, batch_max);
        if (count > batch_max) {
            backend_break(agent, index, "handed back more operations than there was room for");
            count = batch_max;
        }
        for (uint32_t i = 0; i < count; i++) {
            drayi_lane *lane = lane_of(agent, ops[i]);
            if (lane && lane->state == DRAYI_LANE_IN_FLIGHT && lane->backend == index)
                lane_done(backend, lane);
            else
                backend_break(agent, index, "handed back an operation that it does not have");
        }
        any = any || count > 0;
    }
    backend->full = backend->full && !any;
    return any;
}

// --- submission ---------------------------------------------------------------------------------------------------

/// Gives the backend as many ready operations as it takes.
static bool backend_submit(dray_agent *agent, uint32_t index)
{
    drayi_agent_backend *backend = &agent->backends[index];
    drayi_lane *lanes[batch_max];
    dray_op *ops[batch_max];
    bool any = false;
    if (backend->full && backend->in_flight > 0)
        return false;
    backend->full = false;
    while (backend->ready_first && !backend->broken && !backend->full) {
        uint32_t count = 0;
        while (count < batch_max && backend->ready_first) {
            drayi_lane *lane = lanes[count] = ready_pop(backend);
            lane->state = DRAYI_LANE_IN_FLIGHT;
            lane->op.status = lane->op.error.status = STATUS_UNTOUCHED;
            lane->op.bytes_done = 0;
            lane->transfer->in_flight++;
            ops[count++] = &lane->op;
        }
        backend->in_flight += count;
        uint32_t taken = backend->ops->submit(backend->self, ops, count);
        if (taken > count) {
            backend_break(agent, index, "took more operations than it was given");
            taken = count;
        }
        for (uint32_t i = count; i-- > taken;) {
            backend->in_flight--;
            lanes[i]->transfer->in_flight--;
            ready_unpop(backend, lanes[i]);
        }
        any = any || taken > 0;
        backend->full = taken < count;
    }
    return any;
}

bool drayi_agent_submit(dray_agent *agent)
{
    bool any = false;
    for (uint32_t i = 0; i < agent->backend_count; i++)
        any = backend_submit(agent, i) || any;
    return any;
}

bool drayi_agent_work(dray_agent *agent)
{
    bool any = drayi_agent_submit(agent);
    for (uint32_t i = 0; i < agent->backend_count; i++) {
        if (agent->backends[i].in_flight > 0 || agent->backends[i].ops->remote)
            any = backend_poll(agent, i) || any;
    }
    return drayi_agent_submit(agent) || any;
}

// --- callbacks ------------------------------------------------------------------------------------------------------

static bool has_news(const dray_transfer *transfer)
{
    return !transfer->telling && (transfer->told_count < transfer->done_count ||
                                  transfer->bytes_told < transfer->bytes_done);
}

static void transfer_tell(dray_transfer *transfer)
{
    transfer->telling = true;
    while (transfer->told_count < transfer->done_count) {
        uint32_t copy = transfer->done_copies[transfer->told_count++];
        if (transfer->options.copy_done)
            transfer->options.copy_done(transfer->options.self, copy);
    }
    transfer->bytes_told = transfer->bytes_done;
    if (transfer->options.progress) {
        dray_transfer_progress progress;
        dray_transfer_get_progress(transfer, &progress);
        transfer->options.progress(transfer->options.self, &progress);
    }
    transfer->telling = false;
}

/// Hands on what peers sent.
static void notices_tell(dray_agent *agent)
{
    for (uint64_t i = 0; i < agent->backend_count; i++) {
        const drayi_agent_backend *backend = &agent->backends[i];
        dray_received received;
        while (backend->ops->remote && backend->ops->remote->receive(backend->self, &received)) {
            if (agent->options.notified)
                agent->options.notified(agent->options.self, received.agent, received.bytes,
                                        received.count);
        }
    }
}

void drayi_agent_tell(dray_agent *agent)
{
    notices_tell(agent);
    // A callback may start or end other transfers, so the list is read anew after each.
    for (dray_transfer *each = agent->running; each;) {
        dray_transfer *next = each->next_running;
        if (has_news(each)) {
            transfer_tell(each);
            next = agent->running;
        } else if (each->state == DRAYI_RUN_ENDED && !each->telling && each->in_flight == 0) {
            drayi_agent_unlist(agent, each);
        }
        each = next;
    }
}

// --- sleeping ---------------------------------------------------------------------------------------------------------

/// Arms every backend that has work. Returns how many fds were collected; -1: there is news already.
static int agent_arm(dray_agent *agent, bool *out_must_poll)
{
    int count = 0;
    *out_must_poll = false;
    for (uint64_t i = 0; i < agent->backend_count; i++) {
        drayi_agent_backend *backend = &agent->backends[i];
        if (backend->in_flight == 0 && !backend->ops->remote) {
            *out_must_poll =
                *out_must_poll || backend->ready_first; // it refuses, with nothing in flight
            continue;
        }
        int fd;
        dray_error error;
        dray_status status =
            backend->ops->arm ? backend->ops->arm(backend->self, &fd, &error) : DRAY_E_UNSUPPORTED;
        if (status == DRAY_E_BUSY)
            return -1;
        if (status == DRAY_OK)
            agent->wait_fds[count++] = fd;
        else
            *out_must_poll = true;
    }
    return count;
}

/// The one backend that has work, when it is the only one that can have news; else NULL.
static const drayi_agent_backend *only_busy(const dray_agent *agent)
{
    const drayi_agent_backend *busy = NULL;
    for (uint64_t i = 0; i < agent->backend_count && !agent->has_remote; i++) {
        const drayi_agent_backend *backend = &agent->backends[i];
        if (backend->in_flight == 0 && !backend->ready_first)
            continue;
        if (busy || backend->in_flight == 0)
            return NULL;
        busy = backend;
    }
    return busy;
}

void drayi_agent_sleep(dray_agent *agent, int64_t deadline_ns, uint32_t *idle)
{
    const drayi_os *os = agent->env->os;
    int64_t limit = -1;
    if (deadline_ns >= 0) {
        limit = deadline_ns - os->now_ns();
        if (limit <= 0)
            return;
    }
    const drayi_agent_backend *busy = only_busy(agent);
    if (busy && busy->ops->await && busy->ops->await(busy->self, limit))
        return;
    bool must_poll;
    int count = agent_arm(agent, &must_poll);
    if (count < 0)
        return;
    if (must_poll) {
        uint32_t turn = (*idle)++;
        if (turn < idle_spins)
            return;
        uint32_t doublings = turn - idle_spins < 20 ? turn - idle_spins : 20;
        int64_t pause = INT64_C(1000) << doublings;
        pause = pause > idle_sleep_max ? idle_sleep_max : pause;
        limit = limit >= 0 && limit < pause ? limit : pause;
    }
    if (count > 0)
        os->wait_fds(agent->wait_fds, (unsigned)count,
                     limit); // EINTR: the caller polls and comes back
    else if (must_poll)
        os->sleep_ns(limit);
}
