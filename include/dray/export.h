/// dray/export.h: what the source of a module includes: no library is needed, at build time or later.
///
///     static int add_one(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
///     {
///         int64_t value;
///         if (count != 1 || !dray_any_get_int(&arguments[0], &value))
///             return dray_raise("TypeError", "add_one wants one int");
///         *result = dray_any_int(value + 1);
///         return 0;
///     }
///     DRAY_MODULE_EXPORT(add_one, add_one)
///     DRAY_MODULE_DOC(add_one, "the int that follows")
///
/// Build it as a shared object: `cc -shared -fPIC -fvisibility=hidden -o m.so m.c`. The exported symbol
/// is "__tvm_ffi_<name>", so that libtvm_ffi loads the same file. The macros stand at file scope, in C
/// or C++, and survive -fvisibility=hidden, -flto and --gc-sections.
///
/// Errors: dray_raise() hands kind and message to whoever loaded the module, through a pointer that the
/// loader fills in (a "context symbol" of the ABI), or else through libtvm_ffi's function where the
/// process shows it to everybody, as its Python package does. Without either, as after a plain dlopen(),
/// calls still fail, without a text.
#ifndef DRAY_EXPORT_H
#define DRAY_EXPORT_H

#include "dray/ffi.h"

#ifdef __cplusplus
#define DRAY_EXTERN_C extern "C"
#else
#define DRAY_EXTERN_C extern
#endif

#if defined(__has_attribute)
#if __has_attribute(retain) && !defined(__clang_analyzer__)
#define DRAY_RETAIN retain,
#endif
#endif
#ifndef DRAY_RETAIN
#define DRAY_RETAIN
#endif
#define DRAY_VISIBLE __attribute__((DRAY_RETAIN used, visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif
/// Weak: the sources of one module share one. NULL until a loader has filled it in.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name is the ABI's
__attribute__((weak,
               visibility("default"))) void (*__TVMFFIErrorSetRaisedFromCStr)(const char *kind,
                                                                              const char *message);
/// Weak: NULL in a process that has none.
__attribute__((weak)) void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);
#ifdef __cplusplus
}
#endif

/// Raises an error (both texts are copied) and returns -1: `return dray_raise("ValueError", "...")`.
static inline int dray_raise(const char *kind, const char *message)
{
    if (__TVMFFIErrorSetRaisedFromCStr)
        __TVMFFIErrorSetRaisedFromCStr(kind, message);
    else if (TVMFFIErrorSetRaisedFromCStr)
        TVMFFIErrorSetRaisedFromCStr(kind, message);
    return -1;
}

/// Exports `function` (a dray_safe_call) as `name`.
#define DRAY_MODULE_EXPORT(name, function)                                                         \
    DRAY_EXTERN_C DRAY_VISIBLE int __tvm_ffi_##name(void *handle, const dray_any *arguments,       \
                                                    int32_t count, dray_any *result);              \
    int __tvm_ffi_##name(void *handle, const dray_any *arguments, int32_t count, dray_any *result) \
    {                                                                                              \
        return function(handle, arguments, count, result);                                         \
    }

/// What `name` does, for dray_module_function_doc().
#define DRAY_MODULE_DOC(name, text) DRAY_MODULE_TEXT_(__tvm_ffi__doc_##name, text)
/// Facts about `name` for machines, JSON by custom, for dray_module_function_metadata().
#define DRAY_MODULE_METADATA(name, text) DRAY_MODULE_TEXT_(__tvm_ffi__metadata_##name, text)

#define DRAY_MODULE_TEXT_(symbol, text)                                                           \
    DRAY_EXTERN_C DRAY_VISIBLE int symbol(void *handle, const dray_any *arguments, int32_t count, \
                                          dray_any *result);                                      \
    int symbol(void *handle, const dray_any *arguments, int32_t count, dray_any *result)          \
    {                                                                                             \
        (void)handle;                                                                             \
        (void)arguments;                                                                          \
        (void)count;                                                                              \
        *result = dray_any_text(text);                                                            \
        return result->type_index == DRAY_TYPE_NONE ? dray_raise("MemoryError", #symbol) : 0;     \
    }

#endif
