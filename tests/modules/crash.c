/// A module that does not survive being loaded.
#include <dray/export.h>

__attribute__((constructor)) static void crash(void)
{
    __builtin_trap();
}

static int never(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count, (void)result;
    return 0;
}

DRAY_MODULE_EXPORT(never, never)
