/// An operation becomes a job in a stream of the device that it concerns; one whose segments lie on
/// several devices becomes a job on each, and ends with the last of them.
///
/// A device that a plan uses gets a link: a few streams, each for one job at a time, so that jobs run
/// together and their ends are told apart. Drivers do not write to file descriptors, and failed work calls
/// no callback. So whoever wants to sleep (arm) sends one thread of the pool per device to wait for its
/// oldest job; when that has ended, well or badly, the thread writes the eventfd, and poll finds out how.
#include "backend/stream_engine.h"

#include "backend/op_list.h"
#include "os/os.h"
#include "os/pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { slots_per_device = 4 };
#define BEST_BYTES (8u << 20)

/// A stream, and the job in it.
typedef struct engine_slot {
    dray_stream *stream;
    dray_device_run *runs; // DRAY_DEVICE_RUNS_MAX of them
    uint32_t run_count;
    dray_op *op;     // NULL: free
    uint64_t number; // of the job, counted over the backend; smaller is older
    uint64_t bytes;
} engine_slot;

typedef struct engine_link {
    dray_backend *backend;
    dray_device *device; // retained
    dray_device_self *self;
    uint32_t users; // attached regions
    engine_slot slots[slots_per_device];
    // the waiter in the pool:
    drayi_job waiter;
    drayi_latch waiting; // 1 while it is there
    bool is_waiting;     // guarded by the backend's lock
    dray_stream *waiter_stream;
    uint64_t waiter_number;
    uint64_t failed_number; // guarded by the backend's lock: the job whose wait failed; 0: none
    dray_error failed_error;
} engine_link;

struct dray_backend {
    drayi_env *env;
    const dray_device_ops *family;
    engine_link **links;
    uint64_t link_count, link_capacity;
    uint64_t jobs;       // started so far
    drayi_op_list ended; // for poll to hand out
    pthread_mutex_t lock;
    int event_fd;
};

// --- opening and closing -----------------------------------------------------------------------------

static const dray_device_ops *family_find(const drayi_env *env, const char *name)
{
    for (const dray_device_ops *const *each = env->devices; *each; each++) {
        if (strcmp((*each)->family, name) == 0)
            return *each;
    }
    return NULL;
}

/// Is there a driver and a device? The driver is let go again: devices bring their own.
static dray_status family_probe(drayi_env *env, const dray_device_ops *family, dray_error *error)
{
    dray_driver *driver;
    DRAY_TRY(family->load(env, &driver, error));
    family->unload(driver);
    return family->copy
               ? DRAY_OK
               : dray_fail(error, DRAY_E_UNSUPPORTED, "%s devices do not copy", family->family);
}

dray_status drayi_stream_engine_open(drayi_env *env, const char *name, dray_backend **out_backend,
                                     dray_error *error)
{
    const dray_device_ops *family = family_find(env, name);
    if (!family)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s devices are not in this build", name);
    DRAY_TRY(family_probe(env, family, error));
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    backend->family = family;
    pthread_mutex_init(&backend->lock, NULL);
    backend->event_fd = env->os->event_fd();
    if (backend->event_fd < 0) {
        dray_status status =
            dray_fail_os(error, -backend->event_fd, "eventfd", "open an eventfd for completions");
        drayi_stream_engine_close(backend);
        return status;
    }
    *out_backend = backend;
    return DRAY_OK;
}

static void link_destroy(engine_link *link)
{
    drayi_env *env = link->backend->env;
    drayi_latch_wait(&link->waiting);
    for (uint32_t i = 0; i < slots_per_device; i++) {
        if (link->slots[i].stream)
            link->backend->family->copy->stream_close(link->slots[i].stream);
        drayi_free(env, link->slots[i].runs, DRAY_DEVICE_RUNS_MAX * sizeof(dray_device_run));
    }
    drayi_latch_free(&link->waiting);
    dray_device_release(link->device);
    drayi_free(env, link, sizeof(*link));
}

void drayi_stream_engine_close(dray_backend *backend)
{
    drayi_env *env = backend->env;
    for (uint64_t i = 0; i < backend->link_count; i++)
        link_destroy(backend->links[i]);
    drayi_close_file(env->os, backend->event_fd);
    pthread_mutex_destroy(&backend->lock);
    drayi_free(env, backend->links, backend->link_capacity * sizeof(engine_link *));
    drayi_free(env, backend, sizeof(*backend));
}

// --- edges -------------------------------------------------------------------------------------------

static bool is_device(dray_storage storage)
{
    return storage == DRAY_STORAGE_DEVICE || storage == DRAY_STORAGE_MANAGED;
}

uint32_t drayi_stream_engine_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    static const struct {
        dray_storage from, to;
        uint32_t cost;
    } ways[] = {
        {DRAY_STORAGE_PINNED, DRAY_STORAGE_DEVICE, 40},
        {DRAY_STORAGE_DEVICE, DRAY_STORAGE_PINNED, 40},
        {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DEVICE, 60},
        {DRAY_STORAGE_DEVICE, DRAY_STORAGE_SYSTEM, 60},
        {DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE, 20},
        {DRAY_STORAGE_PINNED, DRAY_STORAGE_MANAGED, 40},
        {DRAY_STORAGE_MANAGED, DRAY_STORAGE_PINNED, 40},
        {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_MANAGED, 60},
        {DRAY_STORAGE_MANAGED, DRAY_STORAGE_SYSTEM, 60},
        {DRAY_STORAGE_DEVICE, DRAY_STORAGE_MANAGED, 30},
        {DRAY_STORAGE_MANAGED, DRAY_STORAGE_DEVICE, 30},
        {DRAY_STORAGE_MANAGED, DRAY_STORAGE_MANAGED, 30},
    };
    enum { way_count = sizeof(ways) / sizeof(ways[0]) };
    bool one_device = backend->family->flags & DRAY_DEVICE_FAMILY_ONE_DEVICE,
         loops = backend->family->flags & DRAY_DEVICE_FAMILY_LOOPS;
    for (uint32_t i = 0; i < way_count && i < capacity; i++)
        out_edges[i] = (dray_edge){
            .from = ways[i].from,
            .to = ways[i].to,
            .flags = one_device ? DRAY_EDGE_ONE_DEVICE : 0u,
            .id = i,
            .max_segments = DRAY_DEVICE_RUNS_MAX,
            .max_loops =
                loops && is_device(ways[i].from) && is_device(ways[i].to) ? DRAY_LOOPS_MAX : 0,
            .best_bytes = BEST_BYTES,
            .best_depth = slots_per_device,
            .cost = ways[i].cost,
            .family = backend->family,
        };
    return way_count;
}

// --- links -------------------------------------------------------------------------------------------

/// The device of the family that a region lies on, or NULL.
static dray_device *device_of(const dray_backend *backend, const dray_region_native *native)
{
    bool on_device =
        native->storage == DRAY_STORAGE_DEVICE || native->storage == DRAY_STORAGE_MANAGED;
    return on_device && native->family == backend->family ? native->device : NULL;
}

static engine_link *link_find(const dray_backend *backend, const dray_device *device)
{
    for (uint64_t i = 0; i < backend->link_count; i++) {
        if (backend->links[i]->device == device)
            return backend->links[i];
    }
    return NULL;
}

static dray_status link_build(engine_link *link, dray_error *error)
{
    dray_backend *backend = link->backend;
    for (uint32_t i = 0; i < slots_per_device; i++) {
        engine_slot *slot = &link->slots[i];
        slot->runs =
            drayi_alloc_array(backend->env, DRAY_DEVICE_RUNS_MAX, sizeof(*slot->runs), error);
        if (!slot->runs)
            return DRAY_E_NOMEM;
        DRAY_TRY(backend->family->copy->stream_open(link->self, &slot->stream, error));
    }
    return DRAY_OK;
}

static dray_status link_add(dray_backend *backend, dray_device *device, engine_link **out_link,
                            dray_error *error)
{
    DRAY_TRY(drayi_grow(backend->env, (void **)&backend->links, &backend->link_capacity,
                        backend->link_count + 1, sizeof(engine_link *), error));
    engine_link *link = drayi_new(backend->env, engine_link, error);
    if (!link)
        return DRAY_E_NOMEM;
    dray_device_native native;
    dray_device_get_native(device, &native);
    link->backend = backend;
    link->self = native.self;
    link->device = dray_device_retain(device);
    drayi_latch_init(&link->waiting);
    dray_status status = link_build(link, error);
    if (status != DRAY_OK) {
        link_destroy(link);
        return dray_fail_within(error, status, "%s", dray_device_name(device));
    }
    backend->links[backend->link_count++] = link;
    *out_link = link;
    return DRAY_OK;
}

dray_status drayi_stream_engine_attach(dray_backend *backend, dray_region *region, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    dray_device *device = device_of(backend, &native);
    if (!device)
        return DRAY_OK;
    engine_link *link = link_find(backend, device);
    if (!link)
        DRAY_TRY(link_add(backend, device, &link, error));
    link->users++;
    return DRAY_OK;
}

void drayi_stream_engine_detach(dray_backend *backend, dray_region *region)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    dray_device *device = device_of(backend, &native);
    engine_link *link = device ? link_find(backend, device) : NULL;
    if (!link || --link->users > 0)
        return;
    for (uint64_t i = 0; i < backend->link_count; i++) {
        if (backend->links[i] == link)
            backend->links[i] = backend->links[--backend->link_count];
    }
    link_destroy(link);
}

// --- ends of operations --------------------------------------------------------------------------------

/// backend_use[0]: jobs of the operation that still run.
static void op_part_ended(dray_backend *backend, dray_op *op)
{
    if (--op->backend_use[0] > 0)
        return;
    drayi_op_list_push(&backend->ended, op);
}

static void op_failed(dray_op *op, dray_status status, const dray_error *error)
{
    if (op->status != DRAY_OK)
        return; // the first failure counts
    op->status = status;
    op->error = *error;
}

static void slot_end(dray_backend *backend, engine_slot *slot, dray_status status,
                     const dray_error *error)
{
    dray_op *op = slot->op;
    slot->op = NULL;
    if (status == DRAY_OK)
        op->bytes_done += slot->bytes;
    else
        op_failed(op, status, error);
    op_part_ended(backend, op);
}

/// Did the waiter see this job fail?
static bool wait_has_failed(engine_link *link, const engine_slot *slot, dray_error *out_error)
{
    pthread_mutex_lock(&link->backend->lock);
    bool failed = link->failed_number == slot->number;
    if (failed)
        *out_error = link->failed_error;
    pthread_mutex_unlock(&link->backend->lock);
    return failed;
}

static void slot_query(engine_link *link, engine_slot *slot)
{
    dray_backend *backend = link->backend;
    dray_error error = {0};
    bool done = false;
    dray_status status = backend->family->copy->query(slot->stream, &done, &error);
    if (status == DRAY_OK && !done) {
        if (!wait_has_failed(link, slot, &error))
            return;
        status = error.status;
    }
    slot_end(backend, slot, status, &error);
}

static void engine_reap(dray_backend *backend)
{
    for (uint64_t i = 0; i < backend->link_count; i++) {
        for (uint32_t k = 0; k < slots_per_device; k++) {
            if (backend->links[i]->slots[k].op)
                slot_query(backend->links[i], &backend->links[i]->slots[k]);
        }
    }
}

uint32_t drayi_stream_engine_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    engine_reap(backend);
    return drayi_op_list_take(&backend->ended, out_ops, capacity);
}

// --- starting --------------------------------------------------------------------------------------------

static dray_device_side side_of(const dray_backend *backend, const dray_region *region,
                                uint64_t offset, dray_device **out_device)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    dray_device_side side = {.storage = native.storage};
    if (native.pointer)
        side.pointer = (char *)native.pointer + offset;
    if (native.family == backend->family) { // another family's handles say nothing to this driver
        dray_device_native device;
        dray_device_get_native(native.device, &device);
        side.memory = native.device_memory;
        side.address = native.device_address + offset;
        side.device = device.self;
    }
    *out_device = device_of(backend, &native);
    return side;
}

static engine_slot *slot_free(engine_link *link)
{
    for (uint32_t i = 0; i < slots_per_device; i++) {
        if (!link->slots[i].op)
            return &link->slots[i];
    }
    return NULL;
}

/// The slot that already collects for this operation, or a free one, claimed. NULL: all are taken.
static engine_slot *slot_claim(engine_link *link, dray_op *op)
{
    for (uint32_t i = 0; i < slots_per_device; i++) {
        if (link->slots[i].op == op)
            return &link->slots[i];
    }
    engine_slot *slot = slot_free(link);
    if (slot) {
        slot->op = op;
        slot->run_count = 0;
        slot->bytes = 0;
        op->backend_use[0]++;
    }
    return slot;
}

static void op_unclaim(dray_backend *backend, const dray_op *op)
{
    for (uint64_t i = 0; i < backend->link_count; i++) {
        for (uint32_t k = 0; k < slots_per_device; k++) {
            if (backend->links[i]->slots[k].op == op)
                backend->links[i]->slots[k].op = NULL;
        }
    }
}

typedef enum op_claim { CLAIM_DONE, CLAIM_FULL, CLAIM_STRANGER } op_claim;

static uint64_t run_bytes(const dray_device_run *run)
{
    uint64_t bytes = run->bytes;
    for (uint32_t i = 0; i < run->loop_count; i++)
        bytes *= run->loops[i].count;
    return bytes;
}

/// Deals the segments to slots of their devices. A copy between two devices is the source's.
static op_claim op_deal(dray_backend *backend, dray_op *op)
{
    for (uint32_t i = 0; i < op->segment_count; i++) {
        const dray_segment *segment = &op->segments[i];
        if (segment->run_bytes == 0)
            continue;
        dray_device *from, *to;
        dray_device_run run = {.bytes = segment->run_bytes,
                               .loops = segment->loops,
                               .loop_count = segment->loop_count};
        bool loops_fit =
            segment->loop_count == 0 || (backend->family->flags & DRAY_DEVICE_FAMILY_LOOPS &&
                                         segment->loop_count <= DRAY_LOOPS_MAX);
        run.from = side_of(backend, segment->source, segment->source_offset, &from);
        run.to = side_of(backend, segment->target, segment->target_offset, &to);
        engine_link *link = from || to ? link_find(backend, from ? from : to) : NULL;
        if (!link || !loops_fit || (segment->loop_count && (!from || !to)))
            return CLAIM_STRANGER;
        if (run_bytes(&run) == 0)
            continue;
        engine_slot *slot = slot_claim(link, op);
        if (!slot)
            return CLAIM_FULL;
        if (slot->run_count == DRAY_DEVICE_RUNS_MAX)
            return CLAIM_STRANGER;
        slot->runs[slot->run_count++] = run;
        slot->bytes += run_bytes(&run);
    }
    return CLAIM_DONE;
}

static void slot_start(engine_link *link, engine_slot *slot)
{
    dray_backend *backend = link->backend;
    const dray_device_copy_ops *copy = backend->family->copy;
    dray_error error = {0};
    slot->number = ++backend->jobs;
    bool at_once = slot->op->flags & DRAY_OP_SMALL_SYNC;
    dray_status status = copy->start(slot->stream, slot->runs, slot->run_count, &error);
    if (status == DRAY_OK && !at_once)
        return;
    if (status == DRAY_OK)
        status = copy->wait(slot->stream, &error);
    slot_end(backend, slot, status, &error);
}

static void op_start(dray_backend *backend, dray_op *op)
{
    op->backend_use[0]++; // until all have started
    for (uint64_t i = 0; i < backend->link_count; i++) {
        for (uint32_t k = 0; k < slots_per_device; k++) {
            if (backend->links[i]->slots[k].op == op)
                slot_start(backend->links[i], &backend->links[i]->slots[k]);
        }
    }
    op_part_ended(backend, op);
}

/// False: no room, nothing changed.
static bool op_take(dray_backend *backend, dray_op *op)
{
    op->backend_use[0] = 0;
    op_claim claim = op_deal(backend, op);
    if (claim == CLAIM_FULL) {
        op_unclaim(backend, op);
        return false;
    }
    op->status = DRAY_OK;
    op->bytes_done = 0;
    if (claim == CLAIM_STRANGER) {
        op_unclaim(backend, op);
        op->backend_use[0] = 1;
        op->status =
            dray_fail(&op->error, DRAY_E_INTERNAL,
                      "an operation of no attached %s device, or with loops that it does not carry",
                      backend->family->family);
        op_part_ended(backend, op);
        return true;
    }
    op_start(backend, op);
    return true;
}

uint32_t drayi_stream_engine_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count && op_take(backend, ops[taken]))
        taken++;
    return taken;
}

// --- sleeping --------------------------------------------------------------------------------------------

/// A lost wake-up is a hang, so a failing write is tried again.
static void wake(const dray_backend *backend)
{
    const uint64_t one = 1;
    for (int tries = 0; tries < 100; tries++) {
        if (backend->env->os->write(backend->event_fd, &one, sizeof(one)) == sizeof(one))
            return;
    }
}

/// For slot_query() to find.
static void wait_failed(engine_link *link, uint64_t number, const dray_error *error)
{
    pthread_mutex_lock(&link->backend->lock);
    link->failed_number = number;
    link->failed_error = *error;
    pthread_mutex_unlock(&link->backend->lock);
}

/// In the pool. Nothing of the backend is touched after the latch.
static void waiter_run(drayi_job *job)
{
    engine_link *link = (engine_link *)(void *)((char *)job - offsetof(engine_link, waiter));
    dray_backend *backend = link->backend;
    dray_error error = {0};
    dray_status status = backend->family->copy->wait(link->waiter_stream, &error);
    if (status != DRAY_OK)
        wait_failed(link, link->waiter_number, &error);
    pthread_mutex_lock(&backend->lock);
    link->is_waiting = false;
    wake(backend);
    pthread_mutex_unlock(&backend->lock);
    drayi_latch_done(&link->waiting);
}

static const engine_slot *slot_oldest(const engine_link *link)
{
    const engine_slot *oldest = NULL;
    for (uint32_t i = 0; i < slots_per_device; i++) {
        const engine_slot *slot = &link->slots[i];
        if (slot->op && (!oldest || slot->number < oldest->number))
            oldest = slot;
    }
    return oldest;
}

/// Sends a thread to wait for the link's oldest job, unless one is there already: that one wakes the
/// caller too, who then comes back for another.
static void link_await(engine_link *link)
{
    const engine_slot *oldest = slot_oldest(link);
    pthread_mutex_lock(&link->backend->lock);
    bool send = oldest && !link->is_waiting;
    if (send)
        link->is_waiting = true;
    pthread_mutex_unlock(&link->backend->lock);
    if (!send)
        return;
    drayi_latch_wait(&link->waiting); // the last one may still be on its way out
    link->waiter_stream = oldest->stream;
    link->waiter_number = oldest->number;
    link->waiter.run = waiter_run;
    drayi_latch_add(&link->waiting, 1);
    drayi_pool_run(link->backend->env->pool, &link->waiter);
}

dray_status drayi_stream_engine_arm(dray_backend *backend, int *out_fd, dray_error *error)
{
    drayi_env *env = backend->env;
    if (drayi_pool_threads(env->pool) == 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the context has no threads that could wait for a %s device",
                         backend->family->family);
    uint64_t stale; // wake-ups for what poll has long handed out; none: -EAGAIN
    (void)env->os->read(backend->event_fd, &stale, sizeof(stale));
    engine_reap(backend);
    if (backend->ended.first)
        return dray_fail(error, DRAY_E_BUSY, "operations have ended already: poll first");
    for (uint64_t i = 0; i < backend->link_count; i++)
        link_await(backend->links[i]);
    *out_fd = backend->event_fd;
    return DRAY_OK;
}

/// The caller itself waits for the oldest job, when there is only one device to hear from.
bool drayi_stream_engine_await(dray_backend *backend, int64_t timeout_ns)
{
    engine_link *link = backend->link_count == 1 ? backend->links[0] : NULL;
    const engine_slot *oldest = link ? slot_oldest(link) : NULL;
    if (!oldest || timeout_ns >= 0 || backend->ended.first)
        return false;
    dray_error error = {0};
    if (backend->family->copy->wait(oldest->stream, &error) != DRAY_OK)
        wait_failed(link, oldest->number, &error);
    return true;
}

void drayi_stream_engine_describe(dray_backend *backend, char *out, size_t capacity)
{
    bool waits = drayi_pool_threads(backend->env->pool) > 0;
    snprintf(out, capacity, "%s, %d streams a device, %s", backend->family->family, slots_per_device,
             waits ? "ends awaited by a thread of the pool" : "polled: the context has no threads");
}
