/// Regions as values: an object that is known by its deleter and keeps the region.
#include "base/env.h"
#include "dray/module.h"

typedef struct region_value {
    dray_object head; // first
    drayi_env *env;
    dray_region *region;
} region_value;

static void region_value_delete(void *self, int flags)
{
    region_value *value = self;
    if (flags & DRAY_DELETE_STRONG)
        dray_region_release(value->region);
    if (flags & DRAY_DELETE_WEAK)
        drayi_free(value->env, (uint8_t *)self - DRAY_OBJECT_PREFIX,
                   sizeof(*value) + DRAY_OBJECT_PREFIX);
}

dray_any dray_any_region(dray_context *context, dray_region *region)
{
    drayi_env *env = drayi_env_of(context);
    uint8_t *block =
        region ? drayi_alloc(env, sizeof(region_value) + DRAY_OBJECT_PREFIX, NULL) : NULL;
    if (!block)
        return dray_any_none();
    region_value *value = (region_value *)(void *)(block + DRAY_OBJECT_PREFIX);
    value->head = (dray_object){
        .count = DRAY_OBJECT_FRESH, .type_index = DRAY_TYPE_OBJECT, .deleter = region_value_delete};
    value->env = env;
    value->region = dray_region_retain(region);
    return dray_any_take(&value->head);
}

dray_region *dray_any_get_region(const dray_any *any)
{
    if (any->type_index != DRAY_TYPE_OBJECT || !any->as.object ||
        any->as.object->deleter != region_value_delete)
        return NULL;
    return ((const region_value *)(const void *)any->as.object)->region;
}
