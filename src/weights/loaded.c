/// Results of a load: looking at tensors where they are now.
#include "weights/loaded.h"

#include "base/checked.h"

#include <inttypes.h>
#include <string.h>

enum { read_back_bytes = 256 << 10 };

dray_status drayi_loaded_create(const dray_weights *weights, uint64_t tensor_count,
                                uint64_t keeper_count, dray_loaded **out, dray_error *error)
{
    drayi_env *env = weights->env;
    dray_loaded *loaded = drayi_new(env, dray_loaded, error);
    if (!loaded)
        return DRAY_E_NOMEM;
    loaded->env = env;
    loaded->context = weights->context;
    loaded->weights = weights;
    loaded->count = tensor_count;
    loaded->keeper_count = keeper_count;
    loaded->tensors = drayi_alloc_array(env, tensor_count, sizeof(*loaded->tensors), error);
    loaded->keepers = loaded->tensors
                          ? drayi_alloc_array(env, keeper_count, sizeof(drayi_keeper *), error)
                          : NULL;
    if (!loaded->keepers) {
        dray_loaded_free(loaded);
        return DRAY_E_NOMEM;
    }
    *out = loaded;
    return DRAY_OK;
}

void dray_loaded_free(dray_loaded *loaded)
{
    if (!loaded)
        return;
    drayi_env *env = loaded->env;
    for (uint64_t i = 0; loaded->keepers && i < loaded->keeper_count; i++)
        drayi_keeper_release(loaded->keepers[i]);
    drayi_free(env, loaded->keepers, (size_t)loaded->keeper_count * sizeof(drayi_keeper *));
    drayi_free(env, loaded->tensors, (size_t)loaded->count * sizeof(*loaded->tensors));
    drayi_free(env, loaded, sizeof(*loaded));
}

void dray_loaded_get_report(const dray_loaded *loaded, dray_load_report *out_report)
{
    *out_report = loaded->report;
    out_report->method = loaded->method;
    out_report->backend = loaded->backend;
}

uint64_t dray_loaded_count(const dray_loaded *loaded)
{
    return loaded->count;
}

static void view_fill(const dray_loaded *loaded, const drayi_loaded_tensor *entry,
                      dray_tensor_view *out)
{
    const dray_tensor *tensor = &loaded->weights->index.tensors[entry->index];
    dray_region *region = drayi_keeper_region(entry->keeper);
    char *pointer = dray_region_pointer(region);
    *out = (dray_tensor_view){
        .tensor = tensor,
        .index = entry->index,
        .span = {.region = region, .offset = entry->offset, .bytes = tensor->bytes},
        .pointer = pointer ? pointer + entry->offset : NULL,
    };
}

dray_status dray_loaded_tensor_at(const dray_loaded *loaded, uint64_t index,
                                  dray_tensor_view *out_view, dray_error *error)
{
    if (index >= loaded->count)
        return dray_fail(error, DRAY_E_INVALID, "tensor %" PRIu64 " of %" PRIu64 " loaded ones",
                         index, loaded->count);
    view_fill(loaded, &loaded->tensors[index], out_view);
    return DRAY_OK;
}

dray_status dray_loaded_tensor_find(const dray_loaded *loaded, const char *name,
                                    dray_tensor_view *out_view, dray_error *error)
{
    uint64_t index;
    if (!dray_weights_tensor_find(loaded->weights, name, strlen(name), &index))
        return dray_fail(error, DRAY_E_NOTFOUND, "the model holds no tensor %s", name);
    uint64_t low = 0, high = loaded->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (loaded->tensors[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == loaded->count || loaded->tensors[low].index != index)
        return dray_fail(error, DRAY_E_NOTFOUND, "tensor %s is in the model, but was not loaded",
                         name);
    view_fill(loaded, &loaded->tensors[low], out_view);
    return DRAY_OK;
}

// --- reading back --------------------------------------------------------------------------------

/// Through the mapping's own call: a file cut short meanwhile is an error and no signal.
static dray_status mapped_read(const dray_loaded *loaded, const drayi_loaded_tensor *tensor,
                               uint64_t offset, uint64_t bytes, drayi_take take, void *self,
                               dray_error *error)
{
    dray_model_data *data = drayi_keeper_data(tensor->keeper);
    void *buffer = drayi_alloc(loaded->env, read_back_bytes, error);
    if (!buffer)
        return DRAY_E_NOMEM;
    dray_status status = DRAY_OK;
    for (uint64_t done = 0, piece; done < bytes && status == DRAY_OK; done += piece) {
        piece = drayi_min(bytes - done, read_back_bytes);
        status = dray_model_data_read(data, tensor->offset + offset + done, buffer, piece, error);
        if (status == DRAY_OK)
            take(self, buffer, piece);
    }
    drayi_free(loaded->env, buffer, read_back_bytes);
    return status;
}

dray_status drayi_loaded_read(const dray_loaded *loaded, const drayi_loaded_tensor *tensor,
                              uint64_t offset, uint64_t bytes, drayi_take take, void *self,
                              dray_error *error)
{
    dray_model_data *data = drayi_keeper_data(tensor->keeper);
    if (data && dray_model_data_is_mapped(data))
        return mapped_read(loaded, tensor, offset, bytes, take, self, error);
    const dray_span span = {.region = drayi_keeper_region(tensor->keeper),
                            .offset = tensor->offset + offset,
                            .bytes = bytes};
    return drayi_span_read(loaded->context, &span, take, self, error);
}
