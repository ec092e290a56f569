/// Peers: a worker and an endpoint for each, the keys to their regions, and how they end.
///
/// A connection ends in three ways: UCX finds the peer dead (the endpoint's error handler), a cancelled
/// operation does not end in time, or the owner lets the peer go. In all three its worker is destroyed.
/// UCX then calls back for some of the requests that were on their way and not for others (a shared ring
/// that is full and has no reader keeps them); those that are left over are ended here: with its worker
/// gone nothing moves on a connection any more.
#include "backend/ucx_backend.h"

#ifdef DRAY_HAVE_UCX

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    // UCX takes addresses and keys without their lengths. A key can make it read 64 parts of 255 bytes;
    // what follows a cut one are zeros of ours.
    zeros_behind = 65536,
    guard_grace_ns =
        50000000, // what a peer sent before its end may come a little later than the news of it
    close_rounds =
        1000, // of progress for an endpoint that closes; one that cannot is not waited for
};

static const char *words(const dray_remote *remote, ucs_status_t code)
{
    return remote->backend->ucx.ucs_status_string(code);
}

// --- endings -------------------------------------------------------------------------------------------------------

static void keys_destroy(dray_remote *remote)
{
    for (dray_remote_region *each = remote->regions; each; each = each->next) {
        if (each->key)
            remote->backend->ucx.ucp_rkey_destroy(each->key);
        each->key = NULL;
    }
}

static void guard_end(dray_remote *remote)
{
    drayi_close_file(remote->backend->os, remote->guard_fd); // epoll forgets it with that
    remote->guard_fd = -1;
}

static void worker_end(dray_remote *remote)
{
    const drayi_ucx_calls *ucx = &remote->backend->ucx;
    ucp_worker_h worker = remote->worker;
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                       .flags = UCP_EP_CLOSE_FLAG_FORCE};
    if (remote->endpoint) {
        ucs_status_ptr_t request = ucx->ucp_ep_close_nbx(remote->endpoint, &param);
        for (int i = 0; UCS_PTR_IS_PTR(request) && i < close_rounds &&
                        ucx->ucp_request_check_status(request) == UCS_INPROGRESS;
             i++)
            ucx->ucp_worker_progress(worker);
        if (UCS_PTR_IS_PTR(request))
            ucx->ucp_request_free(request);
    }
    guard_end(remote);
    remote->endpoint = NULL;
    remote->worker = NULL; // callbacks from here on find nothing to send on
    keys_destroy(remote);
    drayi_ucx_log_low(true);
    ucx->ucp_worker_destroy(worker);
    drayi_ucx_log_low(false);
    remote->letter_lent = false;
}

/// What UCX did not call back for.
static void leftovers_end(dray_remote *remote)
{
    dray_backend *backend = remote->backend;
    for (uint32_t i = 0; i < DRAYI_UCX_OPS; i++) {
        dray_op *op = backend->in_flight[i];
        if (op && op->backend_use[DRAYI_UCX_REMOTE] == (uintptr_t)remote) {
            op->backend_use[DRAYI_UCX_WAITS] = 1;
            drayi_ucx_op_settle(backend, op, remote->code);
        }
    }
}

void drayi_ucx_remote_cut(dray_remote *remote, ucs_status_t code, const char *why)
{
    if (!remote->broken[0]) {
        remote->code = code;
        snprintf(remote->broken, sizeof(remote->broken), "%s", why);
    }
    if (!remote->worker)
        return;
    worker_end(remote);
    leftovers_end(remote);
    drayi_ucx_notices_fail(remote);
    remote->backend->untidy = true;
}

void drayi_ucx_guards_look(dray_backend *backend)
{
    for (dray_remote *each = backend->remotes; each; each = each->next) {
        uint8_t any;
        if (each->guard_fd < 0 || each->ended_at_ns)
            continue;
        ssize_t got = backend->os->receive(each->guard_fd, &any, 1);
        if (got == -EAGAIN || got == -EINTR)
            continue;
        each->ended_at_ns = backend->os->now_ns();
        (void)backend->os->watch_change(backend->watch_fd, each->guard_fd, false, false);
        if (!backend->guard_cut_at_ns) {
            backend->guard_cut_at_ns = each->ended_at_ns + guard_grace_ns;
            drayi_ucx_timer_next(backend);
        }
    }
}

void drayi_ucx_guards_cut(dray_backend *backend, int64_t now_ns)
{
    int64_t next = 0;
    for (dray_remote *each = backend->remotes; each; each = each->next) {
        if (!each->ended_at_ns || !each->worker)
            continue;
        int64_t at = each->ended_at_ns + guard_grace_ns;
        if (at <= now_ns)
            drayi_ucx_remote_cut(each, UCS_ERR_CONNECTION_RESET, "its agent has ended");
        else if (!next || at < next)
            next = at;
    }
    backend->guard_cut_at_ns = next;
    drayi_ucx_timer_next(backend);
}

void drayi_ucx_guard(dray_backend *backend, dray_remote *remote, int fd)
{
    drayi_ucx_enter(backend);
    guard_end(remote);
    remote->ended_at_ns = 0;
    bool watched =
        remote->worker && backend->os->watch_change(backend->watch_fd, fd, true, false) >= 0;
    if (watched)
        remote->guard_fd = fd;
    else
        drayi_close_file(backend->os, fd); // it goes without
    drayi_ucx_leave(backend);
}

/// UCX calls this from inside progress, so nothing is closed here; tidying comes after.
static void endpoint_failed(void *self, ucp_ep_h endpoint, ucs_status_t code)
{
    (void)endpoint;
    dray_remote *remote = self;
    if (!remote->broken[0]) {
        remote->code = code;
        snprintf(remote->broken, sizeof(remote->broken), "%s (UCX status %d)", words(remote, code),
                 (int)code);
    }
    remote->backend->untidy = true;
}

/// Frees the regions that their owner closed, unless operations may still use them.
static void regions_tidy(dray_remote *remote)
{
    dray_backend *backend = remote->backend;
    for (dray_remote_region **at = &remote->regions; *at && remote->busy == 0;) {
        dray_remote_region *region = *at;
        if (!region->closed) {
            at = &region->next;
            continue;
        }
        *at = region->next;
        if (region->key)
            backend->ucx.ucp_rkey_destroy(region->key);
        drayi_free(backend->env, region, sizeof(*region));
    }
}

void drayi_ucx_remotes_tidy(dray_backend *backend)
{
    if (!backend->untidy)
        return;
    backend->untidy = false;
    for (dray_remote **at = &backend->remotes; *at;) {
        dray_remote *remote = *at;
        if (remote->broken[0] && remote->worker)
            drayi_ucx_remote_cut(remote, remote->code, remote->broken);
        regions_tidy(remote);
        if (remote->let_go && remote->busy == 0 && !remote->regions) {
            *at = remote->next;
            drayi_free(backend->env, remote, sizeof(*remote));
        } else {
            at = &remote->next;
        }
    }
}

void drayi_ucx_disconnect(dray_backend *backend, dray_remote *remote)
{
    drayi_ucx_enter(backend);
    remote->let_go = true;
    drayi_ucx_remote_cut(remote, UCS_ERR_CANCELED, "its owner let it go");
    backend->untidy = true;
    drayi_ucx_remotes_tidy(backend);
    drayi_ucx_leave(backend);
}

void drayi_ucx_remotes_close(dray_backend *backend)
{
    for (dray_remote *each = backend->remotes; each; each = each->next) {
        for (dray_remote_region *region = each->regions; region; region = region->next)
            region->closed = true;
        each->let_go = true;
        drayi_ucx_remote_cut(each, UCS_ERR_CANCELED, "its owner let it go");
    }
    backend->untidy = true;
    drayi_ucx_remotes_tidy(backend);
}

// --- beginnings ----------------------------------------------------------------------------------------------------

/// A copy of bytes that UCX will read without knowing where they end.
static void *padded_copy(dray_backend *backend, const void *bytes, uint32_t count,
                         size_t *out_bytes, dray_error *error)
{
    *out_bytes = (size_t)count + zeros_behind;
    void *copy = drayi_alloc(backend->env, *out_bytes, error);
    if (copy)
        memcpy(copy, bytes, count);
    return copy;
}

static dray_status endpoint_open(dray_remote *remote, const void *address, uint32_t bytes,
                                 dray_error *error)
{
    dray_backend *backend = remote->backend;
    size_t copy_bytes;
    void *copy = padded_copy(backend, address, bytes, &copy_bytes, error);
    if (!copy)
        return DRAY_E_NOMEM;
    const ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = copy,
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = endpoint_failed, .arg = remote},
    };
    ucs_status_t code = backend->ucx.ucp_ep_create(remote->worker, &params, &remote->endpoint);
    drayi_free(backend->env, copy, copy_bytes);
    if (code == UCS_OK)
        return DRAY_OK;
    remote->endpoint = NULL;
    dray_status status = dray_fail(error, code == UCS_ERR_NO_MEMORY ? DRAY_E_NOMEM : DRAY_E_IO,
                                   "peer %s: no connection: %s (UCX status %d)", remote->agent,
                                   words(remote, code), (int)code);
    if (error)
        error->native_code = code;
    return status;
}

static dray_status remote_build(dray_remote *remote, const void *address, uint32_t bytes,
                                dray_error *error)
{
    DRAY_TRY(drayi_ucx_worker_open(remote->backend, &remote->worker, &remote->worker_fd, error));
    DRAY_TRY(drayi_ucx_answers_listen(remote, error));
    return endpoint_open(remote, address, bytes, error);
}

dray_status drayi_ucx_connect(dray_backend *backend, const char *agent, const void *address,
                              uint32_t bytes, dray_remote **out_remote, dray_error *error)
{
    dray_remote *remote = drayi_new(backend->env, dray_remote, error);
    if (!remote)
        return DRAY_E_NOMEM;
    remote->backend = backend;
    remote->guard_fd = -1;
    snprintf(remote->agent, sizeof(remote->agent), "%s", agent);
    drayi_ucx_enter(backend);
    dray_status status = remote_build(remote, address, bytes, error);
    if (status == DRAY_OK) {
        remote->next = backend->remotes;
        backend->remotes = remote;
        *out_remote = remote;
    } else if (remote->worker) {
        backend->ucx.ucp_worker_destroy(remote->worker);
    }
    drayi_ucx_leave(backend);
    if (status != DRAY_OK)
        drayi_free(backend->env, remote, sizeof(*remote));
    return status;
}

const char *drayi_ucx_broken(dray_backend *backend, const dray_remote *remote)
{
    drayi_ucx_enter(backend);
    const char *why = remote->broken[0] ? remote->broken : NULL; // written once
    drayi_ucx_leave(backend);
    return why;
}

// --- their regions -------------------------------------------------------------------------------------------------

static dray_status key_unpack(dray_remote_region *region, const dray_remote_key *key,
                              dray_error *error)
{
    dray_remote *remote = region->remote;
    dray_backend *backend = remote->backend;
    size_t copy_bytes;
    void *copy = padded_copy(backend, key->key, key->key_bytes, &copy_bytes, error);
    if (!copy)
        return DRAY_E_NOMEM;
    ucs_status_t code = UCS_ERR_NOT_CONNECTED;
    if (remote->endpoint && !remote->broken[0])
        code = backend->ucx.ucp_ep_rkey_unpack(remote->endpoint, copy, &region->key);
    if (code != UCS_OK)
        region->key = NULL;
    drayi_free(backend->env, copy, copy_bytes);
    if (code == UCS_OK)
        return DRAY_OK;
    dray_status status =
        dray_fail(error, DRAY_E_IO,
                  "peer %s: region %s: its key of %u bytes is refused: %s (UCX "
                  "status %d)",
                  remote->agent, key->name, key->key_bytes, words(remote, code), (int)code);
    if (error)
        error->native_code = code;
    return status;
}

dray_status drayi_ucx_region_open(dray_backend *backend, dray_remote *remote,
                                  const dray_remote_key *key, dray_remote_region **out_region,
                                  dray_error *error)
{
    dray_remote_region *region = drayi_new(backend->env, dray_remote_region, error);
    if (!region)
        return DRAY_E_NOMEM;
    region->remote = remote;
    drayi_ucx_enter(backend);
    dray_status status = key_unpack(region, key, error);
    if (status == DRAY_OK) {
        region->next = remote->regions;
        remote->regions = region;
    }
    drayi_ucx_leave(backend);
    if (status != DRAY_OK)
        drayi_free(backend->env, region, sizeof(*region));
    else
        *out_region = region;
    return status;
}

void drayi_ucx_region_close(dray_backend *backend, dray_remote_region *region)
{
    drayi_ucx_enter(backend);
    region->closed = true;
    backend->untidy = true;
    drayi_ucx_remotes_tidy(backend);
    drayi_ucx_leave(backend);
}

#endif
