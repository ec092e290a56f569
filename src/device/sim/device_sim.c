/// A device that is not there: memory of the host behind handles, copies that take a few queries to end,
/// and faults when a test asks for them. What runs on it has met everything of a device but its speed.
///
/// An address on it is an offset inside a handle, so that nobody reaches its memory by a pointer, and
/// every run is checked against the allocation it names, as a good driver would.
#include "base/checked.h"
#include "base/env.h"
#include "device/run_loops.h"
#include "device/sim/sim_inside.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct dray_stream {
    dray_device_self *device;
    const dray_device_run *runs; // the caller's, until the job has ended; NULL: no job
    uint32_t count;
    uint32_t queries;
    dray_status ended; // of the last job
    dray_error error;
};

dray_status drayi_sim_fail(dray_error *error, dray_status status, int32_t code, const char *origin,
                           const char *what)
{
    static const char *const names[] = {"", "INVALID", "OUT_OF_MEMORY", "FAILED", "LOST"};
    dray_fail(error, status, "%s: SIM_%s (%d)", what, names[code], code);
    if (error) {
        error->native_code = code;
        error->origin = origin;
    }
    return status;
}

// --- the family ------------------------------------------------------------------------------------

static dray_status sim_load(drayi_env *env, dray_driver **out_driver, dray_error *error)
{
    dray_driver *driver = drayi_new(env, dray_driver, error);
    if (!driver)
        return DRAY_E_NOMEM;
    driver->env = env;
    *out_driver = driver;
    return DRAY_OK;
}

static void sim_unload(dray_driver *driver)
{
    drayi_free(driver->env, driver, sizeof(*driver));
}

static uint32_t sim_count(const dray_driver *driver)
{
    (void)driver;
    return DRAYI_SIM_DEVICES;
}

static dray_status sim_describe(dray_driver *driver, uint32_t ordinal, dray_device_info *out_info,
                                dray_error *error)
{
    (void)ordinal;
    (void)error;
    snprintf(out_info->model, sizeof(out_info->model), "simulated device in host memory");
    snprintf(out_info->driver, sizeof(out_info->driver),
             "dray %s; pinned memory is locked as far as this process may lock any", dray_version());
    out_info->total_bytes = DRAYI_SIM_CAPACITY;
    out_info->free_bytes = DRAYI_SIM_CAPACITY;
    out_info->largest_bytes = DRAYI_SIM_CAPACITY;
    out_info->alignment = driver->env->os->page_bytes();
    out_info->capabilities = DRAY_DEVICE_MEMORY | DRAY_DEVICE_MANAGED | DRAY_DEVICE_PINNED |
                             DRAY_DEVICE_COPY | DRAY_DEVICE_PEER | DRAY_DEVICE_CONCURRENT_MANAGED;
    return DRAY_OK;
}

static dray_status sim_open(dray_driver *driver, uint32_t ordinal, dray_device_self **out_device,
                            dray_error *error)
{
    dray_device_self *device = drayi_new(driver->env, dray_device_self, error);
    if (!device)
        return DRAY_E_NOMEM;
    device->env = driver->env;
    device->ordinal = ordinal;
    pthread_mutex_init(&device->lock, NULL);
    *out_device = device;
    return DRAY_OK;
}

static void sim_close(dray_device_self *device)
{
    pthread_mutex_destroy(&device->lock);
    drayi_free(device->env, device, sizeof(*device));
}

// --- memory ----------------------------------------------------------------------------------------

/// Takes `bytes` out of the capacity.
static dray_status capacity_take(dray_device_self *device, uint64_t bytes, dray_error *error)
{
    pthread_mutex_lock(&device->lock);
    uint64_t capacity =
        device->faults.capacity_bytes ? device->faults.capacity_bytes : DRAYI_SIM_CAPACITY;
    uint64_t room = capacity - drayi_min(capacity, device->counters.used_bytes);
    bool injected = ++device->allocations == device->faults.allocate_at;
    bool lost = device->lost, fits = bytes <= room && !injected;
    if (fits && !lost)
        device->counters.used_bytes += bytes;
    pthread_mutex_unlock(&device->lock);
    if (lost)
        return drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_LOST, "sim_allocate",
                              "the device was lost");
    if (fits)
        return DRAY_OK;
    char what[96];
    snprintf(what, sizeof(what), "%" PRIu64 " bytes wanted, %" PRIu64 " of %" PRIu64 " free", bytes,
             room, capacity);
    return drayi_sim_fail(error, DRAY_E_NOMEM, DRAYI_SIM_OUT_OF_MEMORY, "sim_allocate", what);
}

static void capacity_give(dray_device_self *device, uint64_t bytes)
{
    pthread_mutex_lock(&device->lock);
    device->counters.used_bytes -= bytes;
    pthread_mutex_unlock(&device->lock);
}

static void block_destroy(dray_device_self *device, sim_block *block)
{
    if (block->bytes)
        device->env->os->unmap(block->bytes, (size_t)block->mapped); // unlocks too
    drayi_sim_hinted_destroy(device->env, block->hinted);
    drayi_free(device->env, block, sizeof(*block));
}

/// A driver locks memory beyond the process's limit. This one cannot: what the limit refuses is locked in
/// the simulation only, as its whole memory is a device's in the simulation only.
static int block_lock(const drayi_os *os, const sim_block *block)
{
    int code = os->lock(block->bytes, (size_t)block->mapped, false);
    return code == -ENOMEM || code == -EPERM || code == -EAGAIN ? 0 : code;
}

static dray_status block_build(dray_device_self *device, dray_storage storage, sim_block *block,
                               dray_error *error)
{
    const drayi_os *os = device->env->os;
    if (!drayi_round_up(block->size, os->page_bytes(), &block->mapped) ||
        block->mapped > SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_NOMEM, "%" PRIu64 " bytes are more than can be addressed",
                         block->size);
    int code = 0;
    block->bytes = os->map(NULL, (size_t)block->mapped, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &code);
    if (!block->bytes)
        return dray_fail_os(error, -code, "mmap", "%" PRIu64 " bytes", block->mapped);
    code = storage == DRAY_STORAGE_PINNED ? block_lock(os, block) : 0;
    return code < 0 ? dray_fail_os(error, -code, "mlock", "lock %" PRIu64 " bytes", block->mapped)
                    : DRAY_OK;
}

static void managed_add(dray_device_self *device, sim_block *block)
{
    pthread_mutex_lock(&device->lock);
    block->next = device->managed;
    device->managed = block;
    device->managed_bytes += block->size;
    pthread_mutex_unlock(&device->lock);
}

static void managed_remove(dray_device_self *device, const sim_block *block)
{
    pthread_mutex_lock(&device->lock);
    sim_block **at = &device->managed;
    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
    device->managed_bytes -= block->size;
    pthread_mutex_unlock(&device->lock);
}

static dray_status sim_allocate(dray_device_self *device, dray_storage storage, uint64_t bytes,
                                dray_device_block *out_block, dray_error *error)
{
    uint64_t taken = storage == DRAY_STORAGE_PINNED ? 0 : bytes;
    DRAY_TRY(capacity_take(device, taken, error));
    sim_block *block = drayi_new(device->env, sim_block, error);
    dray_status status = DRAY_E_NOMEM;
    if (block) {
        block->size = bytes;
        status = block_build(device, storage, block, error);
    }
    if (status != DRAY_OK) {
        if (block)
            block_destroy(device, block);
        capacity_give(device, taken);
        return status;
    }
    if (storage == DRAY_STORAGE_MANAGED)
        managed_add(device, block);
    *out_block = (dray_device_block){
        .pointer = storage == DRAY_STORAGE_DEVICE ? NULL : block->bytes, .memory = block};
    return DRAY_OK;
}

static void sim_free(dray_device_self *device, dray_storage storage, const dray_device_block *block)
{
    sim_block *own = block->memory;
    if (storage == DRAY_STORAGE_MANAGED)
        managed_remove(device, own);
    capacity_give(device, storage == DRAY_STORAGE_PINNED ? 0 : own->size);
    block_destroy(device, own);
}

// --- copies ----------------------------------------------------------------------------------------

/// The host address behind one end of a run, or NULL when it leaves its allocation.
static char *side_bytes(const dray_device_side *side, uint64_t bytes)
{
    if (!side->memory)
        return side->pointer;
    const sim_block *block = side->memory;
    return drayi_inside(side->address, bytes, block->size) ? block->bytes + side->address : NULL;
}

static dray_status sim_stream_open(dray_device_self *device, dray_stream **out_stream,
                                   dray_error *error)
{
    dray_stream *stream = drayi_new(device->env, dray_stream, error);
    if (!stream)
        return DRAY_E_NOMEM;
    stream->device = device;
    pthread_mutex_lock(&device->lock);
    device->counters.streams++;
    pthread_mutex_unlock(&device->lock);
    *out_stream = stream;
    return DRAY_OK;
}

/// From the first byte of a side to one past its last.
static uint64_t side_reach(const dray_device_run *run, bool target)
{
    uint64_t reach = run->bytes;
    for (uint32_t i = 0; i < run->loop_count; i++)
        reach += (run->loops[i].count - 1) *
                 (target ? run->loops[i].target_stride : run->loops[i].source_stride);
    return reach;
}

static bool run_is_inside(const dray_device_run *run)
{
    return side_bytes(&run->from, side_reach(run, false)) &&
           side_bytes(&run->to, side_reach(run, true));
}

/// Run by run, as the loops say; returns the bytes. `half` of each run when the copy shall fail.
static uint64_t run_do(const dray_device_run *run, bool half)
{
    uint64_t bytes = half ? run->bytes / 2 : run->bytes, count = drayi_device_run_count(run);
    for (uint64_t i = 0; i < count; i++) {
        dray_device_run one = drayi_device_run_at(run, i);
        memmove(side_bytes(&one.to, one.bytes), side_bytes(&one.from, one.bytes), (size_t)bytes);
    }
    return bytes * count;
}

/// Does the job; the device's lock is held.
static void job_run(dray_stream *stream)
{
    dray_device_self *device = stream->device;
    bool fails = ++device->jobs_ended == device->faults.finish_at;
    for (uint32_t i = 0; i < stream->count; i++) {
        uint64_t bytes = run_do(&stream->runs[i], fails);
        if (fails)
            break;
        device->counters.bytes += bytes;
    }
    stream->runs = NULL;
    stream->ended = DRAY_OK;
    if (fails) {
        device->lost = device->faults.sticky;
        stream->ended = drayi_sim_fail(&stream->error, DRAY_E_DEVICE, DRAYI_SIM_FAILED, "sim_copy",
                                       device->lost ? "the copy failed, and the device is lost"
                                                    : "the copy failed");
    }
}

static dray_status job_end(dray_stream *stream, dray_error *error)
{
    if (stream->ended != DRAY_OK && error)
        *error = stream->error;
    return stream->ended;
}

static dray_status sim_start(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                             dray_error *error)
{
    dray_device_self *device = stream->device;
    for (uint32_t i = 0; i < count; i++) {
        if (!run_is_inside(&runs[i]))
            return drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_INVALID, "sim_copy",
                                  "a copy leaves its allocation");
    }
    pthread_mutex_lock(&device->lock);
    bool refused = ++device->jobs_started == device->faults.start_at, lost = device->lost;
    if (!refused && !lost) {
        stream->runs = runs;
        stream->count = count;
        stream->queries = device->faults.queries_before_done;
        device->counters.jobs++;
        device->counters.runs += count;
    }
    pthread_mutex_unlock(&device->lock);
    if (lost)
        return drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_LOST, "sim_copy",
                              "the device was lost");
    return refused ? drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_INVALID, "sim_copy", "refused")
                   : DRAY_OK;
}

static dray_status sim_query(dray_stream *stream, bool *out_done, dray_error *error)
{
    dray_device_self *device = stream->device;
    pthread_mutex_lock(&device->lock);
    if (stream->runs && stream->queries > 0)
        stream->queries--;
    else if (stream->runs)
        job_run(stream);
    *out_done = !stream->runs;
    dray_status status = *out_done ? job_end(stream, error) : DRAY_OK;
    pthread_mutex_unlock(&device->lock);
    return status;
}

static dray_status sim_wait(dray_stream *stream, dray_error *error)
{
    pthread_mutex_lock(&stream->device->lock);
    if (stream->runs)
        job_run(stream);
    dray_status status = job_end(stream, error);
    pthread_mutex_unlock(&stream->device->lock);
    return status;
}

static void sim_stream_close(dray_stream *stream)
{
    dray_device_self *device = stream->device;
    sim_wait(stream, NULL);
    pthread_mutex_lock(&device->lock);
    device->counters.streams--;
    pthread_mutex_unlock(&device->lock);
    drayi_free(device->env, stream, sizeof(*stream));
}

// --- the inside door ---------------------------------------------------------------------------------

void drayi_sim_set_faults(dray_device_self *device, const drayi_sim_faults *faults)
{
    pthread_mutex_lock(&device->lock);
    device->faults = *faults;
    device->allocations = device->jobs_started = device->jobs_ended = device->hints_made = 0;
    device->lost = false;
    pthread_mutex_unlock(&device->lock);
}

void drayi_sim_get_counters(dray_device_self *device, drayi_sim_counters *out)
{
    pthread_mutex_lock(&device->lock);
    *out = device->counters;
    pthread_mutex_unlock(&device->lock);
}

static const dray_device_memory_ops sim_memory = {
    .allocate = sim_allocate,
    .free = sim_free,
};

static const dray_device_copy_ops sim_copy = {
    .stream_open = sim_stream_open,
    .stream_close = sim_stream_close,
    .start = sim_start,
    .query = sim_query,
    .wait = sim_wait,
};

const dray_device_ops drayi_device_sim = {
    .abi = DRAY_DEVICE_ABI,
    .flags = DRAY_DEVICE_FAMILY_LOOPS,
    .family = "sim",
    .backend = "sim_device",
    .load = sim_load,
    .unload = sim_unload,
    .count = sim_count,
    .describe = sim_describe,
    .open = sim_open,
    .close = sim_close,
    .memory = &sim_memory,
    .copy = &sim_copy,
    .hints = &drayi_sim_hints,
};
