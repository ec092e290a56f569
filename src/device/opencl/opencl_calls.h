/// The OpenCL calls that we use, of versions 1.2 and 2.0: declared here, so that no header of OpenCL is
/// needed to build, and looked up in the ICD loader, libOpenCL.so.1. Source: the OpenCL 1.2 and 2.0 API
/// specifications.
#ifndef DRAY_DEVICE_OPENCL_OPENCL_CALLS_H
#define DRAY_DEVICE_OPENCL_OPENCL_CALLS_H

#include <stddef.h>
#include <stdint.h>

#ifndef __OPENCL_CL_H // the conformance test includes the Khronos header first
typedef int32_t cl_int;
typedef uint32_t cl_uint, cl_bool;
typedef uint64_t cl_ulong, cl_bitfield;
typedef struct _cl_platform_id *cl_platform_id;
typedef struct _cl_device_id *cl_device_id;
typedef struct _cl_context *cl_context;
typedef struct _cl_command_queue *cl_command_queue;
typedef struct _cl_mem *cl_mem;
typedef struct _cl_event *cl_event;
typedef struct _cl_program *cl_program;
typedef struct _cl_kernel *cl_kernel;
#endif

/// call(member, exact name, what is lost without it, result, parameters).
// clang-format off
#define DRAYI_OPENCL_CALLS(call)                                                                   \
    call(platforms, clGetPlatformIDs, BASE, cl_int,                                                \
         (cl_uint room, cl_platform_id *platforms, cl_uint *count))                                \
    call(platform_info, clGetPlatformInfo, BASE, cl_int,                                           \
         (cl_platform_id platform, cl_uint what, size_t room, void *value, size_t *bytes))         \
    call(devices, clGetDeviceIDs, BASE, cl_int,                                                    \
         (cl_platform_id platform, cl_bitfield type, cl_uint room, cl_device_id *devices,          \
          cl_uint *count))                                                                         \
    call(device_info, clGetDeviceInfo, BASE, cl_int,                                               \
         (cl_device_id device, cl_uint what, size_t room, void *value, size_t *bytes))             \
    call(context_create, clCreateContext, BASE, cl_context,                                        \
         (const intptr_t *properties, cl_uint count, const cl_device_id *devices,                  \
          void (*notify)(const char *, const void *, size_t, void *), void *self, cl_int *code))   \
    call(context_release, clReleaseContext, BASE, cl_int, (cl_context context))                    \
    call(queue_create, clCreateCommandQueue, BASE, cl_command_queue,                               \
         (cl_context context, cl_device_id device, cl_bitfield properties, cl_int *code))          \
    call(queue_release, clReleaseCommandQueue, BASE, cl_int, (cl_command_queue queue))             \
    call(queue_flush, clFlush, BASE, cl_int, (cl_command_queue queue))                             \
    call(queue_finish, clFinish, BASE, cl_int, (cl_command_queue queue))                           \
    call(buffer_create, clCreateBuffer, MEMORY, cl_mem,                                            \
         (cl_context context, cl_bitfield flags, size_t bytes, void *host, cl_int *code))          \
    call(buffer_release, clReleaseMemObject, MEMORY, cl_int, (cl_mem buffer))                      \
    call(buffer_fill, clEnqueueFillBuffer, MEMORY, cl_int,                                         \
         (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_bytes,        \
          size_t offset, size_t bytes, cl_uint wait_count, const cl_event *waits,                  \
          cl_event *event))                                                                        \
    call(buffer_read, clEnqueueReadBuffer, COPY, cl_int,                                           \
         (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes,    \
          void *host, cl_uint wait_count, const cl_event *waits, cl_event *event))                 \
    call(buffer_write, clEnqueueWriteBuffer, COPY, cl_int,                                         \
         (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes,    \
          const void *host, cl_uint wait_count, const cl_event *waits, cl_event *event))           \
    call(buffer_copy, clEnqueueCopyBuffer, COPY, cl_int,                                           \
         (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset,    \
          size_t bytes, cl_uint wait_count, const cl_event *waits, cl_event *event))               \
    call(event_wait, clWaitForEvents, COPY, cl_int, (cl_uint count, const cl_event *events))       \
    call(event_info, clGetEventInfo, COPY, cl_int,                                                 \
         (cl_event event, cl_uint what, size_t room, void *value, size_t *bytes))                  \
    call(event_retain, clRetainEvent, COPY, cl_int, (cl_event event))                              \
    call(event_release, clReleaseEvent, COPY, cl_int, (cl_event event))                            \
    call(program_binary, clCreateProgramWithBinary, PROGRAMS, cl_program,                          \
         (cl_context context, cl_uint count, const cl_device_id *devices, const size_t *bytes,     \
          const unsigned char **binaries, cl_int *statuses, cl_int *code))                         \
    call(program_il, clCreateProgramWithIL, HINTS, cl_program,                                     \
         (cl_context context, const void *bytes, size_t count, cl_int *code))                      \
    call(program_info, clGetProgramInfo, PROGRAMS, cl_int,                                         \
         (cl_program program, cl_uint what, size_t room, void *value, size_t *bytes))              \
    call(kernels_create, clCreateKernelsInProgram, PROGRAMS, cl_int,                               \
         (cl_program program, cl_uint room, cl_kernel *kernels, cl_uint *count))                   \
    call(kernel_info, clGetKernelInfo, PROGRAMS, cl_int,                                           \
         (cl_kernel kernel, cl_uint what, size_t room, void *value, size_t *bytes))                \
    call(kernel_argument_info, clGetKernelArgInfo, PROGRAMS, cl_int,                               \
         (cl_kernel kernel, cl_uint index, cl_uint what, size_t room, void *value,                 \
          size_t *bytes))                                                                          \
    call(svm_alloc, clSVMAlloc, MANAGED, void *,                                                   \
         (cl_context context, cl_bitfield flags, size_t bytes, cl_uint alignment))                 \
    call(svm_free, clSVMFree, MANAGED, void, (cl_context context, void *pointer))                  \
    call(svm_migrate, clEnqueueSVMMigrateMem, HINTS, cl_int,                                       \
         (cl_command_queue queue, cl_uint count, const void **pointers, const size_t *bytes,       \
          cl_bitfield flags, cl_uint wait_count, const cl_event *waits, cl_event *event))          \
    call(extension, clGetExtensionFunctionAddressForPlatform, HINTS, void *,                       \
         (cl_platform_id platform, const char *name))                                              \
    call(svm_copy, clEnqueueSVMMemcpy, MANAGED, cl_int,                                            \
         (cl_command_queue queue, cl_bool blocking, void *to, const void *from, size_t bytes,      \
          cl_uint wait_count, const cl_event *waits, cl_event *event))                             \
    call(kernel_argument_svm, clSetKernelArgSVMPointer, MANAGED, cl_int,                           \
         (cl_kernel kernel, cl_uint index, const void *pointer))                                   \
    call(program_create, clCreateProgramWithSource, KERNELS, cl_program,                           \
         (cl_context context, cl_uint count, const char **texts, const size_t *lengths,            \
          cl_int *code))                                                                           \
    call(program_build, clBuildProgram, KERNELS, cl_int,                                           \
         (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,     \
          void (*notify)(cl_program, void *), void *self))                                         \
    call(program_build_info, clGetProgramBuildInfo, KERNELS, cl_int,                               \
         (cl_program program, cl_device_id device, cl_uint what, size_t room, void *value,         \
          size_t *bytes))                                                                          \
    call(program_release, clReleaseProgram, KERNELS, cl_int, (cl_program program))                 \
    call(kernel_create, clCreateKernel, KERNELS, cl_kernel,                                        \
         (cl_program program, const char *name, cl_int *code))                                     \
    call(kernel_release, clReleaseKernel, KERNELS, cl_int, (cl_kernel kernel))                     \
    call(kernel_argument, clSetKernelArg, KERNELS, cl_int,                                         \
         (cl_kernel kernel, cl_uint index, size_t bytes, const void *value))                       \
    call(kernel_run, clEnqueueNDRangeKernel, KERNELS, cl_int,                                      \
         (cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,      \
          const size_t *global, const size_t *local, cl_uint wait_count, const cl_event *waits,    \
          cl_event *event))
// clang-format on

/// The groups of the third column.
enum {
    DRAYI_OPENCL_BASE = 0,        // no device without it
    DRAYI_OPENCL_MEMORY = 1 << 0, // these are DRAY_DEVICE_... (asserted in device_opencl.c)
    DRAYI_OPENCL_MANAGED = 1 << 1,
    DRAYI_OPENCL_COPY = 1 << 4,
    DRAYI_OPENCL_PROGRAMS = 1 << 14, // no modules on it
    DRAYI_OPENCL_HINTS = 1 << 15,    // each of them is asked for when it is needed
    DRAYI_OPENCL_KERNELS =
        1 << 16 // no capability that is shown: without it runs are copied one by one
};

/// Calls of the extension cl_intel_unified_shared_memory, which a platform gives by their names.
typedef cl_int drayi_usm_info(cl_context context, const void *pointer, cl_uint what, size_t room,
                              void *value, size_t *bytes); // clGetMemAllocInfoINTEL
typedef cl_int drayi_usm_migrate(cl_command_queue queue, const void *pointer, size_t bytes,
                                 cl_bitfield flags, cl_uint wait_count, const cl_event *waits,
                                 cl_event *event); // clEnqueueMigrateMemINTEL

/// The numbers of the specification that we use.
enum {
    DRAYI_OPENCL_PLATFORM_VERSION = 0x0901,
    DRAYI_OPENCL_PLATFORM_NAME = 0x0902,
    DRAYI_OPENCL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    DRAYI_OPENCL_DEVICE_MEM_BASE_ADDR_ALIGN = 0x1019, // bits
    DRAYI_OPENCL_DEVICE_GLOBAL_MEM_SIZE = 0x101F,
    DRAYI_OPENCL_DEVICE_AVAILABLE = 0x1027,
    DRAYI_OPENCL_DEVICE_NAME = 0x102B,
    DRAYI_OPENCL_DRIVER_VERSION = 0x102D,
    DRAYI_OPENCL_DEVICE_VERSION = 0x102F,
    DRAYI_OPENCL_DEVICE_EXTENSIONS = 0x1030,
    DRAYI_OPENCL_DEVICE_HOST_UNIFIED_MEMORY = 0x1035,
    DRAYI_OPENCL_DEVICE_SVM_CAPABILITIES = 0x1053,
    DRAYI_OPENCL_PROGRAM_BINARY_SIZES = 0x1165,
    DRAYI_OPENCL_PROGRAM_BINARIES = 0x1166,
    DRAYI_OPENCL_PROGRAM_BUILD_LOG = 0x1183,
    DRAYI_OPENCL_KERNEL_FUNCTION_NAME = 0x1190,
    DRAYI_OPENCL_KERNEL_NUM_ARGS = 0x1191,
    DRAYI_OPENCL_KERNEL_ARG_ADDRESS_QUALIFIER = 0x1196,
    DRAYI_OPENCL_KERNEL_ARG_TYPE_NAME = 0x1198,
    DRAYI_OPENCL_KERNEL_ARG_ADDRESS_GLOBAL = 0x119B,
    DRAYI_OPENCL_KERNEL_ARG_ADDRESS_LOCAL = 0x119C,
    DRAYI_OPENCL_KERNEL_ARG_ADDRESS_CONSTANT = 0x119D,
    DRAYI_OPENCL_EVENT_COMMAND_EXECUTION_STATUS = 0x11D3,

    DRAYI_OPENCL_USM_TYPE_HOST = 0x4197,
    DRAYI_OPENCL_USM_TYPE_DEVICE = 0x4198,
    DRAYI_OPENCL_USM_TYPE_SHARED = 0x4199,
    DRAYI_OPENCL_USM_ALLOC_TYPE = 0x419A,
    DRAYI_OPENCL_USM_ALLOC_BASE = 0x419B,
    DRAYI_OPENCL_USM_ALLOC_SIZE = 0x419C,
    DRAYI_OPENCL_MIGRATE_HOST = 1 << 0, // the flags that moves may have
    DRAYI_OPENCL_MIGRATE_CONTENT_UNDEFINED = 1 << 1,

    DRAYI_OPENCL_SVM_FINE_GRAIN_BUFFER = 1 << 1, // a capability of a device
    DRAYI_OPENCL_MEM_READ_WRITE = 1 << 0,
    DRAYI_OPENCL_MEM_SVM_FINE_GRAIN_BUFFER = 1 << 10,

    DRAYI_OPENCL_SUCCESS = 0,
    DRAYI_OPENCL_COMPLETE = 0,
    DRAYI_OPENCL_DEVICE_NOT_FOUND = -1,
    DRAYI_OPENCL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
    DRAYI_OPENCL_OUT_OF_RESOURCES = -5,
    DRAYI_OPENCL_OUT_OF_HOST_MEMORY = -6,
    DRAYI_OPENCL_BUILD_PROGRAM_FAILURE = -11,
    DRAYI_OPENCL_KERNEL_ARG_INFO_NOT_AVAILABLE = -19,
    DRAYI_OPENCL_INVALID_VALUE = -30,
    DRAYI_OPENCL_INVALID_BINARY = -42,
    DRAYI_OPENCL_INVALID_BUILD_OPTIONS = -43,
    DRAYI_OPENCL_INVALID_OPERATION = -59,
    DRAYI_OPENCL_INVALID_BUFFER_SIZE = -61,
    DRAYI_OPENCL_PLATFORM_NOT_FOUND = -1001
};
#define DRAYI_OPENCL_DEVICE_TYPE_ALL 0xFFFFFFFFu

// NOLINTNEXTLINE(bugprone-macro-parentheses): a name and a parameter list
#define DRAYI_OPENCL_MEMBER(member, symbol, need, result, parameters) result(*member) parameters;
typedef struct drayi_opencl_calls {
    DRAYI_OPENCL_CALLS(DRAYI_OPENCL_MEMBER)
} drayi_opencl_calls;
#undef DRAYI_OPENCL_MEMBER

#endif
