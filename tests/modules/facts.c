/// A shared object that does everything that one should not, for those who read what it is about to do:
/// an own name, a search path, a library it needs, initial-exec TLS, an executable stack, code at load.
#include <math.h>

__attribute__((visibility("default"), tls_model("initial-exec"))) __thread int facts_calls;

int __tvm_ffi_root(void *handle, const void *arguments, int count, void *result);
int __tvm_ffi__doc_root(void *handle, const void *arguments, int count, void *result);
extern volatile double facts_input;
volatile double facts_input = 2;

__attribute__((constructor)) static void facts_begin(void)
{
    facts_calls = 1;
}

__attribute__((visibility("default"))) int __tvm_ffi_root(void *handle, const void *arguments,
                                                          int count, void *result)
{
    (void)handle, (void)arguments, (void)count, (void)result;
    facts_input = sqrt(facts_input + facts_calls++);
    return 0;
}

__attribute__((visibility("default"))) int __tvm_ffi__doc_root(void *handle, const void *arguments,
                                                               int count, void *result)
{
    return __tvm_ffi_root(handle, arguments, count, result);
}
