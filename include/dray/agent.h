/// dray/agent.h: what an agent knows of regions and of other agents.
///
///     here                                               there
///     dray_agent_register(a, region, &options, &d, &e);
///     dray_agent_export(a, blob, room, &bytes, &e);      ... the blob, by any way you like ...
///                                                        dray_agent_import(b, blob, bytes, &peer, &e);
///                                                        dray_peer_open(peer, "weights", &remote, &e);
///                                                        a copy from or to `remote`, like any other
///     dray_agent_poll(a) whenever its fd is readable: peers need it (dray_agent_arm, dray_agent_serve)
///
/// Who may do what, and what of it is enforced, stands in docs/design/agent.md: an imported blob gives
/// its holder the run of the exported memory. Import only what comes from somebody you trust.
/// Threads: as the agent, one at a time.
#ifndef DRAY_AGENT_H
#define DRAY_AGENT_H

#include "dray/transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

// --- registration --------------------------------------------------------------------------------

typedef enum dray_memory_type {
    DRAY_MEMORY_DRAM = 0,
    DRAY_MEMORY_VRAM = 1,
    DRAY_MEMORY_FILE = 2
} dray_memory_type;

/// "dram", "vram", "file".
DRAY_API const char *dray_memory_type_name(dray_memory_type memory);

typedef struct dray_descriptor {
    uint64_t handle;  ///< of this registration; never 0, and no number is ever given twice
    uint64_t address; ///< of the first byte; FILE: its offset in the file
    uint64_t bytes;
    dray_memory_type memory;
    uint32_t writable;  ///< 1: peers may write
    uint64_t device_id; ///< VRAM: the device; FILE: the descriptor; DRAM: 0
} dray_descriptor;

/// What registration would say of a region, without a handle; `writable`: whether it can be written at all.
DRAY_API void dray_region_describe(const dray_region *region, dray_descriptor *out_descriptor);

typedef struct dray_register_options {
    size_t struct_bytes;
    const char *name;  ///< what peers find it by, unique in the agent; NULL: by its handle only
    uint32_t writable; ///< 1: peers may write. 0: they may read
    uint32_t reserved;
} dray_register_options;

/// Makes the region known to every backend of the agent that serves its kind, and keeps a reference.
/// `options` may be NULL. DRAY_E_UNSUPPORTED: no backend serves the kind, which is named. A region may
/// be registered more than once; each time counts.
DRAY_API dray_status dray_agent_register(dray_agent *agent, dray_region *region,
                                         const dray_register_options *options,
                                         dray_descriptor *out_descriptor, dray_error *error);
/// What stands under a handle of this agent; *out_region (may be NULL) is borrowed. DRAY_E_NOTFOUND: nothing
/// (any more).
DRAY_API dray_status dray_agent_find(const dray_agent *agent, uint64_t handle,
                                     dray_descriptor *out_descriptor, dray_region **out_region,
                                     dray_error *error);
/// DRAY_E_NOTFOUND: there is no such handle (any more). Peers that still use the region get errors.
DRAY_API dray_status dray_agent_deregister(dray_agent *agent, uint64_t handle, dray_error *error);

// --- metadata ------------------------------------------------------------------------------------

/// Another agent, as known from its metadata. Owned by the importing agent, until dray_agent_forget().
typedef struct dray_peer dray_peer;

/// A number that this agent chose at random when it was made: a restarted agent has another one.
DRAY_API uint64_t dray_agent_epoch(const dray_agent *agent);
DRAY_API const char *dray_agent_name(const dray_agent *agent);
/// The context it was created in.
DRAY_API dray_context *dray_agent_context(const dray_agent *agent);

/// Writes all that a peer needs: name, epoch, how to connect, every registered region that a backend
/// takes across. *out_bytes is its size in any case; DRAY_E_NOSPACE: more than `capacity`.
/// DRAY_E_UNSUPPORTED: no backend of the agent reaches other agents.
DRAY_API dray_status dray_agent_export(dray_agent *agent, void *out, uint64_t capacity,
                                       uint64_t *out_bytes, dray_error *error);
/// Takes in what another agent exported. A peer is known by its name. The same epoch again: regions
/// that are new are added, those that are gone are closed. Another epoch: it has restarted, all of its
/// old regions are closed, the dray_peer stays. When it fails nothing has changed.
DRAY_API dray_status dray_agent_import(dray_agent *agent, const void *metadata, uint64_t bytes,
                                       dray_peer **out_peer, dray_error *error);
/// Lets the connection go; what is in flight with the peer fails. Its regions still have to be released.
/// DRAY_E_BUSY: a transfer will notify it.
DRAY_API dray_status dray_agent_forget(dray_agent *agent, dray_peer *peer, dray_error *error);

DRAY_API const char *dray_peer_name(const dray_peer *peer);
DRAY_API uint64_t dray_peer_epoch(const dray_peer *peer);
/// NULL: nothing is known against it. Otherwise what the connection broke with: import it again.
DRAY_API const char *dray_peer_broken(const dray_peer *peer);
DRAY_API uint64_t dray_peer_region_count(const dray_peer *peer);
/// `index` < dray_peer_region_count(). *out_name (may be NULL): "" for a region without a name.
DRAY_API void dray_peer_describe(const dray_peer *peer, uint64_t index,
                                 dray_descriptor *out_descriptor, const char **out_name);
/// A region of the peer as a region of ours, of kind REMOTE: release it when done.
DRAY_API dray_status dray_peer_open(dray_peer *peer, const char *name, dray_region **out_region,
                                    dray_error *error);
DRAY_API dray_status dray_peer_open_handle(dray_peer *peer, uint64_t handle,
                                           dray_region **out_region, dray_error *error);

// --- serving -------------------------------------------------------------------------------------

/// An fd that becomes readable when dray_agent_poll has something to do, be it for a peer; stays ours.
/// Arms once. DRAY_E_BUSY: poll first. DRAY_E_UNSUPPORTED: a backend with work must be polled.
DRAY_API dray_status dray_agent_arm(dray_agent *agent, int *out_fd, dray_error *error);
/// Peers are answered by a thread of the context's pool from now on, for as long as the agent lives.
/// That thread is then taken. DRAY_E_INVALID: the context has no threads.
DRAY_API dray_status dray_agent_serve(dray_agent *agent, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
