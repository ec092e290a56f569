/// A transfer: one plan with the memory to run it, as often as wanted. What happens during a run stands in
/// run.c; here is how it is put together, started, waited for, and stopped.
#include "dray/spi/device.h"
#include "os/os.h"
#include "transfer/run.h"

#include <inttypes.h>
#include <string.h>

// --- putting together ------------------------------------------------------------------------------------

static dray_status arrays_build(dray_transfer *transfer, dray_error *error)
{
    const dray_plan *plan = transfer->plan;
    drayi_env *env = transfer->agent->env;
    transfer->lane_count = plan->lanes + (transfer->notice_peer ? 1 : 0);
    transfer->lanes = drayi_alloc_array(env, transfer->lane_count, sizeof(*transfer->lanes), error);
    transfer->uses_backend =
        drayi_alloc_array(env, transfer->agent->backend_count, sizeof(bool), error);
    transfer->copy_left = drayi_alloc_array(env, plan->copy_count, sizeof(uint32_t), error);
    transfer->done_copies = drayi_alloc_array(env, plan->copy_count, sizeof(uint32_t), error);
    transfer->empty_list = drayi_alloc_array(env, plan->copy_count, sizeof(uint32_t), error);
    if (!transfer->lanes || !transfer->uses_backend || !transfer->copy_left ||
        !transfer->done_copies || !transfer->empty_list)
        return DRAY_E_NOMEM;
    for (uint32_t i = 0; i < transfer->lane_count; i++) {
        transfer->lanes[i].transfer = transfer;
        transfer->lanes[i].op.owner = transfer;
    }
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        if (plan->edges[i].steps)
            transfer->uses_backend[plan->edges[i].backend] = true;
    }
    if (transfer->notice_peer)
        transfer->uses_backend[transfer->notice_backend] = true;
    for (uint64_t i = 0; i < plan->copy_count; i++) {
        if (plan->copy_segments[i] == 0)
            transfer->empty_list[transfer->empty_copies++] = (uint32_t)i;
    }
    return DRAY_OK;
}

/// Replaces the NULL regions of a unit's segments by its lane's slot.
static void unit_bind(dray_transfer *transfer, uint64_t unit)
{
    const dray_plan *plan = transfer->plan;
    dray_region *slot = transfer->lanes[unit % plan->lanes].slot;
    for (uint64_t i = plan->units[unit]; i < drayi_plan_unit_end(plan, unit); i++) {
        dray_segment *segments = transfer->own_segments + plan->steps[i].first_segment;
        for (uint32_t k = 0; k < plan->steps[i].segment_count; k++) {
            if (!segments[k].source)
                segments[k].source = slot;
            if (!segments[k].target)
                segments[k].target = slot;
        }
    }
}

/// Memory that the driver makes and locks or, where it cannot, memory of ours that it locks.
static dray_status staging_lock(dray_transfer *transfer, dray_region_options *options,
                                dray_error *error)
{
    dray_context *context = transfer->agent->context;
    dray_device *device = transfer->plan->staging_device;
    dray_region_options theirs = {.struct_bytes = sizeof(theirs),
                                  .storage = DRAY_STORAGE_PINNED,
                                  .bytes = options->bytes,
                                  .alignment = options->alignment,
                                  .device = device};
    dray_status status = dray_region_create(context, &theirs, &transfer->staging, error);
    if (status != DRAY_E_UNSUPPORTED)
        return status;
    dray_region *ours;
    DRAY_TRY(dray_region_create(context, options, &ours, error));
    status = dray_device_pin(device, ours, &transfer->staging, error);
    dray_region_release(ours); // the locked region keeps it
    return status;
}

/// One slot per lane, all in one region; and the segments that point to them.
static dray_status staging_build(dray_transfer *transfer, dray_error *error)
{
    const dray_plan *plan = transfer->plan;
    dray_agent *agent = transfer->agent;
    if (plan->slot_bytes == 0 || plan->lanes == 0)
        return DRAY_OK;
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_SYSTEM,
                                   .bytes = plan->slot_bytes * plan->lanes,
                                   .alignment = plan->slot_alignment};
    dray_status status = plan->staging_device ? staging_lock(transfer, &options, error)
                                              : dray_region_create(agent->context, &options,
                                                                   &transfer->staging, error);
    for (uint32_t i = 0; status == DRAY_OK && i < plan->lanes; i++)
        status = dray_region_view(transfer->staging, i * plan->slot_bytes, plan->slot_bytes,
                                  &transfer->lanes[i].slot, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "staging of %u slots of %" PRIu64 " bytes",
                                plan->lanes, plan->slot_bytes);
    transfer->own_segments =
        drayi_alloc_array(agent->env, plan->segment_count, sizeof(dray_segment), error);
    if (!transfer->own_segments)
        return DRAY_E_NOMEM;
    memcpy(transfer->own_segments, plan->segments, plan->segment_count * sizeof(dray_segment));
    for (uint64_t unit = 0; unit < plan->unit_count; unit++)
        unit_bind(transfer, unit);
    return DRAY_OK;
}

/// Does the backend get segments of this plan with regions of this kind?
static bool backend_meets(const dray_plan *plan, uint32_t backend, dray_storage storage)
{
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const drayi_plan_edge *edge = &plan->edges[i];
        if (edge->backend == backend && edge->steps &&
            (edge->edge.from == storage || edge->edge.to == storage))
            return true;
    }
    return false;
}

static dray_region *region_at(const dray_transfer *transfer, uint64_t index)
{
    uint64_t own = transfer->plan->region_count;
    return index < own ? transfer->plan->regions[index].region : transfer->lanes[index - own].slot;
}

/// Walks all (backend, region) pairs in a fixed order: attaches them, or detaches the first attached_count.
static dray_status regions_walk(dray_transfer *transfer, bool attach, dray_error *error)
{
    const dray_plan *plan = transfer->plan;
    uint64_t count = plan->region_count + (transfer->staging ? plan->lanes : 0), seen = 0;
    for (uint32_t backend = 0; backend < transfer->agent->backend_count; backend++) {
        for (uint64_t i = 0; i < count && transfer->uses_backend[backend]; i++) {
            dray_region *region = region_at(transfer, i);
            if (!backend_meets(plan, backend, dray_region_storage(region)))
                continue;
            if (attach) {
                DRAY_TRY(drayi_agent_attach(transfer->agent, backend, region, error));
                transfer->attached_count++;
            } else if (seen++ < transfer->attached_count) {
                drayi_agent_detach(transfer->agent, backend, region);
            }
        }
    }
    return DRAY_OK;
}

/// With several backends one fd has to stand for all of them.
static dray_status watch_build(dray_transfer *transfer, dray_error *error)
{
    uint32_t used = 0;
    for (uint64_t i = 0; i < transfer->agent->backend_count; i++)
        used += transfer->uses_backend[i];
    if (used < 2)
        return DRAY_OK;
    int fd = transfer->agent->env->os->watch_open();
    if (fd < 0)
        return dray_fail_os(error, -fd, "epoll_create1", "transfer over %u backends", used);
    transfer->watch_fd = fd;
    return DRAY_OK;
}

/// Who is told what when all bytes have arrived.
static dray_status notice_build(dray_transfer *transfer, dray_error *error)
{
    const dray_transfer_options *options = &transfer->options;
    if (!options->notice_peer && options->notice_bytes)
        return dray_fail(error, DRAY_E_INVALID, "transfer: a notice of %u bytes for no peer",
                         options->notice_bytes);
    if (!options->notice_peer)
        return DRAY_OK;
    if (options->notice_bytes > DRAY_NOTICE_BYTES_MAX)
        return dray_fail(error, DRAY_E_INVALID,
                         "transfer: a notice of %u bytes, at most %u are possible",
                         options->notice_bytes, DRAY_NOTICE_BYTES_MAX);
    DRAY_TRY(
        drayi_peer_use(transfer->agent, options->notice_peer, &transfer->notice_backend, error));
    transfer->notice_peer = options->notice_peer;
    transfer->notice_bytes = drayi_alloc(transfer->agent->env, options->notice_bytes, error);
    if (!transfer->notice_bytes)
        return DRAY_E_NOMEM;
    if (options->notice_bytes)
        memcpy(transfer->notice_bytes, options->notice, options->notice_bytes);
    transfer->notice.bytes = transfer->notice_bytes;
    transfer->notice.count = options->notice_bytes;
    return DRAY_OK;
}

/// Does the plan move bytes between memory and files in memory only?
static bool needs_no_device(const dray_plan *plan)
{
    for (uint64_t i = 0; i < plan->region_count; i++) {
        const dray_region_native *native = plan->regions[i].native;
        if (!native->pointer && native->storage != DRAY_STORAGE_NULL && !native->in_memory)
            return false;
    }
    return true;
}

/// Holding back costs whoever computes between submit and wait the overlap; of so few bytes that is less
/// than what queueing costs.
static void hold_choose(dray_transfer *transfer)
{
    const dray_plan *plan = transfer->plan;
    const dray_agent *agent = transfer->agent;
    if (plan->step_count == 0 || plan->slot_bytes || transfer->empty_copies)
        return;
    transfer->at_once = true;
    for (uint64_t i = 0; i < agent->backend_count; i++)
        transfer->at_once =
            transfer->at_once && (!transfer->uses_backend[i] || agent->backends[i].ops->at_once);
    bool by_processor =
        transfer->at_once && plan->bytes <= DRAYI_AT_ONCE_BYTES && needs_no_device(plan);
    transfer->can_be_held =
        by_processor || (plan->step_count == 1 && plan->bytes <= DRAYI_SMALL_SYNC_BYTES);
}

static dray_status transfer_build(dray_transfer *transfer, dray_error *error)
{
    DRAY_TRY(notice_build(transfer, error));
    DRAY_TRY(arrays_build(transfer, error));
    DRAY_TRY(staging_build(transfer, error));
    DRAY_TRY(watch_build(transfer, error));
    hold_choose(transfer);
    return regions_walk(transfer, true, error);
}

dray_status dray_transfer_create(dray_agent *agent, dray_plan *plan,
                                 const dray_transfer_options *given, dray_transfer **out_transfer,
                                 dray_error *error)
{
    dray_transfer_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_transfer_options", error));
    if (plan->agent != agent)
        return dray_fail(error, DRAY_E_INVALID,
                         "transfer: the plan was made for another agent than %s", agent->name);
    dray_transfer *transfer = drayi_new(agent->env, dray_transfer, error);
    if (!transfer)
        return DRAY_E_NOMEM;
    transfer->agent = agent;
    transfer->plan = plan;
    transfer->options = options;
    transfer->watch_fd = -1;
    agent->transfer_count++;
    dray_status status = transfer_build(transfer, error);
    if (status != DRAY_OK)
        dray_transfer_destroy(transfer);
    else
        *out_transfer = transfer;
    return status;
}

void dray_transfer_destroy(dray_transfer *transfer)
{
    if (!transfer)
        return;
    dray_agent *agent = transfer->agent;
    drayi_env *env = agent->env;
    const dray_plan *plan = transfer->plan;
    dray_transfer_cancel(transfer);
    if (transfer->listed)
        drayi_agent_unlist(agent, transfer);
    if (transfer->attached_count)
        regions_walk(transfer, false, NULL);
    for (uint32_t i = 0; transfer->lanes && i < plan->lanes; i++)
        dray_region_release(transfer->lanes[i].slot);
    dray_region_release(transfer->staging);
    drayi_close_file(env->os, transfer->watch_fd);
    drayi_free(env, transfer->own_segments, plan->segment_count * sizeof(dray_segment));
    drayi_free(env, transfer->lanes, transfer->lane_count * sizeof(*transfer->lanes));
    drayi_free(env, transfer->notice_bytes, transfer->options.notice_bytes);
    if (transfer->notice_peer)
        drayi_peer_unuse(transfer->notice_peer);
    drayi_free(env, transfer->uses_backend, agent->backend_count * sizeof(bool));
    drayi_free(env, transfer->copy_left, plan->copy_count * sizeof(uint32_t));
    drayi_free(env, transfer->done_copies, plan->copy_count * sizeof(uint32_t));
    drayi_free(env, transfer->empty_list, plan->copy_count * sizeof(uint32_t));
    agent->transfer_count--;
    drayi_free(env, transfer, sizeof(*transfer));
}

// --- running ------------------------------------------------------------------------------------------------

dray_status dray_transfer_submit(dray_transfer *transfer, dray_error *error)
{
    dray_agent *agent = transfer->agent;
    bool told = !transfer->telling && transfer->told_count == transfer->done_count;
    if (transfer->state == DRAYI_RUN_GOES_ON || !told)
        return dray_fail(error, DRAY_E_BUSY,
                         "transfer: it runs already, %" PRIu64 " of %" PRIu64 " bytes are done",
                         transfer->bytes_done, transfer->plan->bytes);
    for (uint32_t i = 0; agent->is_broken && i < agent->backend_count; i++) {
        if (transfer->uses_backend[i] && agent->backends[i].broken)
            return dray_fail(
                error, DRAY_E_INTERNAL,
                "backend %s: it broke its contract before and is given nothing more; make a new agent",
                agent->backends[i].ops->name);
    }
    drayi_run_start(transfer);
    if (!transfer->held)
        drayi_agent_submit(agent);
    return DRAY_OK;
}

static dray_status never_started(dray_error *error)
{
    return dray_fail(error, DRAY_E_INVALID, "transfer: it was not submitted");
}

/// The verdict of a run that ended.
static dray_status run_result(const dray_transfer *transfer, dray_error *error)
{
    if (transfer->status != DRAY_OK && error)
        *error = transfer->error;
    return transfer->status;
}

void dray_agent_poll(dray_agent *agent)
{
    for (dray_transfer *each = agent->running; each; each = each->next_running)
        drayi_run_release(each, false);
    drayi_agent_work(agent);
    drayi_agent_tell(agent);
}

dray_status dray_transfer_poll(dray_transfer *transfer, bool *out_done, dray_error *error)
{
    *out_done = false;
    if (transfer->state == DRAYI_RUN_NEVER)
        return never_started(error);
    dray_agent_poll(transfer->agent);
    if (transfer->state != DRAYI_RUN_ENDED)
        return DRAY_OK;
    *out_done = true;
    return run_result(transfer, error);
}

/// Nothing else to look after and no callback to make: all there is to do is the work itself.
static bool wait_at_once(dray_transfer *transfer, int64_t deadline_ns)
{
    dray_agent *agent = transfer->agent;
    if (!transfer->at_once || deadline_ns >= 0 || agent->has_remote || agent->running != transfer ||
        transfer->next_running)
        return false;
    drayi_run_at_once(transfer);
    if (transfer->state != DRAYI_RUN_ENDED || transfer->bytes_told < transfer->bytes_done)
        return false;
    drayi_agent_unlist(agent, transfer);
    return true;
}

dray_status dray_transfer_wait(dray_transfer *transfer, int64_t deadline_ns, dray_error *error)
{
    dray_agent *agent = transfer->agent;
    if (transfer->state == DRAYI_RUN_NEVER)
        return never_started(error);
    if (transfer->held && wait_at_once(transfer, deadline_ns))
        return run_result(transfer, error);
    drayi_run_release(transfer, true);
    for (uint32_t idle = 0;;) {
        bool moved = drayi_agent_work(agent);
        drayi_agent_tell(agent);
        if (transfer->state == DRAYI_RUN_ENDED)
            return run_result(transfer, error);
        if (deadline_ns >= 0 && agent->env->os->now_ns() >= deadline_ns)
            return dray_fail(error, DRAY_E_TIMEOUT,
                             "transfer: the deadline passed with %" PRIu64 " of %" PRIu64
                             " bytes done; it still runs",
                             transfer->bytes_done, transfer->plan->bytes);
        if (moved)
            idle = 0;
        else
            drayi_agent_sleep(agent, deadline_ns, &idle);
    }
}

void dray_transfer_cancel(dray_transfer *transfer)
{
    dray_agent *agent = transfer->agent;
    if (transfer->state != DRAYI_RUN_GOES_ON)
        return;
    dray_error error;
    dray_fail(&error, DRAY_E_CANCELLED,
              "transfer: cancelled with %" PRIu64 " of %" PRIu64 " bytes done",
              transfer->bytes_done, transfer->plan->bytes);
    drayi_run_stop(transfer, DRAY_E_CANCELLED, &error);
    for (uint32_t i = 0; i < transfer->lane_count; i++) {
        drayi_lane *lane = &transfer->lanes[i];
        const drayi_agent_backend *backend = &agent->backends[lane->backend];
        if (lane->state == DRAYI_LANE_IN_FLIGHT && backend->ops->cancel)
            backend->ops->cancel(backend->self, &lane->op);
    }
    for (uint32_t idle = 0; transfer->state == DRAYI_RUN_GOES_ON;) {
        if (drayi_agent_work(agent))
            idle = 0;
        else if (transfer->state == DRAYI_RUN_GOES_ON)
            drayi_agent_sleep(agent, -1, &idle);
    }
    transfer->told_count = transfer->done_count; // callbacks run in poll and wait only
    transfer->bytes_told = transfer->bytes_done;
}

void dray_transfer_get_progress(const dray_transfer *transfer, dray_transfer_progress *out_progress)
{
    *out_progress = (dray_transfer_progress){
        .bytes_done = transfer->bytes_done,
        .bytes_total = transfer->plan->bytes,
        .copies_done = transfer->done_count,
        .copies_total = transfer->plan->copy_count,
    };
}

// --- the caller's own event loop --------------------------------------------------------------------------------

static dray_status watch_join(const dray_agent *agent, int watch_fd, int *fd, int more,
                              dray_error *error)
{
    if (watch_fd < 0) { // only one backend
        *fd = more;
        return DRAY_OK;
    }
    *fd = watch_fd;
    int code = agent->env->os->watch_add(watch_fd, more);
    return code < 0 ? dray_fail_os(error, -code, "epoll_ctl", "watch a backend") : DRAY_OK;
}

dray_status dray_transfer_arm(dray_transfer *transfer, int *out_fd, dray_error *error)
{
    dray_agent *agent = transfer->agent;
    if (transfer->state == DRAYI_RUN_NEVER)
        return never_started(error);
    drayi_run_release(transfer, false);
    drayi_agent_submit(agent);
    if (transfer->state == DRAYI_RUN_ENDED || transfer->told_count < transfer->done_count)
        return dray_fail(error, DRAY_E_BUSY, "transfer: there is news, poll first");
    int fd = -1;
    for (uint32_t i = 0; i < agent->backend_count; i++) {
        const drayi_agent_backend *backend = &agent->backends[i];
        if (!transfer->uses_backend[i])
            continue;
        if (!backend->ops->arm)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "backend %s: it must be polled",
                             backend->ops->name);
        if (backend->in_flight == 0 && backend->ready_first)
            return dray_fail(error, DRAY_E_BUSY, "backend %s: it takes no operation now, poll again",
                             backend->ops->name);
        int more;
        DRAY_TRY(backend->ops->arm(backend->self, &more, error));
        DRAY_TRY(watch_join(agent, transfer->watch_fd, &fd, more, error));
    }
    *out_fd = fd;
    return DRAY_OK;
}

static dray_status agent_watch_open(dray_agent *agent, dray_error *error)
{
    if (agent->watch_fd >= 0)
        return DRAY_OK;
    int fd = agent->env->os->watch_open();
    if (fd < 0)
        return dray_fail_os(error, -fd, "epoll_create1", "agent %s: arm", agent->name);
    agent->watch_fd = fd;
    return DRAY_OK;
}

dray_status dray_agent_arm(dray_agent *agent, int *out_fd, dray_error *error)
{
    DRAY_TRY(agent_watch_open(agent, error));
    for (dray_transfer *each = agent->running; each; each = each->next_running)
        drayi_run_release(each, false);
    if (drayi_agent_submit(agent))
        return dray_fail(error, DRAY_E_BUSY, "agent %s: operations were started, poll", agent->name);
    for (const dray_transfer *each = agent->running; each; each = each->next_running) {
        if (each->state == DRAYI_RUN_ENDED || each->told_count < each->done_count)
            return dray_fail(error, DRAY_E_BUSY, "agent %s: there is news, poll first", agent->name);
    }
    for (uint64_t i = 0; i < agent->backend_count; i++) {
        const drayi_agent_backend *backend = &agent->backends[i];
        if (backend->in_flight == 0 && !backend->ready_first && !backend->ops->remote)
            continue;
        if (!backend->ops->arm)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "backend %s: it must be polled",
                             backend->ops->name);
        int more, fd;
        DRAY_TRY(backend->ops->arm(backend->self, &more, error));
        DRAY_TRY(watch_join(agent, agent->watch_fd, &fd, more, error));
    }
    *out_fd = agent->watch_fd;
    return DRAY_OK;
}
