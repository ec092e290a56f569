/// Compiles only when our own declarations of the CUDA driver equal the vendor's (CUDA 12.8 or later).
/// Never linked. With -DWRONG_ON_PURPOSE one of them is wrong, and it must not compile.
#define __CUDA_API_VERSION_INTERNAL \
    1 // both versions of every call are visible, none behind a macro
// clang-format off
#include <cuda.h>
#include "device/cuda/cuda_calls.h"
// clang-format on

#if defined(WRONG_ON_PURPOSE)
CUresult (*const wrong)(CUdeviceptr *, int) = &cuMemAlloc_v2;
#endif

#define SAME_PROTOTYPE(member, symbol, need, parameters) .member = &symbol,
extern const drayi_cuda_calls vendor;
const drayi_cuda_calls vendor = {DRAYI_CUDA_CALLS(SAME_PROTOTYPE)};

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
SAME(DRAYI_CUDA_SUCCESS, CUDA_SUCCESS);
SAME(DRAYI_CUDA_INVALID_VALUE, CUDA_ERROR_INVALID_VALUE);
SAME(DRAYI_CUDA_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(DRAYI_CUDA_STUB_LIBRARY, CUDA_ERROR_STUB_LIBRARY);
SAME(DRAYI_CUDA_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(DRAYI_CUDA_NOT_READY, CUDA_ERROR_NOT_READY);
SAME(DRAYI_CUDA_NOT_SUPPORTED, CUDA_ERROR_NOT_SUPPORTED);
SAME(DRAYI_CUDA_ATTRIBUTE_INTEGRATED, CU_DEVICE_ATTRIBUTE_INTEGRATED);
SAME(DRAYI_CUDA_ATTRIBUTE_UNIFIED_ADDRESSING, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING);
SAME(DRAYI_CUDA_ATTRIBUTE_COMPUTE_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(DRAYI_CUDA_ATTRIBUTE_COMPUTE_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(DRAYI_CUDA_ATTRIBUTE_MANAGED, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY);
SAME(DRAYI_CUDA_ATTRIBUTE_PAGEABLE, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS);
SAME(DRAYI_CUDA_ATTRIBUTE_CONCURRENT_MANAGED, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
SAME(DRAYI_CUDA_ATTRIBUTE_HOST_REGISTER, CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED);
SAME(DRAYI_CUDA_ATTRIBUTE_HOST_NUMA_ID, CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID);
SAME(DRAYI_CUDA_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(DRAYI_CUDA_EVENT_BLOCKING_SYNC, CU_EVENT_BLOCKING_SYNC);
SAME(DRAYI_CUDA_EVENT_DISABLE_TIMING, CU_EVENT_DISABLE_TIMING);
SAME(DRAYI_CUDA_HOST_ALLOC_PORTABLE, CU_MEMHOSTALLOC_PORTABLE);
SAME(DRAYI_CUDA_HOST_ALLOC_DEVICE_MAP, CU_MEMHOSTALLOC_DEVICEMAP);
SAME(DRAYI_CUDA_HOST_REGISTER_PORTABLE, CU_MEMHOSTREGISTER_PORTABLE);
SAME(DRAYI_CUDA_HOST_REGISTER_DEVICE_MAP, CU_MEMHOSTREGISTER_DEVICEMAP);
SAME(DRAYI_CUDA_ATTACH_GLOBAL, CU_MEM_ATTACH_GLOBAL);
SAME(DRAYI_CUDA_ACCESS_ORDER_STREAM, CU_MEMCPY_SRC_ACCESS_ORDER_STREAM);

// the layouts that our header gives the two structs where there is no vendor's header
_Static_assert(sizeof(CUmemLocation) == 8 && offsetof(CUmemLocation, id) == 4, "CUmemLocation");
_Static_assert(sizeof(CUmemcpyAttributes) == 24 && offsetof(CUmemcpyAttributes, srcLocHint) == 4 &&
                   offsetof(CUmemcpyAttributes, dstLocHint) == 12 &&
                   offsetof(CUmemcpyAttributes, flags) == 20,
               "CUmemcpyAttributes");
_Static_assert(sizeof(CUresult) == sizeof(unsigned) && sizeof(CUdevice) == sizeof(int) &&
                   sizeof(CUdeviceptr) == sizeof(unsigned long long),
               "scalars");
