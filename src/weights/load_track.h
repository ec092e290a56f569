/// Which tensors are complete: pieces arrive in any order, units end when all their pieces are there,
/// and with a manifest a unit is complete only when the pool has hashed it where it lies.
#ifndef DRAY_WEIGHTS_LOAD_TRACK_H
#define DRAY_WEIGHTS_LOAD_TRACK_H

#include "os/pool.h"
#include "weights/load.h"

#include <pthread.h>

typedef struct drayi_track drayi_track;

/// Hashing of one unit.
typedef struct drayi_check {
    drayi_job job; // first: the pool hands back a pointer to it
    drayi_track *track;
    struct drayi_check *next; // guarded by track->lock
    const uint8_t *bytes;
    drayi_hash expected;
    uint32_t unit;
    bool matches; // written by the job before it enters the list
} drayi_check;

/// Threads: everything in the loading thread; jobs only push to the list. Must not move.
struct drayi_track {
    drayi_load *load;
    uint32_t *unit_left;   // pieces to come, per unit
    uint32_t *tensor_left; // units to come, per wanted tensor
    drayi_check *checks;   // per unit; NULL: nothing is hashed here
    bool checked_elsewhere;
    drayi_latch latch; // checks in flight
    pthread_mutex_t lock;
    drayi_check *ended;     // guarded by lock
    uint64_t verified;      // units that matched
    const drayi_check *bad; // the first that did not
};

/// `base`: first byte of the destination, for hashing. NULL: units that a manifest knows are complete
/// only when drayi_track_unit_checked() says so. Empty units are complete at once.
dray_status drayi_track_init(drayi_track *track, drayi_load *load, const uint8_t *base,
                             dray_error *error);
/// All bytes of this piece are there.
void drayi_track_piece_done(drayi_track *track, uint64_t piece);
/// A unit that was hashed elsewhere matches.
void drayi_track_unit_checked(drayi_track *track, uint32_t unit);
/// Takes in the hashes that ended meanwhile. DRAY_E_CORRUPT names the first that does not match.
dray_status drayi_track_drain(drayi_track *track, dray_error *error);
/// Waits for every hash in flight, then drains.
dray_status drayi_track_finish(drayi_track *track, dray_error *error);
/// Waits for hashes in flight. A zeroed track is accepted.
void drayi_track_free(drayi_track *track);

#endif
