#include "scripted_format.h"

#include <inttypes.h>
#include <string.h>

script scripted;

static uint32_t script_probe(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes)
{
    (void)file_bytes;
    return head_bytes >= 8 && memcmp(head, "SCRIPTED", 8) == 0 ? 100 : 0;
}

static dray_status say_tensor(dray_format_sink *sink, const script_tensor *tensor, dray_error *error)
{
    dray_format_tensor said = {
        .name = {.bytes = tensor->name, .length = strlen(tensor->name)},
        .dtype = tensor->dtype,
        .native_type = 7,
        .rank = tensor->rank,
        .size_known = !tensor->size_unknown,
        .shape = tensor->shape,
        .offset = tensor->offset,
        .bytes = tensor->bytes,
    };
    return sink->tensor(sink, &said, error);
}

static dray_status script_read(dray_format_input *input, dray_format_sink *sink, dray_error *error)
{
    dray_status status = scripted.need ? input->need(input, scripted.need, error) : DRAY_OK;
    *sink->facts = scripted.facts;
    for (uint64_t i = 0; status == DRAY_OK && i < scripted.key_count; i++) {
        dray_text key = {.bytes = scripted.keys[i], .length = strlen(scripted.keys[i])};
        dray_value value = {.type = DRAY_VALUE_TEXT, .as.text = {.bytes = "value", .length = 5}};
        bool duplicate = false;
        status = sink->metadata(sink, key, &value, &duplicate, error);
    }
    for (uint64_t i = 0; status == DRAY_OK && i < scripted.tensor_count; i++)
        status = say_tensor(sink, &scripted.tensors[i], error);
    for (uint64_t i = 0; status == DRAY_OK && i < scripted.warning_count; i++)
        status = sink->warn(sink, "scripted.rule", i, error, "warning %" PRIu64, i);
    return status;
}

const dray_format_ops scripted_format = {
    .abi = DRAY_FORMAT_ABI,
    .name = "scripted",
    .probe = script_probe,
    .read = script_read,
};
