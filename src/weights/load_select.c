/// Which tensors are wanted, and what is waited for: whole tensors, or the manifest's chunks of them.
#include "base/checked.h"
#include "weights/glob.h"
#include "weights/load.h"

#include <inttypes.h>

static bool is_wanted(const dray_load_options *options, const dray_tensor *tensor)
{
    if (options->use_layers &&
        (tensor->layer < options->layer_first || tensor->layer > options->layer_last))
        return false;
    return !options->tensors || drayi_glob_match(options->tensors, tensor->name);
}

static dray_status nothing_matches(const drayi_load *load, dray_error *error)
{
    const dray_load_options *options = &load->options;
    uint64_t count = load->weights->index.tensor_count;
    if (!options->tensors && !options->use_layers)
        return dray_fail(error, DRAY_E_NOTFOUND, "the model holds no tensors");
    if (!options->use_layers)
        return dray_fail(error, DRAY_E_NOTFOUND, "none of %" PRIu64 " tensors matches \"%s\"",
                         count, options->tensors);
    return dray_fail(error, DRAY_E_NOTFOUND,
                     "none of %" PRIu64 " tensors belongs to layers %" PRId64 " to %" PRId64 "%s%s",
                     count, options->layer_first, options->layer_last,
                     options->tensors ? " and matches " : "",
                     options->tensors ? options->tensors : "");
}

/// The bytes that one unit holds at most: a chunk, or any tensor whole.
static uint64_t unit_most(const drayi_load *load)
{
    return load->manifest ? load->manifest->chunk_bytes : UINT64_MAX;
}

static uint64_t units_of(const drayi_load *load, uint64_t bytes)
{
    if (!load->manifest)
        return 1;
    uint64_t chunks = drayi_chunks_of(bytes, load->manifest->chunk_bytes);
    return chunks ? chunks : 1; // an empty tensor is waited for, too
}

static dray_status tensors_collect(drayi_load *load, dray_error *error)
{
    const drayi_index *index = &load->weights->index;
    load->tensors = drayi_alloc_array(load->env, index->tensor_count, sizeof(*load->tensors), error);
    if (!load->tensors)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < index->tensor_count; i++) {
        const dray_tensor *tensor = &index->tensors[i];
        if (!is_wanted(&load->options, tensor))
            continue;
        if (tensor->bytes == DRAY_UNKNOWN)
            return dray_fail(error, DRAY_E_UNSUPPORTED,
                             "tensor %s: type id %" PRIu32 " has no known size",
                             drayi_show(tensor->name).text, tensor->native_type);
        load->tensors[load->tensor_count++] = i;
        load->tensor_bytes += tensor->bytes; // no overlap within files: cannot overflow
        load->unit_count += units_of(load, tensor->bytes);
    }
    return load->tensor_count ? DRAY_OK : nothing_matches(load, error);
}

static void units_fill(drayi_load *load)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < load->tensor_count; i++) {
        const dray_tensor *tensor = &load->weights->index.tensors[load->tensors[i]];
        uint64_t done = 0;
        for (uint32_t chunk = 0; chunk < units_of(load, tensor->bytes); chunk++) {
            uint64_t bytes = drayi_min(tensor->bytes - done, unit_most(load));
            load->units[at] = (drayi_unit){.tensor = (uint32_t)i, .chunk = chunk, .bytes = bytes};
            load->ranges[at++] =
                (drayi_range){.file = tensor->file, .offset = tensor->offset + done, .bytes = bytes};
            done += bytes;
        }
    }
}

dray_status drayi_load_select(drayi_load *load, dray_error *error)
{
    if (load->options.tensors)
        DRAY_TRY(drayi_glob_check(load->options.tensors, error));
    DRAY_TRY(tensors_collect(load, error));
    load->units = drayi_alloc_array(load->env, load->unit_count, sizeof(*load->units), error);
    load->ranges = drayi_alloc_array(load->env, load->unit_count, sizeof(*load->ranges), error);
    if (!load->units || !load->ranges)
        return DRAY_E_NOMEM;
    units_fill(load);
    return DRAY_OK;
}

void drayi_load_free(drayi_load *load)
{
    drayi_placement_free(&load->placement);
    drayi_free(load->env, load->tensors,
               (size_t)load->weights->index.tensor_count * sizeof(*load->tensors));
    drayi_free(load->env, load->units, (size_t)load->unit_count * sizeof(*load->units));
    drayi_free(load->env, load->ranges, (size_t)load->unit_count * sizeof(*load->ranges));
}
