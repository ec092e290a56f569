/// DLPack 1.0 for tensors in host memory. The structs are those of its specification
/// (github.com/dmlc/dlpack, dlpack.h, version 1.0), declared here so that nothing is needed to build.
#include "weights/loaded.h"

#include <inttypes.h>

enum { dlpack_cpu = 1, dlpack_major = 1, dlpack_minor = 0, dlpack_read_only = 1 };
enum {
    code_int = 0,
    code_uint = 1,
    code_float = 2,
    code_bfloat = 4,
    code_complex = 5,
    code_bool = 6
};

typedef struct dlpack_type {
    uint8_t code, bits;
    uint16_t lanes;
} dlpack_type;

typedef struct dlpack_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t rank;
    dlpack_type type;
    int64_t *shape, *strides; // strides in elements
    uint64_t byte_offset;
} dlpack_tensor;

typedef struct dlpack_managed {
    uint32_t major, minor;
    void *context;
    void (*deleter)(struct dlpack_managed *self);
    uint64_t flags;
    dlpack_tensor tensor;
} dlpack_managed;

_Static_assert(sizeof(dlpack_type) == 4, "DLDataType");
_Static_assert(offsetof(dlpack_tensor, rank) == 16 && offsetof(dlpack_tensor, type) == 20 &&
                   offsetof(dlpack_tensor, shape) == 24 && sizeof(dlpack_tensor) == 48,
               "DLTensor on a 64-bit machine");
_Static_assert(offsetof(dlpack_managed, deleter) == 16 && offsetof(dlpack_managed, flags) == 24 &&
                   offsetof(dlpack_managed, tensor) == 32 && sizeof(dlpack_managed) == 80,
               "DLManagedTensorVersioned on a 64-bit machine");

/// One allocation: what DLPack sees, and what keeps it alive.
typedef struct export
{
    dlpack_managed managed; // first: the deleter gets a pointer to it
    drayi_env *env;
    drayi_keeper *keeper;
    int64_t dimensions[2 * DRAY_RANK_MAX]; // shape, then strides
}
export;

static const dlpack_type *type_of(dray_dtype dtype)
{
    static const dlpack_type types[] = {
        [DRAY_DTYPE_BOOL] = {code_bool, 8, 1},    [DRAY_DTYPE_U8] = {code_uint, 8, 1},
        [DRAY_DTYPE_I8] = {code_int, 8, 1},       [DRAY_DTYPE_U16] = {code_uint, 16, 1},
        [DRAY_DTYPE_I16] = {code_int, 16, 1},     [DRAY_DTYPE_U32] = {code_uint, 32, 1},
        [DRAY_DTYPE_I32] = {code_int, 32, 1},     [DRAY_DTYPE_U64] = {code_uint, 64, 1},
        [DRAY_DTYPE_I64] = {code_int, 64, 1},     [DRAY_DTYPE_F16] = {code_float, 16, 1},
        [DRAY_DTYPE_BF16] = {code_bfloat, 16, 1}, [DRAY_DTYPE_F32] = {code_float, 32, 1},
        [DRAY_DTYPE_F64] = {code_float, 64, 1},   [DRAY_DTYPE_C64] = {code_complex, 64, 1},
    };
    size_t index = (size_t)dtype;
    return index < sizeof(types) / sizeof(types[0]) && types[index].bits ? &types[index] : NULL;
}

static void export_delete(dlpack_managed *managed)
{
    export *self = (export *)managed;
    drayi_keeper_release(self->keeper);
    drayi_free(self->env, self, sizeof(*self));
}

/// Row-major strides; dimensions of an empty tensor may be anything below 2^63.
static dray_status dimensions_fill(export *self, const dray_tensor *tensor, dray_error *error)
{
    int64_t stride = 1;
    for (uint32_t i = tensor->rank; i-- > 0;) {
        if (tensor->shape[i] > INT64_MAX)
            return dray_fail(error, DRAY_E_UNSUPPORTED,
                             "dlpack: dimension %" PRIu32 " of %" PRIu64 " elements", i,
                             tensor->shape[i]);
        self->dimensions[i] = (int64_t)tensor->shape[i];
        self->dimensions[DRAY_RANK_MAX + i] = stride;
        if (__builtin_mul_overflow(stride, self->dimensions[i], &stride))
            stride = 0; // only an empty tensor gets here
    }
    return DRAY_OK;
}

static dray_status view_check(const dray_tensor_view *view, const dlpack_type *type,
                              dray_error *error)
{
    const dray_dtype_info *info = dray_dtype_get_info(view->tensor->dtype);
    if (!type)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "dlpack: it has no code for %s elements",
                         info ? info->name : "unknown");
    dray_storage storage = dray_region_storage(view->span.region);
    if (!view->pointer || storage == DRAY_STORAGE_MANAGED)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "dlpack: the tensor is not in host memory but in %s storage",
                         dray_storage_name(storage));
    uintptr_t element = type->bits / 8u;
    if (type->code == code_complex)
        element /= 2;
    if ((uintptr_t)view->pointer % element != 0)
        return dray_fail(
            error, DRAY_E_UNSUPPORTED,
            "dlpack: the tensor does not lie at a multiple of its element's %ju bytes, because the file "
            "does not align it",
            (uintmax_t)element);
    return DRAY_OK;
}

static dray_status export_make(const dray_loaded *loaded, const dray_tensor_view *view,
                               drayi_keeper *keeper, void **out, dray_error *error)
{
    const dlpack_type *type = type_of(view->tensor->dtype);
    DRAY_TRY(view_check(view, type, error));
    export *self = drayi_new(loaded->env, export, error);
    if (!self)
        return DRAY_E_NOMEM;
    self->env = loaded->env;
    dray_status status = dimensions_fill(self, view->tensor, error);
    if (status != DRAY_OK) {
        drayi_free(loaded->env, self, sizeof(*self));
        return status;
    }
    self->keeper = drayi_keeper_retain(keeper);
    self->managed = (dlpack_managed){
        .major = dlpack_major,
        .minor = dlpack_minor,
        .context = self,
        .deleter = export_delete,
        .flags = dlpack_read_only,
        .tensor = {.data = view->pointer,
                   .device_type = dlpack_cpu,
                   .rank = (int32_t)view->tensor->rank,
                   .type = *type,
                   .shape = self->dimensions,
                   .strides = self->dimensions + DRAY_RANK_MAX},
    };
    *out = &self->managed;
    return DRAY_OK;
}

dray_status dray_loaded_dlpack(dray_loaded *loaded, uint64_t index, void **out_managed,
                               dray_error *error)
{
    dray_tensor_view view;
    DRAY_TRY(dray_loaded_tensor_at(loaded, index, &view, error));
    dray_status status =
        export_make(loaded, &view, loaded->tensors[index].keeper, out_managed, error);
    return status == DRAY_OK
               ? DRAY_OK
               : dray_fail_within(error, status, "tensor %s", drayi_show(view.tensor->name).text);
}
