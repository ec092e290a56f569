/// Any file at all, as one tensor "data" of bytes. Taken only when it is asked for by name; in return
/// it is the one that explains the files nobody takes.
#include "dray/spi/format.h"
#include "format/recognise.h"

#include <string.h>

static uint32_t raw_probe(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes)
{
    (void)head, (void)head_bytes, (void)file_bytes;
    return 0;
}

static dray_status raw_read(dray_format_input *input, dray_format_sink *sink, dray_error *error)
{
    static const char name[4] = "data";
    char *kept = sink->keep(sink, sizeof(name), error);
    if (!kept)
        return DRAY_E_NOMEM;
    memcpy(kept, name, sizeof(name));
    sink->facts->alignment = 1;
    dray_format_tensor tensor = {
        .name = {.bytes = kept, .length = sizeof(name)},
        .dtype = DRAY_DTYPE_U8,
        .rank = 1,
        .size_known = 1,
        .shape = &input->file_bytes,
        .bytes = input->file_bytes,
    };
    return sink->tensor(sink, &tensor, error);
}

const dray_format_ops drayi_format_raw = {
    .abi = DRAY_FORMAT_ABI,
    .name = "raw",
    .probe = raw_probe,
    .read = raw_read,
    .explain = drayi_recognise,
};
