/// A module that makes objects: their ends are its code.
#include "dray/export.h"

static int make(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_text("long enough for an object");
    return 0;
}
DRAY_MODULE_EXPORT(make, make)

static void closure_end(void *self, int flags)
{
    if (flags & DRAY_DELETE_WEAK)
        dray_ffi_free(self);
}

static int closure_call(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(77);
    return 0;
}

/// A function: it may make objects of its own that nobody sees.
static int make_function(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    dray_function_object *function = dray_ffi_alloc(sizeof(*function));
    function->head.count = DRAY_OBJECT_FRESH;
    function->head.type_index = DRAY_TYPE_FUNCTION;
    function->head.deleter = closure_end;
    function->call = closure_call;
    *result = dray_any_take(&function->head);
    return 0;
}
DRAY_MODULE_EXPORT(make_function, make_function)
