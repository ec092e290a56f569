/// Codes of the driver as errors. The names are our own where the driver has none to give: a stub library
/// answers every call, also the one that names codes, with an error.
#include "device/cuda/cuda.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct code_name {
    CUresult code;
    bool sticky; // the context is lost: every later call gives it again
    const char *name;
} code_name;

static const code_name names[] = {
    {1, false, "CUDA_ERROR_INVALID_VALUE"},
    {2, false, "CUDA_ERROR_OUT_OF_MEMORY"},
    {3, false, "CUDA_ERROR_NOT_INITIALIZED"},
    {4, false, "CUDA_ERROR_DEINITIALIZED"},
    {34, false, "CUDA_ERROR_STUB_LIBRARY"},
    {46, false, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
    {100, false, "CUDA_ERROR_NO_DEVICE"},
    {101, false, "CUDA_ERROR_INVALID_DEVICE"},
    {201, false, "CUDA_ERROR_INVALID_CONTEXT"},
    {214, true, "CUDA_ERROR_ECC_UNCORRECTABLE"},
    {220, true, "CUDA_ERROR_NVLINK_UNCORRECTABLE"},
    {400, false, "CUDA_ERROR_INVALID_HANDLE"},
    {500, false, "CUDA_ERROR_NOT_FOUND"},
    {600, false, "CUDA_ERROR_NOT_READY"},
    {700, true, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    {702, true, "CUDA_ERROR_LAUNCH_TIMEOUT"},
    {709, true, "CUDA_ERROR_CONTEXT_IS_DESTROYED"},
    {710, true, "CUDA_ERROR_ASSERT"},
    {712, false, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED"},
    {713, false, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED"},
    {714, true, "CUDA_ERROR_HARDWARE_STACK_ERROR"},
    {715, true, "CUDA_ERROR_ILLEGAL_INSTRUCTION"},
    {716, true, "CUDA_ERROR_MISALIGNED_ADDRESS"},
    {717, true, "CUDA_ERROR_INVALID_ADDRESS_SPACE"},
    {718, true, "CUDA_ERROR_INVALID_PC"},
    {719, true, "CUDA_ERROR_LAUNCH_FAILED"},
    {800, false, "CUDA_ERROR_NOT_PERMITTED"},
    {801, false, "CUDA_ERROR_NOT_SUPPORTED"},
    {802, false, "CUDA_ERROR_SYSTEM_NOT_READY"},
    {803, false, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
    {804, false, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"},
    {900, false, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {999, false, "CUDA_ERROR_UNKNOWN"},
};

static const code_name *name_find(CUresult code)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].code == code)
            return &names[i];
    }
    return NULL;
}

const char *drayi_cuda_code_name(int32_t code)
{
    const code_name *known = name_find((CUresult)code);
    return known ? known->name : NULL;
}

static const char *name_of(const dray_driver *driver, CUresult code)
{
    const code_name *known = name_find(code);
    if (known)
        return known->name;
    const char *name = NULL;
    if (driver->calls.error_name && driver->calls.error_name(code, &name) == DRAYI_CUDA_SUCCESS &&
        name)
        return name;
    return "a code without a name";
}

static dray_status status_of(CUresult code)
{
    if (code == DRAYI_CUDA_OUT_OF_MEMORY)
        return DRAY_E_NOMEM;
    return code == DRAYI_CUDA_NOT_SUPPORTED ? DRAY_E_UNSUPPORTED : DRAY_E_DEVICE;
}

dray_status drayi_cuda_fail(const dray_driver *driver, dray_device_self *device, dray_error *error,
                            CUresult code, const char *call, const char *format, ...)
{
    const code_name *known = name_find(code);
    bool sticky = known && known->sticky && device;
    if (sticky) {
        CUresult none = 0;
        atomic_compare_exchange_strong(&device->lost, &none, code);
    }
    char what[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    dray_status status = dray_fail(
        error, status_of(code), "%s%s%s: %s (%u)%s", call, what[0] ? " " : "", what,
        name_of(driver, code), code,
        sticky ? "; the device is lost to this process, which must end to get it back" : "");
    if (error) {
        error->native_code = (int32_t)code;
        error->origin = call;
    }
    return status;
}

dray_status drayi_cuda_fail_empty(dray_error *error, const char *call)
{
    dray_fail(error, DRAY_E_DEVICE, "%s: the driver said success and gave nothing usable", call);
    if (error)
        error->origin = call;
    return DRAY_E_DEVICE;
}
