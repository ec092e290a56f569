/// dray/transfer.h: the copy engine: copies -> plan (pure, printable) -> transfer (runs many times).
///
///     dray_agent_create(context, &options, &agent, &error);
///     dray_plan_create(agent, copies, count, NULL, &plan, &error);
///     dray_transfer_create(agent, plan, NULL, &transfer, &error);
///     dray_transfer_submit(transfer, &error);
///     dray_transfer_wait(transfer, -1, &error);
///
/// After the transfer exists nothing allocates. Every byte count is exact; a short transfer is
/// continued or it is an error, never a success.
#ifndef DRAY_TRANSFER_H
#define DRAY_TRANSFER_H

#include "dray/memory.h"
#include "dray/spi/backend.h" // dray_loop

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Moves run_bytes * (product of the loops' counts) bytes. Borrows the regions. Targets of one plan
/// must not overlap each other, nor any source of the same plan.
typedef struct dray_copy {
    dray_region *source, *target;
    uint64_t source_offset, target_offset; ///< bytes
    uint64_t run_bytes;                    ///< 0: the copy is empty and done at once
    uint32_t loop_count;                   ///< 0: one run
    uint32_t reserved;
    dray_loop loops[DRAY_LOOPS_MAX]; ///< outermost first; count 0: the copy is empty
} dray_copy;

// --- agent ---------------------------------------------------------------------------------------

/// A named endpoint with transfer backends. Threads: one at a time. Owns its backends.
typedef struct dray_agent dray_agent;

typedef struct dray_agent_options {
    size_t struct_bytes;
    const char *name; ///< default "dray"
    /// Backends that must be there, by name ("COPY", "posix"; case does not matter), NULL-terminated.
    /// NULL: every backend of the context that opens on this machine, is proven, and costs nothing to
    /// open; those that load a driver or a network library (cuda, opencl, sim_device, ucx) must be named.
    const char *const *backends;
    /// Where the peers are that may reach this agent. Default: on this machine.
    dray_reach reach;
    uint32_t reserved;
    /// A peer's notice (see dray_transfer_options.notice). Runs in poll and wait, in the caller's
    /// thread. `agent` is the name that the sender gave itself.
    void (*notified)(void *self, const char *agent, const void *notice, uint32_t bytes);
    void *self;
} dray_agent_options;

/// DRAY_E_NOTFOUND names the backend that does not exist, DRAY_E_UNSUPPORTED why one cannot open.
/// An empty list (first entry NULL) succeeds, with no backend but `copy`: local memory is always served.
DRAY_API dray_status dray_agent_create(dray_context *context, const dray_agent_options *options,
                                       dray_agent **out_agent, dray_error *error);
/// Its transfers must be gone; regions of its peers can only be released afterwards. NULL is accepted.
DRAY_API void dray_agent_destroy(dray_agent *agent);
DRAY_API bool dray_agent_has_backend(const dray_agent *agent, const char *name);
/// Lets every transfer of this agent go on; never blocks. Completion callbacks run here and in wait.
DRAY_API void dray_agent_poll(dray_agent *agent);

// --- plan ----------------------------------------------------------------------------------------

typedef enum dray_direct {
    DRAY_DIRECT_AUTO = 0,  ///< direct I/O where the file takes it and alignment allows
    DRAY_DIRECT_NEVER = 1, ///< always through the page cache
    DRAY_DIRECT_ONLY = 2   ///< DRAY_E_UNSUPPORTED where direct I/O cannot carry the aligned part
} dray_direct;

typedef enum dray_disjoint {
    DRAY_DISJOINT_UNKNOWN = 0,
    DRAY_DISJOINT_TARGETS = 1, ///< no target overlaps another
    DRAY_DISJOINT_ALL = 2      ///< nor a source
} dray_disjoint;

typedef struct dray_plan_options {
    size_t struct_bytes;
    dray_direct direct;
    uint32_t lanes;         ///< operations in flight; 0: what the edges like best
    uint64_t step_bytes;    ///< size of one operation; 0: what the edges like best
    uint64_t staging_bytes; ///< most memory for the staging slots of two-hop routes; 0: 32 MiB
    dray_disjoint targets_disjoint; ///< what the caller has proven already; that check is skipped
    uint32_t reserved;
    /// Whose driver locks the staging slots, so that the device reads them by itself. NULL: the slots are
    /// ordinary memory. Borrowed: must live as long as the plan and its transfers.
    struct dray_device *staging_device;
} dray_plan_options;

/// Immutable. Borrows the regions of its copies: they must live as long as the plan and its transfers.
typedef struct dray_plan dray_plan;

/// Pure: touches no byte and makes no system call; backends that take only some regions (spi/backend.h:
/// accepts) are asked about them. Checks bounds, overlap and routes.
/// error.index names the copy that is wrong. `options` may be NULL. `copies` may be freed afterwards.
DRAY_API dray_status dray_plan_create(dray_agent *agent, const dray_copy *copies,
                                      uint64_t copy_count, const dray_plan_options *options,
                                      dray_plan **out_plan, dray_error *error);
DRAY_API void dray_plan_destroy(dray_plan *plan);

typedef struct dray_plan_summary {
    uint64_t bytes; ///< to be moved, each counted once
    uint64_t copies, segments, steps;
    uint32_t lanes;
    uint32_t hops;          ///< 1, or 2 when bytes pass through staging
    uint64_t staging_bytes; ///< allocated by dray_transfer_create
    uint64_t direct_bytes;  ///< past the page cache
} dray_plan_summary;
DRAY_API void dray_plan_summarize(const dray_plan *plan, dray_plan_summary *out_summary);

/// Prints exactly what will run, a line each, through `write` (called with whole lines, '\n' included).
/// `detail` 0: routes and sums; 1: every step and segment too.
DRAY_API void dray_plan_print(const dray_plan *plan, uint32_t detail,
                              void (*write)(void *self, const char *text, size_t bytes), void *self);

/// Which backends carry the plan out, and how they work on this machine, as seen until now: "posix
/// (io_uring, depth 64)"; several are joined by " + "; "nothing" for an empty plan. `agent` is the one
/// it was made for. Always terminated; capacity > 0.
DRAY_API void dray_plan_describe(const dray_agent *agent, const dray_plan *plan, char *out,
                                 size_t capacity);

// --- transfer ------------------------------------------------------------------------------------

/// One plan made ready to run, as often as wanted. Threads: one at a time (that of its agent).
typedef struct dray_transfer dray_transfer;

typedef struct dray_transfer_progress {
    uint64_t bytes_done, bytes_total; ///< at their target
    uint64_t copies_done, copies_total;
} dray_transfer_progress;

/// All callbacks run in poll and wait, in the caller's thread; they must not destroy the transfer.
typedef struct dray_transfer_options {
    size_t struct_bytes;
    void *self;
    /// All bytes of copy `copy_index` are at their target. At most once per run and copy.
    void (*copy_done)(void *self, uint64_t copy_index);
    void (*progress)(void *self, const dray_transfer_progress *progress);
    /// Sent to `notice_peer` once all bytes are at their target, at every run that ends well; the run
    /// ends when the peer's agent has it. At most DRAY_NOTICE_BYTES_MAX, copied. NULL peer: none.
    struct dray_peer *notice_peer;
    const void *notice;
    uint32_t notice_bytes;
    uint32_t reserved;
} dray_transfer_options;

/// Allocates everything the run needs (lanes, staging). `options` may be NULL.
DRAY_API dray_status dray_transfer_create(dray_agent *agent, dray_plan *plan,
                                          const dray_transfer_options *options,
                                          dray_transfer **out_transfer, dray_error *error);
/// Cancels and waits first if it still runs. NULL is accepted.
DRAY_API void dray_transfer_destroy(dray_transfer *transfer);

/// Starts a run. DRAY_E_BUSY: it runs already. Never blocks.
DRAY_API dray_status dray_transfer_submit(dray_transfer *transfer, dray_error *error);
/// Lets the agent work. DRAY_OK and *out_done true: the run ended well; a failing status: it ended
/// badly (first failure; everything that was in flight has been awaited).
DRAY_API dray_status dray_transfer_poll(dray_transfer *transfer, bool *out_done, dray_error *error);
/// Works and sleeps until the run ends. deadline_ns: CLOCK_MONOTONIC time, or -1 for none.
/// DRAY_E_TIMEOUT: the deadline passed; the run still goes on (wait again, or cancel).
DRAY_API dray_status dray_transfer_wait(dray_transfer *transfer, int64_t deadline_ns,
                                        dray_error *error);
/// Stops: nothing more is submitted, what is in flight is awaited. When it returns nothing touches the
/// memory any more. The run's status is DRAY_E_CANCELLED unless it had already ended.
DRAY_API void dray_transfer_cancel(dray_transfer *transfer);
DRAY_API void dray_transfer_get_progress(const dray_transfer *transfer,
                                         dray_transfer_progress *out_progress);
/// An fd that becomes readable when poll has news, for the caller's own event loop; stays ours.
/// DRAY_E_UNSUPPORTED: a backend of the plan must be polled. DRAY_E_BUSY: poll first.
DRAY_API dray_status dray_transfer_arm(dray_transfer *transfer, int *out_fd, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
