/// dray/context.h: the one object behind all others: allocator, threads, log, components.
#ifndef DRAY_CONTEXT_H
#define DRAY_CONTEXT_H

#include "dray/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Owns: the thread pool and nothing else; everything made from a context must be destroyed first.
/// Threads: may be used from several threads at once; objects made from it may not, unless their
/// header says so.
typedef struct dray_context dray_context;

struct dray_backend_ops; // dray/spi/backend.h
struct dray_format_ops;  // dray/spi/format.h

/// Zero means default everywhere.
typedef struct dray_context_options {
    size_t struct_bytes;      ///< sizeof(dray_context_options)
    dray_allocator allocator; ///< default: malloc and free
    dray_log_sink log;        ///< default: nothing is written
    uint32_t thread_count; ///< threads of the pool; 0: none, all work runs in the caller's poll and wait
    uint32_t reserved;
    /// Plug-ins of the caller's own, NULL-terminated, kept by reference. They stand before ours.
    const struct dray_backend_ops *const *backends;
    const struct dray_format_ops *const *formats;
} dray_context_options;

/// `options` may be NULL. DRAY_E_INVALID: struct_bytes unknown. DRAY_E_NOMEM: memory or threads.
DRAY_API dray_status dray_context_create(const dray_context_options *options,
                                         dray_context **out_context, dray_error *error);
/// Joins the pool's threads. NULL is accepted.
DRAY_API void dray_context_destroy(dray_context *context);

/// What this machine gives to this process, found by trying it. Codes: 0 it works, otherwise the
/// errno it was refused with. Bytes: DRAY_UNKNOWN when they cannot be told.
typedef struct dray_machine_info {
    uint64_t memory_bytes;      ///< of the machine
    uint64_t available_bytes;   ///< that can be had now; the cgroup's room when that is smaller
    uint32_t limited_by_cgroup; ///< 1: it is the cgroup's room
    uint32_t cpu_count;         ///< processors this process may run on
    uint64_t page_bytes;
    uint64_t huge_page_bytes;    ///< 0: transparent huge pages are off
    uint64_t lockable_bytes;     ///< RLIMIT_MEMLOCK; UINT64_MAX: no limit, or none that is known
    uint64_t lockable_bytes_max; ///< up to which it may be raised without privilege
    uint32_t locks_anything;     ///< 1: CAP_IPC_LOCK, the limit does not count
    int32_t io_uring_code;       ///< ENOSYS, EPERM: refused; threads and pread do its work
    int32_t cachestat_code;      ///< without it: what is in the page cache is found with mincore
    int32_t noexec_seal_code;    ///< without it: a sealed memfd is executable memory by default
} dray_machine_info;
DRAY_API void dray_context_get_machine(dray_context *context, dray_machine_info *out_machine);

/// One plug-in of this build, or one that was left out.
typedef struct dray_component_info {
    const char *kind;     ///< "backend", "format", "codec", "device", "loader"
    const char *name;     ///< "posix", "gguf", ...
    const char *left_out; ///< NULL: built in. Otherwise why it was left out
    const char *note;     ///< what it does without, or NULL ("without liburing: threads and pread")
    const char *proof; ///< NULL: proven by every test run. Otherwise what it has not been proven on
} dray_component_info;

/// The components in a fixed order; index >= count gives NULL. Valid as long as the library is loaded.
DRAY_API uint32_t dray_component_count(void);
DRAY_API const dray_component_info *dray_component_at(uint32_t index);

#ifdef __cplusplus
}
#endif
#endif
