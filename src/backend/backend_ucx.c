/// The ucx backend: reads, writes and notices between agents, over libucp.
///
/// An operation is a handful of puts or gets and, for puts, a flush of the endpoint behind them: a put
/// that UCX calls done has only left, the flush says that it arrived. Operations end in UCX's callbacks
/// and are handed out by poll. ucx_backend.h says what is in which file; docs/design/agent.md what UCX
/// does and does not do for us.
#include "backend/ucx_backend.h"

#ifdef DRAY_HAVE_UCX

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    edge_put = 1, // dray_edge.id: this bit, and 2 for pinned memory
    segments_max = 64,
    work_rounds = 64,      // of ucp_worker_progress in a row
    sync_spin_ns = 100000, // how long submit stays with a small operation that somebody waits for
    linger_ns = 20000,     // that a sleeper watches before it lies down: waking costs as much
    guards_every_ns = 100000000, // for those who poll without sleeping in between
    cut_after_ns = 200000000,    // a cancelled operation may end by itself for so long
};
#define BEST_BYTES (1u << 20) // measured: docs/design/agent.md
#define BEST_DEPTH 4

// --- operations ----------------------------------------------------------------------------------------------------

static void news(dray_backend *backend)
{
    if (!backend->armed)
        return;
    backend->armed = false;
    const uint64_t one = 1;
    (void)backend->os->write(backend->news_fd, &one, sizeof(one)); // full: readable already
}

static void op_begin(dray_backend *backend, dray_op *op)
{
    uint32_t slot = backend->free_slots[--backend->free_count];
    backend->in_flight[slot] = op;
    memset(op->backend_use, 0, sizeof(op->backend_use));
    op->backend_use[DRAYI_UCX_SLOT] = slot;
    op->backend_use[DRAYI_UCX_WAITS] = 1;
    op->backend_use[DRAYI_UCX_BACKEND] = (uintptr_t)backend;
    op->bytes_done = 0;
    op->status = DRAY_OK;
}

void drayi_ucx_op_end(dray_backend *backend, dray_op *op)
{
    uint32_t slot = (uint32_t)op->backend_use[DRAYI_UCX_SLOT];
    backend->in_flight[slot] = NULL;
    backend->free_slots[backend->free_count++] = slot;
    op->backend_next = NULL;
    if (backend->done_last)
        backend->done_last->backend_next = op;
    else
        backend->done_first = op;
    backend->done_last = op;
    news(backend);
}

static dray_status status_of(ucs_status_t code)
{
    switch (code) {
    case UCS_ERR_NO_MEMORY:
        return DRAY_E_NOMEM;
    case UCS_ERR_UNSUPPORTED:
    case UCS_ERR_NOT_IMPLEMENTED:
        return DRAY_E_UNSUPPORTED;
    default: // a peer that timed out, too: DRAY_E_TIMEOUT is for the caller's own deadlines
        return DRAY_E_IO;
    }
}

void drayi_ucx_op_fail(dray_op *op, const dray_remote *remote, ucs_status_t code)
{
    dray_backend *backend = remote->backend;
    if (op->backend_use[DRAYI_UCX_CANCELLED])
        op->status = dray_fail(&op->error, DRAY_E_CANCELLED,
                               "peer %s: cancelled; how far it got is not known", remote->agent);
    else if (remote->broken[0])
        op->status = dray_fail(&op->error, DRAY_E_IO, "peer %s: the connection broke: %s",
                               remote->agent, remote->broken);
    else
        op->status = dray_fail(&op->error, status_of(code), "peer %s: %s (UCX status %d)",
                               remote->agent, backend->ucx.ucs_status_string(code), (int)code);
    op->error.native_code = code;
    op->error.origin = "ucp";
    drayi_ucx_op_end(backend, op);
}

/// The region of a peer that a segment means; NULL when it is none of this backend's, or gone.
static const dray_remote_region *region_of(const dray_backend *backend, const dray_op *op,
                                           const dray_segment *segment, uint64_t *out_address)
{
    bool put = op->edge & edge_put;
    dray_region_native native;
    dray_region_get_native(put ? segment->target : segment->source, &native);
    *out_address = native.file_offset + (put ? segment->target_offset : segment->source_offset);
    const dray_remote_link *link = native.remote;
    return link && link->backend == backend ? link->at : NULL;
}

static dray_remote *remote_of(const dray_op *op)
{
    return (dray_remote *)(uintptr_t)op->backend_use[DRAYI_UCX_REMOTE];
}

static void request_done(void *request, ucs_status_t code, void *self)
{
    dray_op *op = self;
    dray_backend *backend = (dray_backend *)(uintptr_t)op->backend_use[DRAYI_UCX_BACKEND];
    backend->ucx.ucp_request_free(request);
    drayi_ucx_op_settle(backend, op, code);
}

/// Counts what UCX said to a request: done at once, failed at once, or on its way.
static void op_posted(dray_op *op, ucs_status_ptr_t request)
{
    if (UCS_PTR_IS_ERR(request)) {
        if (op->backend_use[DRAYI_UCX_CODE] == 0)
            op->backend_use[DRAYI_UCX_CODE] = (uint64_t)(int64_t)UCS_PTR_STATUS(request);
    } else if (request) {
        op->backend_use[DRAYI_UCX_WAITS]++;
    }
}

static void segment_post(dray_backend *backend, dray_op *op, const dray_segment *segment,
                         const dray_remote_region *at, uint64_t address)
{
    const ucp_request_param_t param = {.op_attr_mask =
                                           UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                       .cb.send = request_done,
                                       .user_data = op};
    ucp_ep_h endpoint = at->remote->endpoint;
    if (op->edge & edge_put) {
        const char *from = dray_region_pointer(segment->source);
        op_posted(op, backend->ucx.ucp_put_nbx(endpoint, from + segment->source_offset,
                                               segment->run_bytes, address, at->key, &param));
    } else {
        char *to = dray_region_pointer(segment->target);
        op_posted(op, backend->ucx.ucp_get_nbx(endpoint, to + segment->target_offset,
                                               segment->run_bytes, address, at->key, &param));
    }
}

/// A put that is done has only left; the flush behind it ends when it has arrived.
static void flush_post(dray_backend *backend, dray_op *op)
{
    const ucp_request_param_t param = {.op_attr_mask =
                                           UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                       .cb.send = request_done,
                                       .user_data = op};
    op_posted(op, backend->ucx.ucp_ep_flush_nbx(remote_of(op)->endpoint, &param));
}

/// Is there a connection for it? Says why not, in the operation.
static bool reachable(dray_op *op, const dray_remote_region *at)
{
    if (!at) {
        op->status =
            dray_fail(&op->error, DRAY_E_INVALID,
                      "the region's peer was forgotten or has restarted, or belongs to another "
                      "agent: open the region anew");
        return false;
    }
    if (at->remote->broken[0]) {
        op->status = dray_fail(&op->error, DRAY_E_IO,
                               "peer %s: the connection broke before: %s; import the peer again",
                               at->remote->agent, at->remote->broken);
        return false;
    }
    return true;
}

/// Posts the segments that come next, as far as they go to one and the same peer.
static void run_post(dray_backend *backend, dray_op *op)
{
    dray_remote *remote = NULL;
    uint64_t next = op->backend_use[DRAYI_UCX_NEXT];
    op->backend_use[DRAYI_UCX_WAITS] = 1; // this posting
    for (; next < op->segment_count && op->backend_use[DRAYI_UCX_CODE] == 0; next++) {
        uint64_t address;
        const dray_remote_region *at = region_of(backend, op, &op->segments[next], &address);
        if (!reachable(op, at) || (remote && at->remote != remote))
            break;
        if (!remote) {
            remote = at->remote;
            remote->busy++;
            op->backend_use[DRAYI_UCX_REMOTE] = (uintptr_t)remote;
        }
        segment_post(backend, op, &op->segments[next], at, address);
    }
    op->backend_use[DRAYI_UCX_NEXT] = next;
    if (remote && op->edge & edge_put && op->backend_use[DRAYI_UCX_CODE] == 0)
        flush_post(backend, op);
    drayi_ucx_op_settle(backend, op, UCS_OK);
}

/// Everything that was posted has ended.
static void run_ended(dray_backend *backend, dray_op *op)
{
    ucs_status_t code = (ucs_status_t)(int64_t)op->backend_use[DRAYI_UCX_CODE];
    const dray_remote *remote = remote_of(op);
    op->backend_use[DRAYI_UCX_REMOTE] = 0;
    if (op->status != DRAY_OK) { // refused before UCX saw it
        drayi_ucx_op_end(backend, op);
    } else if (code != UCS_OK) {
        drayi_ucx_op_fail(op, remote, code);
    } else if (op->backend_use[DRAYI_UCX_NEXT] < op->segment_count) {
        run_post(backend, op);
    } else {
        for (uint32_t i = 0; i < op->segment_count; i++)
            op->bytes_done += op->segments[i].run_bytes;
        drayi_ucx_op_end(backend, op);
    }
}

void drayi_ucx_op_settle(dray_backend *backend, dray_op *op, ucs_status_t code)
{
    if (code != UCS_OK && op->backend_use[DRAYI_UCX_CODE] == 0)
        op->backend_use[DRAYI_UCX_CODE] = (uint64_t)(int64_t)code;
    if (--op->backend_use[DRAYI_UCX_WAITS] > 0)
        return;
    dray_remote *remote = remote_of(op);
    if (remote && --remote->busy == 0)
        backend->untidy = true; // perhaps somebody waits for that
    run_ended(backend, op);
}

/// Somebody waits for this one: most peers answer sooner than a sleeper is woken.
static void op_linger(dray_backend *backend, const dray_op *op)
{
    int64_t until = backend->os->now_ns() + sync_spin_ns;
    while (backend->in_flight[op->backend_use[DRAYI_UCX_SLOT]] == op) {
        for (int i = 0; i < 16; i++)
            drayi_ucx_progress(backend);
        if (backend->os->now_ns() >= until)
            break;
    }
}

static uint32_t ucx_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    drayi_ucx_enter(backend);
    uint32_t taken = 0;
    for (; taken < count && backend->free_count > 0; taken++) {
        dray_op *op = ops[taken];
        op_begin(backend, op);
        if (op->notice)
            drayi_ucx_notice_post(backend, op);
        else
            run_post(backend, op);
        if (op->flags & DRAY_OP_SMALL_SYNC)
            op_linger(backend, op);
    }
    drayi_ucx_leave(backend);
    return taken;
}

// --- progress ------------------------------------------------------------------------------------------------------

void drayi_ucx_timer_next(dray_backend *backend)
{
    uint64_t expirations;
    (void)backend->os->read(backend->timer_fd, &expirations, sizeof(expirations));
    int64_t next = (int64_t)backend->cut_at_ns, guards = backend->guard_cut_at_ns;
    if (!next || (guards && guards < next))
        next = guards;
    int64_t in_ns = next - backend->os->now_ns();
    backend->os->timer_set(backend->timer_fd, !next ? 0 : in_ns > 0 ? in_ns : 1);
}

/// What was cancelled and did not end by itself: its connections go.
static void cut_overdue(dray_backend *backend)
{
    backend->cut_at_ns = 0;
    drayi_ucx_timer_next(backend);
    for (uint32_t i = 0; i < DRAYI_UCX_OPS; i++) {
        const dray_op *op = backend->in_flight[i];
        if (op && op->backend_use[DRAYI_UCX_CANCELLED] && remote_of(op))
            drayi_ucx_remote_cut(remote_of(op), UCS_ERR_CANCELED,
                                 "it did not end an operation that was cancelled, and was cut off");
    }
}

bool drayi_ucx_progress(dray_backend *backend)
{
    unsigned moved = backend->ucx.ucp_worker_progress(backend->worker);
    for (const dray_remote *each = backend->remotes; each; each = each->next)
        moved += each->worker ? backend->ucx.ucp_worker_progress(each->worker) : 0;
    return moved > 0;
}

bool drayi_ucx_work(dray_backend *backend)
{
    bool any = false;
    for (int i = 0; i < work_rounds && drayi_ucx_progress(backend); i++)
        any = true;
    int64_t now_ns = backend->os->now_ns();
    if (!any && now_ns >= backend->guards_at_ns) {
        backend->guards_at_ns = now_ns + guards_every_ns;
        drayi_ucx_guards_look(backend);
    }
    if (backend->guard_cut_at_ns && now_ns >= backend->guard_cut_at_ns)
        drayi_ucx_guards_cut(backend, now_ns);
    if (backend->cut_at_ns && now_ns >= (int64_t)backend->cut_at_ns)
        cut_overdue(backend);
    drayi_ucx_remotes_tidy(backend);
    if (backend->received_first)
        news(backend);
    return any;
}

static uint32_t ucx_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    drayi_ucx_enter(backend);
    drayi_ucx_work(backend);
    uint32_t count = 0;
    while (backend->done_first && count < capacity) {
        out_ops[count] = backend->done_first;
        backend->done_first = backend->done_first->backend_next;
        count++;
    }
    if (!backend->done_first)
        backend->done_last = NULL;
    drayi_ucx_leave(backend);
    return count;
}

static void ucx_cancel(dray_backend *backend, dray_op *op)
{
    drayi_ucx_enter(backend);
    if (backend->in_flight[op->backend_use[DRAYI_UCX_SLOT]] == op) {
        op->backend_use[DRAYI_UCX_CANCELLED] = 1;
        if (!drayi_ucx_notice_cancel(op) && backend->cut_at_ns == 0) {
            backend->cut_at_ns = (uint64_t)(backend->os->now_ns() + cut_after_ns);
            drayi_ucx_timer_next(backend);
        }
    }
    drayi_ucx_leave(backend);
}

bool drayi_ucx_linger(dray_backend *backend)
{
    int64_t until = backend->os->now_ns() + linger_ns;
    do {
        for (int i = 0; i < 16; i++) {
            if (drayi_ucx_progress(backend))
                return true;
        }
    } while (backend->os->now_ns() < until);
    return false;
}

static dray_status arm_locked(dray_backend *backend, dray_error *error)
{
    drayi_ucx_guards_look(backend);
    if (backend->done_first || backend->received_first || drayi_ucx_linger(backend))
        return dray_fail(error, DRAY_E_BUSY, "ucx: there is news already, poll first");
    uint64_t stale;
    (void)backend->os->read(backend->news_fd, &stale, sizeof(stale));
    backend->armed = true;
    ucs_status_t code = backend->ucx.ucp_worker_arm(backend->worker);
    for (const dray_remote *each = backend->remotes; each && code == UCS_OK; each = each->next) {
        if (each->worker)
            code = backend->ucx.ucp_worker_arm(each->worker);
    }
    if (code == UCS_OK)
        return DRAY_OK;
    backend->armed = false;
    if (code == UCS_ERR_BUSY)
        return dray_fail(error, DRAY_E_BUSY, "ucx: the worker has events, poll first");
    return dray_fail(error, DRAY_E_IO, "ucx: the worker cannot be armed: %s",
                     backend->ucx.ucs_status_string(code));
}

static dray_status ucx_arm(dray_backend *backend, int *out_fd, dray_error *error)
{
    drayi_ucx_enter(backend);
    dray_status status = arm_locked(backend, error);
    drayi_ucx_leave(backend);
    if (status == DRAY_OK)
        *out_fd = backend->watch_fd;
    return status;
}

static uint32_t ucx_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    (void)backend;
    static const dray_storage memories[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED};
    for (uint32_t id = 0; id < 4 && id < capacity; id++) {
        bool put = id & edge_put;
        out_edges[id] = (dray_edge){.from = put ? memories[id >> 1] : DRAY_STORAGE_REMOTE,
                                    .to = put ? DRAY_STORAGE_REMOTE : memories[id >> 1],
                                    .id = id,
                                    .max_segments = segments_max,
                                    .best_bytes = BEST_BYTES,
                                    .best_depth = BEST_DEPTH,
                                    .cost = 100};
    }
    return 4;
}

// --- life ----------------------------------------------------------------------------------------------------------

dray_status drayi_ucx_fail(const dray_backend *backend, ucs_status_t code, const char *call,
                           dray_error *error)
{
    dray_status status = dray_fail(error, status_of(code), "%s: %s (UCX status %d)", call,
                                   backend->ucx.ucs_status_string(code), (int)code);
    if (error)
        error->native_code = code;
    return status;
}

/// Without MM_ERROR_HANDLING, endpoints that notice dead peers would not use shared memory. That is what
/// ucp_config_modify of UCX 1.13 calls the variables UCX_POSIX_ERROR_HANDLING and UCX_SYSV_ERROR_HANDLING:
/// it knows the settings of transports by the names of their tables and takes the variables' names for
/// unused ones. Without KEEPALIVE_INTERVAL a peer on this machine that was killed is missed for 20 s.
/// Shared memory is for peers of this machine only: who is reached over the network may share the memory but
/// not the network namespace (containers), and UCX wakes sleepers through sockets that end there.
static dray_status config_set(const dray_backend *backend, ucp_config_t *config, dray_error *error)
{
    static const char *const host[][2] = {
        {"KEEPALIVE_INTERVAL", "1s"}, {"MM_ERROR_HANDLING", "y"}, {"NET_DEVICES", "lo"}};
    static const char *const network[][2] = {{"KEEPALIVE_INTERVAL", "1s"}, {"TLS", "^sm"}};
    bool here = backend->setup.reach == DRAY_REACH_HOST;
    for (size_t i = 0; i < (here ? 3u : 2u); i++) {
        const char *const *setting = here ? host[i] : network[i];
        ucs_status_t code = backend->ucx.ucp_config_modify(config, setting[0], setting[1]);
        if (code != UCS_OK)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "UCX does not take the setting %s=%s: %s",
                             setting[0], setting[1], backend->ucx.ucs_status_string(code));
    }
    return DRAY_OK;
}

static dray_status context_build(dray_backend *backend, dray_error *error)
{
    ucp_config_t *config;
    ucs_status_t code = backend->ucx.ucp_config_read(NULL, NULL, &config);
    if (code != UCS_OK)
        return drayi_ucx_fail(backend, code, "ucp_config_read", error);
    const ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME,
                                 .features = UCP_FEATURE_RMA | UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
                                 .name = backend->setup.agent};
    dray_status status = config_set(backend, config, error);
    if (status == DRAY_OK) {
        code = backend->ucx.ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config,
                                             &backend->context);
        if (code != UCS_OK) {
            backend->context = NULL;
            status = drayi_ucx_fail(backend, code, "ucp_init", error);
        }
    }
    backend->ucx.ucp_config_release(config);
    return status;
}

static dray_status worker_watch(dray_backend *backend, ucp_worker_h worker, int *out_fd,
                                dray_error *error)
{
    ucs_status_t status = backend->ucx.ucp_worker_get_efd(worker, out_fd);
    if (status != UCS_OK)
        return drayi_ucx_fail(backend, status, "ucp_worker_get_efd", error);
    int code = backend->os->watch_add(backend->watch_fd, *out_fd);
    return code < 0 ? dray_fail_os(error, -code, "epoll_ctl", "ucx: watch a worker") : DRAY_OK;
}

dray_status drayi_ucx_worker_open(dray_backend *backend, ucp_worker_h *out_worker, int *out_fd,
                                  dray_error *error)
{
    const ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                        .thread_mode = UCS_THREAD_MODE_SERIALIZED};
    drayi_ucx_log_low(true); // it warns of settings for transports that are not in use
    ucs_status_t code = backend->ucx.ucp_worker_create(backend->context, &params, out_worker);
    drayi_ucx_log_low(false);
    if (code != UCS_OK) {
        *out_worker = NULL;
        return drayi_ucx_fail(backend, code, "ucp_worker_create", error);
    }
    dray_status status = worker_watch(backend, *out_worker, out_fd, error);
    if (status != DRAY_OK) {
        backend->ucx.ucp_worker_destroy(*out_worker);
        *out_worker = NULL;
    }
    return status;
}

static dray_status address_build(dray_backend *backend, dray_error *error)
{
    ucs_status_t code = backend->ucx.ucp_worker_get_address(backend->worker, &backend->address,
                                                            &backend->address_bytes);
    if (code != UCS_OK) {
        backend->address = NULL;
        return drayi_ucx_fail(backend, code, "ucp_worker_get_address", error);
    }
    if (backend->address_bytes > DRAYI_UCX_ADDRESS_MAX)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the worker's address has %zu bytes, at most %d can be passed on",
                         backend->address_bytes, DRAYI_UCX_ADDRESS_MAX);
    return DRAY_OK;
}

static dray_status fds_build(dray_backend *backend, dray_error *error)
{
    const drayi_os *os = backend->os;
    if ((backend->news_fd = os->event_fd()) < 0)
        return dray_fail_os(error, -backend->news_fd, "eventfd", "ucx: open an eventfd");
    if ((backend->timer_fd = os->timer_open()) < 0)
        return dray_fail_os(error, -backend->timer_fd, "timerfd_create", "ucx: open a timer");
    if ((backend->watch_fd = os->watch_open()) < 0)
        return dray_fail_os(error, -backend->watch_fd, "epoll_create1", "ucx: open an epoll fd");
    int code = os->watch_add(backend->watch_fd, backend->news_fd);
    if (code >= 0)
        code = os->watch_add(backend->watch_fd, backend->timer_fd);
    return code < 0 ? dray_fail_os(error, -code, "epoll_ctl", "ucx: watch an fd") : DRAY_OK;
}

static dray_status start(dray_backend *backend, dray_error *error)
{
    DRAY_TRY(fds_build(backend, error));
    DRAY_TRY(context_build(backend, error));
    DRAY_TRY(drayi_ucx_worker_open(backend, &backend->worker, &backend->worker_fd, error));
    DRAY_TRY(address_build(backend, error));
    return drayi_ucx_letters_listen(backend, error);
}

static dray_status ucx_start(dray_backend *backend, const dray_remote_setup *setup,
                             dray_error *error)
{
    backend->setup = *setup;
    drayi_ucx_enter(backend);
    dray_status status = start(backend, error);
    drayi_ucx_leave(backend);
    return status;
}

static dray_status ucx_address(dray_backend *backend, const void **out_bytes, uint32_t *out_count,
                               dray_error *error)
{
    if (!backend->address)
        return dray_fail(error, DRAY_E_INVALID, "ucx: it was not started");
    *out_bytes = backend->address;
    *out_count = (uint32_t)backend->address_bytes;
    return DRAY_OK;
}

static void ucx_close(dray_backend *backend)
{
    drayi_ucx_serve_stop(backend);
    drayi_ucx_enter(backend);
    drayi_ucx_remotes_close(backend);
    drayi_ucx_notices_close(backend);
    drayi_ucx_regions_close(backend);
    if (backend->address)
        backend->ucx.ucp_worker_release_address(backend->worker, backend->address);
    drayi_ucx_log_low(true);
    if (backend->worker)
        backend->ucx.ucp_worker_destroy(backend->worker);
    if (backend->context)
        backend->ucx.ucp_cleanup(backend->context);
    drayi_ucx_log_low(false);
    drayi_ucx_leave(backend);
    drayi_ucx_log_close(backend);
    drayi_close_file(backend->os, backend->watch_fd);
    drayi_close_file(backend->os, backend->timer_fd);
    drayi_close_file(backend->os, backend->news_fd);
    pthread_mutex_destroy(&backend->lock);
    drayi_free(backend->env, backend, sizeof(*backend));
}

static dray_status ucx_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    backend->os = env->os;
    backend->news_fd = backend->timer_fd = backend->watch_fd = backend->stop_fd = -1;
    backend->free_count = DRAYI_UCX_OPS;
    for (uint32_t i = 0; i < DRAYI_UCX_OPS; i++)
        backend->free_slots[i] = DRAYI_UCX_OPS - 1 - i;
    pthread_mutex_init(&backend->lock, NULL);
    dray_status status = drayi_ucx_library_open(env->os, &backend->ucx, error);
    if (status != DRAY_OK) {
        ucx_close(backend);
        return status;
    }
    drayi_ucx_log_open(backend);
    *out_backend = backend;
    return DRAY_OK;
}

static void ucx_describe(dray_backend *backend, char *out, size_t capacity)
{
    unsigned major, minor, release;
    backend->ucx.ucp_get_version(&major, &minor, &release);
    snprintf(out, capacity, "UCX %u.%u.%u, %s", major, minor, release,
             backend->setup.reach == DRAY_REACH_HOST ? "this machine only" : "every network device");
}

static const dray_remote_ops ucx_remote_ops = {
    .start = ucx_start,
    .address = ucx_address,
    .key = drayi_ucx_key,
    .connect = drayi_ucx_connect,
    .disconnect = drayi_ucx_disconnect,
    .region_open = drayi_ucx_region_open,
    .region_close = drayi_ucx_region_close,
    .broken = drayi_ucx_broken,
    .receive = drayi_ucx_receive,
    .serve = drayi_ucx_serve,
    .guard = drayi_ucx_guard,
};

const dray_backend_ops drayi_backend_ucx = {
    .abi = DRAY_BACKEND_ABI,
    .flags = DRAY_BACKEND_ON_DEMAND,
    .name = "ucx",
    .open = ucx_open,
    .close = ucx_close,
    .edges = ucx_edges,
    .submit = ucx_submit,
    .poll = ucx_poll,
    .attach = drayi_ucx_attach,
    .detach = drayi_ucx_detach,
    .cancel = ucx_cancel,
    .arm = ucx_arm,
    .describe = ucx_describe,
    .remote = &ucx_remote_ops,
};

#endif
