/// A module that asks for a function that nobody has.
#include <dray/export.h>

int nobody_has_this(void);

static int ask(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(nobody_has_this());
    return 0;
}

DRAY_MODULE_EXPORT(ask, ask)
