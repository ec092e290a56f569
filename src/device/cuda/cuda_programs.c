/// Modules of the CUDA driver, in the device's primary context.
///
/// The driver takes an image by a bare pointer, without a size: loaders have checked that it is whole and
/// for this architecture, and texts end with a NUL. A launch has a stream of its own and ends before the
/// call returns.
#include "device/cuda/cuda.h"
#include "dray/spi/kernels.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { log_bytes = 64 << 10, name_bytes = 256, arguments_max = 64, shared_by_default = 48 << 10 };

typedef struct cuda_kernel {
    CUfunction function;
    char name[name_bytes];
} cuda_kernel;

struct dray_program {
    dray_device_self *device;
    CUmodule module;
    CUstream stream;
    pthread_mutex_t lock; // one launch after the other
    cuda_kernel *kernels;
    uint64_t kernel_room;
    uint32_t kernel_count;
};

static void cuda_program_unload(dray_program *program)
{
    dray_device_self *device = program->device;
    drayi_env *env = device->driver->env;
    const drayi_cuda_calls *calls = &device->driver->calls;
    if ((program->module || program->stream) && drayi_cuda_enter(device, NULL) == DRAY_OK) {
        if (program->stream) {
            calls->stream_wait(program->stream);
            calls->stream_destroy(program->stream);
        }
        if (program->module)
            calls->module_unload(program->module);
        drayi_cuda_leave(device);
    }
    pthread_mutex_destroy(&program->lock);
    drayi_free(env, program->kernels, program->kernel_room * sizeof(cuda_kernel));
    drayi_free(env, program, sizeof(*program));
}

// --- loading -------------------------------------------------------------------------------------------

typedef struct jit_logs {
    char info[log_bytes], errors[log_bytes];
} jit_logs;

static void give_logs(const dray_code *code, const jit_logs *logs)
{
    const char *texts[] = {logs->info, logs->errors};
    for (int i = 0; i < 2 && code->log; i++)
        if (texts[i][0])
            code->log(code->log_self, texts[i], strnlen(texts[i], log_bytes));
}

static bool is_refusal(CUresult code)
{
    return code == DRAYI_CUDA_INVALID_IMAGE || code == DRAYI_CUDA_NO_BINARY_FOR_GPU ||
           code == DRAYI_CUDA_INVALID_PTX || code == DRAYI_CUDA_UNSUPPORTED_PTX_VERSION;
}

static dray_status module_load(dray_program *program, const dray_code *code, dray_error *error)
{
    const dray_driver *driver = program->device->driver;
    jit_logs *logs = drayi_new(driver->env, jit_logs, error);
    if (!logs)
        return DRAY_E_NOMEM;
    drayi_cuda_jit_option options[] = {
        DRAYI_CUDA_JIT_INFO_LOG_BUFFER, DRAYI_CUDA_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
        DRAYI_CUDA_JIT_ERROR_LOG_BUFFER, DRAYI_CUDA_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *room = (void *)(uintptr_t)(log_bytes - 1); // numbers are passed in the pointers' place
    void *values[] = {logs->info, room, logs->errors, room};
    CUresult result =
        driver->calls.module_load_ex(&program->module, code->bytes, 4, options, values);
    dray_status status = DRAY_OK;
    if (result != DRAYI_CUDA_SUCCESS) {
        program->module = NULL;
        status = drayi_cuda_fail(driver, program->device, error, result, "cuModuleLoadDataEx",
                                 "%" PRIu64 " bytes%s%.*s", code->byte_count,
                                 logs->errors[0] ? ", the log begins with: " : "",
                                 (int)strcspn(logs->errors, "\n"), logs->errors);
        if (is_refusal(result)) {
            status = DRAY_E_FORMAT;
            if (error)
                error->status = status;
        }
    } else if (!program->module) {
        status = drayi_cuda_fail_empty(error, "cuModuleLoadDataEx");
    }
    give_logs(code, logs);
    drayi_free(driver->env, logs, sizeof(*logs));
    return status;
}

/// The kernels that the bytes name; the driver lacks those that were compiled for other devices.
static dray_status kernels_find(dray_program *program, const dray_code *code, dray_error *error)
{
    const dray_driver *driver = program->device->driver;
    program->kernels =
        drayi_alloc_array(driver->env, code->kernel_count, sizeof(cuda_kernel), error);
    if (!program->kernels)
        return DRAY_E_NOMEM;
    program->kernel_room = code->kernel_count;
    for (uint64_t i = 0; i < code->kernel_count; i++) {
        cuda_kernel *kernel = &program->kernels[program->kernel_count];
        if (strlen(code->kernels[i]) >= name_bytes)
            return dray_fail(error, DRAY_E_UNSUPPORTED,
                             "kernel %.40s...: a name of %zu bytes, at most %d", code->kernels[i],
                             strlen(code->kernels[i]), name_bytes - 1);
        CUresult result =
            driver->calls.module_function(&kernel->function, program->module, code->kernels[i]);
        if (result == DRAYI_CUDA_NOT_FOUND)
            continue;
        if (result != DRAYI_CUDA_SUCCESS)
            return drayi_cuda_fail(driver, program->device, error, result, "cuModuleGetFunction",
                                   "%s", code->kernels[i]);
        if (!kernel->function)
            return drayi_cuda_fail_empty(error, "cuModuleGetFunction");
        snprintf(kernel->name, sizeof(kernel->name), "%s", code->kernels[i]);
        program->kernel_count++;
    }
    return DRAY_OK;
}

static dray_status cuda_program_build(dray_program *program, const dray_code *code,
                                      dray_error *error)
{
    const dray_driver *driver = program->device->driver;
    DRAY_TRY(module_load(program, code, error));
    DRAY_TRY(kernels_find(program, code, error));
    CUresult result = driver->calls.stream_create(&program->stream, DRAYI_CUDA_STREAM_NON_BLOCKING);
    if (result != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, program->device, error, result, "cuStreamCreate", "%s", "");
    return program->stream ? DRAY_OK : drayi_cuda_fail_empty(error, "cuStreamCreate");
}

static dray_status cuda_program_load(dray_device_self *device, const dray_code *code,
                                     dray_program **out_program, dray_error *error)
{
    if (device->driver->absent & (DRAYI_CUDA_KERNELS | DRAYI_CUDA_PROGRAMS))
        return dray_fail(error, DRAY_E_UNSUPPORTED, "this driver loads no modules: it lacks %s",
                         device->driver->missing);
    dray_program *program = drayi_new(device->driver->env, dray_program, error);
    if (!program)
        return DRAY_E_NOMEM;
    program->device = device;
    pthread_mutex_init(&program->lock, NULL);
    dray_status status = drayi_cuda_enter(device, error);
    if (status == DRAY_OK) {
        status = cuda_program_build(program, code, error);
        drayi_cuda_leave(device);
    }
    if (status != DRAY_OK)
        cuda_program_unload(program);
    else
        *out_program = program;
    return status;
}

// --- asking --------------------------------------------------------------------------------------------

static uint32_t cuda_architecture(const dray_device_self *device)
{
    int major = drayi_cuda_attribute_of(device, DRAYI_CUDA_ATTRIBUTE_COMPUTE_MAJOR, 0);
    int minor = drayi_cuda_attribute_of(device, DRAYI_CUDA_ATTRIBUTE_COMPUTE_MINOR, 0);
    return major > 0 && minor >= 0 ? (uint32_t)(10 * major + minor) : 0;
}

static uint32_t cuda_kernel_count(const dray_program *program)
{
    return program->kernel_count;
}

static const char *cuda_kernel_name(const dray_program *program, uint32_t index)
{
    return index < program->kernel_count ? program->kernels[index].name : NULL;
}

/// The driver tells sizes since 12.4, and no types.
static dray_status cuda_parameters(dray_program *program, uint32_t index, dray_parameter *out,
                                   uint32_t room, uint32_t *out_count, bool *out_known,
                                   dray_error *error)
{
    const drayi_cuda_calls *calls = &program->device->driver->calls;
    *out_count = 0;
    *out_known = calls->function_parameter != NULL;
    if (!*out_known)
        return DRAY_OK;
    DRAY_TRY(drayi_cuda_enter(program->device, error));
    CUresult result = DRAYI_CUDA_SUCCESS;
    while (result == DRAYI_CUDA_SUCCESS) {
        size_t offset = 0, bytes = 0;
        result = calls->function_parameter(program->kernels[index].function, *out_count, &offset,
                                           &bytes);
        if (result != DRAYI_CUDA_SUCCESS)
            break;
        if (*out_count < room)
            out[*out_count] = (dray_parameter){DRAY_PARAMETER_ANY, (uint32_t)bytes};
        if (++*out_count > room)
            break;
    }
    drayi_cuda_leave(program->device);
    if (result != DRAYI_CUDA_SUCCESS && result != DRAYI_CUDA_INVALID_VALUE) // which ends the list
        return drayi_cuda_fail(program->device->driver, program->device, error, result,
                               "cuFuncGetParamInfo", "%s", program->kernels[index].name);
    return DRAY_OK;
}

// --- launching -----------------------------------------------------------------------------------------

static dray_status launch_grid(const cuda_kernel *kernel, const dray_launch *launch,
                               unsigned grid[3], unsigned block[3], dray_error *error)
{
    for (int i = 0; i < 3; i++) {
        if (launch->group[i] == 0)
            return dray_fail(error, DRAY_E_INVALID,
                             "kernel %s: CUDA chooses no size of a block, name one", kernel->name);
        block[i] = (unsigned)launch->group[i];
        grid[i] = (unsigned)(launch->global[i] / launch->group[i]);
    }
    return DRAY_OK;
}

/// Pointers to the values; memory is its address.
static dray_status launch_values(const cuda_kernel *kernel, const dray_launch *launch,
                                 CUdeviceptr *addresses, void **values, dray_error *error)
{
    for (uint32_t i = 0; i < launch->argument_count; i++) {
        const dray_kernel_argument *argument = &launch->arguments[i];
        if (argument->kind == DRAY_PARAMETER_MEMORY) {
            addresses[i] = argument->address;
            values[i] = &addresses[i];
        } else if (argument->kind == DRAY_PARAMETER_LOCAL) {
            return dray_fail(error, DRAY_E_INVALID,
                             "kernel %s: CUDA has no parameters in shared memory", kernel->name);
        } else {
            values[i] = (void *)(uintptr_t)argument->value; // the driver only reads it
        }
    }
    return DRAY_OK;
}

static dray_status launch_entered(dray_program *program, const dray_launch *launch,
                                  dray_error *error)
{
    const dray_driver *driver = program->device->driver;
    const cuda_kernel *kernel = &program->kernels[launch->kernel];
    unsigned grid[3], block[3];
    CUdeviceptr addresses[arguments_max];
    void *values[arguments_max];
    if (launch->argument_count > arguments_max)
        return dray_fail(error, DRAY_E_INVALID, "kernel %s: %u arguments, at most %d", kernel->name,
                         launch->argument_count, arguments_max);
    DRAY_TRY(launch_grid(kernel, launch, grid, block, error));
    DRAY_TRY(launch_values(kernel, launch, addresses, values, error));
    CUresult code = DRAYI_CUDA_SUCCESS;
    if (launch->local_bytes > shared_by_default)
        code = driver->calls.function_set(kernel->function,
                                          DRAYI_CUDA_FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                          (int)launch->local_bytes);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, program->device, error, code, "cuFuncSetAttribute",
                               "%s: %" PRIu64 " bytes of shared memory", kernel->name,
                               launch->local_bytes);
    code = driver->calls.kernel_launch(kernel->function, grid[0], grid[1], grid[2], block[0],
                                       block[1], block[2], (unsigned)launch->local_bytes,
                                       program->stream, values, NULL);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, program->device, error, code, "cuLaunchKernel",
                               "%s, %u x %u x %u blocks of %u x %u x %u", kernel->name, grid[0],
                               grid[1], grid[2], block[0], block[1], block[2]);
    code = driver->calls.stream_wait(program->stream);
    return code == DRAYI_CUDA_SUCCESS
               ? DRAY_OK
               : drayi_cuda_fail(driver, program->device, error, code, "cuStreamSynchronize",
                                 "kernel %s", kernel->name);
}

static dray_status cuda_launch(dray_program *program, const dray_launch *launch, dray_error *error)
{
    pthread_mutex_lock(&program->lock);
    dray_status status = drayi_cuda_enter(program->device, error);
    if (status == DRAY_OK) {
        status = launch_entered(program, launch, error);
        drayi_cuda_leave(program->device);
    }
    pthread_mutex_unlock(&program->lock);
    return status;
}

const dray_device_module_ops drayi_cuda_programs = {
    .forms = 1u << DRAY_CODE_PTX | 1u << DRAY_CODE_CUBIN | 1u << DRAY_CODE_FATBIN,
    .architecture = cuda_architecture,
    .load = cuda_program_load,
    .unload = cuda_program_unload,
    .kernel_count = cuda_kernel_count,
    .kernel_name = cuda_kernel_name,
    .parameters = cuda_parameters,
    .launch = cuda_launch,
};
