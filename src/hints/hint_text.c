/// Policies and locations in words, and back. The grammar:
///
///     policy   = "default" | term { "+" term }
///     term     = "reset" | "read-mostly" | "prefer-device:" N | "prefer-host" | "prefer-numa:" (N | "current")
///              | "accessed-by:" who { "," who }                 who = N | "host"
///     location = "device:" N | "host" | "numa:" (N | "current") | "none"
///
/// Each axis at most once. A number has no sign, no leading zero, and an end.
#include "hints/hint_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char term_words[] = "reset, read-mostly, prefer-device:N, prefer-host, prefer-numa:N, "
                                 "prefer-numa:current, accessed-by:N,N,host";

// --- printing ----------------------------------------------------------------------------------------

typedef struct words {
    char *out;
    size_t used;
} words;

static void DRAY_PRINTF(2, 3) put(words *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = DRAY_HINT_TEXT_BYTES - text->used;
    int wrote = vsnprintf(text->out + text->used, room, format, args);
    va_end(args);
    if (wrote > 0)
        text->used += (size_t)wrote < room ? (size_t)wrote : room - 1;
}

const char *dray_hint_place_name(dray_hint_place place)
{
    switch (place) {
    case DRAY_HINT_NOWHERE:
        return "none";
    case DRAY_HINT_DEVICE:
        return "device";
    case DRAY_HINT_HOST:
        return "host";
    case DRAY_HINT_HOST_NUMA:
        return "host_numa";
    case DRAY_HINT_CURRENT_NUMA:
        return "host_numa_current";
    }
    return "unknown";
}

static void put_location(words *text, dray_hint_location location)
{
    switch (location.place) {
    case DRAY_HINT_NOWHERE:
        put(text, "none");
        return;
    case DRAY_HINT_DEVICE:
        put(text, "device:%u", location.index);
        return;
    case DRAY_HINT_HOST:
        put(text, "host");
        return;
    case DRAY_HINT_HOST_NUMA:
        put(text, "numa:%u", location.index);
        return;
    case DRAY_HINT_CURRENT_NUMA:
        put(text, "numa:current");
        return;
    }
    put(text, "unknown");
}

const char *dray_hint_location_print(dray_hint_location location, char out[DRAY_HINT_TEXT_BYTES])
{
    words text = {.out = out};
    out[0] = 0;
    put_location(&text, location);
    return out;
}

static void put_processors(words *text, dray_hint_processors processors)
{
    const char *comma = "";
    for (uint32_t device = 0; device < DRAY_HINT_DEVICES_MAX; device++) {
        if (processors.devices >> device & 1) {
            put(text, "%s%u", comma, device);
            comma = ",";
        }
    }
    if (processors.host)
        put(text, "%shost", comma);
}

const char *dray_hint_policy_print(const dray_hint_policy *policy, char out[DRAY_HINT_TEXT_BYTES])
{
    words text = {.out = out};
    out[0] = 0;
    const char *plus = "";
    if (policy->reset) {
        put(&text, "reset");
        plus = "+";
    }
    if (policy->read_mostly) {
        put(&text, "%sread-mostly", plus);
        plus = "+";
    }
    if (policy->preferred.place != DRAY_HINT_NOWHERE) {
        put(&text, "%sprefer-", plus);
        put_location(&text, policy->preferred);
        plus = "+";
    }
    if (!drayi_hint_nobody(policy->accessed_by)) {
        put(&text, "%saccessed-by:", plus);
        put_processors(&text, policy->accessed_by);
        plus = "+";
    }
    if (!plus[0])
        put(&text, "default");
    return out;
}

// --- parsing -----------------------------------------------------------------------------------------

typedef struct reader {
    const char *start, *at;
    dray_error *error;
} reader;

static dray_status wrong(const reader *text, const char *accepted)
{
    const char *near = text->at;
    return dray_fail_rule(text->error, DRAY_E_FORMAT, "hints.words", (uint64_t)(near - text->start),
                          "\"%.80s\": at \"%.24s\" (position %zu) there can be: %s", text->start,
                          near, (size_t)(near - text->start), accepted);
}

static dray_status twice(const reader *text, const char *what)
{
    return dray_fail_rule(text->error, DRAY_E_FORMAT, "hints.words.twice",
                          (uint64_t)(text->at - text->start), "\"%.80s\": %s stands there twice",
                          text->start, what);
}

/// Takes `word` when it stands there.
static bool take(reader *text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(text->at, word, length) != 0)
        return false;
    text->at += length;
    return true;
}

/// The same for a word that has to end there.
static bool take_whole(reader *text, const char *word, const char *ends)
{
    size_t length = strlen(word);
    if (strncmp(text->at, word, length) != 0)
        return false;
    char next = text->at[length];
    if (next && !strchr(ends, next))
        return false;
    text->at += length;
    return true;
}

/// A number below `limit`.
static dray_status take_number(reader *text, uint32_t limit, const char *what, uint32_t *out)
{
    const char *at = text->at;
    uint32_t number = 0;
    size_t digits = 0;
    for (; at[digits] >= '0' && at[digits] <= '9' && digits < 5; digits++)
        number = number * 10 + (uint32_t)(at[digits] - '0');
    bool leading_zero = at[0] == '0' && digits > 1;
    if (digits == 0 || digits == 5 || leading_zero || number >= limit) {
        char accepted[64];
        snprintf(accepted, sizeof(accepted), "%s, 0 to %u", what, limit - 1);
        return wrong(text, accepted);
    }
    text->at += digits;
    *out = number;
    return DRAY_OK;
}

/// What stands behind "prefer-", or the whole of a location.
static dray_status take_location(reader *text, dray_hint_location *out, const char *accepted)
{
    dray_hint_location location = {0};
    if (take(text, "device:")) {
        location.place = DRAY_HINT_DEVICE;
        DRAY_TRY(take_number(text, DRAY_HINT_DEVICES_MAX, "a device", &location.index));
    } else if (take_whole(text, "host", "+")) {
        location.place = DRAY_HINT_HOST;
    } else if (take(text, "numa:")) {
        if (take_whole(text, "current", "+")) {
            location.place = DRAY_HINT_CURRENT_NUMA;
        } else {
            location.place = DRAY_HINT_HOST_NUMA;
            DRAY_TRY(
                take_number(text, DRAY_HINT_NODES_MAX, "a node or \"current\"", &location.index));
        }
    } else {
        return wrong(text, accepted);
    }
    *out = location;
    return DRAY_OK;
}

static dray_status take_processors(reader *text, dray_hint_processors *out)
{
    do {
        if (take_whole(text, "host", ",+")) {
            if (out->host)
                return twice(text, "the host");
            out->host = 1;
            continue;
        }
        uint32_t device;
        DRAY_TRY(take_number(text, DRAY_HINT_DEVICES_MAX, "\"host\" or a device", &device));
        if (out->devices >> device & 1)
            return twice(text, "a device");
        out->devices |= UINT64_C(1) << device;
    } while (take(text, ","));
    return DRAY_OK;
}

static dray_status take_term(reader *text, dray_hint_policy *policy)
{
    if (take_whole(text, "reset", "+")) {
        if (policy->reset)
            return twice(text, "reset");
        policy->reset = 1;
        return DRAY_OK;
    }
    if (take_whole(text, "read-mostly", "+")) {
        if (policy->read_mostly)
            return twice(text, "read-mostly");
        policy->read_mostly = 1;
        return DRAY_OK;
    }
    if (take(text, "prefer-")) {
        if (policy->preferred.place != DRAY_HINT_NOWHERE)
            return twice(text, "a preferred location");
        return take_location(text, &policy->preferred, "device:N, host, numa:N, numa:current");
    }
    if (take(text, "accessed-by:")) {
        if (!drayi_hint_nobody(policy->accessed_by))
            return twice(text, "accessed-by");
        return take_processors(text, &policy->accessed_by);
    }
    return wrong(text, term_words);
}

dray_status dray_hint_policy_parse(const char *given, dray_hint_policy *out_policy,
                                   dray_error *error)
{
    reader text = {.start = given, .at = given, .error = error};
    dray_hint_policy policy = {0};
    if (strcmp(given, "default") != 0) {
        do
            DRAY_TRY(take_term(&text, &policy));
        while (take(&text, "+"));
        if (*text.at)
            return wrong(&text, "+, or the end");
    }
    *out_policy = policy;
    return DRAY_OK;
}

dray_status dray_hint_location_parse(const char *given, dray_hint_location *out_location,
                                     dray_error *error)
{
    reader text = {.start = given, .at = given, .error = error};
    dray_hint_location location = {0};
    if (strcmp(given, "none") != 0) {
        DRAY_TRY(take_location(&text, &location, "device:N, host, numa:N, numa:current, none"));
        if (*text.at)
            return wrong(&text, "the end");
    }
    *out_location = location;
    return DRAY_OK;
}
