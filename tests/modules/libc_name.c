/// A module that would be taken for the C library.
#include <dray/export.h>

static int mine(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(1);
    return 0;
}

DRAY_MODULE_EXPORT(mine, mine)
