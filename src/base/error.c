/// Errors: written once, by the function that knows; callers only prepend where.
///
/// Every writer fills the whole struct, so that an error never carries a field of an older failure.
#include "dray/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(dray_error) == 512, "dray_error is part of the ABI");

const char *dray_version(void)
{
    return "0.1.0";
}

const char *dray_status_name(dray_status status)
{
    static const char *const names[] = {
        [DRAY_OK] = "ok",
        [DRAY_E_INVALID] = "invalid",
        [DRAY_E_NOMEM] = "nomem",
        [DRAY_E_NOSPACE] = "nospace",
        [DRAY_E_NOTFOUND] = "notfound",
        [DRAY_E_FORMAT] = "format",
        [DRAY_E_UNSUPPORTED] = "unsupported",
        [DRAY_E_IO] = "io",
        [DRAY_E_BUSY] = "busy",
        [DRAY_E_TIMEOUT] = "timeout",
        [DRAY_E_CANCELLED] = "cancelled",
        [DRAY_E_DEVICE] = "device",
        [DRAY_E_CORRUPT] = "corrupt",
        [DRAY_E_INTERNAL] = "internal",
        [DRAY_E_FAILED] = "failed",
    };
    size_t index = (size_t)status;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "unknown";
}

static void error_write(dray_error *error, dray_status status, const char *format, va_list args)
{
    memset(error, 0, sizeof(*error));
    error->status = status;
    error->offset = DRAY_UNKNOWN;
    error->index = DRAY_UNKNOWN;
    vsnprintf(error->message, sizeof(error->message), format, args);
}

dray_status dray_fail(dray_error *error, dray_status status, const char *format, ...)
{
    if (!error)
        return status;
    va_list args;
    va_start(args, format);
    error_write(error, status, format, args);
    va_end(args);
    return status;
}

dray_status dray_fail_rule(dray_error *error, dray_status status, const char *rule, uint64_t offset,
                           const char *format, ...)
{
    if (!error)
        return status;
    va_list args;
    va_start(args, format);
    error_write(error, status, format, args);
    va_end(args);
    error->rule = rule;
    error->offset = offset;
    return status;
}

static dray_status status_from_errno(int code)
{
    switch (code) {
    case ENOMEM:
        return DRAY_E_NOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return DRAY_E_NOSPACE;
    case ENOENT:
    case ENOTDIR:
        return DRAY_E_NOTFOUND;
    case ENOSYS:
    case EOPNOTSUPP:
        return DRAY_E_UNSUPPORTED;
    case EBUSY:
        return DRAY_E_BUSY;
    case ETIMEDOUT:
    case ETIME:
        return DRAY_E_TIMEOUT;
    case ECANCELED:
        return DRAY_E_CANCELLED;
    default:
        return DRAY_E_IO;
    }
}

dray_status dray_fail_os(dray_error *error, int native_code, const char *origin, const char *format,
                         ...)
{
    dray_status status = status_from_errno(native_code);
    if (!error)
        return status;
    va_list args;
    va_start(args, format);
    error_write(error, status, format, args);
    va_end(args);
    error->native_code = native_code;
    error->origin = origin;
    char cause[96];
    const char *text =
        strerror_r(native_code, cause, sizeof(cause)); // the GNU variant: may not use `cause`
    char whole[sizeof(error->message)];
    size_t room = sizeof(whole) - strlen(text) - 3;
    snprintf(whole, sizeof(whole), "%.*s: %s", (int)room, error->message, text);
    memcpy(error->message, whole, sizeof(whole));
    return status;
}

/// Joins where and what; when both do not fit, the middle of the *where* gives way to "...".
static void message_join(char *out, size_t room, const char *where, const char *what)
{
    size_t where_length = strlen(where), what_length = strlen(what);
    if (where_length + what_length + 3 <= room) {
        snprintf(out, room, "%s: %s", where, what);
        return;
    }
    // Keep the two ends of the where, and the tail of the what: the cause stands last in both.
    size_t kept = room > what_length + 6 ? room - what_length - 6 : 0; // "..." + ": " + NUL
    size_t head = kept / 2, tail = kept - head;
    if (what_length + 6 > room)
        what += what_length + 6 - room;
    snprintf(out, room, "%.*s...%s: %s", (int)head, where, where + where_length - tail, what);
}

dray_status dray_fail_within(dray_error *error, dray_status status, const char *format, ...)
{
    if (!error)
        return status;
    char where[sizeof(error->message)], whole[sizeof(error->message)];
    va_list args;
    va_start(args, format);
    vsnprintf(where, sizeof(where), format, args);
    va_end(args);
    message_join(whole, sizeof(whole), where, error->message);
    memcpy(error->message, whole, sizeof(whole));
    return status;
}
