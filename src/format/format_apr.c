/// APR v2: a header of 64 bytes, JSON metadata, an index of tensors, data. All numbers little-endian.
///
///     0 "APR" 0 or '2' · 4 version major, minor · 6 u16 flags · 8 u32 tensors
///     12 u64 metadata offset · 20 u32 metadata bytes · 24 u64 index offset · 32 u64 data offset
///     40 u32 CRC-32 of the header without this field (0: not set) · 44 reserved
///
/// With a compression flag everything behind the header is one LZ4 block with its size in front, or zstd
/// frames; the core unpacks it and calls read() with the result, whose header still has the flag.
#include "base/env.h"
#include "base/reader.h"
#include "format/apr.h"

#include <inttypes.h>

static uint32_t apr_probe(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes)
{
    (void)file_bytes;
    bool ours = head_bytes >= 4 && memcmp(head, "APR", 3) == 0 &&
                (head[3] == 0 || head[3] == '1' || head[3] == '2' || head[3] == 'N');
    return ours ? 100 : 0;
}

/// CRC-32 as in zip and PNG; the header is too short for tables to pay.
static uint32_t crc32_add(uint32_t crc, const uint8_t *bytes, uint64_t count)
{
    crc = ~crc;
    for (uint64_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320U & (0U - (crc & 1)));
    }
    return ~crc;
}

static dray_status checksum_check(const uint8_t *header, dray_error *error)
{
    uint32_t wanted = drayi_load_u32(header + 40, false);
    if (wanted == 0)
        return DRAY_OK;
    uint32_t found = crc32_add(crc32_add(0, header, 40), header + 44, 20);
    if (found == wanted)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_CORRUPT, "apr.checksum", 40,
                          "the header's CRC-32 is %08" PRIx32 ", the file says %08" PRIx32, found,
                          wanted);
}

static dray_status version_check(const uint8_t *header, dray_error *error)
{
    if (memcmp(header, "APR", 3) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.magic", 0,
                              "not an APR file: it begins %02x %02x %02x %02x", header[0],
                              header[1], header[2], header[3]);
    if (header[3] == '1' || header[3] == 'N')
        return dray_fail_rule(
            error, DRAY_E_FORMAT, "apr.version", 3,
            "this is an APR version 1 file, which dray does not read: import the original model "
            "again with a current `apr`, which writes version 2");
    if (header[3] != 0 && header[3] != '2')
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.magic", 3,
                              "not an APR file: byte 3 is %02x", header[3]);
    if (header[4] != 2)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.version", 4,
                              "APR version %u.%u, this reads version 2", header[4], header[5]);
    return DRAY_OK;
}

static dray_status flags_check(apr_file *file, dray_error *error)
{
    if (file->flags & apr_encrypted)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.encrypted", 6,
                              "the model is encrypted: decrypt it with `apr` first");
    if (file->flags & apr_column_major)
        return dray_fail_rule(
            error, DRAY_E_FORMAT, "apr.layout", 6,
            "the tensors are marked as column-major, a broken import from GGUF: import the model "
            "again with a current `apr`");
    if (file->flags & apr_signed)
        DRAY_TRY(
            file->sink->warn(file->sink, "apr.signed", 6, error, "the signature is not checked"));
    if (file->flags & apr_sharded)
        DRAY_TRY(file->sink->warn(
            file->sink, "apr.sharded", 6, error,
            "this is one shard of several: the tensors of the others are missing"));
    if (file->flags & ~(uint32_t)apr_known_flags)
        DRAY_TRY(file->sink->warn(file->sink, "apr.flags", 6, error, "unknown flags %04" PRIx32,
                                  file->flags & ~(uint32_t)apr_known_flags));
    return DRAY_OK;
}

/// The parts stand in the order metadata, index, data, and do not reach into each other.
static dray_status sections_check(const apr_file *file, dray_error *error)
{
    uint64_t file_bytes = file->input->file_bytes;
    if (file->metadata_bytes > 0 &&
        (file->metadata_offset < apr_header_bytes ||
         !drayi_inside(file->metadata_offset, file->metadata_bytes, file_bytes)))
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.metadata.offset", 12,
                              "metadata of %" PRIu64 " bytes at %" PRIu64 ", the file has %" PRIu64,
                              file->metadata_bytes, file->metadata_offset, file_bytes);
    if (file->tensor_count == 0)
        return DRAY_OK;
    uint64_t before =
        file->metadata_bytes ? file->metadata_offset + file->metadata_bytes : apr_header_bytes;
    if (file->index_offset < before || file->data_offset < file->index_offset ||
        file->data_offset > file_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.offset", 24,
                              "tensor index at %" PRIu64 " and data at %" PRIu64
                              ", they must follow %" PRIu64 " in this order, the file has %" PRIu64
                              " bytes",
                              file->index_offset, file->data_offset, before, file_bytes);
    return DRAY_OK;
}

static dray_status header_read(apr_file *file, dray_error *error)
{
    dray_format_input *input = file->input;
    if (input->file_bytes < apr_header_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.truncated", 0,
                              "APR header: wanted %d bytes, file ends at %" PRIu64,
                              apr_header_bytes, input->file_bytes);
    if (input->head_bytes < apr_header_bytes)
        DRAY_TRY(input->need(input, apr_header_bytes, error));
    const uint8_t *header = input->head;
    DRAY_TRY(version_check(header, error));
    file->flags = drayi_load_u16(header + 6, false);
    file->tensor_count = drayi_load_u32(header + 8, false);
    file->metadata_offset = drayi_load_u64(header + 12, false);
    file->metadata_bytes = drayi_load_u32(header + 20, false);
    file->index_offset = drayi_load_u64(header + 24, false);
    file->data_offset = drayi_load_u64(header + 32, false);
    DRAY_TRY(checksum_check(header, error));
    DRAY_TRY(flags_check(file, error));
    return sections_check(file, error);
}

static dray_status apr_read(dray_format_input *input, dray_format_sink *sink, dray_error *error)
{
    apr_file file = {
        .input = input,
        .sink = sink,
        .lenient = (input->flags & DRAY_FORMAT_LENIENT) != 0,
    };
    DRAY_TRY(header_read(&file, error));
    sink->facts->version = 2;
    sink->facts->data_offset = drayi_min(file.data_offset, input->file_bytes);
    DRAY_TRY(drayi_apr_metadata(&file, error));
    return drayi_apr_tensors(&file, error);
}

static dray_status apr_packing(const uint8_t *head, uint64_t head_bytes, dray_format_packing *out,
                               dray_error *error)
{
    *out = (dray_format_packing){0};
    if (head_bytes < apr_header_bytes || (head[3] != 0 && head[3] != '2'))
        return DRAY_OK; // read() says what is wrong
    uint32_t flags = drayi_load_u16(head + 6, false);
    if ((flags & apr_encrypted) || !(flags & (apr_lz4 | apr_zstd)))
        return DRAY_OK;
    if ((flags & apr_lz4) && (flags & apr_zstd))
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.flags", 6,
                              "the flags say both LZ4 and zstd");
    out->codec = flags & apr_lz4 ? "lz4_block" : "zstd";
    out->raw_bytes = apr_header_bytes;
    return DRAY_OK;
}

const dray_format_ops drayi_format_apr = {
    .abi = DRAY_FORMAT_ABI,
    .name = "apr",
    .probe = apr_probe,
    .read = apr_read,
    .packing = apr_packing,
};
