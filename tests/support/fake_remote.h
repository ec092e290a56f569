/// A backend that reaches other agents, as far as their metadata: nothing is ever moved. For tests of how
/// agents find each other, on machines without a network library.
#ifndef DRAY_TESTS_FAKE_REMOTE_H
#define DRAY_TESTS_FAKE_REMOTE_H

#include "dray/spi/backend.h"
#include "dray/spi/remote.h"

/// Called "fake_remote".
extern const dray_backend_ops fake_remote_ops;

/// The guard that the peer connected last was given; -1: none. It is closed with its peer.
int fake_remote_guard(void);

#endif
