// A module exactly as users of tvm-ffi write theirs.
#include <string>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

namespace
{

int64_t add_one(int64_t value)
{
    if (value == 13)
        TVM_FFI_THROW(ValueError) << "thirteen brings bad luck";
    return value + 1;
}

tvm::ffi::String greet(tvm::ffi::String name)
{
    return "good morning, " + std::string(name);
}

} // namespace

TVM_FFI_DLL_EXPORT_TYPED_FUNC(add_one, add_one);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(greet, greet);
