/// The io_uring engine: waiting -> queued -> in the air -> booked, and back to waiting for the rest of
/// a short transfer.
///
/// A ring that refuses to take entries is retired: what it has not taken moves to the engine without a
/// ring, what is in the air is still reaped. Only when reaping fails for good, too, do those
/// operations end with an error, after the ring was closed, which makes the kernel give them up.
#include "backend/posix_engine.h"

#include <errno.h>

#define NO_SLOT UINT32_MAX // in the queue: a cancellation
#define FAILURES_MAX 1000  // failing calls in a row until the ring counts as broken
#define EVENTS_AT_ONCE 32

static uint32_t index_of(const dray_backend *backend, const drayi_posix_slot *slot)
{
    return (uint32_t)(slot - backend->slots);
}

/// The request's name for the kernel: the slot, and which of the slot's requests it is.
static uint64_t request_name(const dray_backend *backend, const drayi_posix_slot *slot)
{
    return (uint64_t)slot->request << 32 | index_of(backend, slot);
}

static bool is_transient(int code)
{
    return code == -EINTR || code == -EAGAIN || code == -EBUSY;
}

void drayi_posix_ring_open(dray_backend *backend)
{
    drayi_posix_ring_state *state = &backend->ring;
    struct io_uring *ring;
    int code = backend->os->uring_open(&ring, DRAYI_POSIX_QUEUE);
    if (code >= 0) {
        state->ring = ring;
        code = backend->os->uring_event_fd(ring, backend->completions.event_fd);
        if (code < 0)
            drayi_posix_ring_close(backend);
    }
    state->refusal = code < 0 ? -code : 0;
}

void drayi_posix_ring_close(dray_backend *backend)
{
    if (backend->ring.ring)
        backend->os->uring_close(backend->ring.ring);
    backend->ring.ring = NULL;
}

// --- towards the kernel --------------------------------------------------------------------------

static void queue_push(drayi_posix_ring_state *state, uint32_t index)
{
    state->queue[(state->queue_first + state->queue_count++) % DRAYI_POSIX_QUEUE] = index;
}

static uint32_t queue_pop(drayi_posix_ring_state *state)
{
    uint32_t index = state->queue[state->queue_first];
    state->queue_first = (state->queue_first + 1) % DRAYI_POSIX_QUEUE;
    state->queue_count--;
    return index;
}

/// The ring takes nothing any more: everything that it has not taken goes the other way.
static void retire(dray_backend *backend, int code)
{
    drayi_posix_ring_state *state = &backend->ring;
    state->refusal = -code;
    backend->engine = drayi_posix_fallback(backend);
    while (state->queue_count > 0) {
        uint32_t index = queue_pop(state);
        if (index != NO_SLOT)
            backend->engine->start(backend, &backend->slots[index]);
    }
    for (drayi_posix_slot *slot; (slot = drayi_queue_pop(&state->waiting)) != NULL;)
        backend->engine->start(backend, slot);
}

/// The ring did not take something: a passing state, or the end of it.
static void refused(dray_backend *backend, int code)
{
    if (!is_transient(code) || ++backend->ring.submit_failures > FAILURES_MAX)
        retire(backend, code);
}

/// Gives queued entries to the kernel, as many as it takes; the others stay for the next time.
static void submit(dray_backend *backend)
{
    drayi_posix_ring_state *state = &backend->ring;
    if (state->queue_count == 0)
        return;
    int taken = backend->os->uring_submit(state->ring);
    if (taken <= 0) {
        refused(backend, taken < 0 ? taken : -EAGAIN);
        return;
    }
    state->submit_failures = 0;
    for (; taken > 0 && state->queue_count > 0; taken--) {
        uint32_t index = queue_pop(state);
        if (index == NO_SLOT)
            continue;
        state->air[index] = true;
        state->air_count++;
    }
}

static int queue_request(dray_backend *backend, drayi_posix_slot *slot)
{
    const drayi_os *os = backend->os;
    bool background = !slot->direct && slot->bytes >= DRAYI_POSIX_BACKGROUND;
    slot->request++;
    return (slot->write ? os->uring_write : os->uring_read)(
        backend->ring.ring, drayi_posix_slot_fd(slot), &slot->parts[slot->part_first],
        slot->part_count - slot->part_first, slot->offset + slot->done, background,
        request_name(backend, slot));
}

static void ring_flush(dray_backend *backend)
{
    drayi_posix_ring_state *state = &backend->ring;
    while (state->waiting.first && state->queue_count < DRAYI_POSIX_QUEUE) {
        int code = queue_request(backend, drayi_queue_first(&state->waiting));
        if (code < 0) {
            refused(backend, code);
            break;
        }
        queue_push(state, index_of(backend, drayi_queue_pop(&state->waiting)));
    }
    submit(backend); // of a retired ring nothing is queued
}

// --- from the kernel -----------------------------------------------------------------------------

static void book(dray_backend *backend, const drayi_uring_event *event)
{
    drayi_posix_ring_state *state = &backend->ring;
    uint32_t index = (uint32_t)event->user_data;
    if (index >= DRAYI_POSIX_SLOTS || !state->air[index])
        return;
    drayi_posix_slot *slot = &backend->slots[index];
    if (event->user_data != request_name(backend, slot))
        return;
    state->air[index] = false;
    state->air_count--;
    if (drayi_posix_slot_result(slot, event->result))
        drayi_posix_end(slot);
    else
        backend->engine->start(backend, slot); // the rest; past a retired ring
}

/// Nothing will ever be heard of the requests in the air.
static void give_up(dray_backend *backend, int code)
{
    drayi_posix_ring_state *state = &backend->ring;
    drayi_posix_ring_close(backend);
    if (backend->engine == &drayi_posix_ring)
        retire(backend, code);
    for (uint32_t i = 0; i < DRAYI_POSIX_SLOTS; i++) {
        if (!state->air[i])
            continue;
        state->air[i] = false;
        state->air_count--;
        drayi_posix_slot_fail(&backend->slots[i], -code, "io_uring_enter");
        drayi_posix_end(&backend->slots[i]);
    }
    state->reap_failures = 0;
}

static void reap(dray_backend *backend)
{
    drayi_posix_ring_state *state = &backend->ring;
    drayi_uring_event events[EVENTS_AT_ONCE];
    for (int count = EVENTS_AT_ONCE; count == EVENTS_AT_ONCE && state->air_count > 0;) {
        count = backend->os->uring_reap(state->ring, events, EVENTS_AT_ONCE);
        if (count < 0) {
            if (++state->reap_failures > FAILURES_MAX)
                give_up(backend, count);
            return;
        }
        state->reap_failures = 0;
        for (int i = 0; i < count; i++)
            book(backend, &events[i]);
    }
}

void drayi_posix_ring_poll(dray_backend *backend)
{
    if (!backend->ring.ring)
        return;
    reap(backend);
    if (backend->engine == &drayi_posix_ring)
        ring_flush(backend);
}

bool drayi_posix_ring_needs_poll(const dray_backend *backend)
{
    const drayi_posix_ring_state *state = &backend->ring;
    return state->waiting.first || state->queue_count > 0 || state->reap_failures > 0;
}

// --- the engine ----------------------------------------------------------------------------------

static void ring_start(dray_backend *backend, drayi_posix_slot *slot)
{
    drayi_queue_push(&backend->ring.waiting, &slot->link);
}

/// The answer to the cancellation itself is of no interest: the operation's own answer tells.
static void ring_cancel(dray_backend *backend, drayi_posix_slot *slot)
{
    drayi_posix_ring_state *state = &backend->ring;
    if (!state->air[index_of(backend, slot)] || state->queue_count == DRAYI_POSIX_QUEUE)
        return; // not with the kernel, or no room to ask: it ends with its next transfer
    if (backend->os->uring_cancel(state->ring, request_name(backend, slot)) < 0)
        return;
    queue_push(state, NO_SLOT);
    submit(backend);
}

const drayi_posix_engine drayi_posix_ring = {
    .start = ring_start,
    .flush = ring_flush,
    .poll = NULL, // backend_posix.c polls the ring anyway, in use or retired
    .cancel = ring_cancel,
};
