/// A backend on its own: opened on a context, driven through its table as the agent would.
#ifndef DRAY_TESTS_BACKEND_RIG_H
#define DRAY_TESTS_BACKEND_RIG_H

#include "core/context.h"
#include "dray/memory.h"
#include "dray/spi/backend.h"

typedef struct backend_rig {
    dray_context *context;
    const dray_backend_ops *ops;
    dray_backend *backend;
    const drayi_os *os;
} backend_rig;

/// allocator may be NULL. `error` as from the failing call; a failed rig needs no close.
dray_status backend_rig_open(backend_rig *rig, const dray_backend_ops *ops, const drayi_os *os,
                             const dray_allocator *allocator, uint32_t threads, dray_error *error);
void backend_rig_close(backend_rig *rig);

/// Submits all and polls, sleeping on the backend's fd, until all came back; fails the test when one
/// comes back twice, a stranger comes back, or nothing happens for ten seconds.
void backend_rig_run(backend_rig *rig, dray_op *ops, uint32_t count);

/// The edge of the backend with these kinds and exactly these flags; fails the test when there is none.
dray_edge backend_rig_edge(backend_rig *rig, dray_storage from, dray_storage to, uint32_t flags);

/// Bytes that differ by position, and their check: position of the first wrong byte, or DRAY_UNKNOWN.
void backend_rig_fill(uint8_t *bytes, uint64_t count, uint64_t position);
uint64_t backend_rig_first_wrong(const uint8_t *bytes, uint64_t count, uint64_t position);

/// A new file of `count` such bytes, by path (256 bytes) in `folder`; NULL: $TMPDIR or /tmp.
void backend_rig_file(const char *folder, uint64_t count, char *out_path);

#endif
