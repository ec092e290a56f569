/// dray/spi/backend.h: what a transfer backend is to the planner and the agent: one table.
///
/// The planner knows a backend only by its edges; the agent only by submit and poll. A backend file
/// ends in one const table, `drayi_backend_<name>`.
#ifndef DRAY_SPI_BACKEND_H
#define DRAY_SPI_BACKEND_H

#include "dray/memory.h"
#include "dray/spi/region.h"
#include "dray/spi/remote.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_BACKEND_ABI 1u
#define DRAY_LOOPS_MAX 4

struct drayi_env; // ours; a plug-in from outside ignores it

typedef struct dray_backend dray_backend;

/// One loop around a run: `count` times, advancing each side by its stride (bytes). The first loop of
/// a list is the outermost.
typedef struct dray_loop {
    uint64_t count;
    uint64_t source_stride, target_stride;
} dray_loop;

/// What an operation is made of: a run of bytes with up to DRAY_LOOPS_MAX loops around it.
/// Bytes moved = run_bytes * product of the loops' counts. The planner has checked all bounds.
typedef struct dray_segment {
    dray_region *source, *target;
    uint64_t source_offset, target_offset; ///< bytes, inside the regions
    uint64_t run_bytes;
    const dray_loop *loops; ///< NULL when loop_count is 0
    uint32_t loop_count;
    uint32_t copy_index; ///< the dray_copy it came from
} dray_segment;

enum {
    DRAY_EDGE_DIRECT =
        1, ///< past the page cache: file offset, length and memory address must be aligned
    DRAY_EDGE_SCATTER = 2, ///< segments of one operation must be neighbours on the file's side
    DRAY_EDGE_ONE_DEVICE =
        4 ///< DEVICE and MANAGED on both sides: of one and the same dray_device only
};

/// A way that a backend offers from one storage kind to another.
typedef struct dray_edge {
    dray_storage from, to;
    uint32_t flags;
    uint32_t id;           ///< the backend's own name for it; comes back in dray_op.edge
    uint64_t max_bytes;    ///< most bytes in one operation; 0: no limit
    uint32_t max_segments; ///< most segments in one operation, >= 1
    uint32_t max_loops;    ///< loops it carries out itself; 0: plain runs only
    uint64_t best_bytes;   ///< the size of operation it likes best; 0: no preference
    uint32_t best_depth;   ///< how many operations it likes in flight; 0: no preference
    uint32_t cost;         ///< smaller is better; compared between edges of the same pair of kinds
    uint32_t most_depth; ///< how many it takes in flight when they are smaller than best_bytes; 0: best_depth
    /// DEVICE and MANAGED sides: only regions on devices of this family. NULL: an edge without devices.
    const struct dray_device_ops *family;
} dray_edge;

/// One operation in flight. The agent owns it; between submit and poll the backend may use `backend_use`.
typedef struct dray_op {
    const dray_segment *segments;
    uint32_t segment_count;
    uint32_t edge;             ///< dray_edge.id
    uint32_t flags;            ///< DRAY_OP_SMALL_SYNC
    const dray_notice *notice; ///< NULL, or what to tell a peer: then there are no segments
    // the backend fills these before it hands the operation back from poll:
    dray_status status;
    uint64_t bytes_done; ///< exact; equals the sum of the segments when status is DRAY_OK
    dray_error error;    ///< written when status is not DRAY_OK
    // the agent's own:
    void *owner;
    // the backend's own while the operation is in flight:
    uint64_t backend_use[8];
    struct dray_op *backend_next;
} dray_op;

/// The caller waits for this one small operation: doing it at once beats queueing it.
enum { DRAY_OP_SMALL_SYNC = 1 };

enum {
    DRAY_BACKEND_MUST_POLL = 1, ///< has no `arm`: somebody has to call poll
    DRAY_BACKEND_ON_DEMAND = 2  ///< opening costs (it loads a driver): only for agents that name it
};

typedef struct dray_backend_ops {
    uint32_t abi; ///< DRAY_BACKEND_ABI
    uint32_t flags;
    const char *name; ///< "copy", "posix", ...
    const char *
        unproven; ///< NULL, or what it never ran against; such a backend is used only when it is named
    /// One instance per agent. DRAY_E_UNSUPPORTED with a reason when the machine cannot.
    dray_status (*open)(struct drayi_env *env, dray_backend **out_backend, dray_error *error);
    void (*close)(dray_backend *backend); ///< nothing is in flight; NULL is never passed
    /// Writes up to `capacity` edges, returns how many there are. The same at every call.
    uint32_t (*edges)(dray_backend *backend, dray_edge *out_edges, uint32_t capacity);
    /// Takes the first n of `ops` and returns n; cannot fail. Every op taken comes back from poll
    /// exactly once, with its own status. Never allocates.
    uint32_t (*submit)(dray_backend *backend, dray_op **ops, uint32_t count);
    /// Hands back operations that ended; never blocks on I/O of others. Without a pool this is also
    /// where synchronous work is done.
    uint32_t (*poll)(dray_backend *backend, dray_op **out_ops, uint32_t capacity);
    // optional:
    /// Called when the first transfer of the agent that uses a region is created (registration), and when
    /// the last one is gone.
    dray_status (*attach)(dray_backend *backend, dray_region *region, dray_error *error);
    void (*detach)(dray_backend *backend, dray_region *region);
    /// Asks for an early end of an operation in flight; it still comes back from poll.
    void (*cancel)(dray_backend *backend, dray_op *op);
    /// Gives an fd that becomes readable when poll has news, and arms it once; the fd stays the
    /// backend's. DRAY_E_BUSY: there is news already, poll first. DRAY_E_UNSUPPORTED: not in this context
    /// (it has no threads that could wait), somebody has to call poll.
    dray_status (*arm)(dray_backend *backend, int *out_fd, dray_error *error);
    /// A sentence for --explain and `dray info`: how it works on this machine ("io_uring, depth 64").
    void (*describe)(dray_backend *backend, char *out, size_t capacity);
    /// Asked once per plan and region of a kind that the edges serve. Failing: the plan passes its edges
    /// over for this region, and --explain gives the message as the reason. NULL: every region will do.
    dray_status (*accepts)(dray_backend *backend, const dray_region *region, dray_error *error);
    const dray_remote_ops *remote; ///< NULL: it serves this process only
    /// The caller waits for `op` and does nothing else meanwhile. true: it was carried out in the caller's
    /// thread, with the result that poll would hand out. false: that would take more than the processor;
    /// no byte counts, the operation is to be submitted. Never allocates.
    bool (*at_once)(dray_backend *backend, dray_op *op);
    /// The caller waits, and nothing but this backend can have news: helps with the work or sleeps until poll may
    /// have some, at most timeout_ns (-1: no limit). false: it cannot now, arm is to be used.
    bool (*await)(dray_backend *backend, int64_t timeout_ns);
} dray_backend_ops;

#ifdef __cplusplus
}
#endif
#endif
