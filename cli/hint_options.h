/// cli/hint_options: values of options that speak of hints.
#ifndef DRAY_CLI_HINT_OPTIONS_H
#define DRAY_CLI_HINT_OPTIONS_H

#include "options.h"

#define HINT_POLICY_HELP                                                                  \
    "default, reset, or axes joined by '+': read-mostly, prefer-device:N, prefer-host,\n" \
    "prefer-numa:N, prefer-numa:current, accessed-by:N,N,host; reset+... unsets the rest"

bool option_hint_policy(const char *text, void *field,
                        option_problem *problem); ///< dray_hint_policy
bool option_hint_location(const char *text, void *field,
                          option_problem *problem); ///< dray_hint_location

#endif
