/// dray/spi/device.h: what a family of devices is to dray: one table with facets, each may be NULL.
///
/// A family loads its driver, lists its devices and opens them; a facet says what can be done with an
/// opened one. Everything here reports the driver's own code and its name (dray_error.native_code and
/// the message). Threads: a driver and a device may be used from any thread; a stream is started from
/// one thread at a time, while others may wait for it.
#ifndef DRAY_SPI_DEVICE_H
#define DRAY_SPI_DEVICE_H

#include "dray/device.h"
#include "dray/spi/backend.h" // dray_loop

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_DEVICE_ABI 1u
#define DRAY_DEVICE_RUNS_MAX 256 ///< most runs of one job

struct drayi_env; // ours; a plug-in from outside ignores it

typedef struct dray_driver dray_driver;           // the family's own: the driver, loaded
typedef struct dray_device_self dray_device_self; // the family's own: an opened device
typedef struct dray_stream dray_stream; // the family's own: copies that run in order, beside the host

// --- memory ----------------------------------------------------------------------------------------

/// One allocation.
typedef struct dray_device_block {
    void *pointer;    ///< host address, or NULL
    void *memory;     ///< the driver's handle, or NULL where `address` says all
    uint64_t address; ///< device address; with a handle: the offset inside
    void *use;        ///< the family's own
} dray_device_block;

typedef struct dray_device_memory_ops {
    /// Kind DEVICE, MANAGED or PINNED, zeroed, aligned as dray_device_info.alignment says (PINNED and
    /// MANAGED: to pages). DRAY_E_UNSUPPORTED: not this kind. DRAY_E_NOMEM: with what was wanted.
    dray_status (*allocate)(dray_device_self *device, dray_storage storage, uint64_t bytes,
                            dray_device_block *out_block, dray_error *error);
    /// Nothing uses it any more.
    void (*free)(dray_device_self *device, dray_storage storage, const dray_device_block *block);
    /// Locks the caller's memory. Both may be NULL.
    dray_status (*pin)(dray_device_self *device, void *pointer, uint64_t bytes,
                       dray_device_block *out_block, dray_error *error);
    void (*unpin)(dray_device_self *device, const dray_device_block *block);
} dray_device_memory_ops;

// --- copy ------------------------------------------------------------------------------------------

/// One end of a copy.
typedef struct dray_device_side {
    dray_storage storage;
    uint32_t reserved;
    void *pointer;            ///< host address; NULL for kind DEVICE
    void *memory;             ///< see dray_device_block
    uint64_t address;         ///< see dray_device_block
    dray_device_self *device; ///< NULL: host memory that no device of this family knows
} dray_device_side;

typedef struct dray_device_run {
    dray_device_side from, to;
    uint64_t bytes;         ///< > 0; of one run
    const dray_loop *loops; ///< around it, outermost first; NULL when loop_count is 0
    uint32_t loop_count; ///< 0 unless the family carries loops, and both sides lie on its devices
    uint32_t reserved;
} dray_device_run;

/// A stream is for one job at a time: start, then query or wait until it is done.
typedef struct dray_device_copy_ops {
    dray_status (*stream_open)(dray_device_self *device, dray_stream **out_stream,
                               dray_error *error);
    /// Waits first for what still runs.
    void (*stream_close)(dray_stream *stream);
    /// Queues at most DRAY_DEVICE_RUNS_MAX runs, which stay until the job has ended. When it fails, nothing of them runs any more. Never allocates of ours.
    dray_status (*start)(dray_stream *stream, const dray_device_run *runs, uint32_t count,
                         dray_error *error);
    /// Never blocks. DRAY_OK: *out_done tells. A failing status: the job has ended badly.
    dray_status (*query)(dray_stream *stream, bool *out_done, dray_error *error);
    /// Blocks until the job has ended, well or badly. Any thread, also while another calls query.
    dray_status (*wait)(dray_stream *stream, dray_error *error);
} dray_device_copy_ops;

// --- the family ------------------------------------------------------------------------------------

enum {
    DRAY_DEVICE_FAMILY_ONE_DEVICE =
        1,                       ///< copies stay on one device; between two they go by the host
    DRAY_DEVICE_FAMILY_LOOPS = 2 ///< runs on its devices may have up to DRAY_LOOPS_MAX loops
};

typedef struct dray_device_ops {
    uint32_t abi; ///< DRAY_DEVICE_ABI
    uint32_t flags;
    const char *family;   ///< "cuda": devices are called "cuda:0", "cuda:1", ...
    const char *unproven; ///< NULL, or what it never ran against
    const char *backend;  ///< name of the backend that copies on its devices, and from and to them
    /// Loads and initialises. DRAY_E_UNSUPPORTED with a reason when this machine has no such driver.
    dray_status (*load)(struct drayi_env *env, dray_driver **out_driver, dray_error *error);
    void (*unload)(dray_driver *driver);
    uint32_t (*count)(const dray_driver *driver);
    /// Fills what it knows; name, family, unproven and ordinal are set already, unknown numbers too.
    dray_status (*describe)(dray_driver *driver, uint32_t ordinal, dray_device_info *out_info,
                            dray_error *error);
    /// The driver outlives the device.
    dray_status (*open)(dray_driver *driver, uint32_t ordinal, dray_device_self **out_device,
                        dray_error *error);
    void (*close)(dray_device_self *device);
    /// See dray_device_handle(); may be NULL.
    void *(*handle)(const dray_device_self *device);

    const dray_device_memory_ops *memory;
    const dray_device_copy_ops *copy;
    const struct dray_device_hints_ops *hints;   ///< placement hints
    const struct dray_device_module_ops *module; ///< kernels
} dray_device_ops;

/// What a plug-in may know of an opened device. Valid while the device lives.
typedef struct dray_device_native {
    const dray_device_ops *ops;
    dray_device_self *self;
    uint32_t ordinal;
    uint32_t reserved;
} dray_device_native;

DRAY_API void dray_device_get_native(const dray_device *device, dray_device_native *out_native);

#ifdef __cplusplus
}
#endif
#endif
