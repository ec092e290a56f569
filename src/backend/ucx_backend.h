/// The UCX backend's inside, shared by its files:
///
///     backend_ucx.c   open, start, close; edges, submit, poll, arm; the table
///     ucx_remote.c    peers: endpoints, remote keys, and what happens when a peer is gone
///     ucx_region.c    our own regions: mapped, with the key that peers get
///     ucx_notice.c    notices: sent, acknowledged, received
///     ucx_serve.c     a pool thread that answers peers
///     ucx_log.c       UCX's messages, to the context's log
///     ucx_library.c   libucp's calls
///
/// One worker that peers reach, and one for each peer that we reach: a process that is killed while it
/// writes into another's shared memory leaves the ring there blocked for good, and then it is the ring of
/// this one connection. All are used under one lock: with drayi_ucx_serve a pool thread shares them with
/// the caller. UCX's callbacks run inside ucp_worker_progress, so under the lock too; they never free a peer.
#ifndef DRAY_BACKEND_UCX_BACKEND_H
#define DRAY_BACKEND_UCX_BACKEND_H

#include "backend/ucx_library.h"
#include "base/env.h"
#include "dray/spi/backend.h"
#include "os/pool.h"

#ifdef DRAY_HAVE_UCX

#include <pthread.h>
#include <stdbool.h>

enum {
    DRAYI_UCX_OPS = 256,           // operations in flight
    DRAYI_UCX_NOTICES = 1024,      // received and not yet taken; more are refused
    DRAYI_UCX_ANSWERS = 1024,      // on their way; UCX sends nearly all at once
    DRAYI_UCX_ADDRESS_MAX = 65536, // bytes of an address or a key that we pass on
};

/// Indices in dray_op.backend_use.
enum {
    DRAYI_UCX_SLOT,      // in dray_backend.in_flight
    DRAYI_UCX_WAITS,     // UCX requests that have not ended, and one while they are being posted
    DRAYI_UCX_CODE,      // first failing ucs_status_t, as int64_t; 0: none
    DRAYI_UCX_CANCELLED, // 1: the caller asked for an early end
    DRAYI_UCX_BACKEND,   // dray_backend *
    DRAYI_UCX_REMOTE,    // dray_remote *: where its requests are on their way to; 0: nowhere
    DRAYI_UCX_NEXT,      // first segment that was not posted yet
};

/// A region of ours that UCX knows.
typedef struct drayi_ucx_mapping {
    struct drayi_ucx_mapping *next;
    const dray_region *region;
    ucp_mem_h memory;
    void *key; // packed, UCX's memory; NULL: nobody asked yet
    size_t key_bytes;
} drayi_ucx_mapping;

struct dray_remote_region {
    dray_remote_region *next; // in dray_remote.regions
    dray_remote *remote;
    ucp_rkey_h key; // NULL: went with the connection
    bool closed;    // by its owner
};

struct dray_remote {
    dray_remote *next; // in dray_backend.remotes
    dray_backend *backend;
    char agent[DRAY_AGENT_NAME_MAX + 1];
    ucp_worker_h worker; // its own; NULL: the connection is gone
    int worker_fd;
    int guard_fd;        // says when the peer's process has ended; -1: none
    int64_t ended_at_ns; // when it said so; 0: not yet
    ucp_ep_h endpoint;
    char broken[160];  // empty: it works
    ucs_status_t code; // what UCX said when it broke
    bool let_go;       // by its owner; freed when the last operation and region are
    uint32_t busy;     // operations whose requests are on their way there
    dray_remote_region *regions;
    // notices: one at a time is under way, in `letter`
    dray_op *notices_first,
        *notices_last;      // waiting; the first is under way while letter_serial != 0
    uint64_t letter_serial; // 0: none is waited for
    bool letter_lent;       // UCX may still read `letter`
    uint32_t letter_bytes;
    uint8_t letter[32 + DRAY_AGENT_NAME_MAX + 1 + DRAY_NOTICE_BYTES_MAX];
};

/// A notice that arrived and was not taken yet.
typedef struct drayi_ucx_received {
    struct drayi_ucx_received *next;
    size_t bytes; // of this allocation
    char agent[DRAY_AGENT_NAME_MAX + 1];
    uint64_t epoch;
    uint32_t count;
    uint8_t payload[];
} drayi_ucx_received;

/// An answer to a notice, while UCX may still read it.
typedef struct drayi_ucx_answer {
    struct drayi_ucx_answer *next; // in dray_backend.free_answers
    dray_backend *backend;
    uint64_t serial, verdict;
} drayi_ucx_answer;

struct dray_backend {
    drayi_env *env;
    const drayi_os *os;
    drayi_ucx_calls ucx;
    bool hears_log;
    dray_remote_setup setup;
    pthread_mutex_t lock; // guards everything below
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_address_t *address;
    size_t address_bytes;
    int worker_fd; // UCX's
    int news_fd;   // eventfd: the serving thread has something for the caller
    int timer_fd;  // for what comes first of the two cuts below
    int watch_fd;  // epoll over these and the peers' workers
    bool armed;    // the caller may sleep on watch_fd
    bool untidy;   // an endpoint failed and is open, or something let go can be freed

    drayi_ucx_mapping *mappings;
    dray_remote *remotes;
    dray_op *in_flight[DRAYI_UCX_OPS];
    uint32_t free_slots[DRAYI_UCX_OPS], free_count;
    dray_op *done_first, *done_last; // ended, not handed out yet
    int64_t guards_at_ns;            // when guards are looked at again, in poll
    int64_t guard_cut_at_ns;         // when peers whose guard has ended are cut off; 0: never
    uint64_t cut_at_ns;              // when what was cancelled is torn off; 0: never
    drayi_ucx_received *received_first, *received_last;
    uint32_t received_count;
    uint64_t last_serial;
    drayi_ucx_answer answers[DRAYI_UCX_ANSWERS], *free_answers;

    drayi_job serve_job;
    drayi_latch serve_latch;
    int stop_fd; // -1: nobody serves
    bool stopping;
};

// backend_ucx.c
/// A worker whose fd is watched. *out_worker is NULL when it fails.
dray_status drayi_ucx_worker_open(dray_backend *backend, ucp_worker_h *out_worker, int *out_fd,
                                  dray_error *error);
/// One turn for every worker. True: something moved.
bool drayi_ucx_progress(dray_backend *backend);
dray_status drayi_ucx_fail(const dray_backend *backend, ucs_status_t code, const char *call,
                           dray_error *error);
void drayi_ucx_op_end(dray_backend *backend, dray_op *op);
/// Ends the operation with what the connection broke with, or else with this status of UCX.
void drayi_ucx_op_fail(dray_op *op, const dray_remote *remote, ucs_status_t code);
/// One request less (or the posting of them); the last one ends the operation, or posts more of it.
void drayi_ucx_op_settle(dray_backend *backend, dray_op *op, ucs_status_t code);
/// Lets UCX work until it has nothing more to do right now, and does what follows from it.
bool drayi_ucx_work(dray_backend *backend);
/// Watches for a moment. True: something moved, so do not sleep.
bool drayi_ucx_linger(dray_backend *backend);

// ucx_log.c
void drayi_ucx_log_open(dray_backend *backend);
void drayi_ucx_log_close(dray_backend *backend);
/// While true, what UCX warns of on this thread is only of interest to developers.
void drayi_ucx_log_low(bool low);
/// Around everything that calls UCX: takes the lock, and its messages as ours.
void drayi_ucx_enter(dray_backend *backend);
void drayi_ucx_leave(dray_backend *backend);

// ucx_remote.c
dray_status drayi_ucx_connect(dray_backend *backend, const char *agent, const void *address,
                              uint32_t bytes, dray_remote **out_remote, dray_error *error);
void drayi_ucx_disconnect(dray_backend *backend, dray_remote *remote);
dray_status drayi_ucx_region_open(dray_backend *backend, dray_remote *remote,
                                  const dray_remote_key *key, dray_remote_region **out_region,
                                  dray_error *error);
void drayi_ucx_region_close(dray_backend *backend, dray_remote_region *region);
const char *drayi_ucx_broken(dray_backend *backend, const dray_remote *remote);
/// Ends the connection, now: its worker goes, everything in flight on it ends with an error, and nothing
/// touches memory on its behalf any more. Not from inside a callback of UCX.
void drayi_ucx_remote_cut(dray_remote *remote, ucs_status_t code, const char *why);
/// Takes over a socket whose end is the peer's.
void drayi_ucx_guard(dray_backend *backend, dray_remote *remote, int fd);
/// Notices guards that have ended.
void drayi_ucx_guards_look(dray_backend *backend);
/// Cuts those that ended a while ago: what they sent before has arrived by now.
void drayi_ucx_guards_cut(dray_backend *backend, int64_t now_ns);
/// Sets the timer to the next cut.
void drayi_ucx_timer_next(dray_backend *backend);
/// Cuts what broke, frees what nobody uses. Not from inside a callback of UCX.
void drayi_ucx_remotes_tidy(dray_backend *backend);
void drayi_ucx_remotes_close(dray_backend *backend);

// ucx_region.c
dray_status drayi_ucx_attach(dray_backend *backend, dray_region *region, dray_error *error);
void drayi_ucx_detach(dray_backend *backend, dray_region *region);
dray_status drayi_ucx_key(dray_backend *backend, const dray_region *region, const void **out_bytes,
                          uint32_t *out_count, dray_error *error);
void drayi_ucx_regions_close(dray_backend *backend);

// ucx_notice.c
/// Lets the worker receive: letters (self is the backend), or answers (self is the peer).
dray_status drayi_ucx_letters_listen(dray_backend *backend, dray_error *error);
dray_status drayi_ucx_answers_listen(dray_remote *remote, dray_error *error);
void drayi_ucx_notice_post(dray_backend *backend, dray_op *op);
/// Takes the operation back from its queue; false: it is none of a notice.
bool drayi_ucx_notice_cancel(dray_op *op);
/// Every notice to this peer ends with an error.
void drayi_ucx_notices_fail(dray_remote *remote);
bool drayi_ucx_receive(dray_backend *backend, dray_received *out_received);
void drayi_ucx_notices_close(dray_backend *backend);

// ucx_serve.c
dray_status drayi_ucx_serve(dray_backend *backend, dray_error *error);
void drayi_ucx_serve_stop(dray_backend *backend);

#endif
#endif
