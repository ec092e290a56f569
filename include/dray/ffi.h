/// dray/ffi.h: values, objects and functions as they pass between modules and their callers.
///
/// The layouts are those of the tvm-ffi C ABI, written down by ourselves and asserted below, so that a
/// value of ours is a value there and the other way round, and a reader needs no library: everything
/// here is layout or inline. Needs: C11 or C++11 of gcc or clang on an LP64 platform.
///
/// A call: `int call(void *handle, const dray_any *arguments, int32_t count, dray_any *result)`.
/// Arguments are borrowed for the call. The caller sets *result to none before (dray_any_none()); a
/// result is owned by the caller, who gives it back with dray_any_release(). 0: it went well. Anything
/// else: it failed, *result is not touched, and an error was raised (see dray/export.h); callers who
/// want that error as text call through dray_function_call() in dray/module.h.
///
/// Who owns: a value whose type is >= DRAY_TYPE_OBJECT holds one strong reference to its object; all
/// others own nothing. Copying the 16 bytes borrows; dray_any_retain() makes it a value of its own.
/// Threads: reference counts are atomic; objects are as their makers say, strings never change.
#ifndef DRAY_FFI_H
#define DRAY_FFI_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#define DRAY_FFI_ASSERT(what) static_assert(what, #what)
#else
#define DRAY_FFI_ASSERT(what) _Static_assert(what, #what)
#endif

/// What a value is. Fixed by the ABI; numbers that are not here are other people's types.
typedef enum dray_type {
    DRAY_TYPE_NONE = 0,
    DRAY_TYPE_INT = 1,         ///< as.i64
    DRAY_TYPE_BOOL = 2,        ///< as.i64, 0 or 1
    DRAY_TYPE_FLOAT = 3,       ///< as.f64
    DRAY_TYPE_POINTER = 4,     ///< as.pointer, whatever it means to both sides
    DRAY_TYPE_DATA_TYPE = 5,   ///< as.data_type
    DRAY_TYPE_DEVICE = 6,      ///< as.device
    DRAY_TYPE_TENSOR_VIEW = 7, ///< as.pointer: a borrowed DLTensor
    DRAY_TYPE_RAW_TEXT = 8,    ///< as.text: a borrowed, terminated string; arguments only
    DRAY_TYPE_RAW_BYTES = 9,   ///< as.bytes: a borrowed dray_byte_array; arguments only
    DRAY_TYPE_RVALUE = 10,     ///< as.pointer: to an object reference that may be taken
    DRAY_TYPE_SMALL_TEXT = 11, ///< as.small, small_length bytes
    DRAY_TYPE_SMALL_BYTES = 12,
    DRAY_TYPE_OBJECT = 64, ///< from here on: as.object, counted
    DRAY_TYPE_TEXT = 65,
    DRAY_TYPE_BYTES = 66,
    DRAY_TYPE_ERROR = 67,
    DRAY_TYPE_FUNCTION = 68,
    DRAY_TYPE_SHAPE = 69,
    DRAY_TYPE_TENSOR = 70,
    DRAY_TYPE_ARRAY = 71,
    DRAY_TYPE_MAP = 72,
    DRAY_TYPE_MODULE = 73, ///< libtvm_ffi's own C++ object; dray never makes one
    DRAY_TYPE_PYTHON = 74,
    DRAY_TYPE_LIST = 75,
    DRAY_TYPE_DICT = 76,
    DRAY_TYPE_INTERRUPT = 77,
    DRAY_TYPE_DYNAMIC = 128 ///< from here on: given out at run time
} dray_type;

enum {
    DRAY_SMALL_MAX = 7 ///< longest string inside a value
};

typedef struct dray_byte_array {
    const char *data;
    size_t size;
} dray_byte_array;

typedef struct dray_ffi_data_type {
    uint8_t code, bits;
    uint16_t lanes;
} dray_ffi_data_type;

typedef struct dray_ffi_device {
    int32_t kind, id;
} dray_ffi_device;

/// The head of every counted object. Low half of the count: strong references. High half: weak ones,
/// one of which all strong ones hold together. `deleter` gets DRAY_DELETE_*.
typedef struct dray_object {
    uint64_t count;
    int32_t type_index;
    uint32_t padding;
    void (*deleter)(void *self, int flags);
} dray_object;

enum {
    DRAY_DELETE_STRONG = 1, ///< end what it holds
    DRAY_DELETE_WEAK = 2,   ///< give its memory back
    DRAY_DELETE_BOTH = 3
};

typedef struct dray_any {
    int32_t type_index;
    uint32_t small_length; ///< SMALL_TEXT and SMALL_BYTES; otherwise 0
    union {
        int64_t i64;
        double f64;
        void *pointer;
        const char *text;
        const dray_byte_array *bytes;
        dray_object *object;
        char small[8]; ///< terminated
        dray_ffi_data_type data_type;
        dray_ffi_device device;
        uint64_t bits;
    } as;
} dray_any;

typedef int (*dray_safe_call)(void *handle, const dray_any *arguments, int32_t count,
                              dray_any *result);

/// TEXT and BYTES.
typedef struct dray_string_object {
    dray_object head;
    dray_byte_array bytes; ///< terminated behind its size
} dray_string_object;

/// FUNCTION. `call` gets the function object itself as its handle.
typedef struct dray_function_object {
    dray_object head;
    dray_safe_call call;
    void *cpp_call; ///< NULL, unless a C++ library made it
} dray_function_object;

/// ERROR. The texts need not be terminated.
typedef struct dray_error_object {
    dray_object head;
    dray_byte_array kind; ///< "ValueError", "RuntimeError", ...: free text
    dray_byte_array message;
    dray_byte_array backtrace;
    void (*update_backtrace)(void *self, const dray_byte_array *backtrace, int32_t mode);
    dray_object *cause;
    dray_object *extra;
} dray_error_object;

DRAY_FFI_ASSERT(sizeof(void *) == 8 && sizeof(size_t) == 8);
DRAY_FFI_ASSERT(sizeof(dray_any) == 16 && offsetof(dray_any, type_index) == 0);
DRAY_FFI_ASSERT(offsetof(dray_any, small_length) == 4 && offsetof(dray_any, as) == 8);
DRAY_FFI_ASSERT(sizeof(dray_object) == 24 && offsetof(dray_object, count) == 0);
DRAY_FFI_ASSERT(offsetof(dray_object, type_index) == 8 && offsetof(dray_object, padding) == 12);
DRAY_FFI_ASSERT(offsetof(dray_object, deleter) == 16);
DRAY_FFI_ASSERT(sizeof(dray_byte_array) == 16 && offsetof(dray_byte_array, data) == 0);
DRAY_FFI_ASSERT(offsetof(dray_byte_array, size) == 8);
DRAY_FFI_ASSERT(sizeof(dray_ffi_data_type) == 4 && sizeof(dray_ffi_device) == 8);
DRAY_FFI_ASSERT(sizeof(dray_string_object) == 40 && offsetof(dray_string_object, bytes) == 24);
DRAY_FFI_ASSERT(sizeof(dray_function_object) == 40);
DRAY_FFI_ASSERT(offsetof(dray_function_object, call) == 24);
DRAY_FFI_ASSERT(offsetof(dray_function_object, cpp_call) == 32);
DRAY_FFI_ASSERT(sizeof(dray_error_object) == 96 && offsetof(dray_error_object, kind) == 24);
DRAY_FFI_ASSERT(offsetof(dray_error_object, message) == 40);
DRAY_FFI_ASSERT(offsetof(dray_error_object, backtrace) == 56);
DRAY_FFI_ASSERT(offsetof(dray_error_object, update_backtrace) == 72);
DRAY_FFI_ASSERT(offsetof(dray_error_object, cause) == 80);
DRAY_FFI_ASSERT(offsetof(dray_error_object, extra) == 88);

// --- reference counts ----------------------------------------------------------------------------

/// Zeroed bytes that stand before every object made here: newer libraries look at the last eight.
#define DRAY_OBJECT_PREFIX 16

#define DRAY_OBJECT_STRONG 1ULL
#define DRAY_OBJECT_WEAK 0x100000000ULL
#define DRAY_OBJECT_FRESH (DRAY_OBJECT_STRONG + DRAY_OBJECT_WEAK)

static inline void dray_object_retain(dray_object *object)
{
    (void)__atomic_fetch_add(&object->count, DRAY_OBJECT_STRONG, __ATOMIC_RELAXED);
}

static inline void dray_object_retain_weak(dray_object *object)
{
    (void)__atomic_fetch_add(&object->count, DRAY_OBJECT_WEAK, __ATOMIC_RELAXED);
}

static inline void dray_object_release_weak(dray_object *object)
{
    uint64_t before = __atomic_fetch_sub(&object->count, DRAY_OBJECT_WEAK, __ATOMIC_ACQ_REL);
    if (before == DRAY_OBJECT_WEAK && object->deleter)
        object->deleter(object, DRAY_DELETE_WEAK);
}

/// NULL is accepted.
static inline void dray_object_release(dray_object *object)
{
    if (!object)
        return;
    uint64_t before = __atomic_fetch_sub(&object->count, DRAY_OBJECT_STRONG, __ATOMIC_ACQ_REL);
    if (before == DRAY_OBJECT_FRESH) { // nobody else knows it: one call ends it
        if (object->deleter)
            object->deleter(object, DRAY_DELETE_BOTH);
    } else if ((before & 0xffffffffULL) == 1) {
        if (object->deleter)
            object->deleter(object, DRAY_DELETE_STRONG);
        dray_object_release_weak(object);
    }
}

/// Does anybody hold it? For those who hold it weakly.
static inline int dray_object_is_alive(const dray_object *object)
{
    return (__atomic_load_n(&object->count, __ATOMIC_ACQUIRE) & 0xffffffffULL) != 0;
}

static inline int dray_any_is_object(const dray_any *any)
{
    return any->type_index >= DRAY_TYPE_OBJECT && any->as.object != NULL;
}

static inline void dray_any_retain(const dray_any *any)
{
    if (dray_any_is_object(any))
        dray_object_retain(any->as.object);
}

// --- making values -------------------------------------------------------------------------------

static inline dray_any dray_any_none(void)
{
    dray_any any;
    memset(&any, 0, sizeof(any));
    return any;
}

/// Gives the value back; *any becomes none.
static inline void dray_any_release(dray_any *any)
{
    dray_any held = *any;
    *any = dray_any_none();
    if (dray_any_is_object(&held))
        dray_object_release(held.as.object);
}

static inline dray_any dray_any_int(int64_t value)
{
    dray_any any = dray_any_none();
    any.type_index = DRAY_TYPE_INT;
    any.as.i64 = value;
    return any;
}

static inline dray_any dray_any_bool(int value)
{
    dray_any any = dray_any_none();
    any.type_index = DRAY_TYPE_BOOL;
    any.as.i64 = value != 0;
    return any;
}

static inline dray_any dray_any_float(double value)
{
    dray_any any = dray_any_none();
    any.type_index = DRAY_TYPE_FLOAT;
    any.as.f64 = value;
    return any;
}

static inline dray_any dray_any_pointer(void *value)
{
    dray_any any = dray_any_none();
    any.type_index = value ? DRAY_TYPE_POINTER : DRAY_TYPE_NONE;
    any.as.pointer = value;
    return any;
}

/// An argument that borrows `text`; never a result.
static inline dray_any dray_any_borrow_text(const char *text)
{
    dray_any any = dray_any_none();
    any.type_index = DRAY_TYPE_RAW_TEXT;
    any.as.text = text;
    return any;
}

/// An argument that borrows `bytes` and what they point to; never a result.
static inline dray_any dray_any_borrow_bytes(const dray_byte_array *bytes)
{
    dray_any any = dray_any_none();
    any.type_index = DRAY_TYPE_RAW_BYTES;
    any.as.bytes = bytes;
    return any;
}

/// Takes over the caller's reference. `object` is not NULL.
static inline dray_any dray_any_take(dray_object *object)
{
    dray_any any = dray_any_none();
    any.type_index = object->type_index;
    any.as.object = object;
    return any;
}

/// Zeroed memory for an object of the caller's own, `bytes` with its head; NULL: there is none. The
/// caller fills the head, its count with DRAY_OBJECT_FRESH, and its deleter frees it when it is given
/// DRAY_DELETE_WEAK.
static inline void *dray_ffi_alloc(size_t bytes)
{
    char *block = bytes <= SIZE_MAX - DRAY_OBJECT_PREFIX
                      ? (char *)calloc(1, DRAY_OBJECT_PREFIX + bytes)
                      : NULL;
    return block ? block + DRAY_OBJECT_PREFIX : NULL;
}

static inline void dray_ffi_free(void *object)
{
    free((char *)object - DRAY_OBJECT_PREFIX);
}

/// How strings made here end.
static inline void dray_ffi_string_delete(void *self, int flags)
{
    if (flags & DRAY_DELETE_WEAK)
        dray_ffi_free(self);
}

/// A copy of `size` bytes as a value of its own; up to 7 inside it, more in an object. The type is
/// DRAY_TYPE_TEXT or DRAY_TYPE_BYTES. Out of memory: a value of type none.
static inline dray_any dray_any_string(dray_type type, const void *data, size_t size)
{
    dray_any any = dray_any_none();
    if (size <= DRAY_SMALL_MAX) {
        any.type_index = type == DRAY_TYPE_TEXT ? DRAY_TYPE_SMALL_TEXT : DRAY_TYPE_SMALL_BYTES;
        any.small_length = (uint32_t)size;
        if (size > 0)
            memcpy(any.as.small, data, size);
        return any;
    }
    dray_string_object *string =
        size < SIZE_MAX / 2 ? (dray_string_object *)dray_ffi_alloc(sizeof(*string) + size + 1)
                            : NULL;
    if (!string)
        return any;
    char *copy = (char *)(string + 1);
    memcpy(copy, data, size);
    string->head.count = DRAY_OBJECT_FRESH;
    string->head.type_index = (int32_t)type;
    string->head.deleter = dray_ffi_string_delete;
    string->bytes.data = copy;
    string->bytes.size = size;
    return dray_any_take(&string->head);
}

static inline dray_any dray_any_text(const char *text)
{
    return dray_any_string(DRAY_TYPE_TEXT, text, strlen(text));
}

// --- reading values: each returns 1 and fills *out when the value is of that kind, else 0 -----------

/// INT or BOOL.
static inline int dray_any_get_int(const dray_any *any, int64_t *out)
{
    if (any->type_index != DRAY_TYPE_INT && any->type_index != DRAY_TYPE_BOOL)
        return 0;
    *out = any->as.i64;
    return 1;
}

/// FLOAT, INT or BOOL.
static inline int dray_any_get_float(const dray_any *any, double *out)
{
    if (any->type_index == DRAY_TYPE_FLOAT)
        *out = any->as.f64;
    else if (any->type_index == DRAY_TYPE_INT || any->type_index == DRAY_TYPE_BOOL)
        *out = (double)any->as.i64;
    else
        return 0;
    return 1;
}

/// POINTER, or none as NULL.
static inline int dray_any_get_pointer(const dray_any *any, void **out)
{
    if (any->type_index != DRAY_TYPE_POINTER && any->type_index != DRAY_TYPE_NONE)
        return 0;
    *out = any->type_index == DRAY_TYPE_NONE ? NULL : any->as.pointer;
    return 1;
}

/// A string of any length, wherever it lives; terminated. Borrowed from the value itself: `any` stays
/// where it is as long as *out is used.
static inline int dray_any_get_text(const dray_any *any, dray_byte_array *out)
{
    if (any->type_index == DRAY_TYPE_SMALL_TEXT && any->small_length <= DRAY_SMALL_MAX) {
        out->data = any->as.small;
        out->size = any->small_length;
    } else if (any->type_index == DRAY_TYPE_TEXT && any->as.object) {
        *out = ((const dray_string_object *)(const void *)any->as.object)->bytes;
    } else if (any->type_index == DRAY_TYPE_RAW_TEXT && any->as.text) {
        out->data = any->as.text;
        out->size = strlen(any->as.text);
    } else {
        return 0;
    }
    return 1;
}

/// Bytes of any length, wherever they live. Borrowed as above.
static inline int dray_any_get_bytes(const dray_any *any, dray_byte_array *out)
{
    if (any->type_index == DRAY_TYPE_SMALL_BYTES && any->small_length <= DRAY_SMALL_MAX) {
        out->data = any->as.small;
        out->size = any->small_length;
    } else if (any->type_index == DRAY_TYPE_BYTES && any->as.object) {
        *out = ((const dray_string_object *)(const void *)any->as.object)->bytes;
    } else if (any->type_index == DRAY_TYPE_RAW_BYTES && any->as.bytes) {
        *out = *any->as.bytes;
    } else {
        return 0;
    }
    return 1;
}

/// "int", "text", ...; NULL: a number that the ABI does not name. Never looks at the object.
static inline const char *dray_type_name(int32_t type_index)
{
    switch (type_index) {
    case DRAY_TYPE_NONE:
        return "none";
    case DRAY_TYPE_INT:
        return "int";
    case DRAY_TYPE_BOOL:
        return "bool";
    case DRAY_TYPE_FLOAT:
        return "float";
    case DRAY_TYPE_POINTER:
        return "pointer";
    case DRAY_TYPE_DATA_TYPE:
        return "data type";
    case DRAY_TYPE_DEVICE:
        return "device";
    case DRAY_TYPE_TENSOR_VIEW:
        return "tensor view";
    case DRAY_TYPE_RAW_TEXT:
    case DRAY_TYPE_SMALL_TEXT:
    case DRAY_TYPE_TEXT:
        return "text";
    case DRAY_TYPE_RAW_BYTES:
    case DRAY_TYPE_SMALL_BYTES:
    case DRAY_TYPE_BYTES:
        return "bytes";
    case DRAY_TYPE_RVALUE:
        return "rvalue";
    case DRAY_TYPE_OBJECT:
        return "object";
    case DRAY_TYPE_ERROR:
        return "error";
    case DRAY_TYPE_FUNCTION:
        return "function";
    case DRAY_TYPE_SHAPE:
        return "shape";
    case DRAY_TYPE_TENSOR:
        return "tensor";
    case DRAY_TYPE_ARRAY:
        return "array";
    case DRAY_TYPE_MAP:
        return "map";
    case DRAY_TYPE_MODULE:
        return "module";
    case DRAY_TYPE_PYTHON:
        return "python object";
    case DRAY_TYPE_LIST:
        return "list";
    case DRAY_TYPE_DICT:
        return "dict";
    case DRAY_TYPE_INTERRUPT:
        return "interrupt";
    default:
        return NULL;
    }
}

#ifdef __cplusplus
}
#endif
#endif
