/// safetensors files: the probe ends the program when the format breaks its contract. Byte 0: bit 0
/// the rest is a whole file (else a header, its data sized by bytes 1 and 2), bit 1 the head arrives
/// piece by piece, bit 2 every byte wanted is one `need` more.
#include "support/format_probe.h"
#include "support/safetensors_writer.h"

#include <stdlib.h>

extern const dray_format_ops drayi_format_safetensors;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

/// Tensors follow each other without a gap, from the end of the header on.
static uint64_t check_order(const format_probe *probe)
{
    uint64_t at = probe->facts.data_offset;
    for (uint64_t i = 0; i < probe->tensor_count; i++) {
        require(probe->tensors[i].offset == at && probe->tensors[i].size_known);
        at += probe->tensors[i].bytes;
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    bool whole = data[0] & 1;
    uint64_t data_bytes = whole ? 0 : data[1] | (uint64_t)data[2] << 8, bytes = size - 3;
    uint8_t *built = whole ? NULL : safetensors_raw_file(data + 3, size - 3, data_bytes, &bytes);
    const uint8_t *file = whole ? data + 3 : built;
    format_probe strict = {.head_first = data[0] & 2 ? 1 : 0, .head_exact = data[0] & 4};
    format_probe lenient = strict;
    lenient.flags = DRAY_FORMAT_LENIENT;
    dray_status by_rule = format_probe_read(&strict, &drayi_format_safetensors, file, bytes);
    dray_status relaxed = format_probe_read(&lenient, &drayi_format_safetensors, file, bytes);
    require(by_rule == DRAY_OK || by_rule == DRAY_E_FORMAT);
    if (by_rule == DRAY_OK) {
        require(relaxed == DRAY_OK && strict.tensor_count == lenient.tensor_count);
        require(check_order(&strict) == bytes);
    } else if (relaxed == DRAY_OK) {
        require(lenient.warning_count > 0 && check_order(&lenient) <= bytes);
    }
    drayi_format_safetensors.probe(file, bytes < 4096 ? bytes : 4096, bytes);
    format_probe_free(&strict);
    format_probe_free(&lenient);
    free(built);
    return 0;
}
