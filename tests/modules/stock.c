/// A module as compilers of the field make them: the ABI's names, undefined, and no library named that has
/// them; a context slot; a function of its imports by name.
#include "dray/ffi.h"

#define EXPORT __attribute__((visibility("default")))

void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);
int TVMFFIEnvModLookupFromImports(void *context, const char *name, dray_object **out);
int TVMFFIFunctionCall(dray_object *function, const dray_any *arguments, int32_t count,
                       dray_any *result);
int TVMFFIStringFromByteArray(const dray_byte_array *input, dray_any *out);
const void *TVMFFIGetTypeInfo(int32_t type_index);
int32_t TVMFFITypeGetOrAllocIndex(const dray_byte_array *key, int32_t static_index, int32_t depth,
                                  int32_t slots, int32_t overflow, int32_t parent);

EXPORT void *__tvm_ffi__library_ctx;

EXPORT int __tvm_ffi_fail(void *handle, const dray_any *arguments, int32_t count, dray_any *result);
EXPORT int __tvm_ffi_fail(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count, (void)result;
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", "raised through an undefined symbol");
    return -1;
}

EXPORT int __tvm_ffi_call_import(void *handle, const dray_any *arguments, int32_t count,
                                 dray_any *result);
EXPORT int __tvm_ffi_call_import(void *handle, const dray_any *arguments, int32_t count,
                                 dray_any *result)
{
    dray_object *function = NULL;
    (void)handle;
    if (TVMFFIEnvModLookupFromImports(__tvm_ffi__library_ctx, "add_one", &function) != 0)
        return -1;
    return TVMFFIFunctionCall(function, arguments, count, result);
}

EXPORT int __tvm_ffi_greet(void *handle, const dray_any *arguments, int32_t count, dray_any *result);
EXPORT int __tvm_ffi_greet(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    static const char text[] = "good morning to everybody";
    const dray_byte_array bytes = {text, sizeof(text) - 1};
    (void)handle, (void)arguments, (void)count;
    return TVMFFIStringFromByteArray(&bytes, result);
}

/// 1: everything the table of types says agrees with itself.
EXPORT int __tvm_ffi_types(void *handle, const dray_any *arguments, int32_t count, dray_any *result);
EXPORT int __tvm_ffi_types(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    static const dray_byte_array parent = {"test.Parent", 11}, child = {"test.Child", 10};
    (void)handle, (void)arguments, (void)count;
    int32_t one = TVMFFITypeGetOrAllocIndex(&parent, -1, 1, 2, 1, DRAY_TYPE_OBJECT);
    int32_t two = TVMFFITypeGetOrAllocIndex(&child, -1, 2, 0, 0, one);
    int32_t again = TVMFFITypeGetOrAllocIndex(&parent, -1, 1, 2, 1, DRAY_TYPE_OBJECT);
    int sound = one >= DRAY_TYPE_DYNAMIC && one == again && two > one && two <= one + 2;
    sound &= TVMFFIGetTypeInfo(two) != NULL && TVMFFIGetTypeInfo(-7) != NULL &&
             TVMFFIGetTypeInfo(123456789) != NULL;
    *result = dray_any_bool(sound);
    return 0;
}
