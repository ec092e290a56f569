/// A library that carries an import tree: itself, and a module of kind "letter" whose payload is "z".
#include <dray/export.h>

#define U64(n) n, 0, 0, 0, 0, 0, 0, 0

// clang-format off
__attribute__((visibility("default"))) const unsigned char __tvm_ffi__library_bin[] = {
    U64(83),                            // bytes that follow
    U64(3), U64(0), U64(1), U64(1),     // where imports begin
    U64(1), U64(1),                     // the imports
    U64(4), '_', 'l', 'i', 'b',         // module 0: this library
    U64(6), 'l', 'e', 't', 't', 'e', 'r', // module 1
    U64(1), 'z'};
// clang-format on

static int host(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(1);
    return 0;
}

DRAY_MODULE_EXPORT(host, host)
