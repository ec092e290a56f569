/// Memory of an OpenCL device: buffers for kind DEVICE, fine-grained shared virtual memory for MANAGED.
///
/// OpenCL has no call that promises to lock host memory, so there is no kind PINNED here: dray's own
/// locked memory serves.
#include "base/checked.h"
#include "device/opencl/opencl.h"
#include "os/os.h"

#include <inttypes.h>
#include <string.h>

enum { pattern_bytes = 16 };

static dray_status buffer_zero(dray_device_self *device, cl_mem buffer, size_t bytes,
                               dray_error *error)
{
    static const uint8_t zeros[pattern_bytes];
    const drayi_opencl_calls *calls = &device->driver->calls;
    cl_int code =
        calls->buffer_fill(device->queue, buffer, zeros, sizeof(zeros), 0, bytes, 0, NULL, NULL);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clEnqueueFillBuffer", "%zu bytes", bytes);
    code = calls->queue_finish(device->queue);
    return code == DRAYI_OPENCL_SUCCESS ? DRAY_OK
                                        : drayi_opencl_fail(error, code, "clFinish", "%s", "");
}

static dray_status allocate_device(dray_device_self *device, uint64_t bytes,
                                   dray_device_block *out_block, dray_error *error)
{
    const drayi_opencl_calls *calls = &device->driver->calls;
    uint64_t whole; // so that zeros fill it
    if (!drayi_round_up(bytes, pattern_bytes, &whole) || whole > SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_NOMEM, "%" PRIu64 " bytes are more than can be addressed",
                         bytes);
    cl_int code = DRAYI_OPENCL_SUCCESS;
    cl_mem buffer = calls->buffer_create(device->context, DRAYI_OPENCL_MEM_READ_WRITE,
                                         (size_t)whole, NULL, &code);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clCreateBuffer", "%" PRIu64 " bytes", bytes);
    if (!buffer)
        return drayi_opencl_fail_empty(error, "clCreateBuffer");
    dray_status status = buffer_zero(device, buffer, (size_t)whole, error);
    if (status != DRAY_OK)
        calls->buffer_release(buffer);
    else
        *out_block = (dray_device_block){.memory = buffer};
    return status;
}

// --- shared virtual memory ---------------------------------------------------------------------------

static dray_status shared_add(dray_device_self *device, void *base, uint64_t bytes,
                              dray_error *error)
{
    drayi_opencl_shared *fresh = drayi_new(device->driver->env, drayi_opencl_shared, error);
    if (!fresh)
        return DRAY_E_NOMEM;
    fresh->base = base;
    fresh->bytes = bytes;
    pthread_mutex_lock(&device->lock);
    fresh->next = device->shared;
    device->shared = fresh;
    pthread_mutex_unlock(&device->lock);
    return DRAY_OK;
}

static void shared_remove(dray_device_self *device, const void *base)
{
    pthread_mutex_lock(&device->lock);
    drayi_opencl_shared **at = &device->shared;
    while (*at && (*at)->base != base)
        at = &(*at)->next;
    drayi_opencl_shared *gone = *at;
    if (gone)
        *at = gone->next;
    pthread_mutex_unlock(&device->lock);
    drayi_free(device->driver->env, gone, sizeof(*gone));
}

bool drayi_opencl_shared_find(dray_device_self *device, const void *pointer,
                              drayi_opencl_shared *out)
{
    const uintptr_t wanted = (uintptr_t)pointer;
    pthread_mutex_lock(&device->lock);
    const drayi_opencl_shared *each = device->shared;
    while (each && (wanted < (uintptr_t)each->base || wanted - (uintptr_t)each->base >= each->bytes))
        each = each->next;
    if (each)
        *out = *each;
    pthread_mutex_unlock(&device->lock);
    return each != NULL;
}

/// Drivers align to their own wishes (PoCL: 128 bytes): a page more, aligned inside.
static dray_status allocate_managed(dray_device_self *device, uint64_t bytes,
                                    dray_device_block *out_block, dray_error *error)
{
    uint64_t page = device->driver->env->os->page_bytes(), whole;
    if (!drayi_add(bytes, page, &whole) || whole > SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_NOMEM, "%" PRIu64 " bytes are more than can be addressed",
                         bytes);
    const cl_bitfield flags = DRAYI_OPENCL_MEM_READ_WRITE | DRAYI_OPENCL_MEM_SVM_FINE_GRAIN_BUFFER;
    void *base = device->driver->calls.svm_alloc(device->context, flags, (size_t)whole, 0);
    if (!base)
        return dray_fail(error, DRAY_E_NOMEM,
                         "clSVMAlloc %" PRIu64 " bytes: NULL, and OpenCL gives no reason", bytes);
    dray_status status = shared_add(device, base, whole, error);
    if (status != DRAY_OK) {
        device->driver->calls.svm_free(device->context, base);
        return status;
    }
    void *pointer = (void *)(((uintptr_t)base + page - 1) & ~(uintptr_t)(page - 1));
    memset(pointer, 0, (size_t)bytes); // fine-grained: the host may touch it at any time
    *out_block = (dray_device_block){.pointer = pointer, .address = (uintptr_t)pointer, .use = base};
    return DRAY_OK;
}

static dray_status opencl_allocate(dray_device_self *device, dray_storage storage, uint64_t bytes,
                                   dray_device_block *out_block, dray_error *error)
{
    if (storage == DRAY_STORAGE_PINNED)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "OpenCL has no call that locks host memory");
    return storage == DRAY_STORAGE_DEVICE ? allocate_device(device, bytes, out_block, error)
                                          : allocate_managed(device, bytes, out_block, error);
}

static void opencl_free(dray_device_self *device, dray_storage storage,
                        const dray_device_block *block)
{
    const drayi_opencl_calls *calls = &device->driver->calls;
    if (storage == DRAY_STORAGE_MANAGED) {
        shared_remove(device, block->use);
        calls->svm_free(device->context, block->use);
        return;
    }
    cl_int code = calls->buffer_release(block->memory);
    if (code != DRAYI_OPENCL_SUCCESS)
        drayi_log(device->driver->env, DRAY_LOG_WARNING,
                  "opencl:%u: clReleaseMemObject: code %d, memory is left behind", device->ordinal,
                  code);
}

const dray_device_memory_ops drayi_opencl_memory = {
    .allocate = opencl_allocate,
    .free = opencl_free,
};
