/// The CUDA family's inside: its driver, a device of it, and how its codes become errors.
///
///     device_cuda.c   loading, describing, opening; the table
///     cuda_memory.c   device, managed and pinned memory
///     cuda_copy.c     streams, events, batches
///     cuda_loops.c    the kernels that carry loops (loops.cu), compiled by NVRTC
///     cuda_hints.c, cuda_hint_queue.c   placement hints for managed memory
///     cuda_programs.c modules, kernels, launches
///     cuda_error.c    codes and their names; devices that are lost
#ifndef DRAY_DEVICE_CUDA_CUDA_H
#define DRAY_DEVICE_CUDA_CUDA_H

#include "base/env.h"
#include "device/cuda/cuda_calls.h"
#include "device/run_loops.h"
#include "dray/spi/device.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DRAYI_CUDA_DEVICES_MAX = 64, DRAYI_CUDA_ALIGNMENT = 256 };

/// One device of the machine; its primary context is retained when it is first needed.
struct dray_device_self {
    dray_driver *driver;
    uint32_t ordinal;
    CUdevice device;
    CUcontext context;     // guarded by the driver's lock until it is set, then constant
    _Atomic CUresult lost; // the sticky error after which the context answers nothing else; 0: none
    atomic_bool batch_refused; // the driver has the batch call and does not carry it out
    CUmodule module; // guarded by the driver's lock: the kernels for loops; NULL: not built
    CUfunction loops[DRAYI_LANE_WIDTHS]; // constant once `module` is set
    bool loops_refused;                  // guarded by the driver's lock: they cannot be had
};

struct dray_driver {
    drayi_env *env;
    void *library;
    drayi_cuda_calls calls;
    uint32_t absent; // groups that lack a call (DRAYI_CUDA_MEMORY, ...)
    char missing[256];
    int version; // 13000: 13.0
    uint32_t count;
    pthread_mutex_t lock;
    dray_device_self devices[DRAYI_CUDA_DEVICES_MAX];
};

/// Makes the device's primary context current in this thread, retaining it at the first time.
/// DRAY_E_DEVICE: it is lost, or the driver refuses. Each success needs a drayi_cuda_leave().
dray_status drayi_cuda_enter(dray_device_self *device, dray_error *error);
void drayi_cuda_leave(dray_device_self *device);

/// Writes "<call> <what>: CUDA_ERROR_... (code)" and remembers sticky codes. The status follows from
/// the code: NOMEM, UNSUPPORTED, else DEVICE. `call` is static; `device` may be NULL.
dray_status drayi_cuda_fail(const dray_driver *driver, dray_device_self *device, dray_error *error,
                            CUresult code, const char *call, const char *format, ...)
    DRAY_PRINTF(6, 7);
/// The driver said success and gave nothing.
dray_status drayi_cuda_fail_empty(dray_error *error, const char *call);

/// "CUDA_ERROR_INVALID_VALUE", or NULL: a code that we have no name for.
const char *drayi_cuda_code_name(int32_t code);
/// An attribute of the device, `unknown` where the driver does not tell.
int drayi_cuda_attribute_of(const dray_device_self *device, int number, int unknown);

// cuda_loops.c; the device's context is current
/// False: there is no NVRTC, or something refuses the kernels, which is logged once. Builds at the first call.
bool drayi_cuda_loops_ready(dray_device_self *device);
/// Queues a run with loops, both of whose sides this device reaches.
CUresult drayi_cuda_loops_queue(const dray_device_self *device, CUstream stream,
                                const dray_device_run *run, const drayi_device_lanes *lanes);
void drayi_cuda_loops_unload(dray_device_self *device);

extern const struct dray_device_module_ops drayi_cuda_programs;
extern const struct dray_device_hints_ops drayi_cuda_hints;
extern const dray_device_memory_ops drayi_cuda_memory;
extern const dray_device_copy_ops drayi_cuda_copy;

#endif
