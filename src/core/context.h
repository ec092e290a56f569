/// The context's inside door: tests open it with a table of system calls of their own.
#ifndef DRAY_CORE_CONTEXT_H
#define DRAY_CORE_CONTEXT_H

#include "base/env.h"
#include "os/os.h"

dray_status drayi_context_create_with(const dray_context_options *options, const drayi_os *os,
                                      dray_context **out_context, dray_error *error);

#endif
