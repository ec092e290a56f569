/// Copies in queues of an OpenCL driver.
///
/// Queues are in order, but a command that fails does not stop those behind it, and its failure stands in
/// its own event only. So every run keeps its event: the job has ended when the last one has, and it ended
/// well when all have. (A marker that waits for all of them would say the same in one event; PoCL 3.1's
/// `basic` device crashes when one of them has failed already.)
#include "device/opencl/opencl.h"

#include <inttypes.h>
#include <pthread.h>

struct dray_stream {
    dray_device_self *device;
    cl_command_queue queue;
    pthread_mutex_t lock; // a waiter in another thread may be late, and look at a newer job
    uint64_t job;         // guarded by lock
    uint32_t count;       // guarded by lock: runs of the job
    bool well;            // guarded by lock: all of them were seen to have ended well
    cl_event events[DRAY_DEVICE_RUNS_MAX]; // guarded by lock: the first `count`
    drayi_opencl_kernels kernels;          // made when the first loop comes
};

static void events_release(const dray_stream *stream, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        stream->device->driver->calls.event_release(stream->events[i]);
}

/// A driver may still be telling those behind a failed command of it when its event says so (PoCL 3.1 does),
/// so the queue comes to its end before the events go. After a job that ended well it is there.
static void job_forget(dray_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool at_end = stream->well || stream->count == 0;
    pthread_mutex_unlock(&stream->lock);
    if (!at_end)
        stream->device->driver->calls.queue_finish(stream->queue);
    pthread_mutex_lock(&stream->lock);
    events_release(stream, stream->count);
    stream->count = 0;
    stream->well = false;
    stream->job++;
    pthread_mutex_unlock(&stream->lock);
}

static void opencl_stream_close(dray_stream *stream)
{
    job_forget(stream);
    drayi_opencl_kernels_release(stream->device, &stream->kernels);
    if (stream->queue)
        stream->device->driver->calls.queue_release(stream->queue);
    pthread_mutex_destroy(&stream->lock);
    drayi_free(stream->device->driver->env, stream, sizeof(*stream));
}

static dray_status opencl_stream_open(dray_device_self *device, dray_stream **out_stream,
                                      dray_error *error)
{
    dray_stream *stream = drayi_new(device->driver->env, dray_stream, error);
    if (!stream)
        return DRAY_E_NOMEM;
    stream->device = device;
    pthread_mutex_init(&stream->lock, NULL);
    cl_int code = DRAYI_OPENCL_SUCCESS;
    stream->queue = device->driver->calls.queue_create(device->context, device->device, 0, &code);
    dray_status status = DRAY_OK;
    if (code != DRAYI_OPENCL_SUCCESS)
        status = drayi_opencl_fail(error, code, "clCreateCommandQueue", "%s", "");
    else if (!stream->queue)
        status = drayi_opencl_fail_empty(error, "clCreateCommandQueue");
    if (status != DRAY_OK)
        opencl_stream_close(stream);
    else
        *out_stream = stream;
    return status;
}

// --- queueing --------------------------------------------------------------------------------------------

static cl_int run_queue(const dray_stream *stream, const dray_device_run *run, cl_event *out_event,
                        const char **out_call)
{
    const drayi_opencl_calls *calls = &stream->device->driver->calls;
    const dray_device_side *to = &run->to, *from = &run->from;
    cl_mem to_buffer = to->memory, from_buffer = from->memory;
    size_t bytes = (size_t)run->bytes;
    if (to_buffer && from_buffer) {
        *out_call = "clEnqueueCopyBuffer";
        return calls->buffer_copy(stream->queue, from_buffer, to_buffer, (size_t)from->address,
                                  (size_t)to->address, bytes, 0, NULL, out_event);
    }
    if (to_buffer) {
        *out_call = "clEnqueueWriteBuffer";
        return calls->buffer_write(stream->queue, to_buffer, 0, (size_t)to->address, bytes,
                                   from->pointer, 0, NULL, out_event);
    }
    if (from_buffer) {
        *out_call = "clEnqueueReadBuffer";
        return calls->buffer_read(stream->queue, from_buffer, 0, (size_t)from->address, bytes,
                                  to->pointer, 0, NULL, out_event);
    }
    *out_call = "clEnqueueSVMMemcpy";
    return calls->svm_copy(stream->queue, 0, to->pointer, from->pointer, bytes, 0, NULL, out_event);
}

/// > 0: it has not ended; 0: well; negative: badly, with this code.
static cl_int event_status(const dray_stream *stream, cl_event event)
{
    cl_int status = 0;
    cl_int code = stream->device->driver->calls.event_info(
        event, DRAYI_OPENCL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status, NULL);
    return code == DRAYI_OPENCL_SUCCESS ? status : code;
}

/// What is being queued for a job.
typedef struct queueing {
    dray_stream *stream;
    const dray_device_run *runs; // of the job
    uint32_t count, at;          // at: the run in hand
    uint32_t queued;             // events that are held
} queueing;

static dray_status queue_failed(const queueing *job, cl_int code, const char *call,
                                dray_error *error)
{
    return drayi_opencl_fail(error, code, call, "%" PRIu64 " bytes, copy %u of %u",
                             job->runs[job->at].bytes, job->at + 1, job->count);
}

/// No event is free: all that was queued comes to its end first.
static dray_status events_drain(queueing *job, dray_error *error)
{
    const dray_stream *stream = job->stream;
    cl_int code = stream->device->driver->calls.queue_finish(stream->queue);
    for (uint32_t i = 0; i < job->queued && code == DRAYI_OPENCL_SUCCESS; i++)
        code = event_status(stream, stream->events[i]);
    if (code != DRAYI_OPENCL_SUCCESS)
        return queue_failed(job, code, "clFinish", error);
    events_release(stream, job->queued);
    job->queued = 0;
    return DRAY_OK;
}

static dray_status plain_queue(queueing *job, const dray_device_run *run, dray_error *error)
{
    const char *call;
    if (job->queued == DRAY_DEVICE_RUNS_MAX)
        DRAY_TRY(events_drain(job, error));
    cl_int code = run_queue(job->stream, run, &job->stream->events[job->queued], &call);
    if (code != DRAYI_OPENCL_SUCCESS)
        return queue_failed(job, code, call, error);
    job->queued++;
    return DRAY_OK;
}

/// By a kernel where there is one, else run by run.
static dray_status loops_queue(queueing *job, const dray_device_run *run, dray_error *error)
{
    dray_stream *stream = job->stream;
    drayi_device_lanes lanes;
    bool fits = drayi_device_lanes_of(run, run->from.address, run->to.address, &lanes);
    if (!fits || !drayi_opencl_kernels_ready(stream->device, &stream->kernels)) {
        uint64_t count = drayi_device_run_count(run);
        for (uint64_t i = 0; i < count; i++) {
            dray_device_run one = drayi_device_run_at(run, i);
            DRAY_TRY(plain_queue(job, &one, error));
        }
        return DRAY_OK;
    }
    const char *call;
    if (job->queued == DRAY_DEVICE_RUNS_MAX)
        DRAY_TRY(events_drain(job, error));
    cl_int code = drayi_opencl_loops_queue(stream->device, &stream->kernels, stream->queue, run,
                                           &lanes, &stream->events[job->queued], &call);
    if (code != DRAYI_OPENCL_SUCCESS)
        return queue_failed(job, code, call, error);
    job->queued++;
    return DRAY_OK;
}

static dray_status runs_queue(queueing *job, dray_error *error)
{
    for (job->at = 0; job->at < job->count; job->at++) {
        const dray_device_run *run = &job->runs[job->at];
        DRAY_TRY(run->loop_count ? loops_queue(job, run, error) : plain_queue(job, run, error));
    }
    cl_int code = job->stream->device->driver->calls.queue_flush(job->stream->queue);
    return code == DRAYI_OPENCL_SUCCESS ? DRAY_OK
                                        : drayi_opencl_fail(error, code, "clFlush", "%s", "");
}

static dray_status opencl_start(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                                dray_error *error)
{
    if (count > DRAY_DEVICE_RUNS_MAX)
        return dray_fail(error, DRAY_E_INVALID, "%u copies in one job, %d at most", count,
                         DRAY_DEVICE_RUNS_MAX);
    job_forget(stream);
    queueing job = {.stream = stream, .runs = runs, .count = count};
    dray_status status = runs_queue(&job, error);
    if (status != DRAY_OK) {
        stream->device->driver->calls.queue_finish(stream->queue); // what was queued before
        events_release(stream, job.queued);
        return status;
    }
    pthread_mutex_lock(&stream->lock);
    stream->count = job.queued;
    pthread_mutex_unlock(&stream->lock);
    return DRAY_OK;
}

// --- ending ----------------------------------------------------------------------------------------------

/// Looks at the job's events, each once; the lock is held. The last one first: while it runs, nothing has
/// ended. Of several failures the earliest copy's is told.
static dray_status job_look(dray_stream *stream, bool *out_done, dray_error *error)
{
    dray_status status = DRAY_OK;
    *out_done = true;
    for (uint32_t i = stream->well ? 0 : stream->count; i-- > 0;) {
        cl_int state = event_status(stream, stream->events[i]);
        if (state > DRAYI_OPENCL_COMPLETE) {
            *out_done = false;
            return DRAY_OK;
        }
        if (state < DRAYI_OPENCL_COMPLETE)
            status = drayi_opencl_fail(error, state, "copy", "%u of %u on opencl:%u", i + 1,
                                       stream->count, stream->device->ordinal);
    }
    stream->well = status == DRAY_OK;
    return status;
}

/// Asking for an event's state may itself have failed: then the job may still run, and its memory is about to
/// be given back.
static void job_settle(dray_stream *stream)
{
    stream->device->driver->calls.queue_finish(stream->queue);
}

static dray_status opencl_query(dray_stream *stream, bool *out_done, dray_error *error)
{
    pthread_mutex_lock(&stream->lock);
    dray_status status = job_look(stream, out_done, error);
    pthread_mutex_unlock(&stream->lock);
    if (status != DRAY_OK)
        job_settle(stream);
    return status;
}

static dray_status opencl_wait(dray_stream *stream, dray_error *error)
{
    const drayi_opencl_calls *calls = &stream->device->driver->calls;
    pthread_mutex_lock(&stream->lock);
    uint64_t job = stream->job;
    cl_event last = stream->count ? stream->events[stream->count - 1] : NULL;
    if (last)
        calls->event_retain(last);
    pthread_mutex_unlock(&stream->lock);
    if (!last)
        return DRAY_OK;
    cl_int code = calls->event_wait(1, &last);
    calls->event_release(last);
    bool done = true;
    dray_status status = DRAY_OK;
    pthread_mutex_lock(&stream->lock);
    if (stream->job == job) // otherwise its end was seen, and it is gone
        status = job_look(stream, &done, error);
    pthread_mutex_unlock(&stream->lock);
    if (status == DRAY_OK && !done)
        status = drayi_opencl_fail(error, code, "clWaitForEvents",
                                   "on opencl:%u came back before the copies had ended",
                                   stream->device->ordinal);
    if (status != DRAY_OK)
        job_settle(stream);
    return status;
}

const dray_device_copy_ops drayi_opencl_copy = {
    .stream_open = opencl_stream_open,
    .stream_close = opencl_stream_close,
    .start = opencl_start,
    .query = opencl_query,
    .wait = opencl_wait,
};
