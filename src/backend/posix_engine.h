/// Inside the posix backend: the state of one operation on its way (a slot), and what the three
/// engines that carry slots out (io_uring, the pool's threads, the caller itself) have in common.
///
///   backend_posix.c  edges, slots, submit and poll; chooses the engine
///   posix_slot.c     from operation to iovecs; what a transfer's result means
///   posix_ring.c     the io_uring engine
///   posix_threads.c  the pool's threads, and the caller when there is no pool
#ifndef DRAY_BACKEND_POSIX_ENGINE_H
#define DRAY_BACKEND_POSIX_ENGINE_H

#include "backend/completions.h"
#include "base/env.h"
#include "base/queue.h"
#include "os/os.h"
#include "os/pool.h"

#include <stdatomic.h>

#define DRAYI_POSIX_SLOTS 64
#define DRAYI_POSIX_PARTS 64
#define DRAYI_POSIX_HELPERS 8               // threads that copy at once: memory has no more to give
#define DRAYI_POSIX_BACKGROUND (128u << 10) // a copy of this size is worth another thread
#define DRAYI_POSIX_QUEUE (2 * DRAYI_POSIX_SLOTS) // requests, and cancellations of all of them

enum { DRAYI_POSIX_EDGE_WRITE = 1, DRAYI_POSIX_EDGE_DIRECT = 2 }; // bits of dray_edge.id

/// One operation in flight. Belongs to the caller's thread or to one pool job, never to both.
typedef struct drayi_posix_slot {
    drayi_link link; // first: in a queue of the backend
    dray_backend *backend;
    dray_op *op;
    drayi_job job;
    atomic_bool cancelled; // the caller may set it while a job runs
    bool write;
    bool direct;           // the next transfer goes past the page cache
    bool in_memory;        // of the file: its file system does no I/O
    int fd, direct_fd;     // buffered and direct
    uint32_t offset_align; // of direct_fd
    uint32_t request;      // counts the slot's ring requests, so that a late answer finds nobody
    uint32_t fruitless;    // transfers in a row that moved nothing
    uint64_t offset;       // in the file, of the operation's first byte
    uint64_t bytes, done;
    const char *name;                // of the file, for messages
    uint32_t part_first, part_count; // parts[part_first .. part_count) are still to be moved
    struct iovec parts[DRAYI_POSIX_PARTS];
} drayi_posix_slot;

/// How slots are carried out. Every slot that `start` gets ends in drayi_posix_end().
/// Members may be NULL, except start.
typedef struct drayi_posix_engine {
    void (*start)(dray_backend *backend, drayi_posix_slot *slot);
    void (*flush)(dray_backend *backend); // after a batch of starts
    void (*poll)(dray_backend *backend);
    void (*cancel)(dray_backend *backend, drayi_posix_slot *slot); // the slot's flag is set already
    bool (*needs_poll)(const dray_backend *backend);               // work waits for the next poll
} drayi_posix_engine;

/// Operations that need no I/O and are large: the pool's threads and a waiting caller take them one by one.
typedef struct drayi_posix_shared {
    pthread_mutex_t lock;
    drayi_queue slots;   // guarded by lock
    drayi_latch at_work; // jobs that run
    struct drayi_posix_helper {
        drayi_job job;
        dray_backend *backend;
        bool busy; // guarded by lock
    } helpers[DRAYI_POSIX_HELPERS];
} drayi_posix_shared;

extern const drayi_posix_engine drayi_posix_ring, drayi_posix_threads, drayi_posix_caller;

/// State of the io_uring engine. The ring outlives its retirement while requests are in the air.
typedef struct drayi_posix_ring_state {
    struct io_uring *ring;             // NULL: not open
    int refusal;                       // errno: why there is no ring, or why it was retired
    drayi_queue waiting;               // to be queued
    uint32_t queue[DRAYI_POSIX_QUEUE]; // slot of each entry that is not yet submitted, oldest first
    uint32_t queue_first, queue_count;
    bool air[DRAYI_POSIX_SLOTS]; // which slots are submitted and not reaped
    uint32_t air_count;
    uint32_t submit_failures, reap_failures; // in a row
} drayi_posix_ring_state;

struct dray_backend {
    drayi_env *env;
    const drayi_os *os;
    const drayi_posix_engine *engine;
    drayi_completions completions;
    drayi_queue free_slots;
    drayi_queue queued; // the caller engine's
    drayi_posix_ring_state ring;
    drayi_posix_shared shared;
    int uncached_fd; // of the file whose file system does not tell what is cached; -1: none
    atomic_uint_fast64_t buffered_instead; // direct operations that went through the page cache
    drayi_posix_slot slots[DRAYI_POSIX_SLOTS];
};

// --- posix_slot.c

/// Fills the slot from slot->op. On failure the operation's status and error are written.
dray_status drayi_posix_slot_begin(drayi_posix_slot *slot);
/// The descriptor for the next transfer.
int drayi_posix_slot_fd(const drayi_posix_slot *slot);
/// Books the result of one transfer (bytes, or the negative errno). true: the operation ended, its
/// result is written. false: the rest is to be tried.
bool drayi_posix_slot_result(drayi_posix_slot *slot, int64_t result);
/// Ends the operation with an error that is not a transfer's result.
void drayi_posix_slot_fail(drayi_posix_slot *slot, int code, const char *origin);
/// Transfers in the calling thread until the operation ended.
void drayi_posix_slot_transfer(drayi_posix_slot *slot);
/// Transfers what takes no I/O. true: the operation ended. false: the rest is the engine's.
bool drayi_posix_slot_try(drayi_posix_slot *slot);

// --- backend_posix.c

/// Hands the slot's operation, whose result is written, to poll. The slot is not touched after.
void drayi_posix_end(drayi_posix_slot *slot);

// --- posix_ring.c

/// Opens the ring. On refusal ring.refusal says why, and the backend works without.
void drayi_posix_ring_open(dray_backend *backend);
void drayi_posix_ring_close(dray_backend *backend); // not open: nothing happens
/// Books what ended and submits what waits; on a retired ring only the former.
void drayi_posix_ring_poll(dray_backend *backend);
bool drayi_posix_ring_needs_poll(const dray_backend *backend);

// --- posix_threads.c

void drayi_posix_shared_open(dray_backend *backend);
void drayi_posix_shared_close(dray_backend *backend);
void drayi_posix_shared_start(dray_backend *backend, drayi_posix_slot *slot);
/// The caller has time: it carries out the next one. False: none is left.
bool drayi_posix_shared_help(dray_backend *backend);
/// Is there work that only the caller can do?
bool drayi_posix_shared_needs_poll(dray_backend *backend);

/// The engine without a ring: the pool's threads, or the caller when there are none.
const drayi_posix_engine *drayi_posix_fallback(const dray_backend *backend);

#endif
