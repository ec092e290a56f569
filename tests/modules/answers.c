/// The usual module: functions that answer, fail aloud, fail in silence, answer nonsense, and make objects
/// that live on in the module's code.
#include <dray/export.h>

static int add_one(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    int64_t value;
    (void)handle;
    if (count != 1 || !dray_any_get_int(&arguments[0], &value))
        return dray_raise("TypeError", "add_one wants one int");
    *result = dray_any_int(value + 1);
    return 0;
}

static int echo(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    dray_byte_array text;
    (void)handle;
    if (count != 1)
        return dray_raise("TypeError", "echo wants one argument");
    if (dray_any_get_text(&arguments[0], &text))
        *result = dray_any_string(DRAY_TYPE_TEXT, text.data, text.size);
    else if (dray_any_get_bytes(&arguments[0], &text))
        *result = dray_any_string(DRAY_TYPE_BYTES, text.data, text.size);
    else
        *result = arguments[0];
    return 0;
}

static int half(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    double value;
    (void)handle;
    if (count != 1 || !dray_any_get_float(&arguments[0], &value))
        return dray_raise("TypeError", "half wants one number");
    *result = dray_any_float(value / 2);
    return 0;
}

static int fail_silently(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count, (void)result;
    return -1;
}

static int nonsense(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    result->type_index = 4711;
    result->as.bits = 0;
    return 0;
}

/// An object whose end is code of this module.
static int make_text(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_text("longer than seven bytes");
    return 0;
}

static int calls(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    static int64_t so_far;
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(++so_far);
    return 0;
}

DRAY_MODULE_EXPORT(add_one, add_one)
DRAY_MODULE_EXPORT(echo, echo)
DRAY_MODULE_EXPORT(half, half)
DRAY_MODULE_EXPORT(fail_silently, fail_silently)
DRAY_MODULE_EXPORT(nonsense, nonsense)
DRAY_MODULE_EXPORT(make_text, make_text)
DRAY_MODULE_EXPORT(calls, calls)
DRAY_MODULE_DOC(add_one, "the int that follows")
DRAY_MODULE_METADATA(add_one, "{\"pure\": true}")
