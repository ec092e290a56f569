/// Loading cuFile and naming its codes.
#include "backend/cufile.h"

#include "os/os.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    const char *name;
} names[] = {
    {5001, "CU_FILE_DRIVER_NOT_INITIALIZED"},
    {5002, "CU_FILE_DRIVER_INVALID_PROPS"},
    {5003, "CU_FILE_DRIVER_UNSUPPORTED_LIMIT"},
    {5004, "CU_FILE_DRIVER_VERSION_MISMATCH"},
    {5005, "CU_FILE_DRIVER_VERSION_READ_ERROR"},
    {5006, "CU_FILE_DRIVER_CLOSING"},
    {5007, "CU_FILE_PLATFORM_NOT_SUPPORTED"},
    {5008, "CU_FILE_IO_NOT_SUPPORTED"},
    {5009, "CU_FILE_DEVICE_NOT_SUPPORTED"},
    {5010, "CU_FILE_NVFS_DRIVER_ERROR"},
    {5011, "CU_FILE_CUDA_DRIVER_ERROR"},
    {5012, "CU_FILE_CUDA_POINTER_INVALID"},
    {5013, "CU_FILE_CUDA_MEMORY_TYPE_INVALID"},
    {5014, "CU_FILE_CUDA_POINTER_RANGE_ERROR"},
    {5015, "CU_FILE_CUDA_CONTEXT_MISMATCH"},
    {5016, "CU_FILE_INVALID_MAPPING_SIZE"},
    {5017, "CU_FILE_INVALID_MAPPING_RANGE"},
    {5018, "CU_FILE_INVALID_FILE_TYPE"},
    {5019, "CU_FILE_INVALID_FILE_OPEN_FLAG"},
    {5020, "CU_FILE_DIO_NOT_SET"},
    {5022, "CU_FILE_INVALID_VALUE"},
    {5023, "CU_FILE_MEMORY_ALREADY_REGISTERED"},
    {5024, "CU_FILE_MEMORY_NOT_REGISTERED"},
    {5025, "CU_FILE_PERMISSION_DENIED"},
    {5026, "CU_FILE_DRIVER_ALREADY_OPEN"},
    {5027, "CU_FILE_HANDLE_NOT_REGISTERED"},
    {5028, "CU_FILE_HANDLE_ALREADY_REGISTERED"},
    {5029, "CU_FILE_DEVICE_NOT_FOUND"},
    {5030, "CU_FILE_INTERNAL_ERROR"},
    {5031, "CU_FILE_GETNEWFD_FAILED"},
    {5033, "CU_FILE_NVFS_SETUP_ERROR"},
    {5034, "CU_FILE_IO_DISABLED"},
    {5036, "CU_FILE_GPU_MEMORY_PINNING_FAILED"},
    {5043, "CU_FILE_NOMEM_ERROR"},
    {5044, "CU_FILE_IO_ERROR"},
    {5045, "CU_FILE_INTERNAL_BUF_REGISTER_ERROR"},
    {5047, "CU_FILE_INVALID_CONTEXT_ERROR"},
};

const char *drayi_cufile_name(int code)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].code == code)
            return names[i].name;
    }
    return "a code without a name";
}

bool drayi_cufile_code_is_refusal(int code)
{
    switch (code) {
    case DRAYI_CUFILE_PLATFORM_NOT_SUPPORTED:
    case DRAYI_CUFILE_IO_NOT_SUPPORTED:
    case DRAYI_CUFILE_DEVICE_NOT_SUPPORTED:
    case DRAYI_CUFILE_INVALID_MAPPING_SIZE:
    case DRAYI_CUFILE_INVALID_FILE_TYPE:
    case DRAYI_CUFILE_INVALID_FILE_OPEN_FLAG:
    case DRAYI_CUFILE_DIO_NOT_SET:
    case DRAYI_CUFILE_IO_DISABLED:
    case DRAYI_CUFILE_GPU_MEMORY_PINNING_FAILED:
        return true;
    default:
        return false;
    }
}

dray_status drayi_cufile_fail(dray_error *error, CUfileError_t code, const char *call,
                              const char *what)
{
    dray_status status = drayi_cufile_code_is_refusal((int)code.err) ? DRAY_E_UNSUPPORTED
                         : (int)code.err == DRAYI_CUFILE_NOMEM       ? DRAY_E_NOMEM
                                                                     : DRAY_E_DEVICE;
    char cuda[48] = "";
    if ((int)code.err == DRAYI_CUFILE_CUDA_DRIVER_ERROR)
        snprintf(cuda, sizeof(cuda), ", CUDA driver code %u", (unsigned)code.cu_err);
    dray_fail(error, status, "%s %s: %s (%d)%s", call, what, drayi_cufile_name((int)code.err),
              (int)code.err, cuda);
    if (error) {
        error->native_code = (int)code.err;
        error->origin = call;
    }
    return status;
}

/// Puts the call of that name into `out_function`; object and function pointers are of one size here.
static bool symbol_find(const drayi_cufile *cufile, void *library, const char *name,
                        void *out_function)
{
    void *symbol = cufile->os->library_symbol(library, name);
    memcpy(out_function, &symbol, sizeof(symbol));
    return symbol != NULL;
}

static dray_status symbols_find(drayi_cufile *cufile, dray_error *error)
{
    const char *absent = NULL;
#define FIND(member, symbol, result, parameters)                                          \
    if (!symbol_find(cufile, cufile->library, #symbol, &cufile->calls.member) && !absent) \
        absent = #symbol;
    DRAYI_CUFILE_CALLS(FIND)
#undef FIND
    if (absent)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "libcufile.so.0 has no %s: a cuFile of CUDA 11.4 or later is wanted",
                         absent);
    if (!symbol_find(cufile, cufile->driver, "cuCtxPushCurrent_v2", &cufile->context_push) ||
        !symbol_find(cufile, cufile->driver, "cuCtxPopCurrent_v2", &cufile->context_pop))
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "libcuda.so.1 has no cuCtxPushCurrent_v2 or "
                         "no cuCtxPopCurrent_v2");
    return DRAY_OK;
}

dray_status drayi_cufile_open(drayi_cufile *cufile, drayi_env *env, dray_error *error)
{
    char why[200] = "";
    cufile->os = env->os;
    cufile->library = env->os->library_open("libcufile.so.0", why, sizeof(why));
    if (cufile->library)
        cufile->driver = env->os->library_open("libcuda.so.1", why, sizeof(why));
    if (!cufile->driver)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s", why);
    DRAY_TRY(symbols_find(cufile, error));
    CUfileError_t code = cufile->calls.driver_open();
    if (code.err != 0) {
        drayi_cufile_fail(error, code, "cuFileDriverOpen", "GPUDirect Storage");
        if (error)
            error->status = DRAY_E_UNSUPPORTED;
        return DRAY_E_UNSUPPORTED;
    }
    cufile->driver_open = true;
    return DRAY_OK;
}

void drayi_cufile_close(drayi_cufile *cufile)
{
    if (cufile->driver_open)
        cufile->calls.driver_close();
    if (cufile->driver)
        cufile->os->library_close(cufile->driver);
    if (cufile->library)
        cufile->os->library_close(cufile->library);
    *cufile = (drayi_cufile){0};
}
