/// No copy: views into a populated shared mapping, or into memory that holds the bytes already.
#include "base/checked.h"
#include "weights/load.h"
#include "weights/loaded.h"

#include <inttypes.h>
#include <stdio.h>

/// Wanted tensors of one file: [first, end) of load.tensors, and the span of the file they lie in.
typedef struct file_share {
    uint32_t file;
    uint64_t first, end;
    uint64_t offset, bytes;
} file_share;

static file_share share_from(const drayi_load *load, uint64_t first)
{
    const dray_tensor *tensors = load->weights->index.tensors;
    const dray_tensor *tensor = &tensors[load->tensors[first]];
    file_share share = {
        .file = tensor->file, .first = first, .end = first, .offset = tensor->offset};
    for (; share.end < load->tensor_count && tensors[load->tensors[share.end]].file == share.file;
         share.end++) {
        tensor = &tensors[load->tensors[share.end]];
        share.bytes = tensor->offset + tensor->bytes - share.offset;
    }
    return share;
}

typedef struct mapping_progress {
    drayi_load *load;
    uint64_t before; // bytes of earlier files
} mapping_progress;

static bool on_progress(void *self, uint64_t done, uint64_t total)
{
    (void)total;
    const mapping_progress *progress = self;
    uint64_t all = progress->load->survey.looked_bytes;
    return drayi_load_progress(progress->load, drayi_min(progress->before + done, all), all);
}

/// Faults the wanted span in, so that using the views later never waits for the disk.
static dray_status mapping_fill(drayi_load *load, const file_share *share, dray_model_data *data,
                                uint64_t before, dray_error *error)
{
    mapping_progress progress = {.load = load, .before = before};
    if (share->bytes == 0) // to the mapping's calls, zero bytes mean all of them
        return DRAY_OK;
    dray_status status = dray_model_data_prefetch(data, share->offset, share->bytes, on_progress,
                                                  &progress, NULL, error);
    dray_error changed;
    if (status != DRAY_OK && status != DRAY_E_CANCELLED &&
        drayi_weights_check(load->weights, &changed) == DRAY_E_CORRUPT) {
        if (error)
            *error = changed;
        return DRAY_E_CORRUPT;
    }
    return status;
}

static dray_status keeper_make(drayi_load *load, const file_share *share, uint64_t before,
                               drayi_keeper **out, dray_error *error)
{
    drayi_model_file *file = &load->weights->files[share->file];
    if (load->choice.way == DRAYI_WAY_VIEW) {
        *out = drayi_keeper_retain(file->keeper);
        return DRAY_OK;
    }
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .backing = DRAY_BACKING_MAPPED,
                                       .keep_compressed = 1,
                                       .offset = native.file_offset,
                                       .bytes = file->info.bytes};
    dray_model_data *data;
    DRAY_TRY(dray_model_data_open_fd(load->weights->context, native.fd, file->info.path, &options,
                                     &data, error));
    DRAY_TRY(drayi_keeper_of_data(load->env, data, true, out, error));
    if (dray_model_data_length(data) < file->info.bytes)
        return drayi_weights_check(load->weights, error);
    return mapping_fill(load, share, data, before, error);
}

// --- verifying -----------------------------------------------------------------------------------

static void chunk_take(void *self, const void *piece, uint64_t bytes)
{
    drayi_hash_add(self, piece, bytes);
}

/// The views stand on the page cache, so that is what is read and hashed: never through the mapping,
/// where a file cut short meanwhile would be a signal.
static dray_status unit_verify(const drayi_load *load, uint64_t unit_index, dray_error *error)
{
    const drayi_unit *unit = &load->units[unit_index];
    const drayi_range *range = &load->ranges[unit_index];
    const drayi_loaded_tensor *entry = &load->loaded->tensors[unit->tensor];
    const dray_tensor *tensor = &load->weights->index.tensors[entry->index];
    drayi_hash_state hash;
    drayi_hash_start(&hash);
    DRAY_TRY(drayi_loaded_read(load->loaded, entry, range->offset - tensor->offset, unit->bytes,
                               chunk_take, &hash, error));
    if (drayi_hash_equal(drayi_hash_end(&hash), drayi_load_expected(load, unit_index)))
        return DRAY_OK;
    return drayi_load_mismatch(load, unit_index, error);
}

static dray_status views_verify(drayi_load *load, dray_error *error)
{
    for (uint64_t i = 0; load->manifest && i < load->unit_count; i++) {
        if (load->units[i].bytes == 0)
            continue;
        DRAY_TRY(unit_verify(load, i, error));
        load->loaded->report.chunks_verified++;
    }
    return DRAY_OK;
}

static dray_status views_fill(drayi_load *load, dray_error *error)
{
    dray_loaded *loaded = load->loaded;
    uint64_t looked = 0;
    for (uint64_t at = 0; at < load->tensor_count;) {
        file_share share = share_from(load, at);
        DRAY_TRY(keeper_make(load, &share, looked, &loaded->keepers[share.file], error));
        for (; at < share.end; at++)
            loaded->tensors[at] = (drayi_loaded_tensor){
                .index = load->tensors[at],
                .keeper = loaded->keepers[share.file],
                .offset = load->weights->index.tensors[load->tensors[at]].offset,
            };
        looked += share.bytes;
    }
    return DRAY_OK;
}

dray_status drayi_load_views(drayi_load *load, dray_error *error)
{
    bool mapped = load->choice.way == DRAYI_WAY_MAPPED;
    if (load->options.explain_only)
        return DRAY_OK;
    DRAY_TRY(drayi_loaded_create(load->weights, load->tensor_count, load->weights->file_count,
                                 &load->loaded, error));
    snprintf(load->loaded->method, sizeof(load->loaded->method), "%s", mapped ? "mapped" : "memory");
    snprintf(load->loaded->backend, sizeof(load->loaded->backend), "%s",
             mapped ? "page tables" : "none");
    load->loaded->report.read_bytes = mapped ? load->survey.looked_bytes : 0;
    DRAY_TRY(views_fill(load, error));
    DRAY_TRY(views_verify(load, error));
    DRAY_TRY(drayi_weights_check(load->weights, error));
    for (uint64_t i = 0; i < load->tensor_count; i++)
        drayi_load_tensor_done(load, i);
    return DRAY_OK;
}
