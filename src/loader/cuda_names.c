#include "loader/cuda_names.h"

#include <string.h>

dray_status drayi_kernel_names_add(drayi_kernel_names *names, dray_text name, dray_error *error)
{
    for (uint64_t i = 0; i < names->count; i++)
        if (strlen(names->names[i]) == name.length &&
            memcmp(names->names[i], name.bytes, name.length) == 0)
            return DRAY_OK;
    if (name.length == 0 || memchr(name.bytes, '\0', name.length))
        return DRAY_OK; // nobody could ask for it
    DRAY_TRY(drayi_grow(names->arena.env, (void **)&names->names, &names->capacity,
                        names->count + 1, sizeof(*names->names), error));
    const char *copy = drayi_arena_text(&names->arena, name.bytes, name.length, error);
    if (!copy)
        return DRAY_E_NOMEM;
    names->names[names->count++] = copy;
    return DRAY_OK;
}

void drayi_kernel_names_free(drayi_kernel_names *names)
{
    drayi_free(names->arena.env, names->names, names->capacity * sizeof(*names->names));
    drayi_arena_free(&names->arena);
}

dray_status drayi_kernel_names_of_cubin(drayi_kernel_names *names, const drayi_cubin *cubin,
                                        dray_error *error)
{
    dray_text name;
    for (uint64_t i = 0; i < cubin->elf.header.e_shnum; i++)
        if (drayi_cubin_kernel(cubin, i, &name))
            DRAY_TRY(drayi_kernel_names_add(names, name, error));
    return DRAY_OK;
}

dray_status drayi_kernel_names_of_ptx(drayi_kernel_names *names, const drayi_ptx *ptx,
                                      dray_error *error)
{
    uint64_t position = 0;
    dray_text name;
    while (drayi_ptx_next_kernel(ptx, &position, &name))
        DRAY_TRY(drayi_kernel_names_add(names, name, error));
    return DRAY_OK;
}

uint32_t drayi_sm_of(dray_text target, bool *out_specific)
{
    uint32_t sm = 0;
    *out_specific = false;
    if (target.length < 4 || memcmp(target.bytes, "sm_", 3) != 0)
        return 0;
    uint64_t at = 3;
    for (; at < target.length && at < 7 && target.bytes[at] >= '0' && target.bytes[at] <= '9'; at++)
        sm = 10 * sm + (uint32_t)(target.bytes[at] - '0');
    *out_specific = at < target.length && (target.bytes[at] == 'a' || target.bytes[at] == 'f');
    return sm;
}

uint32_t drayi_device_sm(const dray_load_request *request)
{
    if (!request->device)
        return 0;
    dray_device_native native;
    dray_device_get_native(request->device, &native);
    const dray_device_module_ops *ops = native.ops->module;
    return ops && ops->architecture ? ops->architecture(native.self) : 0;
}

bool drayi_sm_runs(uint32_t code, bool specific, uint32_t device)
{
    if (device == 0 || code == 0)
        return true; // not known: the driver decides
    return specific ? code == device : code / 10 == device / 10 && code <= device;
}

dray_status drayi_kernel_names_report(const drayi_kernel_names *names,
                                      const dray_module_report *report, dray_error *error)
{
    for (uint64_t i = 0; i < names->count; i++)
        DRAY_TRY(report->function(report->self,
                                  (dray_text){names->names[i], strlen(names->names[i])}, error));
    return DRAY_OK;
}
