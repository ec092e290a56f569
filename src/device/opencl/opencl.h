/// The OpenCL family's inside: the ICD loader, a device, and how its codes become errors.
///
///     device_opencl.c   loading, describing, opening; the table
///     opencl_memory.c   buffers and shared virtual memory
///     opencl_copy.c     queues and events
///     opencl_hints.c    the one hint that OpenCL has: move this now
///     opencl_loops.c    the kernels that carry loops (loops.cl)
///     opencl_programs.c programs of others, and their launches
///     opencl_error.c    codes and their names
#ifndef DRAY_DEVICE_OPENCL_OPENCL_H
#define DRAY_DEVICE_OPENCL_OPENCL_H

#include "base/env.h"
#include "device/opencl/opencl_calls.h"
#include "device/run_loops.h"
#include "dray/spi/device.h"

#include <pthread.h>

enum { DRAYI_OPENCL_DEVICES_MAX = 64 };

/// One device of the machine: the devices of all platforms, in the loader's order.
typedef struct drayi_opencl_place {
    cl_platform_id platform;
    cl_device_id device;
} drayi_opencl_place;

struct dray_driver {
    drayi_env *env;
    void *library;
    drayi_opencl_calls calls;
    uint32_t absent; // groups that lack a call
    char missing[256];
    uint32_t count;
    drayi_opencl_place places[DRAYI_OPENCL_DEVICES_MAX];
};

/// Shared virtual memory that was allocated here. OpenCL has no call that tells what a pointer is, and
/// drivers take any (PoCL 3.1), so we keep the list ourselves.
typedef struct drayi_opencl_shared {
    struct drayi_opencl_shared *next;
    void *base;
    uint64_t bytes;
} drayi_opencl_shared;

/// A context of its own for each opened device: a buffer then lives on that device and nowhere else.
struct dray_device_self {
    dray_driver *driver;
    uint32_t ordinal;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue; // for zeroing fresh memory
    pthread_mutex_t lock;
    drayi_opencl_shared *shared; // guarded by lock
    cl_program program; // guarded by lock: the kernels, built when the first loop comes; NULL: not yet
    bool program_refused; // guarded by lock: they cannot be had
};

/// A stream's own kernels: arguments are set on the object, so streams do not share them.
typedef struct drayi_opencl_kernels {
    cl_kernel of_width[DRAYI_LANE_WIDTHS];
} drayi_opencl_kernels;

/// Writes "<call> <what>: CL_... (code)". The status follows from the code: NOMEM, else DEVICE.
dray_status drayi_opencl_fail(dray_error *error, cl_int code, const char *call, const char *format,
                              ...) DRAY_PRINTF(4, 5);
/// The driver said success and gave nothing.
dray_status drayi_opencl_fail_empty(dray_error *error, const char *call);

/// "CL_INVALID_VALUE"; of a code without a name: NULL.
const char *drayi_opencl_code_name(int32_t code);
/// A number of 1 to 8 bytes that the driver tells of a device, or `unknown`.
uint64_t drayi_opencl_number_of(const dray_driver *driver, cl_device_id device, cl_uint what,
                                size_t bytes, uint64_t unknown);
/// The allocation that holds `pointer`; false: none of this device.
bool drayi_opencl_shared_find(dray_device_self *device, const void *pointer,
                              drayi_opencl_shared *out);

extern const struct dray_device_module_ops drayi_opencl_programs;
extern const struct dray_device_hints_ops drayi_opencl_hints;
// opencl_loops.c
/// False: the driver has no compiler, or it refuses, which is logged once. Builds at the first call.
bool drayi_opencl_kernels_ready(dray_device_self *device, drayi_opencl_kernels *kernels);
void drayi_opencl_kernels_release(const dray_device_self *device, drayi_opencl_kernels *kernels);
/// Queues a run with loops, both of whose sides are the device's. *out_call: the call that failed.
cl_int drayi_opencl_loops_queue(const dray_device_self *device, const drayi_opencl_kernels *kernels,
                                cl_command_queue queue, const dray_device_run *run,
                                const drayi_device_lanes *lanes, cl_event *out_event,
                                const char **out_call);

extern const dray_device_memory_ops drayi_opencl_memory;
extern const dray_device_copy_ops drayi_opencl_copy;

#endif
