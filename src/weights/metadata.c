/// Looking at an opened model. Nothing here changes it, so any thread may.
#include "weights/opened.h"

#include <string.h>

void dray_weights_get_info(const dray_weights *weights, dray_weights_info *out_info)
{
    const drayi_index *index = &weights->index;
    const dray_format_facts *facts = &weights->files[0].format;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < index->tensor_count; i++)
        sum += index->tensors[i].bytes == DRAY_UNKNOWN ? 0 : index->tensors[i].bytes;
    *out_info = (dray_weights_info){
        .format = weights->format,
        .codec = weights->codec,
        .version = facts->version,
        .big_endian = facts->big_endian,
        .alignment = facts->alignment,
        .file_count = (uint32_t)weights->file_count,
        .warning_count = (uint32_t)index->warning_count,
        .tensor_count = index->tensor_count,
        .tensor_bytes = sum,
        .metadata_count = index->metadata_count,
    };
}

const dray_weights_file *dray_weights_file_at(const dray_weights *weights, uint32_t index)
{
    return index < weights->file_count ? &weights->files[index].info : NULL;
}

const dray_warning *dray_weights_warning_at(const dray_weights *weights, uint32_t index)
{
    return index < weights->index.warning_count ? &weights->index.warnings[index] : NULL;
}

const dray_tensor *dray_weights_tensor_at(const dray_weights *weights, uint64_t index)
{
    return index < weights->index.tensor_count ? &weights->index.tensors[index] : NULL;
}

const dray_tensor *dray_weights_tensor_find(const dray_weights *weights, const char *name,
                                            uint64_t name_bytes, uint64_t *out_index)
{
    uint64_t found =
        drayi_index_find(&weights->index, (dray_text){.bytes = name, .length = name_bytes});
    if (found == UINT64_MAX)
        return NULL;
    if (out_index)
        *out_index = found;
    return &weights->index.tensors[found];
}

const dray_metadata *dray_weights_metadata_at(const dray_weights *weights, uint64_t index)
{
    return index < weights->index.metadata_count ? &weights->index.metadata[index] : NULL;
}

const dray_metadata *dray_weights_metadata_find(const dray_weights *weights, const char *key)
{
    const drayi_index *index = &weights->index;
    uint64_t found =
        drayi_names_find(&index->metadata_names, index->metadata, sizeof(*index->metadata),
                         (dray_text){.bytes = key, .length = strlen(key)});
    return found == UINT64_MAX ? NULL : &index->metadata[found];
}

dray_status dray_weights_tensor_span(const dray_weights *weights, uint64_t index,
                                     dray_span *out_span, dray_error *error)
{
    const dray_tensor *tensor = dray_weights_tensor_at(weights, index);
    if (!tensor)
        return dray_fail(error, DRAY_E_INVALID, "tensor %llu of %llu", (unsigned long long)index,
                         (unsigned long long)weights->index.tensor_count);
    if (tensor->bytes == DRAY_UNKNOWN)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "tensor %s: type id %u has no known size",
                         drayi_show(tensor->name).text, tensor->native_type);
    *out_span = (dray_span){.region = weights->files[tensor->file].region,
                            .offset = tensor->offset,
                            .bytes = tensor->bytes};
    return DRAY_OK;
}

dray_status drayi_model_file_read(const dray_weights *weights, const drayi_model_file *file,
                                  uint64_t offset, void *out, uint64_t bytes, dray_error *error)
{
    if (file->keeper)
        return dray_model_data_read(drayi_keeper_data(file->keeper), offset, out, bytes, error);
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    return drayi_pread_all(weights->env->os, native.fd, file->info.path, out, bytes,
                           native.file_offset + offset, NULL, error);
}
