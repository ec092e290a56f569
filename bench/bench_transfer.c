/// Batches of blocks through the copy engine beside its baselines: memory, files on a tmpfs and on a disk,
/// a device, another process; and what planning and submitting costs when no byte moves.
#include "bench_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t *bytes_of(dray_region *region)
{
    return dray_region_pointer(region);
}

// --- cases -------------------------------------------------------------------------------------------

static bool case_memcpy(bench_transfer_state *state)
{
    bench_memcpy(&state->batch, bytes_of(state->other), bytes_of(state->memory));
    return true;
}

static bool case_stream(bench_transfer_state *state)
{
    bench_stream_copy(&state->batch, bytes_of(state->other), bytes_of(state->memory));
    return true;
}

static bool case_plain(bench_transfer_state *state)
{
    return bench_plain_io(&state->batch, state->fd, bytes_of(state->memory), state->now->write);
}

static bool case_ring(bench_transfer_state *state)
{
    return state->ring && bench_ring_io(state->ring, &state->batch, state->fd,
                                        bytes_of(state->memory), state->now->write);
}

static bool case_queue(bench_transfer_state *state)
{
    return state->queue && bench_queue_io(state->queue, &state->batch, state->other,
                                          bytes_of(state->memory), state->now->write);
}

static bool case_nixl(bench_transfer_state *state)
{
    return bench_nixl_io(state->nixl, state->batch.repeats);
}

static uint32_t cases_of(const bench_transfer_state *state, const bench_way *now, bench_case *out)
{
    uint32_t count = 0;
    out[count++] = (bench_case){.name = "dray", .run = bench_case_dray};
    if (now->device) {
        out[count++] = (bench_case){.name = "bare enqueue loop", .run = case_queue};
    } else if (now->path) {
        out[count++] = (bench_case){.name = "raw io_uring, depth 64", .run = case_ring};
        out[count++] = (bench_case){.name = now->write ? "pwrite" : "pread", .run = case_plain};
        if (state->nixl)
            out[count++] = (bench_case){.name = "NIXL POSIX", .run = case_nixl};
    } else {
        out[count++] = (bench_case){.name = "memcpy", .run = case_memcpy};
        out[count++] = (bench_case){.name = "non-temporal stores", .run = case_stream};
    }
    return count;
}

// --- ways --------------------------------------------------------------------------------------------

static dray_status region_make(bench_transfer_state *state, dray_device *device, uint64_t bytes,
                               dray_region **out, dray_error *error)
{
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = device ? DRAY_STORAGE_DEVICE : DRAY_STORAGE_SYSTEM,
                                   .bytes = bytes,
                                   .device = device};
    return dray_region_create(state->context, &options, out, error);
}

static dray_status file_open(bench_transfer_state *state, dray_error *error)
{
    const bench_way *now = state->now;
    dray_file_options options = {.struct_bytes = sizeof(options),
                                 .writable = 1,
                                 .create = 1,
                                 .replace = 1,
                                 .bytes = BENCH_SET_BYTES};
    dray_status status = dray_region_open(state->context, now->path, &options, &state->other, error);
    if (status != DRAY_OK)
        return status;
    state->fd = open(now->path, O_RDWR | O_CLOEXEC | (now->direct ? O_DIRECT : 0));
    if (state->fd < 0)
        return dray_fail_os(error, errno, "open", "bench: %s", now->path);
    // every block holds something, and none is fresh: neither side allocates in its turn
    uint32_t zero = 0;
    bench_batch whole = {.block_bytes = BENCH_SET_BYTES, .count = 1, .repeats = 1, .order = &zero};
    state->batch = whole;
    bench_fill_memory(state);
    return bench_plain_io(&whole, state->fd, bytes_of(state->memory), true)
               ? DRAY_OK
               : dray_fail_os(error, errno, "pwrite", "bench: fill %s", now->path);
}

static dray_status way_begin(bench_transfer_state *state, dray_error *error)
{
    if (state->now->path)
        return file_open(state, error);
    return region_make(state, state->now->device ? state->device : NULL, BENCH_SET_BYTES,
                       &state->other, error);
}

static void way_end(bench_transfer_state *state)
{
    dray_region_release(state->other);
    state->other = NULL;
    if (state->fd >= 0)
        close(state->fd);
    state->fd = -1;
    if (state->now->path)
        unlink(state->now->path);
}

static dray_status way_measure(bench_transfer_state *state, const bench_way *now, dray_error *error)
{
    bench_case cases[bench_cases_most];
    state->now = now;
    dray_status status = way_begin(state, error);
    if (status == DRAY_OK)
        status = bench_way_run(state, cases, cases_of(state, now, cases), error);
    way_end(state);
    return status;
}

static dray_status files_measure(bench_transfer_state *state, const char *folder, bool disk,
                                 dray_error *error)
{
    char path[4096];
    if (!folder)
        return DRAY_OK;
    snprintf(path, sizeof(path), "%s/dray-bench-transfer.%d", folder, (int)getpid());
    const bench_way ways[] = {
        {.name = disk ? "disk read, O_DIRECT" : "tmpfs read", .direct = disk, .path = path},
        {.name = disk ? "disk write, O_DIRECT" : "tmpfs write",
         .direct = disk,
         .write = true,
         .path = path}};
    dray_status status = way_measure(state, &ways[0], error);
    return status == DRAY_OK ? way_measure(state, &ways[1], error) : status;
}

static dray_status staged_run(bench_transfer_state *state, const bench_way *through,
                              dray_error *error)
{
    dray_region *device = NULL;
    state->now = through;
    dray_status status = file_open(state, error);
    if (status == DRAY_OK)
        status = region_make(state, state->device, BENCH_SET_BYTES, &device, error);
    if (status == DRAY_OK)
        status = bench_staged(state, state->other, device, error);
    dray_region_release(device);
    way_end(state);
    return status;
}

/// Through staging: a file of the folder to the device.
static dray_status staged_measure(bench_transfer_state *state, const char *folder, bool disk,
                                  dray_error *error)
{
    char path[4096];
    if (!folder || !state->device)
        return DRAY_OK;
    snprintf(path, sizeof(path), "%s/dray-bench-transfer.%d", folder, (int)getpid());
    const bench_way through = {.name = disk ? "disk to device, staged" : "tmpfs to device, staged",
                               .direct = disk,
                               .path = path};
    return staged_run(state, &through, error);
}

// --- all of it -----------------------------------------------------------------------------------------

static dray_status nixl_open(bench_transfer_state *state, dray_error *error)
{
    const char *why = "";
    const bench_transfer_options *options = state->options;
    state->nixl = bench_nixl_open(options->nixl, options->nixl_engine, bytes_of(state->memory),
                                  BENCH_SET_BYTES, &why);
    return state->nixl ? DRAY_OK
                       : dray_fail(error, DRAY_E_UNSUPPORTED, "bench: %s: %s", options->nixl, why);
}

static dray_status state_open(bench_transfer_state *state, dray_error *error)
{
    const char *names[] = {"posix", NULL, NULL};
    dray_device_info info;
    dray_status status = DRAY_OK;
    if (state->options->device) {
        status = dray_device_open(state->context, state->options->device, &state->device, error);
        if (status == DRAY_OK)
            status = dray_device_get_info(state->device, &info, error);
        if (status == DRAY_OK)
            names[1] = info.backend;
    }
    dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "bench", .backends = names[1] ? names : NULL};
    if (status == DRAY_OK)
        status = dray_agent_create(state->context, &options, &state->agent, error);
    if (status == DRAY_OK)
        status = region_make(state, NULL, BENCH_SET_BYTES, &state->memory, error);
    if (status == DRAY_OK && state->device)
        state->queue = bench_queue_open(state->device);
    state->ring = bench_ring_open();
    return status == DRAY_OK && state->options->nixl ? nixl_open(state, error) : status;
}

static void state_close(bench_transfer_state *state)
{
    bench_nixl_close(state->nixl);
    bench_ring_close(state->ring);
    bench_queue_close(state->queue);
    dray_agent_destroy(state->agent);
    dray_region_release(state->memory);
    dray_device_release(state->device);
}

dray_status bench_transfer(dray_context *context, const bench_transfer_options *options, FILE *out,
                           dray_error *error)
{
    static const bench_way memory = {.name = "memory", .write = true};
    static const bench_way devices[] = {{.name = "host to device", .write = true, .device = true},
                                        {.name = "device to host", .device = true}};
    dray_error own = {0};
    bench_transfer_state state = {
        .context = context, .options = options, .out = out, .fd = -1, .error = error ? error : &own};
    error = state.error;
    dray_status status = state_open(&state, error);
    if (status == DRAY_OK)
        status = bench_overhead(&state, error);
    if (status == DRAY_OK)
        status = way_measure(&state, &memory, error);
    if (status == DRAY_OK)
        status = files_measure(&state, options->tmpfs, false, error);
    if (status == DRAY_OK)
        status = files_measure(&state, options->disk, true, error);
    for (int i = 0; status == DRAY_OK && state.device && i < 2; i++)
        status = way_measure(&state, &devices[i], error);
    if (status == DRAY_OK)
        status = staged_measure(&state, options->tmpfs, false, error);
    if (status == DRAY_OK)
        status = staged_measure(&state, options->disk, true, error);
    if (status == DRAY_OK && options->ucx)
        status = bench_ucx(&state, error);
    state_close(&state);
    return status;
}
