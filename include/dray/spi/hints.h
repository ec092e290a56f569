/// dray/spi/hints.h: what a backend of hints is: one table, for a family of devices and for Linux alike.
///
/// Which calls are made is decided above, by pure functions (src/hints/lower_*.c), from the abilities
/// that `probe` fills in. A backend makes exactly the calls it is handed, in their order, and answers
/// truthfully; it decides nothing, merges nothing, and falls back to nothing.
///
/// Threads: one at a time per queue; probe, look and state from any thread.
#ifndef DRAY_SPI_HINTS_H
#define DRAY_SPI_HINTS_H

#include "dray/hints.h"
#include "dray/spi/device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_HINTS_ABI 1u

/// The backend's own: where calls are made, in order, beside the host. CUDA: a stream (non-blocking,
/// never the legacy one) and an event. OpenCL: a queue of each device it needs.
typedef struct dray_hint_queue dray_hint_queue;

/// What kind of memory a range is.
typedef enum dray_hint_memory_kind {
    DRAY_HINT_MEMORY_UNKNOWN =
        0, ///< the driver does not know it: ordinary host memory, or nothing at all
    DRAY_HINT_MEMORY_MANAGED = 1, ///< managed, SVM, shared USM; host: memory that is mapped here
    DRAY_HINT_MEMORY_DEVICE = 2,  ///< a device's own
    DRAY_HINT_MEMORY_PINNED = 3,  ///< locked host memory of the driver
    DRAY_HINT_MEMORY_FILE = 4     ///< host: pages of a file
} dray_hint_memory_kind;

typedef struct dray_hint_memory {
    dray_hint_memory_kind kind;
    uint32_t ordinal;      ///< kind DEVICE: whose
    uint64_t first, bytes; ///< of the allocation; bytes 0: not told
    uint32_t read_only;    ///< host: pages cannot be written
    uint32_t usm;          ///< OpenCL: 1 USM, 0 SVM
    uint64_t step_bytes;   ///< host, kind FILE: how far its device reads ahead at once
} dray_hint_memory;

/// What a call answered. Zeroed by the caller; an unchanged answer means: accepted, and what can be read
/// back will be read back by the caller.
typedef struct dray_hint_answer {
    dray_hint_outcome
        outcome; ///< VERIFIED: measured by the backend itself; NO_EFFECT; DEGRADED. 0: see above
    uint32_t reserved;
    uint64_t bytes_done; ///< measured; DRAY_UNKNOWN: cannot be told
    const char *note;    ///< static, or NULL
} dray_hint_answer;

struct dray_device_hints_ops {
    uint32_t abi; ///< DRAY_HINTS_ABI
    uint32_t reserved;

    /// Fills family, features, driver_version, ordinal, device_count and devices[] (all devices of the
    /// family, not only this one); the host's fields are set already. Calls that the driver lacks are
    /// features that are not there, no errors. DRAY_E_UNSUPPORTED: no hint at all can be given, with why.
    dray_status (*probe)(dray_device_self *device, dray_hint_abilities *out_abilities,
                         dray_error *error);
    /// What `range` is. A pointer that the driver does not know is kind UNKNOWN, no error.
    dray_status (*look)(dray_device_self *device, const dray_hint_range *range,
                        dray_hint_memory *out_memory, dray_error *error);
    /// Reads what is set on `range`. NULL: nothing can be read back.
    dray_status (*state)(dray_device_self *device, const dray_hint_range *range,
                         dray_hint_state *out_state, dray_error *error);

    dray_status (*queue_open)(dray_device_self *device, dray_hint_queue **out_queue,
                              dray_error *error);
    /// Waits first for what still runs.
    void (*queue_close)(dray_hint_queue *queue);
    /// Makes the call for all its ranges (`ranges` are the call's own, call->range_count of them). What
    /// fails leaves nothing behind in the queue; error.native_code is the driver's code, error.origin
    /// the exact name of the call. Asynchronous where the driver is; the arrays may go when it returns.
    dray_status (*call)(dray_hint_queue *queue, const dray_hint_call *call,
                        const dray_hint_call_range *ranges, dray_hint_answer *out_answer,
                        dray_error *error);
    /// Marks the end of what has been called since the last mark. NULL: calls are synchronous, and so
    /// are query and wait NULL.
    dray_status (*mark)(dray_hint_queue *queue, dray_error *error);
    /// Never blocks. DRAY_OK: *out_done tells. A failing status: it has ended badly.
    dray_status (*query)(dray_hint_queue *queue, bool *out_done, dray_error *error);
    /// Blocks until the mark is reached, well or badly.
    dray_status (*wait)(dray_hint_queue *queue, dray_error *error);
    /// The driver's name for a code ("CUDA_ERROR_INVALID_DEVICE"); static. NULL: none.
    const char *(*code_name)(int32_t code);
};
typedef struct dray_device_hints_ops dray_device_hints_ops;

#ifdef __cplusplus
}
#endif
#endif
