/// The list of devices: every family is loaded, asked and let go; one that cannot be is an entry, too.
#include "device/device.h"

#include <stdio.h>

struct dray_device_list {
    drayi_env *env;
    dray_device_info *infos;
    uint64_t count, capacity;
};

static dray_status list_add(dray_device_list *list, const dray_device_info *info, dray_error *error)
{
    DRAY_TRY(drayi_grow(list->env, (void **)&list->infos, &list->capacity, list->count + 1,
                        sizeof(*info), error));
    list->infos[list->count++] = *info;
    return DRAY_OK;
}

/// Running out of memory is the caller's problem; everything else is a fact about the family.
static dray_status list_add_unavailable(dray_device_list *list, const dray_device_ops *ops,
                                        dray_device_info *info, const dray_error *why,
                                        dray_error *error)
{
    if (why->status == DRAY_E_NOMEM && why->native_code == 0) {
        if (error)
            *error = *why;
        return DRAY_E_NOMEM;
    }
    if (!info->name[0])
        snprintf(info->name, sizeof(info->name), "%s", ops->family);
    snprintf(info->unavailable, sizeof(info->unavailable), "%s", why->message);
    return list_add(list, info, error);
}

static dray_status list_add_family(dray_device_list *list, const dray_device_ops *ops,
                                   dray_error *error)
{
    dray_error why = {0};
    dray_driver *driver;
    dray_device_info info = {
        .family = ops->family,
        .unproven = ops->unproven,
        .numa_node = -1,
        .total_bytes = DRAY_UNKNOWN,
        .free_bytes = DRAY_UNKNOWN,
        .largest_bytes = DRAY_UNKNOWN,
    };
    dray_status status;
    if (ops->abi != DRAY_DEVICE_ABI)
        status = dray_fail(&why, DRAY_E_UNSUPPORTED,
                           "its table is of version %u, this library speaks %u", ops->abi,
                           DRAY_DEVICE_ABI);
    else
        status = ops->load(list->env, &driver, &why);
    if (status != DRAY_OK)
        return list_add_unavailable(list, ops, &info, &why, error);
    uint32_t count = ops->count(driver);
    for (uint32_t i = 0; i < count && status == DRAY_OK; i++) {
        if (drayi_device_describe(ops, driver, i, &info, &why) == DRAY_OK)
            status = list_add(list, &info, error);
        else
            status = list_add_unavailable(list, ops, &info, &why, error);
    }
    ops->unload(driver);
    return status;
}

dray_status dray_device_list_create(dray_context *context, dray_device_list **out_list,
                                    dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_device_list *list = drayi_new(env, dray_device_list, error);
    if (!list)
        return DRAY_E_NOMEM;
    list->env = env;
    dray_status status = DRAY_OK;
    for (const dray_device_ops *const *each = env->devices; *each && status == DRAY_OK; each++)
        status = list_add_family(list, *each, error);
    if (status != DRAY_OK)
        dray_device_list_destroy(list);
    else
        *out_list = list;
    return status;
}

void dray_device_list_destroy(dray_device_list *list)
{
    if (!list)
        return;
    drayi_free(list->env, list->infos, list->capacity * sizeof(*list->infos));
    drayi_free(list->env, list, sizeof(*list));
}

uint32_t dray_device_list_count(const dray_device_list *list)
{
    return (uint32_t)list->count;
}

const dray_device_info *dray_device_list_at(const dray_device_list *list, uint32_t index)
{
    return index < list->count ? &list->infos[index] : NULL;
}
