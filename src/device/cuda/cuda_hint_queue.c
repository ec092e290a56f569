/// Placement hints for CUDA: exactly the calls that lowering has decided on, in their order.
///
/// Advice goes to the driver at once, prefetches and discards into a stream of their own, ended by an event.
/// The number of a device is not its handle: the oldest forms take the handle, locations the number.
#include "device/cuda/cuda_hints.h"

#include <inttypes.h>

// what goes to the driver as a number is ours without translation
_Static_assert((int)DRAY_HINT_NOWHERE == DRAYI_CUDA_LOCATION_NONE &&
                   (int)DRAY_HINT_DEVICE == DRAYI_CUDA_LOCATION_DEVICE &&
                   (int)DRAY_HINT_HOST == DRAYI_CUDA_LOCATION_HOST &&
                   (int)DRAY_HINT_HOST_NUMA == DRAYI_CUDA_LOCATION_HOST_NUMA &&
                   (int)DRAY_HINT_CURRENT_NUMA == DRAYI_CUDA_LOCATION_HOST_NUMA_CURRENT,
               "places are the driver's");

struct dray_hint_queue {
    dray_device_self *device;
    CUstream stream;
    CUevent end; // of what was called before the last mark
};

// --- the queue ---------------------------------------------------------------------------------------

void drayi_cuda_queue_close(dray_hint_queue *queue)
{
    dray_device_self *device = queue->device;
    drayi_env *env = device->driver->env;
    if ((queue->stream || queue->end) && drayi_cuda_enter(device, NULL) == DRAY_OK) {
        if (queue->stream) {
            device->driver->calls.stream_wait(queue->stream); // failed or not, it has ended
            device->driver->calls.stream_destroy(queue->stream);
        }
        if (queue->end)
            device->driver->calls.event_destroy(queue->end);
        drayi_cuda_leave(device);
    }
    drayi_free(env, queue, sizeof(*queue));
}

static dray_status queue_build(dray_hint_queue *queue, dray_error *error)
{
    dray_device_self *device = queue->device;
    const dray_driver *driver = device->driver;
    CUresult code = driver->calls.stream_create(&queue->stream, DRAYI_CUDA_STREAM_NON_BLOCKING);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuStreamCreate", "%s", "");
    code = driver->calls.event_create(&queue->end, DRAYI_CUDA_EVENT_BLOCKING_SYNC |
                                                       DRAYI_CUDA_EVENT_DISABLE_TIMING);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuEventCreate", "%s", "");
    if (!queue->stream || !queue->end)
        return drayi_cuda_fail_empty(error, queue->stream ? "cuEventCreate" : "cuStreamCreate");
    return DRAY_OK;
}

dray_status drayi_cuda_queue_open(dray_device_self *device, dray_hint_queue **out_queue,
                                  dray_error *error)
{
    dray_hint_queue *queue = drayi_new(device->driver->env, dray_hint_queue, error);
    if (!queue)
        return DRAY_E_NOMEM;
    queue->device = device;
    dray_status status = drayi_cuda_enter(device, error);
    if (status == DRAY_OK) {
        status = queue_build(queue, error);
        drayi_cuda_leave(device);
    }
    if (status != DRAY_OK)
        drayi_cuda_queue_close(queue);
    else
        *out_queue = queue;
    return status;
}

dray_status drayi_cuda_queue_mark(dray_hint_queue *queue, dray_error *error)
{
    const dray_driver *driver = queue->device->driver;
    DRAY_TRY(drayi_cuda_enter(queue->device, error));
    CUresult code = driver->calls.event_record(queue->end, queue->stream);
    dray_status status =
        code == DRAYI_CUDA_SUCCESS
            ? DRAY_OK
            : drayi_cuda_fail(driver, queue->device, error, code, "cuEventRecord", "%s", "");
    drayi_cuda_leave(queue->device);
    return status;
}

dray_status drayi_cuda_queue_query(dray_hint_queue *queue, bool *out_done, dray_error *error)
{
    const dray_driver *driver = queue->device->driver;
    DRAY_TRY(drayi_cuda_enter(queue->device, error));
    CUresult code = driver->calls.event_query(queue->end);
    *out_done = code != DRAYI_CUDA_NOT_READY;
    dray_status status =
        code == DRAYI_CUDA_SUCCESS || code == DRAYI_CUDA_NOT_READY
            ? DRAY_OK
            : drayi_cuda_fail(driver, queue->device, error, code, "cuEventQuery", "%s", "");
    drayi_cuda_leave(queue->device);
    return status;
}

dray_status drayi_cuda_queue_wait(dray_hint_queue *queue, dray_error *error)
{
    const dray_driver *driver = queue->device->driver;
    DRAY_TRY(drayi_cuda_enter(queue->device, error));
    CUresult code = driver->calls.event_wait(queue->end);
    dray_status status =
        code == DRAYI_CUDA_SUCCESS
            ? DRAY_OK
            : drayi_cuda_fail(driver, queue->device, error, code, "cuEventSynchronize", "%s", "");
    drayi_cuda_leave(queue->device);
    return status;
}

// --- the calls ---------------------------------------------------------------------------------------

/// A location as the newer forms take it: a device by its number.
static CUmemLocation location_new(dray_hint_location location)
{
    CUmemLocation out = {.id = location.place == DRAY_HINT_DEVICE ||
                                       location.place == DRAY_HINT_HOST_NUMA
                                   ? (int)location.index
                                   : 0};
    // the vendor's enum has no sign where ours has one, or the other way round
    switch (location.place) {
    case DRAY_HINT_DEVICE:
        out.type = DRAYI_CUDA_LOCATION_DEVICE;
        break;
    case DRAY_HINT_HOST:
        out.type = DRAYI_CUDA_LOCATION_HOST;
        break;
    case DRAY_HINT_HOST_NUMA:
        out.type = DRAYI_CUDA_LOCATION_HOST_NUMA;
        break;
    case DRAY_HINT_CURRENT_NUMA:
        out.type = DRAYI_CUDA_LOCATION_HOST_NUMA_CURRENT;
        break;
    case DRAY_HINT_NOWHERE:
        out.type = DRAYI_CUDA_LOCATION_NONE;
        break;
    }
    return out;
}

/// The same as the oldest forms take it: a device by its handle.
static CUdevice location_old(const dray_driver *driver, dray_hint_location location)
{
    return location.place == DRAY_HINT_DEVICE ? driver->devices[location.index].device
                                              : DRAYI_CUDA_DEVICE_CPU;
}

static CUresult call_one(const dray_hint_queue *queue, const dray_hint_call *call,
                         const dray_hint_range *range)
{
    const dray_driver *driver = queue->device->driver;
    const drayi_cuda_calls *calls = &driver->calls;
    const CUdeviceptr address = drayi_cuda_address_of(range);
    const size_t bytes = (size_t)range->bytes;
    const drayi_cuda_advice advice = (drayi_cuda_advice)call->advice;
    switch (call->function) {
    case DRAY_HINT_CU_ADVISE_V2:
        return calls->advise2(address, bytes, advice, location_new(call->location));
    case DRAY_HINT_CU_ADVISE:
        return calls->advise1(address, bytes, advice, location_old(driver, call->location));
    case DRAY_HINT_CU_PREFETCH_V2:
        return calls->prefetch2(address, bytes, location_new(call->location), 0, queue->stream);
    default:
        return calls->prefetch1(address, bytes, location_old(driver, call->location), queue->stream);
    }
}

/// The arrays of a batch, in one piece of memory.
typedef struct batch_arrays {
    CUdeviceptr *addresses;
    size_t *bytes, *starts;
    CUmemLocation *locations;
    size_t location_count;
} batch_arrays;

enum { batch_entry_bytes = sizeof(CUdeviceptr) + 2 * sizeof(size_t) + sizeof(CUmemLocation) };

static bool location_equal(dray_hint_location left, dray_hint_location right)
{
    return left.place == right.place && left.index == right.index;
}

/// Runs of ranges to one location share an entry of the list of locations.
static batch_arrays batch_of(void *memory, const dray_hint_call_range *ranges, uint64_t count)
{
    batch_arrays out = {.addresses = memory};
    out.bytes = (size_t *)(out.addresses + count);
    out.starts = out.bytes + count;
    out.locations = (CUmemLocation *)(out.starts + count);
    for (uint64_t i = 0; i < count; i++) {
        out.addresses[i] = drayi_cuda_address_of(&ranges[i].range);
        out.bytes[i] = (size_t)ranges[i].range.bytes;
        if (i > 0 && location_equal(ranges[i].location, ranges[i - 1].location))
            continue;
        out.starts[out.location_count] = (size_t)i;
        out.locations[out.location_count++] = location_new(ranges[i].location);
    }
    return out;
}

static dray_status call_batch(dray_hint_queue *queue, const dray_hint_call *call,
                              const dray_hint_call_range *ranges, dray_error *error)
{
    const dray_driver *driver = queue->device->driver;
    const uint64_t count = call->range_count;
    void *memory = drayi_alloc_array(driver->env, count, batch_entry_bytes, error);
    if (!memory)
        return DRAY_E_NOMEM;
    batch_arrays arrays = batch_of(memory, ranges, count);
    const bool prefetch = call->function == DRAY_HINT_CU_PREFETCH_BATCH;
    CUresult code = prefetch ? driver->calls.prefetch_batch(
                                   arrays.addresses, arrays.bytes, (size_t)count, arrays.locations,
                                   arrays.starts, arrays.location_count, 0, queue->stream)
                             : driver->calls.discard_batch(arrays.addresses, arrays.bytes,
                                                           (size_t)count, 0, queue->stream);
    drayi_free(driver->env, memory, (size_t)count * batch_entry_bytes);
    return code == DRAYI_CUDA_SUCCESS
               ? DRAY_OK
               : drayi_cuda_fail(driver, queue->device, error, code,
                                 prefetch ? "cuMemPrefetchBatchAsync" : "cuMemDiscardBatchAsync",
                                 "of %" PRIu64 " ranges, %" PRIu64 " bytes", count, call->bytes);
}

static const char *call_name(dray_hint_function function)
{
    switch (function) {
    case DRAY_HINT_CU_ADVISE_V2:
        return "cuMemAdvise_v2";
    case DRAY_HINT_CU_ADVISE:
        return "cuMemAdvise";
    case DRAY_HINT_CU_PREFETCH_V2:
        return "cuMemPrefetchAsync_v2";
    default:
        return "cuMemPrefetchAsync";
    }
}

static dray_status call_each(dray_hint_queue *queue, const dray_hint_call *call,
                             const dray_hint_call_range *ranges, dray_error *error)
{
    for (uint64_t i = 0; i < call->range_count; i++) {
        CUresult code = call_one(queue, call, &ranges[i].range);
        if (code != DRAYI_CUDA_SUCCESS)
            return drayi_cuda_fail(queue->device->driver, queue->device, error, code,
                                   call_name(call->function), "of %" PRIu64 " bytes at %p",
                                   ranges[i].range.bytes, ranges[i].range.pointer);
    }
    return DRAY_OK;
}

/// Is it one of ours, is it there, and does every location exist?
static dray_status call_check(const dray_driver *driver, const dray_hint_call *call,
                              const dray_hint_call_range *ranges, dray_error *error)
{
    const drayi_cuda_calls *calls = &driver->calls;
    const bool there = (call->function == DRAY_HINT_CU_ADVISE && calls->advise1) ||
                       (call->function == DRAY_HINT_CU_ADVISE_V2 && calls->advise2) ||
                       (call->function == DRAY_HINT_CU_PREFETCH && calls->prefetch1) ||
                       (call->function == DRAY_HINT_CU_PREFETCH_V2 && calls->prefetch2) ||
                       (call->function == DRAY_HINT_CU_PREFETCH_BATCH && calls->prefetch_batch) ||
                       (call->function == DRAY_HINT_CU_DISCARD_BATCH && calls->discard_batch);
    if (!there)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s: this driver does not have it",
                         dray_hint_function_name(call->function));
    if (call->location.place == DRAY_HINT_DEVICE && call->location.index >= driver->count)
        return dray_fail(error, DRAY_E_INVALID, "device %u of %u", call->location.index,
                         driver->count);
    for (uint64_t i = 0; i < call->range_count; i++) {
        const dray_hint_location at = ranges[i].location;
        if (call->function == DRAY_HINT_CU_PREFETCH_BATCH && at.place == DRAY_HINT_DEVICE &&
            at.index >= driver->count)
            return dray_fail(error, DRAY_E_INVALID, "device %u of %u", at.index, driver->count);
    }
    return DRAY_OK;
}

/// The answer stays as it is: what can be read back will be, by who asked.
dray_status drayi_cuda_queue_call(dray_hint_queue *queue, const dray_hint_call *call,
                                  const dray_hint_call_range *ranges, dray_hint_answer *out_answer,
                                  dray_error *error)
{
    (void)out_answer;
    DRAY_TRY(call_check(queue->device->driver, call, ranges, error));
    DRAY_TRY(drayi_cuda_enter(queue->device, error));
    const bool many = call->function == DRAY_HINT_CU_PREFETCH_BATCH ||
                      call->function == DRAY_HINT_CU_DISCARD_BATCH;
    dray_status status =
        many ? call_batch(queue, call, ranges, error) : call_each(queue, call, ranges, error);
    drayi_cuda_leave(queue->device);
    return status;
}
