/// Locking memory, with the sentence a person needs when the system refuses it.
#ifndef DRAY_MEMORY_LOCK_H
#define DRAY_MEMORY_LOCK_H

#include "base/env.h"

#include <stdbool.h>

/// Locks the pages of [at, at + bytes). `what` stands in the message ("model.gguf", "memory").
/// DRAY_E_NOMEM: the limit of lockable memory is too small; the message names it, what was wanted, and
/// how to raise it. `on_fault`: pages are locked as they are touched.
dray_status drayi_lock(drayi_env *env, void *at, uint64_t bytes, bool on_fault, const char *what,
                       dray_error *error);

#endif
