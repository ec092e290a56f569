/// Two modules of one soname that answer 1 and 2 (see tests/CMakeLists.txt).
#include <dray/export.h>

static int who(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(WHO);
    return 0;
}

DRAY_MODULE_EXPORT(who, who)

/// Where a library keeps its module's address.
__attribute__((visibility("default"))) void *__tvm_ffi__library_ctx;

static int context_set(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_bool(__tvm_ffi__library_ctx != NULL);
    return 0;
}

DRAY_MODULE_EXPORT(context_set, context_set)
