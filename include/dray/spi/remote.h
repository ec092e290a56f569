/// dray/spi/remote.h: the facet of a backend that reaches other agents.
///
/// A backend with this facet has one instance per agent that finds peers (connect), makes attached
/// regions reachable (key), reaches theirs (region_open) and carries notices. What two instances have
/// to know of each other are two kinds of bytes, an address and a key per region; the agent takes them
/// across inside its metadata and never looks into them.
///
/// A backend with this facet has work even when nothing of ours is in flight (a peer reads our memory),
/// so the agent polls and arms it always.
#ifndef DRAY_SPI_REMOTE_H
#define DRAY_SPI_REMOTE_H

#include "dray/memory.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dray_backend; // dray/spi/backend.h

/// A backend's way to one peer.
typedef struct dray_remote dray_remote;
/// A backend's way to one region of a peer.
typedef struct dray_remote_region dray_remote_region;

#define DRAY_NOTICE_BYTES_MAX 4096u
#define DRAY_AGENT_NAME_MAX 63u ///< bytes, without the NUL

/// What stands behind a REMOTE region (dray_region_native.remote). Lives as long as the region.
typedef struct dray_remote_link {
    const struct dray_backend *backend; ///< whose `at` it is
    dray_remote_region *at;             ///< NULL: the peer was forgotten, or has restarted
    const struct dray_peer *peer;       ///< compared, never followed
} dray_remote_link;

/// Bytes for the owner of a peer, in dray_op.notice; the operation has no segments.
typedef struct dray_notice {
    dray_remote *remote;
    const void *bytes; ///< as long as the operation is in flight
    uint32_t count;    ///< at most DRAY_NOTICE_BYTES_MAX
} dray_notice;

/// What a peer sent. The names are its own words: nobody has proven them.
typedef struct dray_received {
    char agent[DRAY_AGENT_NAME_MAX + 1];
    uint64_t epoch;
    uint32_t count;
    uint8_t bytes[DRAY_NOTICE_BYTES_MAX];
} dray_received;

typedef enum dray_reach {
    DRAY_REACH_HOST = 0,   ///< peers on this machine only
    DRAY_REACH_NETWORK = 1 ///< every device that the backend finds
} dray_reach;

typedef struct dray_remote_setup {
    const char *agent; ///< the owner's name; as long as the backend is open
    uint64_t epoch;
    dray_reach reach;
} dray_remote_setup;

typedef struct dray_remote_key {
    uint64_t address, bytes; ///< at the peer
    const void *key;
    uint32_t key_bytes;
    const char *name; ///< for messages; copied
} dray_remote_key;

typedef struct dray_remote_ops {
    /// Called once, right after open.
    dray_status (*start)(struct dray_backend *backend, const dray_remote_setup *setup,
                         dray_error *error);
    /// How peers find this instance. The bytes stay until close.
    dray_status (*address)(struct dray_backend *backend, const void **out_bytes,
                           uint32_t *out_count, dray_error *error);
    /// What a peer needs to reach an attached region. The bytes stay until detach.
    dray_status (*key)(struct dray_backend *backend, const dray_region *region,
                       const void **out_bytes, uint32_t *out_count, dray_error *error);
    /// `address` as another instance gave it. Does not wait for the peer.
    dray_status (*connect)(struct dray_backend *backend, const char *agent, const void *address,
                           uint32_t bytes, dray_remote **out_remote, dray_error *error);
    /// Ends everything that is in flight with this peer, with an error. Its regions are closed.
    void (*disconnect)(struct dray_backend *backend, dray_remote *remote);
    dray_status (*region_open)(struct dray_backend *backend, dray_remote *remote,
                               const dray_remote_key *key, dray_remote_region **out_region,
                               dray_error *error);
    /// Nothing is in flight with the region.
    void (*region_close)(struct dray_backend *backend, dray_remote_region *region);
    /// NULL: it works. Otherwise what the connection broke with; valid until disconnect.
    const char *(*broken)(struct dray_backend *backend, const dray_remote *remote);
    /// Hands out the oldest notice that arrived.
    bool (*receive)(struct dray_backend *backend, dray_received *out_received);
    /// From now on a thread of the context's pool answers peers, until close. DRAY_E_INVALID: no pool.
    dray_status (*serve)(struct dray_backend *backend, dray_error *error);
    /// Optional. Takes over `fd`, a socket that never blocks: when it says anything, or its other end is closed,
    /// the peer is gone. Another one takes the place of the first.
    void (*guard)(struct dray_backend *backend, dray_remote *remote, int fd);
} dray_remote_ops;

#ifdef __cplusplus
}
#endif
#endif
