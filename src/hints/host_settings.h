/// What can be set on host memory, as this process's page tables tell it: dray_hint_state.own of the host.
#ifndef DRAY_HINTS_HOST_SETTINGS_H
#define DRAY_HINTS_HOST_SETTINGS_H

typedef enum drayi_host_setting {
    DRAYI_HOST_LOCKED = 1 << 0,
    DRAYI_HOST_SEQUENTIAL = 1 << 1,
    DRAYI_HOST_RANDOM = 1 << 2,
    DRAYI_HOST_READ_AHEAD = DRAYI_HOST_SEQUENTIAL | DRAYI_HOST_RANDOM,
    DRAYI_HOST_HUGE = 1 << 3,    // asked for
    DRAYI_HOST_NO_HUGE = 1 << 4, // forbidden
    DRAYI_HOST_BOUND = 1 << 5    // has a NUMA policy of its own
} drayi_host_setting;

/// Indices of dray_hint_state.own.
enum {
    DRAYI_HOST_ALL = 0,    // settings that all of the range has
    DRAYI_HOST_ANY = 1,    // settings that some of it has
    DRAYI_HOST_POLICY = 2, // MPOL_... of its first page
    DRAYI_HOST_NODES = 3   // nodes 0 to 63 of that policy
};

#endif
