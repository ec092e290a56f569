/// dray/model_data.h: the bytes of one model file, with an explicit answer to where they are.
///
/// One object over one file descriptor (the file is opened once and never again by name). The backing
/// is what was asked for or an error, never something else in silence.
///
/// **Single writer assumption.** A shared mapping shows what the file holds *now*: whoever changes the
/// file under a running process changes the bytes, and whoever truncates it turns reads into SIGBUS.
/// Write models to a new name and rename. dray notices a changed size, inode or modification time
/// (dray_model_data_check), contains SIGBUS inside guarded reads, and offers backings that cannot change.
#ifndef DRAY_MODEL_DATA_H
#define DRAY_MODEL_DATA_H

#include "dray/memory.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dray_backing {
    DRAY_BACKING_AUTO = 0, ///< MAPPED for regular files, HEAP for pipes, /proc and compressed files
    DRAY_BACKING_MAPPED = 1, ///< shared read-only mapping
    DRAY_BACKING_HEAP = 2,   ///< private memory, read once
    DRAY_BACKING_SEALED = 3, ///< sealed memfd: nobody, we included, can change or shrink it
    DRAY_BACKING_DIRECT =
        4, ///< private memory filled past the page cache (buffered where refused; see `note`)
    DRAY_BACKING_BORROWED = 5, ///< the caller's bytes; result of dray_model_data_from_memory only
    DRAY_BACKING_COPIED = 6,   ///< a copy of the caller's bytes
    DRAY_BACKING_ADOPTED = 7   ///< the caller's bytes, released through a callback
} dray_backing;
DRAY_API const char *dray_backing_name(dray_backing backing);

/// Owns: its descriptor, mapping or memory. Threads: reading bytes from any thread; calls one at a time.
typedef struct dray_model_data dray_model_data;

typedef struct dray_model_data_options {
    size_t struct_bytes;
    dray_backing backing;     ///< AUTO, MAPPED, HEAP, SEALED or DIRECT
    uint32_t keep_compressed; ///< 1: do not decode zstd, lz4 and gzip files
    uint64_t offset;          ///< of the first byte, for open_fd
    uint64_t bytes;           ///< how many; 0: to the end
    /// Output cap of compressed files and pipes. 0: 64 GiB, three quarters of the available memory, and
    /// (compressed) 1 GiB + 256 times the bytes read: a bomb ends early
    uint64_t decoded_bytes_max;
} dray_model_data_options;

/// Errors name operation and path. Empty files work (no bytes), as do pipes and /proc files (HEAP).
DRAY_API dray_status dray_model_data_open(dray_context *context, const char *path,
                                          const dray_model_data_options *options,
                                          dray_model_data **out_data, dray_error *error);
/// `fd` is duplicated. `name` (copied, may be NULL) stands in messages.
DRAY_API dray_status dray_model_data_open_fd(dray_context *context, int fd, const char *name,
                                             const dray_model_data_options *options,
                                             dray_model_data **out_data, dray_error *error);
/// `backing`: BORROWED (the caller keeps the bytes alive), COPIED, or ADOPTED (`release` runs at close, and
/// also when this call fails after DRAY_OK could not be reached: the bytes are ours from the call on).
DRAY_API dray_status dray_model_data_from_memory(dray_context *context, const void *bytes,
                                                 uint64_t length, dray_backing backing,
                                                 dray_release_fn release, void *self,
                                                 dray_model_data **out_data, dray_error *error);
/// NULL is accepted.
DRAY_API void dray_model_data_close(dray_model_data *data);

/// Never NULL, also when empty. Valid until close.
DRAY_API const uint8_t *dray_model_data_bytes(const dray_model_data *data);
DRAY_API uint64_t dray_model_data_length(const dray_model_data *data);
DRAY_API bool dray_model_data_is_empty(const dray_model_data *data);
DRAY_API bool dray_model_data_is_mapped(const dray_model_data *data);
DRAY_API dray_backing dray_model_data_backing(const dray_model_data *data);
DRAY_API const char *dray_model_data_path(const dray_model_data *data); ///< or NULL
DRAY_API const char *dray_model_data_note(
    const dray_model_data *data); ///< a fall-back that was taken, or NULL
/// The bytes as a region of kind SYSTEM, not writable; borrowed, lives as long as `data`.
DRAY_API dray_region *dray_model_data_region(dray_model_data *data);
/// DRAY_E_CORRUPT: the file's size, inode or modification time is not what it was at open.
DRAY_API dray_status dray_model_data_check(const dray_model_data *data, dray_error *error);

// --- ranges: [offset, offset + bytes); bytes 0: to the end. Heap backings: advise and release do nothing
// and succeed. DRAY_E_INVALID: the range leaves the data.

typedef enum dray_advice {
    DRAY_ADVICE_NORMAL = 0,
    DRAY_ADVICE_SEQUENTIAL = 1, ///< while loading; set NORMAL again afterwards
    DRAY_ADVICE_RANDOM =
        2 ///< never on a cold range: it then reads 4 KiB at a time (measured 60x slower)
} dray_advice;
DRAY_API dray_status dray_model_data_advise(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                            dray_advice advice, dray_error *error);

/// Really loads the range: chunk by chunk (of the device's read-ahead limit), and looks afterwards.
/// `progress` may be NULL; returning false stops with DRAY_E_CANCELLED. *out_loaded (may be NULL): bytes seen
/// resident afterwards, DRAY_UNKNOWN when the kernel does not tell.
DRAY_API dray_status dray_model_data_prefetch(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                              bool (*progress)(void *self, uint64_t done,
                                                               uint64_t total),
                                              void *self, uint64_t *out_loaded, dray_error *error);
/// Locks the range into memory (pages rounded outwards). DRAY_E_NOMEM names the limit and how to raise it.
DRAY_API dray_status dray_model_data_lock(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                          dray_error *error);
DRAY_API dray_status dray_model_data_unlock(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                            dray_error *error);

DRAY_API dray_status dray_model_data_residency(const dray_model_data *data, uint64_t offset,
                                               uint64_t bytes, dray_residency *out_residency,
                                               dray_error *error);

/// The release ladder. Each rung does what it says and rounds *inwards* to whole pages.
typedef enum dray_release {
    DRAY_RELEASE_MAPPINGS = 1, ///< this process's page-table entries go; the page cache stays
    DRAY_RELEASE_COLD = 2,     ///< marked as first to be reclaimed; nothing is freed now
    DRAY_RELEASE_CACHE = 3 ///< mappings go and the page cache gives the memory back to the system
} dray_release;

typedef struct dray_release_report {
    uint64_t range_bytes; ///< after rounding inwards
    uint64_t unmapped_bytes; ///< left this process's resident set, measured; DRAY_UNKNOWN: cannot be told
    uint64_t freed_bytes; ///< left the page cache, measured before and after; DRAY_UNKNOWN: cannot be told
    uint64_t still_cached_bytes; ///< in the page cache afterwards (mapped elsewhere, dirty, locked); or DRAY_UNKNOWN
} dray_release_report;

/// Also for locked ranges (they are unlocked first). Heap backing: succeeds, all zero.
DRAY_API dray_status dray_model_data_release(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                             dray_release level, dray_release_report *out_report,
                                             dray_error *error);

// --- fault guard: a truncated or failing mapping becomes an error instead of SIGBUS.

/// Installs (counted, process-wide) the SIGBUS handler that guarded reads need; the previous handler is
/// called for faults that are not ours. Opt-in: the library never does this by itself. Threads: any.
/// DRAY_E_BUSY: somebody installed a handler over ours.
DRAY_API dray_status dray_fault_guard_install(dray_error *error);
DRAY_API void dray_fault_guard_remove(void);

/// Runs `body(self)` in this thread; a SIGBUS on [bytes, bytes + length) of `data` inside it ends the body
/// (by longjmp: it must own nothing that needs unwinding) and gives DRAY_E_IO with file and offset.
/// Guards nest: a fault ends the section that guards its address. Also DRAY_E_IO: the mapped file is shorter
/// than at open (the rest of its last page then reads as zeros without a signal).
/// DRAY_E_INVALID: the guard is not installed.
DRAY_API dray_status dray_model_data_guarded(dray_model_data *data,
                                             dray_status (*body)(void *self, dray_error *error),
                                             void *self, dray_error *error);
/// Copies exactly `bytes` out: mapped files by pread (no signal, and a truncated file is DRAY_E_CORRUPT with its new
/// end), the caller's bytes under the guard where it is installed, everything else by memcpy.
DRAY_API dray_status dray_model_data_read(dray_model_data *data, uint64_t offset, void *out,
                                          uint64_t bytes, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
