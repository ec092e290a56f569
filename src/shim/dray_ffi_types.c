/// The numbers of types. A type has a number, a depth and its ancestors; a parent may set numbers aside
/// for its children, so that "is it one of those?" is a comparison of numbers, which modules do inline.
///
/// Names of types are given once per process and stay. What is known of a number beyond that (fields,
/// methods) is for languages that look into objects, and none does here: it is zero.
#include "dray/ffi.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct type_info {
    int32_t type_index, depth;
    dray_byte_array key;
    const struct type_info **ancestors;
    uint64_t key_hash;
    int32_t field_count, method_count;
    const void *fields, *methods, *metadata;
    // ours, behind what the ABI has:
    int32_t slots, slots_used; // numbers set aside for children: type_index + 1 up to + slots
    int32_t overflow;          // children may also be elsewhere
} type_info;

DRAY_FFI_ASSERT(offsetof(type_info, ancestors) == 24 && offsetof(type_info, metadata) == 64);

enum { types_most = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static type_info *types[types_most]; // guarded by lock while it is written; entries never change
static int32_t next_index = DRAY_TYPE_DYNAMIC;

static type_info *type_at(int32_t index)
{
    return index >= 0 && index < types_most ? __atomic_load_n(&types[index], __ATOMIC_ACQUIRE)
                                            : NULL;
}

static type_info *type_find(const dray_byte_array *key)
{
    for (int32_t i = 0; i < types_most; i++)
        if (types[i] && types[i]->key.size == key->size &&
            memcmp(types[i]->key.data, key->data, key->size) == 0)
            return types[i];
    return NULL;
}

/// A number for a new child of `parent` that sets `slots` aside itself; -1: there is none left.
static int32_t index_for(type_info *parent, int32_t slots)
{
    int32_t needed = slots + 1;
    if (parent && parent->slots - parent->slots_used >= needed) {
        int32_t index = parent->type_index + 1 + parent->slots_used;
        parent->slots_used += needed;
        return index;
    }
    if ((parent && !parent->overflow) || needed > types_most - next_index)
        return -1;
    int32_t index = next_index;
    next_index += needed;
    return index;
}

static type_info *type_make(int32_t index, int32_t depth, const dray_byte_array *key,
                            const type_info *parent)
{
    type_info *type = calloc(1, sizeof(*type));
    char *name = malloc(key->size + 1);
    const type_info **ancestors = calloc((size_t)depth + 1, sizeof(type_info *));
    if (!type || !name || !ancestors) {
        free(type);
        free(name);
        free(ancestors);
        return NULL;
    }
    memcpy(name, key->data, key->size);
    name[key->size] = '\0';
    for (int32_t i = 0; parent && i < depth; i++)
        ancestors[i] = i < parent->depth ? parent->ancestors[i] : parent;
    type->type_index = index;
    type->depth = depth;
    type->key = (dray_byte_array){name, key->size};
    type->ancestors = ancestors;
    return type;
}

/// The built-in types that have a fixed number, and Object, their parent.
static const struct {
    int32_t index;
    const char *key;
} builtin[] = {
    {DRAY_TYPE_NONE, "None"},
    {DRAY_TYPE_INT, "int"},
    {DRAY_TYPE_BOOL, "bool"},
    {DRAY_TYPE_FLOAT, "float"},
    {DRAY_TYPE_POINTER, "void*"},
    {DRAY_TYPE_DATA_TYPE, "DataType"},
    {DRAY_TYPE_DEVICE, "Device"},
    {DRAY_TYPE_TENSOR_VIEW, "DLTensor*"},
    {DRAY_TYPE_RAW_TEXT, "const char*"},
    {DRAY_TYPE_RAW_BYTES, "TVMFFIByteArray*"},
    {DRAY_TYPE_RVALUE, "ObjectRValueRef"},
    {DRAY_TYPE_SMALL_TEXT, "ffi.SmallStr"},
    {DRAY_TYPE_SMALL_BYTES, "ffi.SmallBytes"},
    {DRAY_TYPE_OBJECT, "ffi.Object"},
    {DRAY_TYPE_TEXT, "ffi.String"},
    {DRAY_TYPE_BYTES, "ffi.Bytes"},
    {DRAY_TYPE_ERROR, "ffi.Error"},
    {DRAY_TYPE_FUNCTION, "ffi.Function"},
    {DRAY_TYPE_SHAPE, "ffi.Shape"},
    {DRAY_TYPE_TENSOR, "ffi.Tensor"},
    {DRAY_TYPE_ARRAY, "ffi.Array"},
    {DRAY_TYPE_MAP, "ffi.Map"},
    {DRAY_TYPE_MODULE, "ffi.Module"},
    {DRAY_TYPE_PYTHON, "ffi.OpaquePyObject"},
    {DRAY_TYPE_LIST, "ffi.List"},
    {DRAY_TYPE_DICT, "ffi.Dict"},
};

__attribute__((constructor)) static void builtin_types_make(void)
{
    for (size_t i = 0; i < sizeof(builtin) / sizeof(builtin[0]); i++) {
        dray_byte_array key = {builtin[i].key, strlen(builtin[i].key)};
        int child = builtin[i].index > DRAY_TYPE_OBJECT;
        type_info *type =
            type_make(builtin[i].index, child, &key, child ? types[DRAY_TYPE_OBJECT] : NULL);
        if (type)
            type->overflow = 1;
        types[builtin[i].index] = type;
    }
}

EXPORT int32_t TVMFFITypeGetOrAllocIndex(const dray_byte_array *key, int32_t static_index,
                                         int32_t depth, int32_t slots, int32_t overflow,
                                         int32_t parent_index);
EXPORT int32_t TVMFFITypeGetOrAllocIndex(const dray_byte_array *key, int32_t static_index,
                                         int32_t depth, int32_t slots, int32_t overflow,
                                         int32_t parent_index)
{
    if (depth < 0 || depth > 64 || slots < 0 || slots > types_most)
        return -1;
    pthread_mutex_lock(&lock);
    type_info *type = type_find(key);
    if (!type) {
        type_info *parent = type_at(parent_index);
        int32_t index = static_index >= 0 ? static_index : index_for(parent, slots);
        if (index >= 0 && index < types_most && !types[index])
            type = type_make(index, depth, key, parent);
        if (type) {
            type->slots = slots;
            type->overflow = overflow;
            __atomic_store_n(&types[index], type, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&lock);
    return type ? type->type_index : -1;
}

EXPORT int TVMFFITypeKeyToIndex(const dray_byte_array *key, int32_t *out_index);
EXPORT int TVMFFITypeKeyToIndex(const dray_byte_array *key, int32_t *out_index)
{
    pthread_mutex_lock(&lock);
    const type_info *type = type_find(key);
    pthread_mutex_unlock(&lock);
    if (type)
        *out_index = type->type_index;
    return type ? 0 : -1;
}

/// Never NULL: a number that nobody was given is a type without a name, and no reason to end a process.
EXPORT const type_info *TVMFFIGetTypeInfo(int32_t type_index);
EXPORT const type_info *TVMFFIGetTypeInfo(int32_t type_index)
{
    static const type_info *no_ancestors[1];
    static const type_info unknown = {
        .type_index = -1, .key = {"(no such type)", 14}, .ancestors = no_ancestors};
    const type_info *type = type_at(type_index);
    return type ? type : &unknown;
}
