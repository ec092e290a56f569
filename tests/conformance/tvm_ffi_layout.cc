// Every layout and number of dray/ffi.h against the header of tvm-ffi itself.
#include <dray/ffi.h>

#include <cstddef>
#include <tvm/ffi/c_api.h>

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs), #ours)
#define SAME_PLACE(ours, ours_field, theirs, theirs_field)                      \
    static_assert(offsetof(ours, ours_field) == offsetof(theirs, theirs_field), \
                  #ours "." #ours_field)
#define SAME_NUMBER(ours, theirs) static_assert(int(ours) == int(theirs), #ours)

SAME_SIZE(dray_any, TVMFFIAny);
SAME_PLACE(dray_any, type_index, TVMFFIAny, type_index);
SAME_PLACE(dray_any, small_length, TVMFFIAny, small_str_len);
SAME_PLACE(dray_any, as, TVMFFIAny, v_int64);
SAME_SIZE(dray_object, TVMFFIObject);
SAME_PLACE(dray_object, count, TVMFFIObject, combined_ref_count);
SAME_PLACE(dray_object, type_index, TVMFFIObject, type_index);
SAME_PLACE(dray_object, deleter, TVMFFIObject, deleter);
SAME_SIZE(dray_byte_array, TVMFFIByteArray);
SAME_PLACE(dray_byte_array, size, TVMFFIByteArray, size);
static_assert(sizeof(dray_error_object) == sizeof(TVMFFIObject) + sizeof(TVMFFIErrorCell), "error");
static_assert(offsetof(dray_error_object, message) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIErrorCell, message),
              "error.message");
static_assert(offsetof(dray_error_object, backtrace) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIErrorCell, backtrace),
              "error.backtrace");
static_assert(offsetof(dray_error_object, update_backtrace) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIErrorCell, update_backtrace),
              "error.update");
static_assert(offsetof(dray_error_object, cause) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIErrorCell, cause_chain),
              "error.cause");
static_assert(offsetof(dray_error_object, extra) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIErrorCell, extra_context),
              "error.extra");
static_assert(offsetof(dray_function_object, call) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIFunctionCell, safe_call),
              "function.call");
static_assert(offsetof(dray_function_object, cpp_call) ==
                  sizeof(TVMFFIObject) + offsetof(TVMFFIFunctionCell, cpp_call),
              "function.cpp_call");

SAME_NUMBER(DRAY_TYPE_NONE, kTVMFFINone);
SAME_NUMBER(DRAY_TYPE_INT, kTVMFFIInt);
SAME_NUMBER(DRAY_TYPE_BOOL, kTVMFFIBool);
SAME_NUMBER(DRAY_TYPE_FLOAT, kTVMFFIFloat);
SAME_NUMBER(DRAY_TYPE_POINTER, kTVMFFIOpaquePtr);
SAME_NUMBER(DRAY_TYPE_DATA_TYPE, kTVMFFIDataType);
SAME_NUMBER(DRAY_TYPE_DEVICE, kTVMFFIDevice);
SAME_NUMBER(DRAY_TYPE_TENSOR_VIEW, kTVMFFIDLTensorPtr);
SAME_NUMBER(DRAY_TYPE_RAW_TEXT, kTVMFFIRawStr);
SAME_NUMBER(DRAY_TYPE_RAW_BYTES, kTVMFFIByteArrayPtr);
SAME_NUMBER(DRAY_TYPE_RVALUE, kTVMFFIObjectRValueRef);
SAME_NUMBER(DRAY_TYPE_SMALL_TEXT, kTVMFFISmallStr);
SAME_NUMBER(DRAY_TYPE_SMALL_BYTES, kTVMFFISmallBytes);
SAME_NUMBER(DRAY_TYPE_OBJECT, kTVMFFIObject);
SAME_NUMBER(DRAY_TYPE_TEXT, kTVMFFIStr);
SAME_NUMBER(DRAY_TYPE_BYTES, kTVMFFIBytes);
SAME_NUMBER(DRAY_TYPE_ERROR, kTVMFFIError);
SAME_NUMBER(DRAY_TYPE_FUNCTION, kTVMFFIFunction);
SAME_NUMBER(DRAY_TYPE_SHAPE, kTVMFFIShape);
SAME_NUMBER(DRAY_TYPE_TENSOR, kTVMFFITensor);
SAME_NUMBER(DRAY_TYPE_ARRAY, kTVMFFIArray);
SAME_NUMBER(DRAY_TYPE_MAP, kTVMFFIMap);
SAME_NUMBER(DRAY_TYPE_MODULE, kTVMFFIModule);
SAME_NUMBER(DRAY_TYPE_DYNAMIC, kTVMFFIDynObjectBegin);
