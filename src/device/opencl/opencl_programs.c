/// Programs and launches of OpenCL.
///
/// A kernel object holds the arguments of its next launch, so each has a lock, which also covers the launch.
/// A program has a queue of its own and a launch ends before the call returns: whoever wants kernels beside
/// each other loads the code twice, or calls from several threads.
#include "device/opencl/opencl.h"
#include "dray/spi/kernels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kernels_max = 1024, name_bytes = 128 };

typedef struct opencl_kernel {
    cl_kernel kernel;
    char name[name_bytes];
} opencl_kernel;

struct dray_program {
    dray_device_self *device;
    cl_program program;
    cl_command_queue queue;
    pthread_mutex_t lock; // arguments and launch of one kernel after the other
    opencl_kernel *kernels;
    uint32_t kernel_count;
};

static const drayi_opencl_calls *calls_of(const dray_program *program)
{
    return &program->device->driver->calls;
}

static void opencl_program_unload(dray_program *program)
{
    const drayi_opencl_calls *calls = calls_of(program);
    drayi_env *env = program->device->driver->env;
    for (uint32_t i = 0; i < program->kernel_count; i++)
        if (program->kernels[i].kernel)
            calls->kernel_release(program->kernels[i].kernel);
    if (program->queue)
        calls->queue_release(program->queue);
    if (program->program)
        calls->program_release(program->program);
    pthread_mutex_destroy(&program->lock);
    drayi_free(env, program->kernels, program->kernel_count * sizeof(*program->kernels));
    drayi_free(env, program, sizeof(*program));
}

// --- building ------------------------------------------------------------------------------------------

static dray_status program_create(dray_program *program, const dray_code *code, dray_error *error)
{
    const drayi_opencl_calls *calls = calls_of(program);
    dray_device_self *device = program->device;
    cl_int result = DRAYI_OPENCL_SUCCESS, of_device = DRAYI_OPENCL_SUCCESS;
    size_t count = (size_t)code->byte_count;
    const char *call, *text = (const char *)code->bytes;
    const unsigned char *binary = code->bytes;
    switch (code->form) {
    case DRAY_CODE_OPENCL_SOURCE:
        call = "clCreateProgramWithSource";
        program->program = calls->program_create(device->context, 1, &text, &count, &result);
        break;
    case DRAY_CODE_OPENCL_BINARY:
        call = "clCreateProgramWithBinary";
        program->program = calls->program_binary(device->context, 1, &device->device, &count,
                                                 &binary, &of_device, &result);
        break;
    case DRAY_CODE_SPIRV:
        call = "clCreateProgramWithIL";
        if (!calls->program_il)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "this OpenCL loader has no %s", call);
        program->program = calls->program_il(device->context, code->bytes, count, &result);
        if (result == DRAYI_OPENCL_INVALID_OPERATION || result == DRAYI_OPENCL_INVALID_VALUE) {
            drayi_opencl_fail(error, result, call, "no device here takes SPIR-V, or not this one");
            return dray_fail_within(error, DRAY_E_UNSUPPORTED, "spirv");
        }
        break;
    default:
        return dray_fail(error, DRAY_E_UNSUPPORTED, "OpenCL takes no code of form %d", code->form);
    }
    if (result == DRAYI_OPENCL_SUCCESS && of_device != DRAYI_OPENCL_SUCCESS)
        result = of_device;
    if (result != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, result, call, "%" PRIu64 " bytes", code->byte_count);
    return program->program ? DRAY_OK : drayi_opencl_fail_empty(error, call);
}

/// The compiler's log, to whoever wants it; its first line into `line`.
static void give_log(dray_program *program, const dray_code *code, char *line, size_t line_bytes)
{
    const drayi_opencl_calls *calls = calls_of(program);
    drayi_env *env = program->device->driver->env;
    size_t bytes = 0;
    line[0] = '\0';
    if (calls->program_build_info(program->program, program->device->device,
                                  DRAYI_OPENCL_PROGRAM_BUILD_LOG, 0, NULL,
                                  &bytes) != DRAYI_OPENCL_SUCCESS ||
        bytes == 0 || bytes > (64u << 20))
        return;
    char *text = drayi_alloc(env, bytes + 1, NULL);
    if (!text)
        return;
    if (calls->program_build_info(program->program, program->device->device,
                                  DRAYI_OPENCL_PROGRAM_BUILD_LOG, bytes, text,
                                  NULL) == DRAYI_OPENCL_SUCCESS) {
        snprintf(line, line_bytes, "%.*s", (int)strcspn(text, "\n"), text);
        if (code->log && text[0])
            code->log(code->log_self, text, strlen(text));
    }
    drayi_free(env, text, bytes + 1);
}

/// The caller's options, and the one without which the driver tells nothing of parameters.
static dray_status program_build(dray_program *program, const dray_code *code, dray_error *error)
{
    static const char info[] = "-cl-kernel-arg-info";
    drayi_env *env = program->device->driver->env;
    const char *given = code->build_options ? code->build_options : "";
    size_t bytes = strlen(given) + sizeof(info) + 1;
    char *options = drayi_alloc(env, bytes, error), line[200];
    if (!options)
        return DRAY_E_NOMEM;
    snprintf(options, bytes, "%s%s%s", given, *given ? " " : "", info);
    cl_int result = calls_of(program)->program_build(program->program, 1, &program->device->device,
                                                     options, NULL, NULL);
    drayi_free(env, options, bytes);
    give_log(program, code, line, sizeof(line));
    if (result == DRAYI_OPENCL_SUCCESS)
        return DRAY_OK;
    dray_status status = drayi_opencl_fail(error, result, "clBuildProgram", "%s%s",
                                           line[0] ? "the log begins with: " : "no log", line);
    bool refused = result == DRAYI_OPENCL_BUILD_PROGRAM_FAILURE ||
                   result == DRAYI_OPENCL_INVALID_BINARY ||
                   result == DRAYI_OPENCL_INVALID_BUILD_OPTIONS;
    if (refused && error)
        error->status = DRAY_E_FORMAT;
    return refused ? DRAY_E_FORMAT : status;
}

static dray_status kernels_find(dray_program *program, dray_error *error)
{
    const drayi_opencl_calls *calls = calls_of(program);
    cl_kernel found[kernels_max];
    cl_uint count = 0;
    cl_int code = calls->kernels_create(program->program, kernels_max, found, &count);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clCreateKernelsInProgram", "at most %d kernels",
                                 kernels_max);
    if (count > kernels_max)
        count = kernels_max;
    program->kernels =
        drayi_alloc_array(program->device->driver->env, count, sizeof(opencl_kernel), error);
    if (!program->kernels) {
        for (cl_uint i = 0; i < count; i++)
            calls->kernel_release(found[i]);
        return DRAY_E_NOMEM;
    }
    program->kernel_count = count;
    for (cl_uint i = 0; i < count; i++)
        program->kernels[i].kernel = found[i];
    for (cl_uint i = 0; i < count; i++) {
        code = calls->kernel_info(found[i], DRAYI_OPENCL_KERNEL_FUNCTION_NAME, name_bytes - 1,
                                  program->kernels[i].name, NULL);
        if (code != DRAYI_OPENCL_SUCCESS)
            return drayi_opencl_fail(error, code, "clGetKernelInfo", "name of kernel %u of %u",
                                     i + 1, count);
    }
    return DRAY_OK;
}

static dray_status opencl_program_build(dray_program *program, const dray_code *code,
                                        dray_error *error)
{
    DRAY_TRY(program_create(program, code, error));
    DRAY_TRY(program_build(program, code, error));
    DRAY_TRY(kernels_find(program, error));
    cl_int result = DRAYI_OPENCL_SUCCESS;
    program->queue = calls_of(program)->queue_create(program->device->context,
                                                     program->device->device, 0, &result);
    if (result != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, result, "clCreateCommandQueue", "%s", "");
    return program->queue ? DRAY_OK : drayi_opencl_fail_empty(error, "clCreateCommandQueue");
}

static dray_status opencl_program_load(dray_device_self *device, const dray_code *code,
                                       dray_program **out_program, dray_error *error)
{
    if (device->driver->absent & (DRAYI_OPENCL_KERNELS | DRAYI_OPENCL_PROGRAMS))
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "this OpenCL loader has no kernels: it lacks %s", device->driver->missing);
    dray_program *program = drayi_new(device->driver->env, dray_program, error);
    if (!program)
        return DRAY_E_NOMEM;
    program->device = device;
    pthread_mutex_init(&program->lock, NULL);
    dray_status status = opencl_program_build(program, code, error);
    if (status != DRAY_OK)
        opencl_program_unload(program);
    else
        *out_program = program;
    return status;
}

// --- asking --------------------------------------------------------------------------------------------

static uint32_t opencl_kernel_count(const dray_program *program)
{
    return program->kernel_count;
}

static const char *opencl_kernel_name(const dray_program *program, uint32_t index)
{
    return index < program->kernel_count ? program->kernels[index].name : NULL;
}

/// "uint", "float4", "struct pair": what the language calls a parameter's type.
static dray_parameter parameter_of_type(const char *name)
{
    static const struct {
        const char *name;
        dray_parameter parameter;
    } types[] = {
        {"char", {DRAY_PARAMETER_INT, 1}},    {"uchar", {DRAY_PARAMETER_UINT, 1}},
        {"short", {DRAY_PARAMETER_INT, 2}},   {"ushort", {DRAY_PARAMETER_UINT, 2}},
        {"int", {DRAY_PARAMETER_INT, 4}},     {"uint", {DRAY_PARAMETER_UINT, 4}},
        {"long", {DRAY_PARAMETER_INT, 8}},    {"ulong", {DRAY_PARAMETER_UINT, 8}},
        {"float", {DRAY_PARAMETER_FLOAT, 4}}, {"double", {DRAY_PARAMETER_FLOAT, 8}},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        size_t length = strlen(types[i].name);
        if (strncmp(name, types[i].name, length) != 0)
            continue;
        if (name[length] == '\0')
            return types[i].parameter;
        uint32_t lanes = (uint32_t)strtoul(name + length, NULL, 10);
        if (lanes >= 2 && lanes <= 16) // vectors of three take the place of four
            return (dray_parameter){DRAY_PARAMETER_OTHER,
                                    (lanes == 3 ? 4 : lanes) * types[i].parameter.bytes};
    }
    return (dray_parameter){DRAY_PARAMETER_OTHER, 0};
}

static cl_int parameter_get(const drayi_opencl_calls *calls, cl_kernel kernel, cl_uint index,
                            dray_parameter *out)
{
    cl_uint where = 0;
    char type[64] = "";
    cl_int code = calls->kernel_argument_info(
        kernel, index, DRAYI_OPENCL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof(where), &where, NULL);
    if (code != DRAYI_OPENCL_SUCCESS)
        return code;
    if (where == DRAYI_OPENCL_KERNEL_ARG_ADDRESS_LOCAL) {
        *out = (dray_parameter){DRAY_PARAMETER_LOCAL, 0};
    } else if (where == DRAYI_OPENCL_KERNEL_ARG_ADDRESS_GLOBAL ||
               where == DRAYI_OPENCL_KERNEL_ARG_ADDRESS_CONSTANT) {
        *out = (dray_parameter){DRAY_PARAMETER_MEMORY, sizeof(cl_mem)};
    } else {
        code = calls->kernel_argument_info(kernel, index, DRAYI_OPENCL_KERNEL_ARG_TYPE_NAME,
                                           sizeof(type) - 1, type, NULL);
        *out = parameter_of_type(code == DRAYI_OPENCL_SUCCESS ? type : "?");
    }
    return DRAYI_OPENCL_SUCCESS;
}

static dray_status opencl_parameters(dray_program *program, uint32_t index, dray_parameter *out,
                                     uint32_t room, uint32_t *out_count, bool *out_known,
                                     dray_error *error)
{
    const drayi_opencl_calls *calls = calls_of(program);
    cl_kernel kernel = program->kernels[index].kernel;
    cl_uint count = 0;
    cl_int code =
        calls->kernel_info(kernel, DRAYI_OPENCL_KERNEL_NUM_ARGS, sizeof(count), &count, NULL);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clGetKernelInfo", "parameters of %s",
                                 program->kernels[index].name);
    *out_count = count;
    *out_known = true;
    for (cl_uint i = 0; i < count && i < room; i++)
        if (parameter_get(calls, kernel, i, &out[i]) != DRAYI_OPENCL_SUCCESS)
            out[i] = (dray_parameter){DRAY_PARAMETER_ANY, 0}; // binaries of some drivers do not tell
    return DRAY_OK;
}

// --- launching -----------------------------------------------------------------------------------------

static cl_int argument_set(dray_program *program, cl_kernel kernel, cl_uint index,
                           const dray_kernel_argument *argument)
{
    const drayi_opencl_calls *calls = calls_of(program);
    if (argument->kind == DRAY_PARAMETER_LOCAL)
        return calls->kernel_argument(kernel, index, argument->bytes, NULL);
    if (argument->kind != DRAY_PARAMETER_MEMORY)
        return calls->kernel_argument(kernel, index, argument->bytes, argument->value);
    if (!argument->memory && argument->value && calls->kernel_argument_svm)
        return calls->kernel_argument_svm(kernel, index, argument->value);
    cl_mem buffer = argument->memory;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): the argument is the handle itself
    return calls->kernel_argument(kernel, index, sizeof(buffer), &buffer);
}

static dray_status arguments_set(dray_program *program, const dray_launch *launch, dray_error *error)
{
    const opencl_kernel *kernel = &program->kernels[launch->kernel];
    for (uint32_t i = 0; i < launch->argument_count; i++) {
        const dray_kernel_argument *argument = &launch->arguments[i];
        if (argument->memory && argument->address != 0)
            return dray_fail(error, DRAY_E_UNSUPPORTED,
                             "kernel %s: argument %u lies %" PRIu64
                             " bytes inside its buffer, OpenCL takes whole buffers",
                             kernel->name, i + 1, argument->address);
        cl_int code = argument_set(program, kernel->kernel, i, argument);
        if (code != DRAYI_OPENCL_SUCCESS)
            return drayi_opencl_fail(error, code, "clSetKernelArg",
                                     "kernel %s, argument %u of %u, %u bytes", kernel->name, i + 1,
                                     launch->argument_count, argument->bytes);
    }
    return DRAY_OK;
}

static dray_status launch_locked(dray_program *program, const dray_launch *launch, dray_error *error)
{
    const drayi_opencl_calls *calls = calls_of(program);
    const opencl_kernel *kernel = &program->kernels[launch->kernel];
    if (launch->local_bytes > 0)
        return dray_fail(error, DRAY_E_INVALID,
                         "kernel %s: OpenCL takes local memory as arguments, not %" PRIu64
                         " bytes beside them",
                         kernel->name, launch->local_bytes);
    DRAY_TRY(arguments_set(program, launch, error));
    size_t global[3], group[3];
    bool chosen = launch->group[0] > 0;
    for (int i = 0; i < 3; i++) {
        global[i] = (size_t)launch->global[i];
        group[i] = (size_t)launch->group[i];
    }
    cl_event event = NULL;
    cl_int code = calls->kernel_run(program->queue, kernel->kernel, 3, NULL, global,
                                    chosen ? group : NULL, 0, NULL, &event);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clEnqueueNDRangeKernel",
                                 "kernel %s, %zu x %zu x %zu items", kernel->name, global[0],
                                 global[1], global[2]);
    code = calls->event_wait(1, &event);
    cl_int status = 0;
    cl_int asked = calls->event_info(event, DRAYI_OPENCL_EVENT_COMMAND_EXECUTION_STATUS,
                                     sizeof(status), &status, NULL);
    calls->queue_finish(program->queue);
    calls->event_release(event);
    if (code == DRAYI_OPENCL_SUCCESS)
        code = asked == DRAYI_OPENCL_SUCCESS && status <= 0 ? status : asked;
    return code == DRAYI_OPENCL_SUCCESS
               ? DRAY_OK
               : drayi_opencl_fail(error, code, "clWaitForEvents", "kernel %s", kernel->name);
}

static dray_status opencl_launch(dray_program *program, const dray_launch *launch, dray_error *error)
{
    pthread_mutex_lock(&program->lock);
    dray_status status = launch_locked(program, launch, error);
    pthread_mutex_unlock(&program->lock);
    return status;
}

// --- its own image -------------------------------------------------------------------------------------

static dray_status opencl_binary(dray_program *program,
                                 dray_status (*take)(void *self, const uint8_t *bytes,
                                                     uint64_t count, dray_error *error),
                                 void *self, dray_error *error)
{
    const drayi_opencl_calls *calls = calls_of(program);
    drayi_env *env = program->device->driver->env;
    size_t count = 0;
    cl_int code = calls->program_info(program->program, DRAYI_OPENCL_PROGRAM_BINARY_SIZES,
                                      sizeof(count), &count, NULL);
    if (code != DRAYI_OPENCL_SUCCESS || count == 0)
        return drayi_opencl_fail(error, code, "clGetProgramInfo", "size of its binary: %zu", count);
    unsigned char *bytes = drayi_alloc(env, count, error);
    if (!bytes)
        return DRAY_E_NOMEM;
    code = calls->program_info(program->program, DRAYI_OPENCL_PROGRAM_BINARIES, sizeof(void *),
                               &bytes, NULL);
    dray_status status = code == DRAYI_OPENCL_SUCCESS
                             ? take(self, bytes, count, error)
                             : drayi_opencl_fail(error, code, "clGetProgramInfo", "its binary");
    drayi_free(env, bytes, count);
    return status;
}

const dray_device_module_ops drayi_opencl_programs = {
    .forms = 1u << DRAY_CODE_OPENCL_SOURCE | 1u << DRAY_CODE_OPENCL_BINARY | 1u << DRAY_CODE_SPIRV,
    .load = opencl_program_load,
    .unload = opencl_program_unload,
    .kernel_count = opencl_kernel_count,
    .kernel_name = opencl_kernel_name,
    .parameters = opencl_parameters,
    .launch = opencl_launch,
    .binary = opencl_binary,
};
