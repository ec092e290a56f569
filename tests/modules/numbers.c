/// A module as its author writes it: with dray/export.h and nothing else.
#include "dray/export.h"

static int add_one(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    int64_t value;
    (void)handle;
    if (count != 1 || !dray_any_get_int(&arguments[0], &value))
        return dray_raise("TypeError", "add_one wants one int");
    *result = dray_any_int(value + 1);
    return 0;
}
DRAY_MODULE_EXPORT(add_one, add_one)
DRAY_MODULE_DOC(add_one, "the int that follows")
DRAY_MODULE_METADATA(add_one, "{\"arguments\": [\"int\"]}")

/// Text of any length comes back with itself behind it.
static int twice(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    dray_byte_array text;
    (void)handle;
    if (count != 1 || !dray_any_get_text(&arguments[0], &text))
        return dray_raise("TypeError", "twice wants one text");
    char *both = malloc(2 * text.size + 1);
    memcpy(both, text.data, text.size);
    memcpy(both + text.size, text.data, text.size);
    *result = dray_any_string(DRAY_TYPE_TEXT, both, 2 * text.size);
    free(both);
    return 0;
}
DRAY_MODULE_EXPORT(twice, twice)

static int fail(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count, (void)result;
    return dray_raise("ValueError", "it was asked to fail");
}
DRAY_MODULE_EXPORT(fail, fail)

static int fail_silently(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count, (void)result;
    return -1;
}
DRAY_MODULE_EXPORT(fail_silently, fail_silently)

/// What was given to it.
static int count_arguments(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments;
    *result = dray_any_int(count);
    return 0;
}
DRAY_MODULE_EXPORT(count_arguments, count_arguments)
