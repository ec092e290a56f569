/// The agent's inside: opened backends, their edges, the lanes that wait for each of them.
#ifndef DRAY_TRANSFER_AGENT_H
#define DRAY_TRANSFER_AGENT_H

#include "base/env.h"
#include "dray/agent.h"

struct drayi_lane; // transfer/run.h

typedef struct drayi_agent_backend {
    const dray_backend_ops *ops;
    dray_backend *self;
    uint64_t in_flight;                          // operations it took and has not handed back
    struct drayi_lane *ready_first, *ready_last; // operations it has not taken yet, in order
    bool full;   // it took fewer than it was given; asked again after the next one comes back
    bool broken; // it handed back what it never had: nothing more is given to it
} drayi_agent_backend;

typedef struct drayi_agent_edge {
    dray_edge edge;
    uint32_t backend;
} drayi_agent_edge;

/// A region that was shown to a backend, counted over the transfers that use it.
typedef struct drayi_attachment {
    dray_region *region;
    uint32_t backend;
    uint64_t users;
} drayi_attachment;

/// A region under a handle: what peers may reach.
typedef struct drayi_registration {
    uint64_t handle;
    dray_region *region;
    char *name; // NULL: none
    size_t name_bytes;
    bool writable;
} drayi_registration;

struct dray_agent {
    dray_context *context;
    drayi_env *env;
    char name[DRAY_AGENT_NAME_MAX + 1];
    uint64_t epoch;
    dray_agent_options options;        // what was asked for: reach, notified
    drayi_registration *registrations; // by rising handle
    uint64_t registration_count, registration_capacity;
    uint64_t last_handle;
    dray_peer *peers;
    int watch_fd; // joins the fds of several backends for dray_agent_arm; -1: not opened
    drayi_agent_backend *backends;
    uint64_t backend_count, backend_capacity;
    drayi_agent_edge *edges;
    uint64_t edge_count, edge_capacity;
    drayi_attachment *attachments;
    uint64_t attachment_count, attachment_capacity;
    int *wait_fds; // room for one per backend
    uint64_t page_bytes;
    bool has_remote;        // a backend serves peers, and wants to be polled for them
    bool is_broken;         // a backend broke its contract
    dray_transfer *running; // those with work left, or with callbacks to make
    uint64_t transfer_count;
};

/// Shows the region to the backend when it is the first user.
dray_status drayi_agent_attach(dray_agent *agent, uint32_t backend, dray_region *region,
                               dray_error *error);
void drayi_agent_detach(dray_agent *agent, uint32_t backend, dray_region *region);

// registry.c
/// Does any edge of this backend begin or end at this kind?
bool drayi_agent_serves(const dray_agent *agent, uint32_t backend, dray_storage storage);
void drayi_agent_deregister_all(dray_agent *agent);

// peers.c
void drayi_agent_forget_all(dray_agent *agent);
/// The peer's side of the backend that carries notices; counts the user. DRAY_E_INVALID: not this agent's.
dray_status drayi_peer_use(dray_agent *agent, dray_peer *peer, uint32_t *out_backend,
                           dray_error *error);
void drayi_peer_unuse(dray_peer *peer);
dray_remote *drayi_peer_remote(const dray_peer *peer);
/// Takes over a connection to the peer's process, which ends when the process does.
void drayi_peer_guard(dray_peer *peer, int fd);

#endif
