/// libdray_ffi: the C functions of the tvm-ffi ABI that a module may ask its process for, for processes
/// without libtvm_ffi.
///
/// It is a library of its own, because it has what libdray does not have: state of the process. The
/// error that was raised last belongs to a thread, and every module must find the same one; numbers of
/// types are given out once. libdray carries this library's bytes and opens them when a module needs it
/// (src/module/raised.c); modules find these functions like those of any library. Never unloaded.
///
/// Threads: any. Objects made here have the ABI's layout and free themselves.
#include "dray/ffi.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

// --- memory of objects -------------------------------------------------------------------------------

/// What the ABI calls a custom allocator. C++ modules make their objects with it; they find how to free
/// them in the word before the object.
typedef struct allocator {
    void *(*allocate)(size_t size, size_t alignment, int32_t type_index, void *context);
    void *context;
} allocator;

typedef struct allocation_header {
    void *block;
    void (*delete_space)(void *body); // the ABI's: right before the body
} allocation_header;

static void delete_space(void *body)
{
    free(((allocation_header *)body)[-1].block);
}

EXPORT void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);

static void *custom_allocate(size_t size, size_t alignment, int32_t type_index, void *context)
{
    (void)type_index;
    (void)context;
    size_t align = alignment < sizeof(allocation_header) ? sizeof(allocation_header) : alignment;
    uint8_t *block = NULL;
    if (size < SIZE_MAX / 2 && align < SIZE_MAX / 4)
        block = malloc(size + 2 * align);
    if (!block) {
        TVMFFIErrorSetRaisedFromCStr("MemoryError", "no memory for an object");
        return NULL;
    }
    uintptr_t body = ((uintptr_t)block + sizeof(allocation_header) + align - 1) & ~(align - 1);
    ((allocation_header *)body)[-1] = (allocation_header){block, delete_space};
    return (void *)body;
}

EXPORT allocator *TVMFFIGetCustomAllocator(void);
EXPORT allocator *TVMFFIGetCustomAllocator(void)
{
    static allocator ours = {.allocate = custom_allocate};
    return &ours;
}

// --- strings ----------------------------------------------------------------------------------------

static int any_string(dray_type type, const dray_byte_array *input, dray_any *out)
{
    *out = dray_any_string(type, input->data, input->size);
    if (out->type_index != DRAY_TYPE_NONE)
        return 0;
    TVMFFIErrorSetRaisedFromCStr("MemoryError", "no memory for a string");
    return -1;
}

EXPORT int TVMFFIStringFromByteArray(const dray_byte_array *input, dray_any *out);
EXPORT int TVMFFIStringFromByteArray(const dray_byte_array *input, dray_any *out)
{
    return any_string(DRAY_TYPE_TEXT, input, out);
}

EXPORT int TVMFFIBytesFromByteArray(const dray_byte_array *input, dray_any *out);
EXPORT int TVMFFIBytesFromByteArray(const dray_byte_array *input, dray_any *out)
{
    return any_string(DRAY_TYPE_BYTES, input, out);
}

EXPORT int TVMFFIAnyViewToOwnedAny(const dray_any *view, dray_any *out);
EXPORT int TVMFFIAnyViewToOwnedAny(const dray_any *view, dray_any *out)
{
    dray_byte_array bytes;
    if (view->type_index == DRAY_TYPE_RAW_TEXT && dray_any_get_text(view, &bytes))
        return any_string(DRAY_TYPE_TEXT, &bytes, out);
    if (view->type_index == DRAY_TYPE_RAW_BYTES && dray_any_get_bytes(view, &bytes))
        return any_string(DRAY_TYPE_BYTES, &bytes, out);
    *out = *view;
    dray_any_retain(out);
    return 0;
}

// --- errors -----------------------------------------------------------------------------------------

/// The texts stand behind the object; a backtrace that was updated has its own block.
typedef struct error_with_text {
    dray_error_object object;
    char *backtrace;
    char text[];
} error_with_text;

static void error_delete(void *self, int flags)
{
    error_with_text *error = self;
    if (flags & DRAY_DELETE_STRONG) {
        free(error->backtrace);
        dray_object_release(error->object.cause);
        dray_object_release(error->object.extra);
    }
    if (flags & DRAY_DELETE_WEAK)
        dray_ffi_free(error);
}

/// mode 0 replaces, 1 appends. Without memory the old one stays.
static void error_update_backtrace(void *self, const dray_byte_array *backtrace, int32_t mode)
{
    error_with_text *error = self;
    dray_byte_array old = mode == 1 ? error->object.backtrace : (dray_byte_array){"", 0};
    char *text = malloc(old.size + backtrace->size + 1);
    if (!text)
        return;
    memcpy(text, old.data, old.size);
    memcpy(text + old.size, backtrace->data, backtrace->size);
    text[old.size + backtrace->size] = '\0';
    error->object.backtrace = (dray_byte_array){text, old.size + backtrace->size};
    free(error->backtrace);
    error->backtrace = text;
}

/// Copies `source` to *at with a NUL behind it, and moves *at.
static dray_byte_array put_text(char **at, const dray_byte_array *source)
{
    dray_byte_array copy = {*at, source->size};
    if (source->size > 0)
        memcpy(*at, source->data, source->size);
    (*at)[source->size] = '\0';
    *at += source->size + 1;
    return copy;
}

static dray_object *error_create(const dray_byte_array *kind, const dray_byte_array *message,
                                 const dray_byte_array *backtrace)
{
    error_with_text *error =
        dray_ffi_alloc(sizeof(*error) + kind->size + message->size + backtrace->size + 3);
    if (!error)
        return NULL;
    char *at = error->text;
    error->object.head = (dray_object){
        .count = DRAY_OBJECT_FRESH, .type_index = DRAY_TYPE_ERROR, .deleter = error_delete};
    error->object.kind = put_text(&at, kind);
    error->object.message = put_text(&at, message);
    error->object.backtrace = put_text(&at, backtrace);
    error->object.update_backtrace = error_update_backtrace;
    return &error->object.head;
}

/// The error that this thread raised last and nobody took; owned.
static _Thread_local dray_object *raised;

static void raised_set(dray_object *error)
{
    dray_object *before = raised;
    raised = error;
    dray_object_release(before);
}

static dray_byte_array text_of(const char *text)
{
    return (dray_byte_array){text ? text : "", text ? strlen(text) : 0};
}

EXPORT void TVMFFIErrorSetRaised(dray_object *error);
EXPORT void TVMFFIErrorSetRaised(dray_object *error)
{
    if (error)
        dray_object_retain(error);
    raised_set(error);
}

EXPORT void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message)
{
    dray_byte_array kind_text = text_of(kind), message_text = text_of(message), none = text_of("");
    raised_set(error_create(&kind_text, &message_text, &none));
}

EXPORT void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count);
EXPORT void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < count; i++)
        bytes += parts[i] ? strlen(parts[i]) : 0;
    char *message = malloc(bytes + 1);
    if (!message) {
        TVMFFIErrorSetRaisedFromCStr(kind, "(no memory for the message)");
        return;
    }
    char *at = message;
    for (int32_t i = 0; i < count; i++) {
        size_t part = parts[i] ? strlen(parts[i]) : 0;
        memcpy(at, part ? parts[i] : "", part);
        at += part;
    }
    *at = '\0';
    TVMFFIErrorSetRaisedFromCStr(kind, message);
    free(message);
}

EXPORT void TVMFFIErrorMoveFromRaised(dray_object **out);
EXPORT void TVMFFIErrorMoveFromRaised(dray_object **out)
{
    *out = raised;
    raised = NULL;
}

EXPORT int TVMFFIErrorCreate(const dray_byte_array *kind, const dray_byte_array *message,
                             const dray_byte_array *backtrace, dray_object **out);
EXPORT int TVMFFIErrorCreate(const dray_byte_array *kind, const dray_byte_array *message,
                             const dray_byte_array *backtrace, dray_object **out)
{
    *out = error_create(kind, message, backtrace);
    return *out ? 0 : -1;
}

EXPORT int TVMFFIErrorCreateWithCauseAndExtraContext(const dray_byte_array *kind,
                                                     const dray_byte_array *message,
                                                     const dray_byte_array *backtrace,
                                                     dray_object *cause, dray_object *extra,
                                                     dray_object **out);
EXPORT int TVMFFIErrorCreateWithCauseAndExtraContext(const dray_byte_array *kind,
                                                     const dray_byte_array *message,
                                                     const dray_byte_array *backtrace,
                                                     dray_object *cause, dray_object *extra,
                                                     dray_object **out)
{
    *out = error_create(kind, message, backtrace);
    if (!*out)
        return -1;
    dray_error_object *error = (dray_error_object *)*out;
    error->cause = cause;
    error->extra = extra;
    if (cause)
        dray_object_retain(cause);
    if (extra)
        dray_object_retain(extra);
    return 0;
}

/// No stack is walked: the place that asks is all that is told.
EXPORT const dray_byte_array *TVMFFIBacktrace(const char *file, int line, const char *function,
                                              int cross_boundary);
EXPORT const dray_byte_array *TVMFFIBacktrace(const char *file, int line, const char *function,
                                              int cross_boundary)
{
    static _Thread_local char text[512];
    static _Thread_local dray_byte_array bytes;
    (void)cross_boundary;
    int length = 0;
    if (file && function)
        length =
            snprintf(text, sizeof(text), "  File \"%s\", line %d, in %s\n", file, line, function);
    size_t size = length < 0 ? 0 : (size_t)length;
    bytes = (dray_byte_array){text, size < sizeof(text) ? size : sizeof(text) - 1};
    return &bytes;
}

// --- objects and functions ---------------------------------------------------------------------------

EXPORT int TVMFFIObjectIncRef(dray_object *object);
EXPORT int TVMFFIObjectIncRef(dray_object *object)
{
    dray_object_retain(object);
    return 0;
}

EXPORT int TVMFFIObjectDecRef(dray_object *object);
EXPORT int TVMFFIObjectDecRef(dray_object *object)
{
    dray_object_release(object);
    return 0;
}

typedef struct closure {
    dray_function_object object;
    void *self;
    dray_safe_call call;
    void (*end)(void *self);
} closure;

static int closure_call(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    const closure *function = handle;
    return function->call(function->self, arguments, count, result);
}

static void closure_delete(void *self, int flags)
{
    closure *function = self;
    if ((flags & DRAY_DELETE_STRONG) && function->end)
        function->end(function->self);
    if (flags & DRAY_DELETE_WEAK)
        dray_ffi_free(function);
}

EXPORT int TVMFFIFunctionCreate(void *self, dray_safe_call call, void (*end)(void *self),
                                dray_object **out);
EXPORT int TVMFFIFunctionCreate(void *self, dray_safe_call call, void (*end)(void *self),
                                dray_object **out)
{
    closure *function = dray_ffi_alloc(sizeof(*function));
    if (!function) {
        TVMFFIErrorSetRaisedFromCStr("MemoryError", "no memory for a function");
        return -1;
    }
    *function = (closure){
        .object = {.head = {.count = DRAY_OBJECT_FRESH,
                            .type_index = DRAY_TYPE_FUNCTION,
                            .deleter = closure_delete},
                   .call = closure_call},
        .self = self,
        .call = call,
        .end = end,
    };
    *out = &function->object.head;
    return 0;
}

EXPORT int TVMFFIFunctionCall(dray_object *function, dray_any *arguments, int32_t count,
                              dray_any *result);
EXPORT int TVMFFIFunctionCall(dray_object *function, dray_any *arguments, int32_t count,
                              dray_any *result)
{
    return ((dray_function_object *)function)->call(function, arguments, count, result);
}

/// Libraries of dray's are given a context whose first word is the function that looks things up.
typedef int lookup_in_context(void *context, const char *name, dray_object **out);

EXPORT int TVMFFIEnvModLookupFromImports(void *context, const char *name, dray_object **out);
EXPORT int TVMFFIEnvModLookupFromImports(void *context, const char *name, dray_object **out)
{
    if (!context) {
        TVMFFIErrorSetRaisedFromCStr("RuntimeError", "this library was given no context");
        return -1;
    }
    return (**(lookup_in_context **)context)(context, name, out);
}

/// There are no globals of the process here: those of dray belong to a context.
EXPORT int TVMFFIFunctionGetGlobal(const dray_byte_array *name, dray_object **out);
EXPORT int TVMFFIFunctionGetGlobal(const dray_byte_array *name, dray_object **out)
{
    (void)name;
    *out = NULL;
    return 0;
}

EXPORT void *TVMFFIEnvGetStream(int32_t device_type, int32_t device_id);
EXPORT void *TVMFFIEnvGetStream(int32_t device_type, int32_t device_id)
{
    (void)device_type;
    (void)device_id;
    return NULL; // the default stream
}

EXPORT int TVMFFIEnvCheckSignals(void);
EXPORT int TVMFFIEnvCheckSignals(void)
{
    return 0;
}

// --- once --------------------------------------------------------------------------------------------

/// Guards the handles below; recursive, since one handle's making may need another's.
static pthread_mutex_t once_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

EXPORT int TVMFFIHandleInitOnce(void **handle, int (*init)(void **result));
EXPORT int TVMFFIHandleInitOnce(void **handle, int (*init)(void **result))
{
    if (__atomic_load_n(handle, __ATOMIC_ACQUIRE))
        return 0;
    pthread_mutex_lock(&once_lock);
    int code = 0;
    void *made = NULL;
    if (!__atomic_load_n(handle, __ATOMIC_ACQUIRE) && (code = init(&made)) == 0)
        __atomic_store_n(handle, made, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&once_lock);
    return code;
}

EXPORT int TVMFFIHandleDeinitOnce(void **handle, int (*end)(void *handle));
EXPORT int TVMFFIHandleDeinitOnce(void **handle, int (*end)(void *handle))
{
    pthread_mutex_lock(&once_lock);
    void *made = __atomic_exchange_n(handle, NULL, __ATOMIC_ACQ_REL);
    int code = made ? end(made) : 0;
    pthread_mutex_unlock(&once_lock);
    return code;
}
