/// The fault guard: a SIGBUS on bytes that somebody guards becomes an error in the thread that read them.
///
/// Threads: any. The handler is process-wide and counted (dray_fault_guard_install, declared in
/// dray/model_data.h); guarded sections are per thread and nest.
#ifndef DRAY_MEMORY_FAULT_GUARD_H
#define DRAY_MEMORY_FAULT_GUARD_H

#include "dray/base.h"

#include <stdbool.h>

bool drayi_guard_installed(void);

/// Runs `body(self, error)`. A SIGBUS on [at, at + bytes) inside it ends the body by longjmp: then the
/// result is DRAY_E_IO and *out_fault_offset the offset of the byte behind `at` (DRAY_UNKNOWN: no fault).
/// `error` is left to the caller in that case. DRAY_E_INVALID: the guard is not installed.
dray_status drayi_guard_run(const void *at, uint64_t bytes,
                            dray_status (*body)(void *self, dray_error *error), void *self,
                            uint64_t *out_fault_offset, dray_error *error);

#endif
