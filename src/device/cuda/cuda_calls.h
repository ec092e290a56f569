/// The CUDA driver's calls that we use: declared here, so that no vendor header is needed to build, and
/// looked up in libcuda.so.1 by their exact names.
///
/// A bare exported name is always the oldest version of a call; newer ones carry a suffix (_v2). A
/// header of the vendor hides this behind macros, dlsym does not: the names below are the ABI.
/// tests/conformance/ checks every prototype and number against the vendor's cuda.h where it is installed.
#ifndef DRAY_DEVICE_CUDA_CUDA_CALLS_H
#define DRAY_DEVICE_CUDA_CUDA_CALLS_H

#include <stddef.h>
#include <stdint.h>

#ifndef __cuda_cuda_h__ // the conformance test includes the vendor's header first
typedef unsigned CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUuuid_st {
    char bytes[16];
} CUuuid;
typedef struct CUmemLocation_st {
    unsigned type;
    int id;
} CUmemLocation;
typedef struct CUmemcpyAttributes_st {
    unsigned srcAccessOrder;
    CUmemLocation srcLocHint, dstLocHint;
    unsigned flags;
} CUmemcpyAttributes;
typedef unsigned drayi_cuda_attribute, drayi_cuda_advice, drayi_cuda_range_attribute,
    drayi_cuda_pointer_attribute, drayi_cuda_jit_option, drayi_cuda_function_attribute;
#else
typedef CUjit_option drayi_cuda_jit_option;
typedef CUfunction_attribute drayi_cuda_function_attribute;
typedef CUdevice_attribute drayi_cuda_attribute;
typedef CUmem_advise drayi_cuda_advice;
typedef CUmem_range_attribute drayi_cuda_range_attribute;
typedef CUpointer_attribute drayi_cuda_pointer_attribute;
#endif

/// call(member, exact name, what is lost without it, parameters). All return CUresult.
// clang-format off
#define DRAYI_CUDA_CALLS(call)                                                                     \
    call(init, cuInit, BASE, (unsigned flags))                                                     \
    call(driver_version, cuDriverGetVersion, BASE, (int *version))                                 \
    call(error_name, cuGetErrorName, NAMES, (CUresult code, const char **name))                    \
    call(device_count, cuDeviceGetCount, BASE, (int *count))                                       \
    call(device_get, cuDeviceGet, BASE, (CUdevice *device, int ordinal))                           \
    call(device_name, cuDeviceGetName, NAMES, (char *name, int bytes, CUdevice device))            \
    call(device_attribute, cuDeviceGetAttribute, BASE,                                             \
         (int *value, drayi_cuda_attribute attribute, CUdevice device))                            \
    call(device_memory, cuDeviceTotalMem_v2, BASE, (size_t *bytes, CUdevice device))               \
    call(context_retain, cuDevicePrimaryCtxRetain, BASE, (CUcontext *context, CUdevice device))    \
    call(context_release, cuDevicePrimaryCtxRelease_v2, RELEASE, (CUdevice device))                \
    call(context_release1, cuDevicePrimaryCtxRelease, RELEASE, (CUdevice device))                  \
    call(context_push, cuCtxPushCurrent_v2, BASE, (CUcontext context))                             \
    call(context_pop, cuCtxPopCurrent_v2, BASE, (CUcontext *context))                              \
    call(memory_info, cuMemGetInfo_v2, NAMES, (size_t *free_bytes, size_t *total_bytes))           \
    call(memory_alloc, cuMemAlloc_v2, MEMORY, (CUdeviceptr *address, size_t bytes))                \
    call(memory_free, cuMemFree_v2, MEMORY, (CUdeviceptr address))                                 \
    call(memory_set, cuMemsetD8Async, MEMORY,                                                      \
         (CUdeviceptr address, unsigned char value, size_t bytes, CUstream stream))                \
    call(memory_alloc_managed, cuMemAllocManaged, MANAGED,                                         \
         (CUdeviceptr *address, size_t bytes, unsigned flags))                                     \
    call(host_alloc, cuMemHostAlloc, PINNED, (void **pointer, size_t bytes, unsigned flags))       \
    call(host_free, cuMemFreeHost, PINNED, (void *pointer))                                        \
    call(host_register, cuMemHostRegister_v2, REGISTER,                                            \
         (void *pointer, size_t bytes, unsigned flags))                                            \
    call(host_unregister, cuMemHostUnregister, REGISTER, (void *pointer))                          \
    call(copy_to_device, cuMemcpyHtoDAsync_v2, COPY,                                               \
         (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                        \
    call(copy_to_host, cuMemcpyDtoHAsync_v2, COPY,                                                 \
         (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                              \
    call(copy_on_device, cuMemcpyDtoDAsync_v2, COPY,                                               \
         (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))                        \
    call(copy_peer, cuMemcpyPeerAsync, PEER,                                                       \
         (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,          \
          size_t bytes, CUstream stream))                                                          \
    call(copy_batch2, cuMemcpyBatchAsync_v2, BATCH,                                                \
         (CUdeviceptr *to, CUdeviceptr *from, size_t *bytes, size_t count,                         \
          CUmemcpyAttributes *attributes, size_t *attribute_starts, size_t attribute_count,        \
          CUstream stream))                                                                        \
    call(copy_batch1, cuMemcpyBatchAsync, BATCH,                                                   \
         (CUdeviceptr *to, CUdeviceptr *from, size_t *bytes, size_t count,                         \
          CUmemcpyAttributes *attributes, size_t *attribute_starts, size_t attribute_count,        \
          size_t *failed, CUstream stream))                                                        \
    call(stream_create, cuStreamCreate, BASE, (CUstream *stream, unsigned flags))                  \
    call(stream_destroy, cuStreamDestroy_v2, BASE, (CUstream stream))                              \
    call(stream_wait, cuStreamSynchronize, BASE, (CUstream stream))                                \
    call(event_create, cuEventCreate, COPY, (CUevent *event, unsigned flags))                      \
    call(event_destroy, cuEventDestroy_v2, COPY, (CUevent event))                                  \
    call(event_record, cuEventRecord, COPY, (CUevent event, CUstream stream))                      \
    call(event_query, cuEventQuery, COPY, (CUevent event))                                         \
    call(event_wait, cuEventSynchronize, COPY, (CUevent event))                                    \
    call(module_load_ex, cuModuleLoadDataEx, PROGRAMS,                                                \
         (CUmodule *module, const void *image, unsigned count, drayi_cuda_jit_option *options,     \
          void **values))                                                                          \
    call(function_parameter, cuFuncGetParamInfo, HINTS,                                            \
         (CUfunction function, size_t index, size_t *offset, size_t *bytes))                       \
    call(function_set, cuFuncSetAttribute, PROGRAMS,                                               \
         (CUfunction function, drayi_cuda_function_attribute attribute, int value))                \
    call(advise2, cuMemAdvise_v2, HINTS,                                                           \
         (CUdeviceptr address, size_t bytes, drayi_cuda_advice advice, CUmemLocation location))    \
    call(advise1, cuMemAdvise, HINTS,                                                              \
         (CUdeviceptr address, size_t bytes, drayi_cuda_advice advice, CUdevice device))           \
    call(prefetch2, cuMemPrefetchAsync_v2, HINTS,                                                  \
         (CUdeviceptr address, size_t bytes, CUmemLocation location, unsigned flags,               \
          CUstream stream))                                                                        \
    call(prefetch1, cuMemPrefetchAsync, HINTS,                                                     \
         (CUdeviceptr address, size_t bytes, CUdevice device, CUstream stream))                    \
    call(prefetch_batch, cuMemPrefetchBatchAsync, HINTS,                                           \
         (CUdeviceptr *addresses, size_t *bytes, size_t count, CUmemLocation *locations,           \
          size_t *location_starts, size_t location_count, unsigned long long flags,                \
          CUstream stream))                                                                        \
    call(discard_batch, cuMemDiscardBatchAsync, HINTS,                                             \
         (CUdeviceptr *addresses, size_t *bytes, size_t count, unsigned long long flags,           \
          CUstream stream))                                                                        \
    call(range_attributes, cuMemRangeGetAttributes, HINTS,                                         \
         (void **values, size_t *bytes, drayi_cuda_range_attribute *attributes, size_t count,      \
          CUdeviceptr address, size_t range_bytes))                                                \
    call(pointer_attributes, cuPointerGetAttributes, HINTS,                                        \
         (unsigned count, drayi_cuda_pointer_attribute *attributes, void **values,                 \
          CUdeviceptr address))                                                                    \
    call(module_load, cuModuleLoadData, KERNELS, (CUmodule *module, const void *image))            \
    call(module_unload, cuModuleUnload, KERNELS, (CUmodule module))                                \
    call(module_function, cuModuleGetFunction, KERNELS,                                            \
         (CUfunction *function, CUmodule module, const char *name))                                \
    call(kernel_launch, cuLaunchKernel, KERNELS,                                                   \
         (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,                  \
          unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,             \
          CUstream stream, void **parameters, void **extra))
// clang-format on

/// The groups of the third column.
enum {
    DRAYI_CUDA_BASE = 0,        // no device without it
    DRAYI_CUDA_MEMORY = 1 << 0, // these are DRAY_DEVICE_... (asserted in device_cuda.c)
    DRAYI_CUDA_MANAGED = 1 << 1,
    DRAYI_CUDA_PINNED = 1 << 2,
    DRAYI_CUDA_REGISTER = 1 << 3,
    DRAYI_CUDA_COPY = 1 << 4,
    DRAYI_CUDA_BATCH = 1 << 5, // one of the group is enough
    DRAYI_CUDA_PEER = 1 << 6,
    DRAYI_CUDA_PROGRAMS = 1 << 14, // no modules on it
    DRAYI_CUDA_HINTS = 1 << 15,    // each of them is asked for when it is needed
    DRAYI_CUDA_NAMES = 1 << 16,    // texts and numbers for people
    DRAYI_CUDA_RELEASE = 1 << 17,  // one of the group is enough, and there must be one
    DRAYI_CUDA_KERNELS =
        1 << 18 // no capability that is shown: without it runs are copied one by one
};

/// The numbers of the ABI that we use.
enum {
    DRAYI_CUDA_SUCCESS = 0,
    DRAYI_CUDA_INVALID_VALUE = 1,
    DRAYI_CUDA_OUT_OF_MEMORY = 2,
    DRAYI_CUDA_STUB_LIBRARY = 34,
    DRAYI_CUDA_NO_DEVICE = 100,
    DRAYI_CUDA_INVALID_IMAGE = 200,
    DRAYI_CUDA_NO_BINARY_FOR_GPU = 209,
    DRAYI_CUDA_INVALID_PTX = 218,
    DRAYI_CUDA_UNSUPPORTED_PTX_VERSION = 222,
    DRAYI_CUDA_NOT_FOUND = 500,
    DRAYI_CUDA_NOT_READY = 600,
    DRAYI_CUDA_NOT_SUPPORTED = 801,

    DRAYI_CUDA_ATTRIBUTE_INTEGRATED = 18,
    DRAYI_CUDA_ATTRIBUTE_UNIFIED_ADDRESSING = 41,
    DRAYI_CUDA_ATTRIBUTE_COMPUTE_MAJOR = 75,
    DRAYI_CUDA_ATTRIBUTE_COMPUTE_MINOR = 76,
    DRAYI_CUDA_ATTRIBUTE_MANAGED = 83,
    DRAYI_CUDA_ATTRIBUTE_PAGEABLE = 88,
    DRAYI_CUDA_ATTRIBUTE_CONCURRENT_MANAGED = 89,
    DRAYI_CUDA_ATTRIBUTE_HOST_REGISTER = 99,
    DRAYI_CUDA_ATTRIBUTE_HOST_PAGE_TABLES = 100,
    DRAYI_CUDA_ATTRIBUTE_HOST_NUMA_ID = 134,

    DRAYI_CUDA_JIT_INFO_LOG_BUFFER = 3,
    DRAYI_CUDA_JIT_INFO_LOG_BUFFER_SIZE_BYTES = 4,
    DRAYI_CUDA_JIT_ERROR_LOG_BUFFER = 5,
    DRAYI_CUDA_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
    DRAYI_CUDA_FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,

    DRAYI_CUDA_STREAM_NON_BLOCKING = 1,
    DRAYI_CUDA_EVENT_BLOCKING_SYNC = 1,
    DRAYI_CUDA_EVENT_DISABLE_TIMING = 2,
    DRAYI_CUDA_HOST_ALLOC_PORTABLE = 1,
    DRAYI_CUDA_HOST_ALLOC_DEVICE_MAP = 2,
    DRAYI_CUDA_HOST_REGISTER_PORTABLE = 1,
    DRAYI_CUDA_HOST_REGISTER_DEVICE_MAP = 2,
    DRAYI_CUDA_ATTACH_GLOBAL = 1,
    DRAYI_CUDA_ACCESS_ORDER_STREAM = 1,

    // the kinds of advice and of location have the numbers of dray_hint_advice_kind and dray_hint_place
    DRAYI_CUDA_LOCATION_NONE = 0,
    DRAYI_CUDA_LOCATION_DEVICE = 1,
    DRAYI_CUDA_LOCATION_HOST = 2,
    DRAYI_CUDA_LOCATION_HOST_NUMA = 3,
    DRAYI_CUDA_LOCATION_HOST_NUMA_CURRENT = 4,
    DRAYI_CUDA_DEVICE_CPU = -1,
    DRAYI_CUDA_DEVICE_INVALID = -2,

    DRAYI_CUDA_RANGE_READ_MOSTLY = 1,
    DRAYI_CUDA_RANGE_PREFERRED = 2,
    DRAYI_CUDA_RANGE_ACCESSED_BY = 3,
    DRAYI_CUDA_RANGE_LAST_PREFETCH = 4,
    DRAYI_CUDA_RANGE_PREFERRED_TYPE = 5,
    DRAYI_CUDA_RANGE_PREFERRED_ID = 6,
    DRAYI_CUDA_RANGE_LAST_PREFETCH_TYPE = 7,
    DRAYI_CUDA_RANGE_LAST_PREFETCH_ID = 8,

    DRAYI_CUDA_POINTER_MEMORY_TYPE = 2,
    DRAYI_CUDA_POINTER_IS_MANAGED = 8,
    DRAYI_CUDA_POINTER_DEVICE_ORDINAL = 9,
    DRAYI_CUDA_POINTER_RANGE_START = 11,
    DRAYI_CUDA_POINTER_RANGE_SIZE = 12,
    DRAYI_CUDA_MEMORY_TYPE_HOST = 1,
    DRAYI_CUDA_MEMORY_TYPE_DEVICE = 2
};

// NOLINTNEXTLINE(bugprone-macro-parentheses): a name and a parameter list
#define DRAYI_CUDA_MEMBER(member, symbol, need, parameters) CUresult(*member) parameters;
typedef struct drayi_cuda_calls {
    DRAYI_CUDA_CALLS(DRAYI_CUDA_MEMBER)
} drayi_cuda_calls;
#undef DRAYI_CUDA_MEMBER

#endif
