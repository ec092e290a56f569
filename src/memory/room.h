/// Is there memory for this? Asked before memory is touched, because nobody gets an error afterwards:
/// the kernel kills instead.
#ifndef DRAY_MEMORY_ROOM_H
#define DRAY_MEMORY_ROOM_H

#include "base/env.h"

/// DRAY_E_NOMEM when `bytes` are more than the machine, or the cgroup, has available now; with both
/// numbers. Small sizes are not looked up. `what` begins the message.
dray_status drayi_room_check(drayi_env *env, uint64_t bytes, const char *what, dray_error *error);

#endif
