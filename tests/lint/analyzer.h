// Read by clang-tidy before every source but src/base/error.c (see the Makefile): the analyzer looks at
// one source at a time and cannot see that dray_fail() and its sisters never return DRAY_OK. Without
// this, it follows every failing call as if it had gone well.
#include "dray/base.h"

static inline dray_status analyzer_failed(dray_status status)
{
    if (status == DRAY_OK)
        __builtin_unreachable();
    return status;
}

#define dray_fail(...) analyzer_failed(dray_fail(__VA_ARGS__))
#define dray_fail_rule(...) analyzer_failed(dray_fail_rule(__VA_ARGS__))
#define dray_fail_os(...) analyzer_failed(dray_fail_os(__VA_ARGS__))
#define dray_fail_within(...) analyzer_failed(dray_fail_within(__VA_ARGS__))
