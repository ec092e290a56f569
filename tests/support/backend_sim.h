/// A simulated backend: moves bytes for real, but when, in which order and how well is drawn from a seed.
///
/// It is also the strictest reader of the contract: every operation that it gets is held against the
/// limits of its edge, and what breaks them is kept in `violation`.
///
/// Two instances stand ready ("sim", "sim2"). Set one up, hand its table to a context through
/// dray_context_options.backends, and open one agent at a time on it.
#ifndef DRAY_TESTS_BACKEND_SIM_H
#define DRAY_TESTS_BACKEND_SIM_H

#include "dray/spi/backend.h"
#include "sequence.h"

#include <stdbool.h>

enum { BACKEND_SIM_EDGES = 16, BACKEND_SIM_OPS = 256 };

/// Breaking the backend's side of the contract, to see it noticed.
typedef enum backend_sim_lie {
    BACKEND_SIM_HONEST,
    BACKEND_SIM_TWICE,    ///< hands an operation back again
    BACKEND_SIM_UNKNOWN,  ///< hands back an operation that nobody gave it
    BACKEND_SIM_SHORT_OK, ///< OK, but one byte short
    BACKEND_SIM_NO_STATUS ///< hands an operation back without a verdict
} backend_sim_lie;

typedef struct backend_sim {
    // How it behaves; change it while nothing is in flight.
    random_sequence random;
    dray_edge edges[BACKEND_SIM_EDGES];
    uint32_t edge_count;
    uint32_t capacity;       // operations in flight; 0: BACKEND_SIM_OPS
    uint32_t refuse_percent; // of the calls of submit that take fewer than they could
    uint32_t at_once_percent; // of the operations that somebody waits for, done at once ("sim2" only)
    uint32_t delay_polls;     // an operation takes up to so many polls
    bool reorders;            // operations end in any order
    bool cannot_arm;          // it must be polled
    uint64_t fail_at;         // the Nth operation from now fails; 0: none
    dray_status fail_status;
    bool fail_silently;      // without a message
    backend_sim_lie lie;     // at the next operation that ends
    uint64_t attach_fail_at; // the Nth attach from now fails; 0: none
    dray_status open_status; // what open returns

    // What happened.
    uint64_t submitted, completed, cancelled, refused, small_sync, at_once;
    uint64_t attached, detached, arms;
    uint64_t most_in_flight;
    char violation[256]; // of the caller's side of the contract; empty: none

    // Its own.
    struct drayi_env *env;
    uint64_t polls;
    bool is_open;
    int event_fd;
    struct backend_sim_pending {
        dray_op *op;
        uint64_t due;
        bool cancelled;
    } pending[BACKEND_SIM_OPS];
    uint32_t pending_count;
    dray_op *last_op;
    dray_op unknown_op;
} backend_sim;

extern backend_sim backend_sims[2];
extern const dray_backend_ops backend_sim_ops[2];

/// Honest, with no edge, its counters at zero.
void backend_sim_reset(backend_sim *sim, uint64_t seed);
/// Adds an edge: limits as given, id chosen here, everything else zero or 1.
dray_edge *backend_sim_edge(backend_sim *sim, dray_storage from, dray_storage to);

#endif
