#include "weights/keeper.h"

#include <stdatomic.h>

struct drayi_keeper {
    drayi_env *env;
    atomic_uint references;
    dray_region *region;   // our reference, or that of `data`
    dray_model_data *data; // or NULL
    bool owned;            // `data` is ours to close
};

static void subject_give_back(dray_region *region, dray_model_data *data, bool owned)
{
    if (!data)
        dray_region_release(region);
    else if (owned)
        dray_model_data_close(data);
}

static dray_status keeper_create(drayi_env *env, dray_region *region, dray_model_data *data,
                                 bool owned, drayi_keeper **out, dray_error *error)
{
    drayi_keeper *keeper = drayi_new(env, drayi_keeper, error);
    if (!keeper) {
        subject_give_back(region, data, owned);
        return DRAY_E_NOMEM;
    }
    keeper->env = env;
    atomic_init(&keeper->references, 1);
    keeper->region = region;
    keeper->data = data;
    keeper->owned = owned;
    *out = keeper;
    return DRAY_OK;
}

dray_status drayi_keeper_of_region(drayi_env *env, dray_region *region, drayi_keeper **out,
                                   dray_error *error)
{
    return keeper_create(env, region, NULL, false, out, error);
}

dray_status drayi_keeper_of_data(drayi_env *env, dray_model_data *data, bool owned,
                                 drayi_keeper **out, dray_error *error)
{
    return keeper_create(env, dray_model_data_region(data), data, owned, out, error);
}

drayi_keeper *drayi_keeper_retain(drayi_keeper *keeper)
{
    atomic_fetch_add_explicit(&keeper->references, 1, memory_order_relaxed);
    return keeper;
}

void drayi_keeper_release(drayi_keeper *keeper)
{
    if (!keeper || atomic_fetch_sub_explicit(&keeper->references, 1, memory_order_acq_rel) != 1)
        return;
    subject_give_back(keeper->region, keeper->data, keeper->owned);
    drayi_free(keeper->env, keeper, sizeof(*keeper));
}

dray_region *drayi_keeper_region(const drayi_keeper *keeper)
{
    return keeper->region;
}

dray_model_data *drayi_keeper_data(const drayi_keeper *keeper)
{
    return keeper->data;
}
