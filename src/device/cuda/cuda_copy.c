/// Copies in streams of the CUDA driver, each job ended by an event.
///
/// The event blocks its waiter instead of spinning. Many runs go in one call where the driver has
/// cuMemcpyBatchAsync and both ends are memory that it needs no hints for; otherwise one call each.
#include "device/cuda/cuda.h"

#include <inttypes.h>
#include <stdio.h>

enum { batch_max = 128 };

struct dray_stream {
    dray_device_self *device;
    CUstream stream;
    CUevent end; // of the job
};

static void stream_destroy(dray_stream *stream)
{
    dray_device_self *device = stream->device;
    drayi_env *env = device->driver->env;
    if ((stream->stream || stream->end) && drayi_cuda_enter(device, NULL) == DRAY_OK) {
        if (stream->stream) {
            device->driver->calls.stream_wait(stream->stream); // failed or not, it has ended
            device->driver->calls.stream_destroy(stream->stream);
        }
        if (stream->end)
            device->driver->calls.event_destroy(stream->end);
        drayi_cuda_leave(device);
    }
    drayi_free(env, stream, sizeof(*stream));
}

static dray_status stream_build(dray_stream *stream, dray_error *error)
{
    dray_device_self *device = stream->device;
    const dray_driver *driver = device->driver;
    CUresult code = driver->calls.stream_create(&stream->stream, DRAYI_CUDA_STREAM_NON_BLOCKING);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuStreamCreate", "%s", "");
    code = driver->calls.event_create(&stream->end, DRAYI_CUDA_EVENT_BLOCKING_SYNC |
                                                        DRAYI_CUDA_EVENT_DISABLE_TIMING);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuEventCreate", "%s", "");
    if (!stream->stream || !stream->end)
        return drayi_cuda_fail_empty(error, stream->stream ? "cuEventCreate" : "cuStreamCreate");
    return DRAY_OK;
}

static dray_status cuda_stream_open(dray_device_self *device, dray_stream **out_stream,
                                    dray_error *error)
{
    dray_stream *stream = drayi_new(device->driver->env, dray_stream, error);
    if (!stream)
        return DRAY_E_NOMEM;
    stream->device = device;
    dray_status status = drayi_cuda_enter(device, error);
    if (status == DRAY_OK) {
        status = stream_build(stream, error);
        drayi_cuda_leave(device);
    }
    if (status != DRAY_OK)
        stream_destroy(stream);
    else
        *out_stream = stream;
    return status;
}

// --- one call each -------------------------------------------------------------------------------------

static bool on_host(const dray_device_side *side)
{
    return side->storage == DRAY_STORAGE_SYSTEM || side->storage == DRAY_STORAGE_PINNED;
}

static CUresult run_queue(const dray_stream *stream, const dray_device_run *run,
                          const char **out_call)
{
    const drayi_cuda_calls *calls = &stream->device->driver->calls;
    const dray_device_side *to = &run->to, *from = &run->from;
    size_t bytes = (size_t)run->bytes;
    if (on_host(from)) {
        *out_call = "cuMemcpyHtoDAsync_v2";
        return calls->copy_to_device(to->address, from->pointer, bytes, stream->stream);
    }
    if (on_host(to)) {
        *out_call = "cuMemcpyDtoHAsync_v2";
        return calls->copy_to_host(to->pointer, from->address, bytes, stream->stream);
    }
    bool peers = to->device && from->device && to->device->device != from->device->device;
    if (peers && calls->copy_peer) {
        *out_call = "cuMemcpyPeerAsync";
        return calls->copy_peer(to->address, to->device->context, from->address,
                                from->device->context, bytes, stream->stream);
    }
    *out_call = "cuMemcpyDtoDAsync_v2"; // one address space: works between devices, too
    return calls->copy_on_device(to->address, from->address, bytes, stream->stream);
}

/// Both sides are memory of the stream's device: a kernel there reaches them.
static bool kernel_reaches(const dray_stream *stream, const dray_device_run *run)
{
    return run->from.device == stream->device && run->to.device == stream->device &&
           !on_host(&run->from) && !on_host(&run->to);
}

/// A run with loops: by a kernel where there is one, else one call for each of its runs.
static CUresult loops_queue(const dray_stream *stream, const dray_device_run *run,
                            const char **out_call)
{
    drayi_device_lanes lanes;
    *out_call = "cuLaunchKernel";
    if (kernel_reaches(stream, run) &&
        drayi_device_lanes_of(run, run->from.address, run->to.address, &lanes) &&
        drayi_cuda_loops_ready(stream->device))
        return drayi_cuda_loops_queue(stream->device, stream->stream, run, &lanes);
    CUresult code = DRAYI_CUDA_SUCCESS;
    uint64_t count = drayi_device_run_count(run);
    for (uint64_t i = 0; i < count && code == DRAYI_CUDA_SUCCESS; i++) {
        dray_device_run one = drayi_device_run_at(run, i);
        code = run_queue(stream, &one, out_call);
    }
    return code;
}

static dray_status runs_queue(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                              dray_error *error)
{
    dray_device_self *device = stream->device;
    for (uint32_t i = 0; i < count; i++) {
        const char *call;
        CUresult code = runs[i].loop_count ? loops_queue(stream, &runs[i], &call)
                                           : run_queue(stream, &runs[i], &call);
        if (code != DRAYI_CUDA_SUCCESS)
            return drayi_cuda_fail(device->driver, device, error, code, call,
                                   "%" PRIu64 " bytes, copy %u of %u", runs[i].bytes, i + 1, count);
    }
    return DRAY_OK;
}

// --- many in one call ------------------------------------------------------------------------------------

/// Pageable and managed memory would need hints of where it is; peers another call.
static bool batches(const dray_stream *stream, const dray_device_run *runs, uint32_t count)
{
    const drayi_cuda_calls *calls = &stream->device->driver->calls;
    if (count < 2 || (!calls->copy_batch2 && !calls->copy_batch1))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const dray_device_side *sides[2] = {&runs[i].from, &runs[i].to};
        for (uint32_t k = 0; k < 2; k++) {
            bool device =
                sides[k]->storage == DRAY_STORAGE_DEVICE && sides[k]->device == stream->device;
            bool pinned = sides[k]->storage == DRAY_STORAGE_PINNED && sides[k]->device;
            if (runs[i].loop_count || (!device && !pinned))
                return false;
        }
    }
    return true;
}

static CUdeviceptr side_address(const dray_device_side *side)
{
    return on_host(side) ? (CUdeviceptr)(uintptr_t)side->pointer : side->address;
}

static dray_status batch_queue(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                               dray_error *error)
{
    dray_device_self *device = stream->device;
    const drayi_cuda_calls *calls = &device->driver->calls;
    if (atomic_load(&device->batch_refused))
        return runs_queue(stream, runs, count, error);
    CUdeviceptr to[batch_max], from[batch_max];
    size_t bytes[batch_max];
    for (uint32_t i = 0; i < count; i++) {
        to[i] = side_address(&runs[i].to);
        from[i] = side_address(&runs[i].from);
        bytes[i] = (size_t)runs[i].bytes;
    }
    CUmemcpyAttributes in_order = {.srcAccessOrder = DRAYI_CUDA_ACCESS_ORDER_STREAM};
    size_t first = 0, failed = SIZE_MAX;
    CUresult code;
    if (calls->copy_batch2)
        code = calls->copy_batch2(to, from, bytes, count, &in_order, &first, 1, stream->stream);
    else
        code = calls->copy_batch1(to, from, bytes, count, &in_order, &first, 1, &failed,
                                  stream->stream);
    if (code == DRAYI_CUDA_NOT_SUPPORTED) {
        atomic_store(&device->batch_refused, true);
        return runs_queue(stream, runs, count, error);
    }
    if (code == DRAYI_CUDA_SUCCESS)
        return DRAY_OK;
    char which[48] = "";
    if (failed < count)
        snprintf(which, sizeof(which), ", copy %zu is at fault", failed + 1);
    return drayi_cuda_fail(device->driver, device, error, code, "cuMemcpyBatchAsync", "%u copies%s",
                           count, which);
}

// --- a job's life ------------------------------------------------------------------------------------------

static dray_status job_queue(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                             dray_error *error)
{
    dray_device_self *device = stream->device;
    if (!batches(stream, runs, count)) {
        DRAY_TRY(runs_queue(stream, runs, count, error));
    } else {
        for (uint32_t at = 0; at < count; at += batch_max) {
            uint32_t part = count - at < batch_max ? count - at : batch_max;
            DRAY_TRY(batch_queue(stream, runs + at, part, error));
        }
    }
    CUresult code = device->driver->calls.event_record(stream->end, stream->stream);
    return code == DRAYI_CUDA_SUCCESS
               ? DRAY_OK
               : drayi_cuda_fail(device->driver, device, error, code, "cuEventRecord", "%s", "");
}

static dray_status cuda_start(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                              dray_error *error)
{
    DRAY_TRY(drayi_cuda_enter(stream->device, error));
    dray_status status = job_queue(stream, runs, count, error);
    if (status != DRAY_OK)
        stream->device->driver->calls.stream_wait(stream->stream); // what was queued before
    drayi_cuda_leave(stream->device);
    return status;
}

static dray_status job_failed(dray_stream *stream, dray_error *error, CUresult code,
                              const char *call)
{
    dray_device_self *device = stream->device;
    return drayi_cuda_fail(device->driver, device, error, code, call, "on cuda:%u", device->ordinal);
}

/// A question that failed is no answer: the job may still run, and its memory is about to be given back. In a
/// lost context nothing runs any more.
static void job_settle(dray_stream *stream)
{
    dray_device_self *device = stream->device;
    if (drayi_cuda_enter(device, NULL) != DRAY_OK)
        return;
    device->driver->calls.stream_wait(stream->stream);
    drayi_cuda_leave(device);
}

static dray_status job_ask(dray_stream *stream, bool *out_done, dray_error *error)
{
    DRAY_TRY(drayi_cuda_enter(stream->device, error));
    CUresult code = stream->device->driver->calls.event_query(stream->end);
    drayi_cuda_leave(stream->device);
    *out_done = code != DRAYI_CUDA_NOT_READY;
    return code == DRAYI_CUDA_SUCCESS || code == DRAYI_CUDA_NOT_READY
               ? DRAY_OK
               : job_failed(stream, error, code, "cuEventQuery");
}

static dray_status job_await(dray_stream *stream, dray_error *error)
{
    DRAY_TRY(drayi_cuda_enter(stream->device, error));
    CUresult code = stream->device->driver->calls.event_wait(stream->end);
    drayi_cuda_leave(stream->device);
    return code == DRAYI_CUDA_SUCCESS ? DRAY_OK
                                      : job_failed(stream, error, code, "cuEventSynchronize");
}

static dray_status cuda_query(dray_stream *stream, bool *out_done, dray_error *error)
{
    *out_done = true;
    dray_status status = job_ask(stream, out_done, error);
    if (status != DRAY_OK)
        job_settle(stream);
    return status;
}

static dray_status cuda_wait(dray_stream *stream, dray_error *error)
{
    dray_status status = job_await(stream, error);
    if (status != DRAY_OK)
        job_settle(stream);
    return status;
}

const dray_device_copy_ops drayi_cuda_copy = {
    .stream_open = cuda_stream_open,
    .stream_close = stream_destroy,
    .start = cuda_start,
    .query = cuda_query,
    .wait = cuda_wait,
};
