/// Notices: a few bytes for the owner of a peer, acknowledged by the peer's backend.
///
///     letter   magic u32 | length of the sender's name u32 | serial u64 | epoch u64 | name | payload
///     answer   (the header of its message) serial u64 | verdict u64: 0 taken, 1 full, 2 no memory
///
/// A peer gets one letter at a time; the next leaves when the answer is there. So what a peer may owe us
/// is bounded, and a notice that ended well is in the hands of the other side. A backend keeps up to
/// DRAYI_UCX_NOTICES that nobody took; beyond that it answers "full", and the sender's operation ends
/// with DRAY_E_BUSY. Nothing is dropped in silence. Numbers are little-endian.
#include "backend/ucx_backend.h"

#ifdef DRAY_HAVE_UCX

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { am_letter = 1, am_answer = 2, letter_head = 24 };
#define LETTER_MAGIC UINT32_C(0x314e5244) // "DRN1"

typedef enum notice_verdict { VERDICT_TAKEN, VERDICT_FULL, VERDICT_NO_MEMORY } notice_verdict;

static void letter_send(dray_remote *remote);

// --- sending -------------------------------------------------------------------------------------------------------

static void queue_pop(dray_remote *remote)
{
    remote->notices_first = remote->notices_first->backend_next;
    if (!remote->notices_first)
        remote->notices_last = NULL;
}

/// The first operation of the queue has its verdict.
static void letter_settle(dray_remote *remote, uint64_t verdict)
{
    dray_backend *backend = remote->backend;
    dray_op *op = remote->notices_first;
    remote->letter_serial = 0;
    queue_pop(remote);
    if (verdict == VERDICT_FULL)
        op->status = dray_fail(&op->error, DRAY_E_BUSY,
                               "peer %s: %d notices wait there for somebody to take them: the bytes "
                               "have arrived, the notice was not accepted",
                               remote->agent, DRAYI_UCX_NOTICES);
    else if (verdict != VERDICT_TAKEN)
        op->status = dray_fail(&op->error, DRAY_E_NOMEM, "peer %s: it had no memory for the notice",
                               remote->agent);
    drayi_ucx_op_end(backend, op);
}

static void letter_sent(void *request, ucs_status_t code, void *self)
{
    dray_remote *remote = self;
    remote->backend->ucx.ucp_request_free(request);
    remote->letter_lent = false;
    (void)code; // the endpoint's error handler tells the rest
    letter_send(remote);
}

static void letter_write(dray_remote *remote, const dray_notice *notice)
{
    const dray_remote_setup *setup = &remote->backend->setup;
    uint32_t magic = LETTER_MAGIC, name_bytes = (uint32_t)strlen(setup->agent);
    uint8_t *at = remote->letter;
    memcpy(at, &magic, 4);
    memcpy(at + 4, &name_bytes, 4);
    memcpy(at + 8, &remote->letter_serial, 8);
    memcpy(at + 16, &setup->epoch, 8);
    memcpy(at + letter_head, setup->agent, name_bytes);
    if (notice->count)
        memcpy(at + letter_head + name_bytes, notice->bytes, notice->count);
    remote->letter_bytes = letter_head + name_bytes + notice->count;
}

/// Hands the letter to UCX. An error ends the operation.
static void letter_post(dray_remote *remote)
{
    dray_backend *backend = remote->backend;
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                                                       UCP_OP_ATTR_FIELD_USER_DATA |
                                                       UCP_OP_ATTR_FIELD_FLAGS,
                                       .flags = UCP_AM_SEND_FLAG_REPLY | UCP_AM_SEND_FLAG_EAGER,
                                       .cb.send = letter_sent,
                                       .user_data = remote};
    ucs_status_ptr_t request = backend->ucx.ucp_am_send_nbx(
        remote->endpoint, am_letter, NULL, 0, remote->letter, remote->letter_bytes, &param);
    remote->letter_lent = UCS_PTR_IS_PTR(request);
    if (!UCS_PTR_IS_ERR(request))
        return;
    dray_op *op = remote->notices_first;
    remote->letter_serial = 0;
    queue_pop(remote);
    drayi_ucx_op_fail(op, remote, UCS_PTR_STATUS(request));
}

/// Sends the first of the queue, unless one is under way.
static void letter_send(dray_remote *remote)
{
    while (remote->notices_first && !remote->letter_serial && !remote->letter_lent &&
           !remote->broken[0]) {
        remote->letter_serial = ++remote->backend->last_serial;
        letter_write(remote, remote->notices_first->notice);
        letter_post(remote);
    }
}

void drayi_ucx_notice_post(dray_backend *backend, dray_op *op)
{
    dray_remote *remote = op->notice->remote;
    if (op->notice->count > DRAY_NOTICE_BYTES_MAX)
        op->status = dray_fail(&op->error, DRAY_E_INVALID,
                               "peer %s: a notice of %u bytes, at most %u are possible",
                               remote->agent, op->notice->count, DRAY_NOTICE_BYTES_MAX);
    else if (remote->broken[0])
        op->status = dray_fail(&op->error, DRAY_E_IO,
                               "peer %s: the connection broke before: %s; import the peer again",
                               remote->agent, remote->broken);
    if (op->status != DRAY_OK) {
        drayi_ucx_op_end(backend, op);
        return;
    }
    op->backend_next = NULL;
    if (remote->notices_last)
        remote->notices_last->backend_next = op;
    else
        remote->notices_first = op;
    remote->notices_last = op;
    letter_send(remote);
}

bool drayi_ucx_notice_cancel(dray_op *op)
{
    if (!op->notice)
        return false;
    dray_remote *remote = op->notice->remote;
    dray_op *before = NULL, *each = remote->notices_first;
    while (each && each != op) {
        before = each;
        each = each->backend_next;
    }
    if (!each)
        return true; // it has ended already
    if (!before)
        remote->letter_serial = 0; // an answer that still comes finds nobody
    if (before)
        before->backend_next = op->backend_next;
    else
        remote->notices_first = op->backend_next;
    if (remote->notices_last == op)
        remote->notices_last = before;
    drayi_ucx_op_fail(op, remote, UCS_ERR_CANCELED);
    letter_send(remote);
    return true;
}

void drayi_ucx_notices_fail(dray_remote *remote)
{
    remote->letter_serial = 0;
    while (remote->notices_first) {
        dray_op *op = remote->notices_first;
        queue_pop(remote);
        op->status = dray_fail(&op->error, DRAY_E_IO, "peer %s: the connection broke: %s",
                               remote->agent, remote->broken);
        drayi_ucx_op_end(remote->backend, op);
    }
}

static ucs_status_t answer_arrived(void *self, const void *header, size_t header_bytes, void *data,
                                   size_t data_bytes, const ucp_am_recv_param_t *param)
{
    (void)data;
    (void)data_bytes;
    (void)param;
    dray_remote *remote = self;
    uint64_t serial, verdict;
    if (header_bytes != 16)
        return UCS_OK; // none of ours
    memcpy(&serial, header, 8);
    memcpy(&verdict, (const char *)header + 8, 8);
    if (serial && serial == remote->letter_serial) {
        letter_settle(remote, verdict);
        letter_send(remote);
    }
    return UCS_OK;
}

// --- receiving -----------------------------------------------------------------------------------------------------

static void answer_free(dray_backend *backend, drayi_ucx_answer *answer)
{
    answer->next = backend->free_answers;
    backend->free_answers = answer;
}

static void answer_sent(void *request, ucs_status_t code, void *self)
{
    (void)code; // the peer is gone: nobody waits for it
    drayi_ucx_answer *answer = self;
    answer->backend->ucx.ucp_request_free(request);
    answer_free(answer->backend, answer);
}

static void answer_send(dray_backend *backend, ucp_ep_h endpoint, uint64_t serial,
                        notice_verdict verdict)
{
    drayi_ucx_answer *answer = backend->free_answers;
    backend->free_answers = answer->next;
    answer->serial = serial;
    answer->verdict = (uint64_t)verdict;
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                                                       UCP_OP_ATTR_FIELD_USER_DATA |
                                                       UCP_OP_ATTR_FIELD_FLAGS,
                                       .flags = UCP_AM_SEND_FLAG_EAGER,
                                       .cb.send = answer_sent,
                                       .user_data = answer};
    ucs_status_ptr_t request =
        backend->ucx.ucp_am_send_nbx(endpoint, am_answer, &answer->serial, 16, NULL, 0, &param);
    if (!UCS_PTR_IS_PTR(request)) // sent, or failed, at once
        answer_free(backend, answer);
}

static notice_verdict letter_keep(dray_backend *backend, const uint8_t *letter, uint32_t name_bytes,
                                  uint32_t count)
{
    if (backend->received_count == DRAYI_UCX_NOTICES)
        return VERDICT_FULL;
    size_t bytes = sizeof(drayi_ucx_received) + count;
    drayi_ucx_received *kept = drayi_alloc(backend->env, bytes, NULL);
    if (!kept)
        return VERDICT_NO_MEMORY;
    kept->bytes = bytes;
    kept->count = count;
    memcpy(&kept->epoch, letter + 16, 8);
    memcpy(kept->agent, letter + letter_head, name_bytes);
    memcpy(kept->payload, letter + letter_head + name_bytes, count);
    if (backend->received_last)
        backend->received_last->next = kept;
    else
        backend->received_first = kept;
    backend->received_last = kept;
    backend->received_count++;
    return VERDICT_TAKEN;
}

/// Bytes from anybody who reaches the worker: what does not look like a letter is not answered.
static ucs_status_t letter_arrived(void *self, const void *header, size_t header_bytes, void *data,
                                   size_t data_bytes, const ucp_am_recv_param_t *param)
{
    (void)header;
    (void)header_bytes;
    dray_backend *backend = self;
    const uint8_t *letter = data;
    bool eager = !(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV);
    if (!backend->free_answers)
        return UCS_OK; // somebody sends letters and takes no answers: no more until some have left
    uint32_t magic, name_bytes;
    uint64_t serial;
    if (!eager || data_bytes < letter_head || !(param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP))
        return UCS_OK;
    memcpy(&magic, letter, 4);
    memcpy(&name_bytes, letter + 4, 4);
    memcpy(&serial, letter + 8, 8);
    if (magic != LETTER_MAGIC || name_bytes > DRAY_AGENT_NAME_MAX ||
        name_bytes > data_bytes - letter_head ||
        data_bytes - letter_head - name_bytes > DRAY_NOTICE_BYTES_MAX)
        return UCS_OK;
    uint32_t count = (uint32_t)(data_bytes - letter_head - name_bytes);
    answer_send(backend, param->reply_ep, serial, letter_keep(backend, letter, name_bytes, count));
    return UCS_OK;
}

bool drayi_ucx_receive(dray_backend *backend, dray_received *out_received)
{
    drayi_ucx_enter(backend);
    drayi_ucx_received *first = backend->received_first;
    if (first) {
        memcpy(out_received->agent, first->agent, sizeof(first->agent));
        out_received->epoch = first->epoch;
        out_received->count = first->count;
        memcpy(out_received->bytes, first->payload, first->count);
        backend->received_first = first->next;
        if (!first->next)
            backend->received_last = NULL;
        backend->received_count--;
        drayi_free(backend->env, first, first->bytes);
    }
    drayi_ucx_leave(backend);
    return first != NULL;
}

// --- life ----------------------------------------------------------------------------------------------------------

static dray_status listen_to(const dray_backend *backend, ucp_worker_h worker, unsigned id,
                             ucp_am_recv_callback_t callback, void *self, dray_error *error)
{
    const ucp_am_handler_param_t param = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                                                        UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                        UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                          .id = id,
                                          .cb = callback,
                                          .arg = self};
    ucs_status_t code = backend->ucx.ucp_worker_set_am_recv_handler(worker, &param);
    if (code == UCS_OK)
        return DRAY_OK;
    return drayi_ucx_fail(backend, code, "ucp_worker_set_am_recv_handler", error);
}

dray_status drayi_ucx_letters_listen(dray_backend *backend, dray_error *error)
{
    for (uint32_t i = 0; i < DRAYI_UCX_ANSWERS; i++) {
        backend->answers[i].backend = backend;
        answer_free(backend, &backend->answers[i]);
    }
    return listen_to(backend, backend->worker, am_letter, letter_arrived, backend, error);
}

dray_status drayi_ucx_answers_listen(dray_remote *remote, dray_error *error)
{
    return listen_to(remote->backend, remote->worker, am_answer, answer_arrived, remote, error);
}

void drayi_ucx_notices_close(dray_backend *backend)
{
    while (backend->received_first) {
        drayi_ucx_received *first = backend->received_first;
        backend->received_first = first->next;
        drayi_free(backend->env, first, first->bytes);
    }
}

#endif
