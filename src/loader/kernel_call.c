/// From a call of the ABI to a launch: seven ints, then one value for each parameter of the kernel. All is
/// checked before the driver hears of it: drivers read arguments by a bare pointer.
#include "dray/module.h"
#include "dray/spi/region.h"
#include "loader/kernel_part.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { geometry_count = 7 };

/// The values that arguments point to, while a launch lasts.
typedef struct argument_list {
    dray_kernel_argument arguments[DRAYI_KERNEL_PARAMETERS_MAX];
    union {
        int64_t i64;
        uint64_t u64;
        double f64;
        float f32;
    } values[DRAYI_KERNEL_PARAMETERS_MAX];
} argument_list;

static dray_status fail_argument(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                                 const char *wanted, dray_error *error)
{
    const char *type = dray_type_name(given->type_index);
    return dray_fail(error, DRAY_E_INVALID, "kernel %s, argument %u of %u: %s is wanted, this is %s",
                     kernel->name, index + 1, kernel->parameter_count, wanted,
                     type ? type : "of a type that does not exist");
}

/// Does it fit into `bytes` bytes, signed or not?
static bool int_fits(int64_t value, uint32_t bytes, bool is_unsigned)
{
    if (bytes >= 8)
        return !is_unsigned || value >= 0;
    int64_t most = (int64_t)1 << (8 * bytes - (is_unsigned ? 0 : 1));
    return value < most && value >= (is_unsigned ? 0 : -most);
}

static dray_status take_int(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                            const dray_parameter *parameter, argument_list *list, dray_error *error)
{
    int64_t value;
    bool is_unsigned = parameter->kind == DRAY_PARAMETER_UINT;
    if (!dray_any_get_int(given, &value))
        return fail_argument(kernel, index, given, "an int", error);
    // where the driver tells only a size, either reading of the bits may be meant
    bool fits = int_fits(value, parameter->bytes, is_unsigned) ||
                (parameter->kind == DRAY_PARAMETER_ANY && int_fits(value, parameter->bytes, true));
    if (!fits)
        return dray_fail(error, DRAY_E_INVALID,
                         "kernel %s, argument %u of %u: %" PRId64 " does not fit %u %s bytes",
                         kernel->name, index + 1, kernel->parameter_count, value, parameter->bytes,
                         is_unsigned ? "unsigned" : "signed");
    list->values[index].i64 = value; // little-endian: the first bytes are the shorter number
    return DRAY_OK;
}

static dray_status take_float(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                              uint32_t bytes, argument_list *list, dray_error *error)
{
    double value;
    if (!dray_any_get_float(given, &value))
        return fail_argument(kernel, index, given, "a float", error);
    if (bytes == 8) {
        list->values[index].f64 = value;
        return DRAY_OK;
    }
    if (bytes != 4)
        return fail_argument(kernel, index, given, "bytes of its size", error);
    if (isfinite(value) && fabs(value) > (double)FLT_MAX)
        return dray_fail(error, DRAY_E_INVALID,
                         "kernel %s, argument %u of %u: %g is too large for a float of 4 bytes",
                         kernel->name, index + 1, kernel->parameter_count, value);
    list->values[index].f32 = (float)value;
    return DRAY_OK;
}

static dray_status take_memory(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                               argument_list *list, dray_error *error)
{
    dray_kernel_argument *argument = &list->arguments[index];
    argument->kind = DRAY_PARAMETER_MEMORY;
    if (given->type_index == DRAY_TYPE_NONE)
        return DRAY_OK;
    dray_region *region = dray_any_get_region(given);
    if (!region)
        return fail_argument(kernel, index, given, "a region (dray_any_region) or none", error);
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (native.device != kernel->part->device ||
        (native.storage != DRAY_STORAGE_DEVICE && native.storage != DRAY_STORAGE_MANAGED))
        return dray_fail(
            error, DRAY_E_INVALID,
            "kernel %s, argument %u of %u: the region is %s memory%s%s, the kernel is on "
            "%s",
            kernel->name, index + 1, kernel->parameter_count, dray_storage_name(native.storage),
            native.device ? " of " : "", native.device ? dray_device_name(native.device) : "",
            dray_device_name(kernel->part->device));
    argument->memory = native.device_memory;
    argument->address = native.device_address;
    argument->value = native.pointer;
    return DRAY_OK;
}

static dray_status take_bytes(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                              const dray_parameter *parameter, argument_list *list,
                              dray_error *error)
{
    dray_byte_array bytes;
    if (!dray_any_get_bytes(given, &bytes))
        return fail_argument(kernel, index, given, "bytes", error);
    if (bytes.size == 0 || bytes.size > UINT32_MAX ||
        (parameter->bytes > 0 && bytes.size != parameter->bytes))
        return dray_fail(error, DRAY_E_INVALID,
                         "kernel %s, argument %u of %u: %zu bytes are given, the parameter has %u",
                         kernel->name, index + 1, kernel->parameter_count, bytes.size,
                         parameter->bytes);
    list->arguments[index].value = bytes.data;
    list->arguments[index].bytes = (uint32_t)bytes.size;
    return DRAY_OK;
}

static dray_status take_local(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                              argument_list *list, dray_error *error)
{
    int64_t bytes;
    if (!dray_any_get_int(given, &bytes) || bytes <= 0 || bytes > UINT32_MAX)
        return fail_argument(kernel, index, given, "a size of local memory, an int > 0", error);
    list->arguments[index].bytes = (uint32_t)bytes;
    return DRAY_OK;
}

/// What the driver tells nothing or only the size of: the value's own type decides.
static dray_status take_any(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                            const dray_parameter *parameter, argument_list *list, dray_error *error)
{
    dray_byte_array bytes;
    if (dray_any_get_region(given) || given->type_index == DRAY_TYPE_NONE)
        return parameter->bytes == 0 || parameter->bytes == sizeof(void *)
                   ? take_memory(kernel, index, given, list, error)
                   : fail_argument(kernel, index, given, "a number", error);
    if (dray_any_get_bytes(given, &bytes))
        return take_bytes(kernel, index, given, parameter, list, error);
    if (parameter->bytes == 0)
        return fail_argument(kernel, index, given,
                             "bytes or a region, because the driver does not tell the size,", error);
    return given->type_index == DRAY_TYPE_FLOAT
               ? take_float(kernel, index, given, parameter->bytes, list, error)
               : take_int(kernel, index, given, parameter, list, error);
}

static dray_status take_argument(const drayi_kernel *kernel, uint32_t index, const dray_any *given,
                                 argument_list *list, dray_error *error)
{
    const dray_parameter any = {0};
    const dray_parameter *parameter = kernel->known ? &kernel->parameters[index] : &any;
    list->arguments[index] = (dray_kernel_argument){
        .kind = parameter->kind, .bytes = parameter->bytes, .value = &list->values[index]};
    switch (parameter->kind) {
    case DRAY_PARAMETER_INT:
    case DRAY_PARAMETER_UINT:
        return take_int(kernel, index, given, parameter, list, error);
    case DRAY_PARAMETER_FLOAT:
        return take_float(kernel, index, given, parameter->bytes, list, error);
    case DRAY_PARAMETER_MEMORY:
        return take_memory(kernel, index, given, list, error);
    case DRAY_PARAMETER_LOCAL:
        return take_local(kernel, index, given, list, error);
    case DRAY_PARAMETER_OTHER:
        return take_bytes(kernel, index, given, parameter, list, error);
    case DRAY_PARAMETER_ANY:
    default:
        return take_any(kernel, index, given, parameter, list, error);
    }
}

/// Items in all, of one group, and local memory.
static dray_status take_geometry(const drayi_kernel *kernel, const dray_any *arguments,
                                 dray_launch *launch, dray_error *error)
{
    int64_t numbers[geometry_count];
    for (int i = 0; i < geometry_count; i++)
        if (!dray_any_get_int(&arguments[i], &numbers[i]) || numbers[i] < (i < 3) ||
            numbers[i] > INT32_MAX)
            return dray_fail(
                error, DRAY_E_INVALID,
                "kernel %s: number %d of the seven in front (global x, y, z, group x, y, "
                "z, local bytes) is no int from %d on",
                kernel->name, i + 1, i < 3);
    bool none = numbers[3] == 0 && numbers[4] == 0 && numbers[5] == 0;
    for (int i = 0; i < 3; i++) {
        launch->global[i] = (uint64_t)numbers[i];
        launch->group[i] = none ? 0 : (uint64_t)numbers[3 + i];
        if (!none && (numbers[3 + i] == 0 || numbers[i] % numbers[3 + i] != 0))
            return dray_fail(error, DRAY_E_INVALID,
                             "kernel %s: %" PRId64 " items are not whole groups of %" PRId64,
                             kernel->name, numbers[i], numbers[3 + i]);
    }
    launch->local_bytes = (uint64_t)numbers[6];
    return DRAY_OK;
}

static dray_status launch_kernel(const drayi_kernel *kernel, const dray_any *arguments,
                                 int32_t count, dray_error *error)
{
    argument_list list;
    uint32_t given = count > geometry_count ? (uint32_t)(count - geometry_count) : 0;
    if (count < geometry_count || given > DRAYI_KERNEL_PARAMETERS_MAX ||
        (kernel->known && given != kernel->parameter_count))
        return dray_fail(
            error, DRAY_E_INVALID,
            "kernel %s has %u parameters, so %u values are wanted (seven ints in front), "
            "%d are given",
            kernel->name, kernel->parameter_count, kernel->parameter_count + geometry_count, count);
    dray_launch launch = {
        .kernel = kernel->index, .argument_count = given, .arguments = list.arguments};
    DRAY_TRY(take_geometry(kernel, arguments, &launch, error));
    for (uint32_t i = 0; i < given; i++)
        DRAY_TRY(take_argument(kernel, i, &arguments[geometry_count + i], &list, error));
    return kernel->part->ops->launch(kernel->part->program, &launch, error);
}

int drayi_kernel_call(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    const drayi_kernel *kernel = handle;
    dray_error error;
    dray_status status = launch_kernel(kernel, arguments, count, &error);
    if (status == DRAY_OK) {
        *result = dray_any_none();
        return 0;
    }
    return dray_function_raise(kernel->part->context,
                               status == DRAY_E_INVALID ? "ValueError" : "RuntimeError",
                               error.message);
}
