/// See hint_options.h: the library reads its own words.
#include "hint_options.h"

#include "text.h"
#include <dray/dray.h>

#include <stdlib.h>
#include <string.h>

/// The words may hold anything a person typed.
static bool refuse(option_problem *problem, const char *name, const dray_error *error)
{
    char *safe = text_safe(error->message, strlen(error->message));
    option_wrong(problem, "--%s: %s", name, safe);
    free(safe);
    return false;
}

bool option_hint_policy(const char *text, void *field, option_problem *problem)
{
    dray_error error;
    if (dray_hint_policy_parse(text, field, &error) != DRAY_OK)
        return refuse(problem, "policy", &error);
    return true;
}

bool option_hint_location(const char *text, void *field, option_problem *problem)
{
    dray_error error;
    if (dray_hint_location_parse(text, field, &error) != DRAY_OK)
        return refuse(problem, "prefetch", &error);
    return true;
}
