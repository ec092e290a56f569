// Read by clang-tidy before every source but src/base/error.c (see the Makefile): the analyzer looks at
// one source at a time and cannot see that dray_fail() and its sisters never return DRAY_OK. Without
// this, it follows every failing call as if it had gone well.
#include "dray/base.h"

// An expression and no function: into functions the analyzer looks only some levels deep.
#pragma clang diagnostic ignored "-Wunused-value"
#define ANALYZER_FAILED(call) __extension__((call) ?: (__builtin_unreachable(), DRAY_E_INTERNAL))

#define dray_fail(...) ANALYZER_FAILED(dray_fail(__VA_ARGS__))
#define dray_fail_rule(...) ANALYZER_FAILED(dray_fail_rule(__VA_ARGS__))
#define dray_fail_os(...) ANALYZER_FAILED(dray_fail_os(__VA_ARGS__))
#define dray_fail_within(...) ANALYZER_FAILED(dray_fail_within(__VA_ARGS__))
