/// Compiles only when our own declarations of cuFile equal the vendor's. Never linked. With
/// -DWRONG_ON_PURPOSE one of them is wrong, and it must not compile.
// clang-format off
#include <cufile.h> // first: then ours leaves out its own types
#include "backend/cufile_calls.h"
// clang-format on

#if defined(WRONG_ON_PURPOSE)
ssize_t (*const wrong)(CUfileHandle_t, void *, size_t, off_t) = &cuFileRead;
#endif

#define SAME_PROTOTYPE(member, symbol, result, parameters) .member = &symbol,
extern const drayi_cufile_calls vendor;
const drayi_cufile_calls vendor = {DRAYI_CUFILE_CALLS(SAME_PROTOTYPE)};

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
SAME(DRAYI_CUFILE_FD, CU_FILE_HANDLE_TYPE_OPAQUE_FD);
SAME(DRAYI_CUFILE_BASE, CUFILEOP_BASE_ERR);
SAME(DRAYI_CUFILE_PLATFORM_NOT_SUPPORTED, CU_FILE_PLATFORM_NOT_SUPPORTED);
SAME(DRAYI_CUFILE_IO_NOT_SUPPORTED, CU_FILE_IO_NOT_SUPPORTED);
SAME(DRAYI_CUFILE_DEVICE_NOT_SUPPORTED, CU_FILE_DEVICE_NOT_SUPPORTED);
SAME(DRAYI_CUFILE_CUDA_DRIVER_ERROR, CU_FILE_CUDA_DRIVER_ERROR);
SAME(DRAYI_CUFILE_INVALID_MAPPING_SIZE, CU_FILE_INVALID_MAPPING_SIZE);
SAME(DRAYI_CUFILE_INVALID_FILE_TYPE, CU_FILE_INVALID_FILE_TYPE);
SAME(DRAYI_CUFILE_INVALID_FILE_OPEN_FLAG, CU_FILE_INVALID_FILE_OPEN_FLAG);
SAME(DRAYI_CUFILE_DIO_NOT_SET, CU_FILE_DIO_NOT_SET);
SAME(DRAYI_CUFILE_MEMORY_ALREADY_REGISTERED, CU_FILE_MEMORY_ALREADY_REGISTERED);
SAME(DRAYI_CUFILE_IO_DISABLED, CU_FILE_IO_DISABLED);
SAME(DRAYI_CUFILE_GPU_MEMORY_PINNING_FAILED, CU_FILE_GPU_MEMORY_PINNING_FAILED);
SAME(DRAYI_CUFILE_NOMEM, CU_FILE_NOMEM_ERROR);

// the layouts that our header gives the two structs where there is no vendor's header
_Static_assert(sizeof(CUfileError_t) == 8 && offsetof(CUfileError_t, cu_err) == 4, "CUfileError_t");
_Static_assert(sizeof(CUfileDescr_t) == 24 && offsetof(CUfileDescr_t, handle) == 8 &&
                   offsetof(CUfileDescr_t, fs_ops) == 16,
               "CUfileDescr_t");
