/// Codes of OpenCL as errors, by the names of the specification.
#include "device/opencl/opencl.h"

#include <stdarg.h>
#include <stdio.h>

const char *drayi_opencl_code_name(int32_t code)
{
    static const char *const run_time[] = {
        "CL_SUCCESS",
        "CL_DEVICE_NOT_FOUND",
        "CL_DEVICE_NOT_AVAILABLE",
        "CL_COMPILER_NOT_AVAILABLE",
        "CL_MEM_OBJECT_ALLOCATION_FAILURE",
        "CL_OUT_OF_RESOURCES",
        "CL_OUT_OF_HOST_MEMORY",
        "CL_PROFILING_INFO_NOT_AVAILABLE",
        "CL_MEM_COPY_OVERLAP",
        "CL_IMAGE_FORMAT_MISMATCH",
        "CL_IMAGE_FORMAT_NOT_SUPPORTED",
        "CL_BUILD_PROGRAM_FAILURE",
        "CL_MAP_FAILURE",
        "CL_MISALIGNED_SUB_BUFFER_OFFSET",
        "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
    };
    static const char *const argument[] = {
        // from -30 down
        "CL_INVALID_VALUE",           "CL_INVALID_DEVICE_TYPE",
        "CL_INVALID_PLATFORM",        "CL_INVALID_DEVICE",
        "CL_INVALID_CONTEXT",         "CL_INVALID_QUEUE_PROPERTIES",
        "CL_INVALID_COMMAND_QUEUE",   "CL_INVALID_HOST_PTR",
        "CL_INVALID_MEM_OBJECT",      "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR",
        "CL_INVALID_IMAGE_SIZE",      "CL_INVALID_SAMPLER",
        "CL_INVALID_BINARY",          "CL_INVALID_BUILD_OPTIONS",
        "CL_INVALID_PROGRAM",         "CL_INVALID_PROGRAM_EXECUTABLE",
        "CL_INVALID_KERNEL_NAME",     "CL_INVALID_KERNEL_DEFINITION",
        "CL_INVALID_KERNEL",          "CL_INVALID_ARG_INDEX",
        "CL_INVALID_ARG_VALUE",       "CL_INVALID_ARG_SIZE",
        "CL_INVALID_KERNEL_ARGS",     "CL_INVALID_WORK_DIMENSION",
        "CL_INVALID_WORK_GROUP_SIZE", "CL_INVALID_WORK_ITEM_SIZE",
        "CL_INVALID_GLOBAL_OFFSET",   "CL_INVALID_EVENT_WAIT_LIST",
        "CL_INVALID_EVENT",           "CL_INVALID_OPERATION",
        "CL_INVALID_GL_OBJECT",       "CL_INVALID_BUFFER_SIZE",
        "CL_INVALID_MIP_LEVEL",       "CL_INVALID_GLOBAL_WORK_SIZE",
        "CL_INVALID_PROPERTY",
    };
    if (code == DRAYI_OPENCL_PLATFORM_NOT_FOUND)
        return "CL_PLATFORM_NOT_FOUND_KHR";
    if (code <= 0 && code > -(cl_int)(sizeof(run_time) / sizeof(run_time[0])))
        return run_time[-code];
    if (code <= -30 && code > -30 - (cl_int)(sizeof(argument) / sizeof(argument[0])))
        return argument[-30 - code];
    return NULL;
}

static dray_status status_of(cl_int code)
{
    switch (code) {
    case DRAYI_OPENCL_MEM_OBJECT_ALLOCATION_FAILURE:
    case DRAYI_OPENCL_OUT_OF_HOST_MEMORY:
    case DRAYI_OPENCL_OUT_OF_RESOURCES:
    case DRAYI_OPENCL_INVALID_BUFFER_SIZE:
        return DRAY_E_NOMEM;
    default:
        return DRAY_E_DEVICE;
    }
}

dray_status drayi_opencl_fail(dray_error *error, cl_int code, const char *call, const char *format,
                              ...)
{
    const char *name = drayi_opencl_code_name(code);
    char what[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    dray_status status =
        dray_fail(error, status_of(code), "%s%s%s: %s (%d)", call, what[0] ? " " : "", what,
                  name ? name : "a code without a name", code);
    if (error) {
        error->native_code = code;
        error->origin = call;
    }
    return status;
}

dray_status drayi_opencl_fail_empty(dray_error *error, const char *call)
{
    dray_fail(error, DRAY_E_DEVICE, "%s: the driver said success and gave nothing usable", call);
    if (error)
        error->origin = call;
    return DRAY_E_DEVICE;
}
