/// A region of kind REMOTE whose peer is the backend itself: where network backends meet the contract suite.
#ifndef DRAY_TESTS_LOOPBACK_REMOTE_H
#define DRAY_TESTS_LOOPBACK_REMOTE_H

#include "backend_rig.h"

/// `memory` as a peer's region, reached through the rig's backend. Fails the test when that cannot be.
/// Everything made for it goes with the region.
dray_region *loopback_remote_open(backend_rig *rig, void *memory, uint64_t bytes);

#endif
