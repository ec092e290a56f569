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
typedef unsigned drayi_cuda_attribute;
#else
typedef CUdevice_attribute drayi_cuda_attribute;
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
    call(event_wait, cuEventSynchronize, COPY, (CUevent event))
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
    DRAYI_CUDA_NAMES = 1 << 16,  // texts and numbers for people
    DRAYI_CUDA_RELEASE = 1 << 17 // one of the group is enough, and there must be one
};

/// The numbers of the ABI that we use.
enum {
    DRAYI_CUDA_SUCCESS = 0,
    DRAYI_CUDA_INVALID_VALUE = 1,
    DRAYI_CUDA_OUT_OF_MEMORY = 2,
    DRAYI_CUDA_STUB_LIBRARY = 34,
    DRAYI_CUDA_NO_DEVICE = 100,
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
    DRAYI_CUDA_ATTRIBUTE_HOST_NUMA_ID = 134,

    DRAYI_CUDA_STREAM_NON_BLOCKING = 1,
    DRAYI_CUDA_EVENT_BLOCKING_SYNC = 1,
    DRAYI_CUDA_EVENT_DISABLE_TIMING = 2,
    DRAYI_CUDA_HOST_ALLOC_PORTABLE = 1,
    DRAYI_CUDA_HOST_ALLOC_DEVICE_MAP = 2,
    DRAYI_CUDA_HOST_REGISTER_PORTABLE = 1,
    DRAYI_CUDA_HOST_REGISTER_DEVICE_MAP = 2,
    DRAYI_CUDA_ATTACH_GLOBAL = 1,
    DRAYI_CUDA_ACCESS_ORDER_STREAM = 1
};

// NOLINTNEXTLINE(bugprone-macro-parentheses): a name and a parameter list
#define DRAYI_CUDA_MEMBER(member, symbol, need, parameters) CUresult(*member) parameters;
typedef struct drayi_cuda_calls {
    DRAYI_CUDA_CALLS(DRAYI_CUDA_MEMBER)
} drayi_cuda_calls;
#undef DRAYI_CUDA_MEMBER

#endif
