/// dray/device.h: accelerators: what there is, what it can do, and memory on it.
///
///     dray_device_open(context, "opencl:0", &device, &error);
///     dray_region_create(context, &(dray_region_options){.struct_bytes = sizeof(dray_region_options),
///                        .storage = DRAY_STORAGE_DEVICE, .device = device, .bytes = n}, &region, &error);
///
/// Drivers are opened at run time; a machine without them says so in a sentence. A call that a driver
/// does not have takes one capability away, never the device.
#ifndef DRAY_DEVICE_H
#define DRAY_DEVICE_H

#include "dray/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What a device can do, as a mask.
typedef enum dray_device_capability {
    DRAY_DEVICE_MEMORY = 1 << 0,   ///< regions of kind DEVICE
    DRAY_DEVICE_MANAGED = 1 << 1,  ///< regions of kind MANAGED, host pointer included
    DRAY_DEVICE_PINNED = 1 << 2,   ///< regions of kind PINNED from the driver
    DRAY_DEVICE_REGISTER = 1 << 3, ///< dray_device_pin()
    DRAY_DEVICE_COPY = 1 << 4,     ///< copies between host and device that run beside the host
    DRAY_DEVICE_BATCH = 1 << 5,    ///< many copies in one call of the driver
    DRAY_DEVICE_PEER = 1 << 6,     ///< copies to other devices of the family without the host
    DRAY_DEVICE_CONCURRENT_MANAGED = 1
                                     << 7, ///< host and device may touch managed memory at one time
    DRAY_DEVICE_PAGEABLE = 1 << 8,         ///< the device reads ordinary host memory by itself
    DRAY_DEVICE_INTEGRATED = 1 << 9        ///< shares its memory with the host
} dray_device_capability;

/// "memory", "managed", ... for one bit; NULL for none.
DRAY_API const char *dray_device_capability_name(uint32_t capability);

/// One device, or a family of devices that is not available here.
typedef struct dray_device_info {
    char name[32];     ///< "cuda:0"; of an unavailable family: "cuda"
    char model[128];   ///< what the driver calls it
    char driver[256];  ///< which driver, which version
    char symbols[256]; ///< which of several versions of a call are used ("cuMemcpyBatchAsync_v2")
    char missing[256]; ///< calls that this driver lacks; "" none
    char unavailable[384];  ///< why it cannot be used; "" it can
    const char *family;     ///< "cuda", "opencl", "sim"
    const char *unproven;   ///< NULL, or what this family never ran against
    uint64_t total_bytes;   ///< memory of the device; DRAY_UNKNOWN: the driver does not tell
    uint64_t free_bytes;    ///< DRAY_UNKNOWN: the driver does not tell (OpenCL has no call for it)
    uint64_t largest_bytes; ///< largest region it makes; DRAY_UNKNOWN: only trying tells
    uint64_t alignment;     ///< of every region on it, at least
    uint32_t ordinal;       ///< the number in its name
    uint32_t capabilities;  ///< dray_device_capability
    int32_t numa_node;      ///< of the host; -1: not known
    uint32_t reserved;
    const char *backend; ///< what an agent has to name to copy from and to this device
} dray_device_info;

/// Every device of every family, in a fixed order, as they were when the list was made.
typedef struct dray_device_list dray_device_list;

/// Loads every driver, asks it, and lets it go. Absent drivers are entries with a reason, no errors.
DRAY_API dray_status dray_device_list_create(dray_context *context, dray_device_list **out_list,
                                             dray_error *error);
DRAY_API void dray_device_list_destroy(dray_device_list *list);
DRAY_API uint32_t dray_device_list_count(const dray_device_list *list);
/// index >= count gives NULL. Valid as long as the list.
DRAY_API const dray_device_info *dray_device_list_at(const dray_device_list *list, uint32_t index);

/// A device in use. Owns: its hold on the driver (CUDA: the primary context), by reference count;
/// regions on it hold a reference, too. Threads: any.
typedef struct dray_device dray_device;

/// `name` is "family:number". DRAY_E_INVALID: not a name. DRAY_E_NOTFOUND: no such family or number,
/// with what there is. DRAY_E_UNSUPPORTED: the driver is not there or refuses, with its reason.
DRAY_API dray_status dray_device_open(dray_context *context, const char *name,
                                      dray_device **out_device, dray_error *error);
DRAY_API dray_device *dray_device_retain(dray_device *device);
/// NULL is accepted. The context must still be there.
DRAY_API void dray_device_release(dray_device *device);
DRAY_API const char *dray_device_name(const dray_device *device); ///< "cuda:0"
/// The facts of now: free_bytes is asked anew.
DRAY_API dray_status dray_device_get_info(dray_device *device, dray_device_info *out_info,
                                          dray_error *error);

/// A region of kind PINNED over the bytes of `host` (SYSTEM or PINNED), which the driver has locked and
/// mapped; keeps `host` alive. DRAY_E_UNSUPPORTED: this device cannot.
DRAY_API dray_status dray_device_pin(dray_device *device, dray_region *host,
                                     dray_region **out_pinned, dray_error *error);

/// Memory on the device that somebody else allocated, as a region of kind DEVICE. `memory`: the driver's
/// handle (cl_mem), NULL where an address is enough (CUDA); `address`: the device address, or the offset
/// inside `memory`. `release` may be NULL; it gets `memory`. An OpenCL buffer must belong to this
/// device's own context (see dray_device_handle).
DRAY_API dray_status dray_device_wrap(dray_device *device, void *memory, uint64_t address,
                                      uint64_t bytes, dray_release_fn release, void *self,
                                      dray_region **out_region, dray_error *error);

/// The driver's own context of this device (CUcontext, cl_context), for programs that use both; or NULL.
DRAY_API void *dray_device_handle(const dray_device *device);

#ifdef __cplusplus
}
#endif
#endif
