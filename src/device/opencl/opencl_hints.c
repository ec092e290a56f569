/// The one hint that OpenCL has: move this now. Every call keeps its event, because a command that fails stops
/// nothing behind it.
///
/// OpenCL tells neither what a pointer is nor where bytes are, and drivers accept pointers that are none of
/// theirs (PoCL 3.1: success for any). So what a range is comes from our own list of allocations, or
/// from Intel's extension for memory that was allocated with it, and nothing else reaches the driver.
#include "base/checked.h"
#include "device/opencl/opencl.h"
#include "dray/spi/hints.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct dray_hint_queue {
    dray_device_self *device;
    cl_command_queue queue;
    cl_event *events; // of the calls since the last mark that was awaited
    uint64_t count, capacity;
};

// --- the extension ---------------------------------------------------------------------------------

static bool has_extension(const dray_driver *driver, uint32_t ordinal)
{
    cl_device_id device = driver->places[ordinal].device;
    char text[16 << 10] = "";
    cl_int code = driver->calls.device_info(device, DRAYI_OPENCL_DEVICE_EXTENSIONS,
                                            sizeof(text) - 1, text, NULL);
    return code == DRAYI_OPENCL_SUCCESS && strstr(text, "cl_intel_unified_shared_memory");
}

/// A function of the platform in *out_function, or NULL where the device lacks the extension.
static void usm_find(const dray_driver *driver, uint32_t ordinal, const char *name,
                     void *out_function)
{
    void *symbol = NULL;
    if (driver->calls.extension && has_extension(driver, ordinal))
        symbol = driver->calls.extension(driver->places[ordinal].platform, name);
    memcpy(out_function, &symbol, sizeof(symbol));
}

// --- what the driver can do ------------------------------------------------------------------------

static void device_probe(const dray_driver *driver, uint32_t ordinal, dray_hint_device *out)
{
    cl_device_id device = driver->places[ordinal].device;
    const uint64_t svm = drayi_opencl_number_of(
        driver, device, DRAYI_OPENCL_DEVICE_SVM_CAPABILITIES, sizeof(cl_bitfield), 0);
    const bool fine = (svm & DRAYI_OPENCL_SVM_FINE_GRAIN_BUFFER) != 0;
    const bool unified = drayi_opencl_number_of(
        driver, device, DRAYI_OPENCL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(cl_bool), 0);
    *out = (dray_hint_device){
        .managed = fine && !(driver->absent & DRAYI_OPENCL_MANAGED),
        .concurrent_managed = fine,
        .integrated = unified,
        .numa_node = -1,
        .total_bytes = drayi_opencl_number_of(driver, device, DRAYI_OPENCL_DEVICE_GLOBAL_MEM_SIZE,
                                              sizeof(cl_ulong), DRAY_UNKNOWN),
        .free_bytes = DRAY_UNKNOWN, // OpenCL has no call for it
    };
    if (unified)
        snprintf(out->no_effect, sizeof(out->no_effect),
                 "the device shares the host's memory: there is nowhere to move to");
}

/// "OpenCL 3.0 ..." -> 300; 0: not understood.
static uint32_t platform_version(const dray_driver *driver, uint32_t ordinal)
{
    char text[128] = "";
    unsigned major = 0, minor = 0;
    cl_int code =
        driver->calls.platform_info(driver->places[ordinal].platform, DRAYI_OPENCL_PLATFORM_VERSION,
                                    sizeof(text) - 1, text, NULL);
    if (code != DRAYI_OPENCL_SUCCESS || sscanf(text, "OpenCL %2u.%2u", &major, &minor) != 2)
        return 0;
    return major * 100 + minor * 10;
}

static dray_status opencl_hints_probe(dray_device_self *device, dray_hint_abilities *out_abilities,
                                      dray_error *error)
{
    const dray_driver *driver = device->driver;
    drayi_usm_migrate *migrate;
    usm_find(driver, device->ordinal, "clEnqueueMigrateMemINTEL", &migrate);
    const uint32_t version = platform_version(driver, device->ordinal);
    out_abilities->family = "opencl";
    out_abilities->features = 0;
    if (driver->calls.svm_migrate && version >= 210)
        out_abilities->features |= DRAY_HINT_HAS_SVM_MIGRATE;
    if (migrate)
        out_abilities->features |= DRAY_HINT_HAS_USM;
    if (!out_abilities->features || (driver->absent & DRAYI_OPENCL_COPY))
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the driver has neither clEnqueueSVMMigrateMem (OpenCL 2.1) nor "
                         "cl_intel_unified_shared_memory");
    out_abilities->driver_version = version;
    out_abilities->ordinal = device->ordinal;
    out_abilities->device_count = (uint32_t)drayi_min(driver->count, DRAY_HINT_DEVICES_MAX);
    for (uint32_t i = 0; i < out_abilities->device_count; i++)
        device_probe(driver, i, &out_abilities->devices[i]);
    return DRAY_OK;
}

// --- what a range is -------------------------------------------------------------------------------

static dray_status usm_look(const dray_device_self *device, const dray_hint_range *range,
                            dray_hint_memory *out_memory, dray_error *error)
{
    drayi_usm_info *info;
    usm_find(device->driver, device->ordinal, "clGetMemAllocInfoINTEL", &info);
    if (!info)
        return DRAY_OK;
    cl_uint type = 0;
    void *base = NULL;
    size_t bytes = 0;
    cl_int code = info(device->context, range->pointer, DRAYI_OPENCL_USM_ALLOC_TYPE, sizeof(type),
                       &type, NULL);
    if (code == DRAYI_OPENCL_SUCCESS)
        code = info(device->context, range->pointer, DRAYI_OPENCL_USM_ALLOC_BASE, sizeof(base),
                    &base, NULL);
    if (code == DRAYI_OPENCL_SUCCESS)
        code = info(device->context, range->pointer, DRAYI_OPENCL_USM_ALLOC_SIZE, sizeof(bytes),
                    &bytes, NULL);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clGetMemAllocInfoINTEL", "of %p", range->pointer);
    if (type == DRAYI_OPENCL_USM_TYPE_SHARED)
        out_memory->kind = DRAY_HINT_MEMORY_MANAGED;
    else if (type == DRAYI_OPENCL_USM_TYPE_DEVICE)
        out_memory->kind = DRAY_HINT_MEMORY_DEVICE;
    else if (type == DRAYI_OPENCL_USM_TYPE_HOST)
        out_memory->kind = DRAY_HINT_MEMORY_PINNED;
    else
        return DRAY_OK;
    out_memory->ordinal = device->ordinal;
    out_memory->first = (uintptr_t)base;
    out_memory->bytes = bytes;
    out_memory->usm = 1;
    return DRAY_OK;
}

static dray_status opencl_hints_look(dray_device_self *device, const dray_hint_range *range,
                                     dray_hint_memory *out_memory, dray_error *error)
{
    *out_memory = (dray_hint_memory){0};
    drayi_opencl_shared shared;
    if (!range->pointer)
        return DRAY_OK;
    if (!drayi_opencl_shared_find(device, range->pointer, &shared))
        return usm_look(device, range, out_memory, error);
    out_memory->kind = DRAY_HINT_MEMORY_MANAGED;
    out_memory->first = (uintptr_t)shared.base;
    out_memory->bytes = shared.bytes;
    return DRAY_OK;
}

// --- the queue ---------------------------------------------------------------------------------------

static void events_forget(dray_hint_queue *queue)
{
    for (uint64_t i = 0; i < queue->count; i++)
        queue->device->driver->calls.event_release(queue->events[i]);
    queue->count = 0;
}

static void opencl_queue_close(dray_hint_queue *queue)
{
    const drayi_opencl_calls *calls = &queue->device->driver->calls;
    drayi_env *env = queue->device->driver->env;
    if (queue->queue)
        calls->queue_finish(queue->queue);
    events_forget(queue);
    if (queue->queue)
        calls->queue_release(queue->queue);
    drayi_free(env, queue->events, queue->capacity * sizeof(cl_event));
    drayi_free(env, queue, sizeof(*queue));
}

static dray_status opencl_queue_open(dray_device_self *device, dray_hint_queue **out_queue,
                                     dray_error *error)
{
    dray_hint_queue *queue = drayi_new(device->driver->env, dray_hint_queue, error);
    if (!queue)
        return DRAY_E_NOMEM;
    queue->device = device;
    cl_int code = DRAYI_OPENCL_SUCCESS;
    queue->queue = device->driver->calls.queue_create(device->context, device->device, 0, &code);
    dray_status status = DRAY_OK;
    if (code != DRAYI_OPENCL_SUCCESS)
        status = drayi_opencl_fail(error, code, "clCreateCommandQueue", "%s", "");
    else if (!queue->queue)
        status = drayi_opencl_fail_empty(error, "clCreateCommandQueue");
    if (status != DRAY_OK)
        opencl_queue_close(queue);
    else
        *out_queue = queue;
    return status;
}

// --- the calls ---------------------------------------------------------------------------------------

/// The driver would take any pointer; we do not.
static dray_status ranges_check(dray_device_self *device, const dray_hint_call *call,
                                const dray_hint_call_range *ranges, dray_error *error)
{
    for (uint64_t i = 0; i < call->range_count; i++) {
        const dray_hint_range *range = &ranges[i].range;
        dray_hint_memory memory;
        DRAY_TRY(opencl_hints_look(device, range, &memory, error));
        if (memory.kind != DRAY_HINT_MEMORY_MANAGED ||
            !drayi_inside((uintptr_t)range->pointer - memory.first, range->bytes, memory.bytes))
            return dray_fail(error, DRAY_E_INVALID,
                             "%" PRIu64 " bytes at %p are not inside one allocation of opencl:%u",
                             range->bytes, range->pointer, device->ordinal);
    }
    return DRAY_OK;
}

/// One call for all ranges; the event is the queue's.
static dray_status svm_call(dray_hint_queue *queue, const dray_hint_call *call,
                            const dray_hint_call_range *ranges, cl_event *out_event,
                            dray_error *error)
{
    const dray_driver *driver = queue->device->driver;
    enum { entry_bytes = sizeof(void *) + sizeof(size_t) };
    if (!driver->calls.svm_migrate)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "the driver has no clEnqueueSVMMigrateMem");
    if (call->range_count > UINT32_MAX)
        return dray_fail(error, DRAY_E_INVALID, "%" PRIu64 " ranges in one call", call->range_count);
    const void **pointers = drayi_alloc_array(driver->env, call->range_count, entry_bytes, error);
    if (!pointers)
        return DRAY_E_NOMEM;
    size_t *bytes = (size_t *)(void *)(pointers + call->range_count);
    for (uint64_t i = 0; i < call->range_count; i++) {
        pointers[i] = ranges[i].range.pointer;
        bytes[i] = (size_t)ranges[i].range.bytes;
    }
    cl_int code = driver->calls.svm_migrate(queue->queue, (cl_uint)call->range_count, pointers,
                                            bytes, call->advice, 0, NULL, out_event);
    drayi_free(driver->env, pointers, (size_t)call->range_count * entry_bytes);
    return code == DRAYI_OPENCL_SUCCESS
               ? DRAY_OK
               : drayi_opencl_fail(error, code, "clEnqueueSVMMigrateMem",
                                   "of %" PRIu64 " ranges, %" PRIu64 " bytes", call->range_count,
                                   call->bytes);
}

static dray_status usm_call(dray_hint_queue *queue, const dray_hint_call *call,
                            const dray_hint_range *range, cl_event *out_event, dray_error *error)
{
    drayi_usm_migrate *migrate;
    usm_find(queue->device->driver, queue->device->ordinal, "clEnqueueMigrateMemINTEL", &migrate);
    if (!migrate)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "the driver has no clEnqueueMigrateMemINTEL");
    cl_int code = migrate(queue->queue, range->pointer, (size_t)range->bytes, call->advice, 0, NULL,
                          out_event);
    return code == DRAYI_OPENCL_SUCCESS
               ? DRAY_OK
               : drayi_opencl_fail(error, code, "clEnqueueMigrateMemINTEL",
                                   "of %" PRIu64 " bytes at %p", range->bytes, range->pointer);
}

/// Nobody can look afterwards: the answer stays "accepted".
static dray_status opencl_queue_call(dray_hint_queue *queue, const dray_hint_call *call,
                                     const dray_hint_call_range *ranges,
                                     dray_hint_answer *out_answer, dray_error *error)
{
    dray_device_self *device = queue->device;
    const bool usm = call->function == DRAY_HINT_CL_USM_MIGRATE;
    out_answer->bytes_done = DRAY_UNKNOWN;
    if (!usm && call->function != DRAY_HINT_CL_SVM_MIGRATE)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "OpenCL has no %s",
                         dray_hint_function_name(call->function));
    if (usm && call->range_count != 1)
        return dray_fail(error, DRAY_E_INVALID, "clEnqueueMigrateMemINTEL takes one range");
    DRAY_TRY(ranges_check(device, call, ranges, error));
    DRAY_TRY(drayi_grow(device->driver->env, (void **)&queue->events, &queue->capacity,
                        queue->count + 1, sizeof(cl_event), error));
    cl_event *event = &queue->events[queue->count];
    DRAY_TRY(usm ? usm_call(queue, call, &ranges[0].range, event, error)
                 : svm_call(queue, call, ranges, event, error));
    queue->count++;
    return DRAY_OK;
}

// --- ending ------------------------------------------------------------------------------------------

static dray_status opencl_queue_mark(dray_hint_queue *queue, dray_error *error)
{
    cl_int code = queue->device->driver->calls.queue_flush(queue->queue);
    return code == DRAYI_OPENCL_SUCCESS ? DRAY_OK
                                        : drayi_opencl_fail(error, code, "clFlush", "%s", "");
}

/// > 0: it has not ended; 0: well; negative: badly, with this code.
static cl_int event_status(const dray_hint_queue *queue, cl_event event)
{
    cl_int status = 0;
    cl_int code = queue->device->driver->calls.event_info(
        event, DRAYI_OPENCL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status), &status, NULL);
    return code == DRAYI_OPENCL_SUCCESS ? status : code;
}

/// All of it has ended: the first failure, and the events go.
static dray_status events_settle(dray_hint_queue *queue, dray_error *error)
{
    dray_status status = DRAY_OK;
    for (uint64_t i = 0; i < queue->count && status == DRAY_OK; i++) {
        cl_int code = event_status(queue, queue->events[i]);
        if (code < DRAYI_OPENCL_COMPLETE)
            status = drayi_opencl_fail(error, code, "clGetEventInfo",
                                       "of move %" PRIu64 " of %" PRIu64, i + 1, queue->count);
    }
    // a driver may still be telling others of an event's failure (PoCL 3.1)
    queue->device->driver->calls.queue_finish(queue->queue);
    events_forget(queue);
    return status;
}

static dray_status opencl_queue_query(dray_hint_queue *queue, bool *out_done, dray_error *error)
{
    *out_done = true;
    for (uint64_t i = queue->count; i-- > 0 && *out_done;)
        *out_done = event_status(queue, queue->events[i]) <= DRAYI_OPENCL_COMPLETE;
    return *out_done ? events_settle(queue, error) : DRAY_OK;
}

static dray_status opencl_queue_wait(dray_hint_queue *queue, dray_error *error)
{
    cl_int code = queue->device->driver->calls.queue_finish(queue->queue);
    dray_status status = events_settle(queue, error);
    if (status == DRAY_OK && code != DRAYI_OPENCL_SUCCESS)
        status = drayi_opencl_fail(error, code, "clFinish", "%s", "");
    return status;
}

const dray_device_hints_ops drayi_opencl_hints = {
    .abi = DRAY_HINTS_ABI,
    .probe = opencl_hints_probe,
    .look = opencl_hints_look,
    .queue_open = opencl_queue_open,
    .queue_close = opencl_queue_close,
    .call = opencl_queue_call,
    .mark = opencl_queue_mark,
    .query = opencl_queue_query,
    .wait = opencl_queue_wait,
    .code_name = drayi_opencl_code_name,
};
