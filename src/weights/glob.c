/// One pass with one place to come back to: behind the last `*`, because an earlier one can never match
/// more by giving way than the last one can.
#include "weights/glob.h"

#include "dray/weights.h"

#include <stddef.h>

typedef unsigned char byte;

/// End of the set that begins behind `[`, or NULL. A `]` that stands first is a member.
static const char *set_end(const char *at)
{
    if (*at == '!' || *at == '^')
        at++;
    if (*at == ']')
        at++;
    for (; *at; at++) {
        if (*at == ']')
            return at;
        if (*at == '\\' && at[1])
            at++;
    }
    return NULL;
}

static byte set_member(const char **at)
{
    if (**at == '\\')
        ++*at;
    return (byte) * (*at)++;
}

/// Is `value` in the set [at, end)?
static bool set_has(const char *at, const char *end, byte value)
{
    bool outside = *at == '!' || *at == '^';
    at += outside;
    bool found = false;
    while (at < end) {
        byte low = set_member(&at), high = low;
        if (end - at >= 2 && *at == '-') {
            at++;
            high = set_member(&at);
        }
        found |= low <= value && value <= high;
    }
    return found != outside;
}

dray_status drayi_glob_check(const char *pattern, dray_error *error)
{
    for (const char *at = pattern; *at; at++) {
        const char *end = at + 1;
        if (*at == '[')
            end = set_end(at + 1);
        else if (*at != '\\')
            continue;
        if (!end || !*end)
            return dray_fail(error, DRAY_E_INVALID, "pattern \"%s\": the %s at %td %s", pattern,
                             *at == '[' ? "set" : "backslash", at - pattern,
                             *at == '[' ? "has no ]" : "has nothing behind it");
        at = end;
    }
    return DRAY_OK;
}

/// Does one pattern element match `value`? Moves behind the element when it does.
static bool element_match(const char **pattern, byte value)
{
    const char *at = *pattern;
    if (*at == '[') {
        const char *end = set_end(at + 1);
        if (!set_has(at + 1, end, value))
            return false;
        *pattern = end + 1;
        return true;
    }
    if (*at == '\\')
        at++;
    else if (*at == '?')
        value = '?';
    if (*at == '\0' || (byte)*at != value)
        return false;
    *pattern = at + 1;
    return true;
}

bool drayi_glob_match(const char *pattern, dray_text name)
{
    const char *star = NULL; // behind the last `*`
    uint64_t at = 0, star_at = 0;
    while (at < name.length) {
        if (*pattern == '*') {
            star = ++pattern;
            star_at = at;
        } else if (element_match(&pattern, (byte)name.bytes[at])) {
            at++;
        } else if (star) {
            pattern = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

dray_status dray_tensor_pattern_check(const char *pattern, dray_error *error)
{
    return pattern ? drayi_glob_check(pattern, error) : DRAY_OK;
}

bool dray_tensor_matches(const dray_tensor *tensor, const char *checked_pattern)
{
    return !checked_pattern || drayi_glob_match(checked_pattern, tensor->name);
}
