// A user's module in C: dray's header, no library.
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
DRAY_MODULE_EXPORT(add_one, add_one)
DRAY_MODULE_DOC(add_one, "the int that follows")
