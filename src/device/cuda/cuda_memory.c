/// Memory of the CUDA driver: on the device, managed, and locked memory of the host.
///
/// Fresh memory is zeroed on the device and waited for: a pending fill in one stream would race with the
/// first copy in another.
#include "base/checked.h"
#include "device/cuda/cuda.h"
#include "os/os.h"

#include <inttypes.h>

static dray_status device_zero(dray_device_self *device, CUdeviceptr address, uint64_t bytes,
                               dray_error *error)
{
    const dray_driver *driver = device->driver;
    CUstream stream = NULL;
    CUresult code = driver->calls.stream_create(&stream, DRAYI_CUDA_STREAM_NON_BLOCKING);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuStreamCreate", "%s", "");
    if (!stream)
        return drayi_cuda_fail_empty(error, "cuStreamCreate");
    const char *call = "cuMemsetD8Async";
    code = driver->calls.memory_set(address, 0, (size_t)bytes, stream);
    if (code == DRAYI_CUDA_SUCCESS) {
        call = "cuStreamSynchronize";
        code = driver->calls.stream_wait(stream);
    }
    dray_status status = code == DRAYI_CUDA_SUCCESS
                             ? DRAY_OK
                             : drayi_cuda_fail(driver, device, error, code, call,
                                               "to zero %" PRIu64 " bytes", bytes);
    driver->calls.stream_destroy(stream);
    return status;
}

static dray_status allocate_device(dray_device_self *device, uint64_t bytes,
                                   dray_device_block *out_block, dray_error *error)
{
    const dray_driver *driver = device->driver;
    CUdeviceptr address = 0;
    CUresult code = driver->calls.memory_alloc(&address, (size_t)bytes);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuMemAlloc_v2", "%" PRIu64 " bytes",
                               bytes);
    if (!address)
        return drayi_cuda_fail_empty(error, "cuMemAlloc_v2");
    dray_status status = address % DRAYI_CUDA_ALIGNMENT
                             ? dray_fail(error, DRAY_E_DEVICE,
                                         "cuMemAlloc_v2: address %#llx is not aligned to %d bytes",
                                         address, DRAYI_CUDA_ALIGNMENT)
                             : device_zero(device, address, bytes, error);
    if (status != DRAY_OK)
        driver->calls.memory_free(address);
    else
        *out_block = (dray_device_block){.address = address};
    return status;
}

/// Host addresses are to lie on pages, which the driver does not promise: a page more, aligned inside.
static uint64_t aligned(const dray_device_self *device, uint64_t address)
{
    uint64_t page = device->driver->env->os->page_bytes();
    return (address + page - 1) & ~(page - 1);
}

static dray_status allocate_managed(dray_device_self *device, uint64_t bytes,
                                    dray_device_block *out_block, dray_error *error)
{
    const dray_driver *driver = device->driver;
    CUdeviceptr base = 0;
    CUresult code = driver->calls.memory_alloc_managed(
        &base, (size_t)(bytes + driver->env->os->page_bytes()), DRAYI_CUDA_ATTACH_GLOBAL);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuMemAllocManaged",
                               "%" PRIu64 " bytes", bytes);
    if (!base)
        return drayi_cuda_fail_empty(error, "cuMemAllocManaged");
    uint64_t address = aligned(device, base);
    dray_status status = device_zero(device, address, bytes, error);
    if (status != DRAY_OK)
        driver->calls.memory_free(base);
    else
        *out_block = (dray_device_block){.pointer = (void *)(uintptr_t)address,
                                         .address = address,
                                         .use = (void *)(uintptr_t)base};
    return status;
}

/// The driver zeroes host memory before it hands it out.
static dray_status allocate_pinned(dray_device_self *device, uint64_t bytes,
                                   dray_device_block *out_block, dray_error *error)
{
    const dray_driver *driver = device->driver;
    void *base = NULL;
    CUresult code =
        driver->calls.host_alloc(&base, (size_t)(bytes + driver->env->os->page_bytes()),
                                 DRAYI_CUDA_HOST_ALLOC_PORTABLE | DRAYI_CUDA_HOST_ALLOC_DEVICE_MAP);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuMemHostAlloc", "%" PRIu64 " bytes",
                               bytes);
    if (!base)
        return drayi_cuda_fail_empty(error, "cuMemHostAlloc");
    *out_block = (dray_device_block){.pointer = (void *)(uintptr_t)aligned(device, (uintptr_t)base),
                                     .use = base};
    return DRAY_OK;
}

static dray_status cuda_allocate(dray_device_self *device, dray_storage storage, uint64_t bytes,
                                 dray_device_block *out_block, dray_error *error)
{
    uint64_t room;
    if (!drayi_add(bytes, device->driver->env->os->page_bytes(), &room) || room > SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_NOMEM, "%" PRIu64 " bytes are more than can be addressed",
                         bytes);
    DRAY_TRY(drayi_cuda_enter(device, error));
    dray_status status =
        storage == DRAY_STORAGE_DEVICE    ? allocate_device(device, bytes, out_block, error)
        : storage == DRAY_STORAGE_MANAGED ? allocate_managed(device, bytes, out_block, error)
                                          : allocate_pinned(device, bytes, out_block, error);
    drayi_cuda_leave(device);
    return status;
}

/// A driver that refuses to take memory back leaves it to the end of the process; that is logged.
static void freed(const dray_device_self *device, CUresult code, const char *call)
{
    if (code != DRAYI_CUDA_SUCCESS)
        drayi_log(device->driver->env, DRAY_LOG_WARNING,
                  "cuda:%u: %s: code %u, memory is left behind", device->ordinal, call, code);
}

static void cuda_free(dray_device_self *device, dray_storage storage, const dray_device_block *block)
{
    const drayi_cuda_calls *calls = &device->driver->calls;
    if (drayi_cuda_enter(device, NULL) != DRAY_OK)
        return; // the context is lost, and its memory with it
    if (storage == DRAY_STORAGE_DEVICE)
        freed(device, calls->memory_free(block->address), "cuMemFree_v2");
    else if (storage == DRAY_STORAGE_MANAGED)
        freed(device, calls->memory_free((uintptr_t)block->use), "cuMemFree_v2");
    else
        freed(device, calls->host_free(block->use), "cuMemFreeHost");
    drayi_cuda_leave(device);
}

static dray_status cuda_pin(dray_device_self *device, void *pointer, uint64_t bytes,
                            dray_device_block *out_block, dray_error *error)
{
    const dray_driver *driver = device->driver;
    DRAY_TRY(drayi_cuda_enter(device, error));
    CUresult code = driver->calls.host_register(pointer, (size_t)bytes,
                                                DRAYI_CUDA_HOST_REGISTER_PORTABLE |
                                                    DRAYI_CUDA_HOST_REGISTER_DEVICE_MAP);
    drayi_cuda_leave(device);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, device, error, code, "cuMemHostRegister_v2",
                               "%" PRIu64 " bytes", bytes);
    *out_block = (dray_device_block){.pointer = pointer};
    return DRAY_OK;
}

static void cuda_unpin(dray_device_self *device, const dray_device_block *block)
{
    if (drayi_cuda_enter(device, NULL) != DRAY_OK)
        return;
    freed(device, device->driver->calls.host_unregister(block->pointer), "cuMemHostUnregister");
    drayi_cuda_leave(device);
}

const dray_device_memory_ops drayi_cuda_memory = {
    .allocate = cuda_allocate,
    .free = cuda_free,
    .pin = cuda_pin,
    .unpin = cuda_unpin,
};
