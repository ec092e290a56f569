/// The calls of NVIDIA's cuFile (GPUDirect Storage) that we use: declared here, so that no vendor header is
/// needed to build, and looked up in libcufile.so.0 by their exact names.
///
/// tests/conformance/ checks every prototype, number and layout against the vendor's cufile.h where it is
/// installed. The names of the types are the vendor's, because they are part of the ABI's prose.
#ifndef DRAY_BACKEND_CUFILE_CALLS_H
#define DRAY_BACKEND_CUFILE_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef CUFILEOP_BASE_ERR // the conformance test includes the vendor's header first
typedef struct CUfileError {
    int err;         // 0, or a code from 5000 on
    unsigned cu_err; // CUresult, when err is DRAYI_CUFILE_CUDA_DRIVER_ERROR
} CUfileError_t;
typedef void *CUfileHandle_t;
typedef struct CUfileDescr_t {
    unsigned type;
    union {
        int fd;
        void *handle;
    } handle;
    const void *fs_ops;
} CUfileDescr_t;
#endif

enum {
    DRAYI_CUFILE_FD = 1, // CUfileDescr_t.type
    DRAYI_CUFILE_BASE = 5000,
    DRAYI_CUFILE_PLATFORM_NOT_SUPPORTED = 5007,
    DRAYI_CUFILE_IO_NOT_SUPPORTED = 5008,
    DRAYI_CUFILE_DEVICE_NOT_SUPPORTED = 5009,
    DRAYI_CUFILE_CUDA_DRIVER_ERROR = 5011,
    DRAYI_CUFILE_INVALID_MAPPING_SIZE = 5016,
    DRAYI_CUFILE_INVALID_FILE_TYPE = 5018,
    DRAYI_CUFILE_INVALID_FILE_OPEN_FLAG = 5019,
    DRAYI_CUFILE_DIO_NOT_SET = 5020,
    DRAYI_CUFILE_MEMORY_ALREADY_REGISTERED = 5023,
    DRAYI_CUFILE_IO_DISABLED = 5034,
    DRAYI_CUFILE_GPU_MEMORY_PINNING_FAILED = 5036,
    DRAYI_CUFILE_NOMEM = 5043,
};

/// call(member, exact name, result, parameters). cuFileDriverClose is cuFileDriverClose_v2: the vendor's
/// header hides that behind a macro, dlsym does not.
// clang-format off
#define DRAYI_CUFILE_CALLS(call)                                                                    \
    call(driver_open, cuFileDriverOpen, CUfileError_t, (void))                                     \
    call(driver_close, cuFileDriverClose_v2, CUfileError_t, (void))                                \
    call(handle_register, cuFileHandleRegister, CUfileError_t,                                     \
         (CUfileHandle_t *handle, CUfileDescr_t *description))                                     \
    call(handle_deregister, cuFileHandleDeregister, void, (CUfileHandle_t handle))                 \
    call(buffer_register, cuFileBufRegister, CUfileError_t,                                        \
         (const void *base, size_t bytes, int flags))                                              \
    call(buffer_deregister, cuFileBufDeregister, CUfileError_t, (const void *base))                \
    call(read, cuFileRead, ssize_t,                                                                \
         (CUfileHandle_t handle, void *base, size_t bytes, off_t file_offset, off_t offset))       \
    call(write, cuFileWrite, ssize_t,                                                              \
         (CUfileHandle_t handle, const void *base, size_t bytes, off_t file_offset, off_t offset))
// clang-format on

// NOLINTNEXTLINE(bugprone-macro-parentheses): a name and a parameter list
#define DRAYI_CUFILE_MEMBER(member, symbol, result, parameters) result(*member) parameters;
typedef struct drayi_cufile_calls {
    DRAYI_CUFILE_CALLS(DRAYI_CUFILE_MEMBER)
} drayi_cufile_calls;

#endif
