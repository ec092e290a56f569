/// Shell-like patterns over tensor names: `*` any run, `?` one byte, `[a-c5]` and `[!a-c]` one byte of
/// (outside) a set, `\x` the byte x itself. A `*` crosses dots and slashes. Nothing recurses.
#ifndef DRAY_WEIGHTS_GLOB_H
#define DRAY_WEIGHTS_GLOB_H

#include "dray/base.h"

#include <stdbool.h>

/// DRAY_E_INVALID: a set that is not closed, or a `\` with nothing behind it.
dray_status drayi_glob_check(const char *pattern, dray_error *error);
/// The pattern must have passed the check. Time: at most pattern length times name length.
bool drayi_glob_match(const char *pattern, dray_text name);

#endif
