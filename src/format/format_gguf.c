/// GGUF, versions 2 and 3, little and big endian: header, then metadata, then tensors.
///
///     "GGUF" · u32 version · u64 tensors · u64 keys · keys · tensor descriptions · padding · data
///
/// Version 2 and 3 have the same bytes; 3 only says that a file may be big-endian throughout, which is
/// told from the version itself: read the wrong way round its lower half is zero.
#include "base/env.h"
#include "format/gguf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    header_bytes = 24,
    least_key_bytes = 8 + 1 + 4 + 1,        // length, one byte, type, a bool
    least_tensor_bytes = 8 + 1 + 4 + 4 + 8, // length, one byte, rank 0, type, offset
    warnings_most = 64,
};

static uint32_t gguf_probe(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes)
{
    (void)file_bytes;
    return head_bytes >= 4 && memcmp(head, "GGUF", 4) == 0 ? 100 : 0;
}

dray_status drayi_gguf_warn(gguf_file *file, const char *rule, uint64_t offset, dray_error *error,
                            const char *format, ...)
{
    char message[256];
    if (file->warning_count > warnings_most)
        return DRAY_OK;
    if (file->warning_count++ == warnings_most)
        return file->sink->warn(file->sink, "gguf.warnings", offset, error,
                                "more than %d warnings: the rest is not listed", warnings_most);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return file->sink->warn(file->sink, rule, offset, error, "%s", message);
}

static dray_status version_read(gguf_file *file, const uint8_t *at, dray_error *error)
{
    uint32_t version = drayi_load_u32(at, false);
    if ((version & 0xFFFF) == 0) {
        file->reader.big_endian = true;
        version = drayi_load_u32(at, true);
    }
    if (version == 1)
        return dray_fail_rule(
            error, DRAY_E_FORMAT, "gguf.version", 4,
            "GGUF version 1 (of August 2023) is no longer read by anyone: get a newer file of "
            "the model, or convert the original weights again");
    if (version != 2 && version != 3)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.version", 4,
                              "GGUF version %" PRIu32
                              ", this is dray %s, which reads versions 2 and 3",
                              version, dray_version());
    file->sink->facts->version = version;
    file->sink->facts->big_endian = file->reader.big_endian;
    return DRAY_OK;
}

/// A count can be no larger than what the rest of the file could hold.
static dray_status count_check(const gguf_file *file, uint64_t count, uint64_t least_bytes,
                               const char *rule, uint64_t offset, const char *what,
                               dray_error *error)
{
    uint64_t left = file->reader.limit - header_bytes;
    if (count > left / least_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "%" PRIu64 " %s announced, the %" PRIu64
                              " bytes of the file could hold at most %" PRIu64,
                              count, what, file->reader.limit, left / least_bytes);
    return DRAY_OK;
}

static dray_status header_read(gguf_file *file, dray_error *error)
{
    const uint8_t *at;
    DRAY_TRY(drayi_read_bytes(&file->reader, header_bytes, &at, GGUF_CUT, "GGUF header", error));
    if (memcmp(at, "GGUF", 4) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.magic", 0,
                              "not a GGUF file: it begins %02x %02x %02x %02x", at[0], at[1], at[2],
                              at[3]);
    DRAY_TRY(version_read(file, at + 4, error));
    file->tensor_count = drayi_load_u64(at + 8, file->reader.big_endian);
    file->metadata_count = drayi_load_u64(at + 16, file->reader.big_endian);
    DRAY_TRY(count_check(file, file->tensor_count, least_tensor_bytes, "gguf.tensor.count", 8,
                         "tensors", error));
    return count_check(file, file->metadata_count, least_key_bytes, "gguf.key.count", 16, "keys",
                       error);
}

static dray_status gguf_read(dray_format_input *input, dray_format_sink *sink, dray_error *error)
{
    drayi_head_source head = {.input = input, .limit = input->file_bytes};
    gguf_file file = {
        .input = input,
        .sink = sink,
        .reader = drayi_head_reader(&head),
        .lenient = (input->flags & DRAY_FORMAT_LENIENT) != 0,
        .bounds_only = (input->flags & DRAY_FORMAT_BOUNDS_ONLY) != 0,
        .alignment = 32,
    };
    DRAY_TRY(header_read(&file, error));
    DRAY_TRY(drayi_gguf_metadata(&file, error));
    return drayi_gguf_tensors(&file, error);
}

const dray_format_ops drayi_format_gguf = {
    .abi = DRAY_FORMAT_ABI,
    .name = "gguf",
    .probe = gguf_probe,
    .read = gguf_read,
};
