/// The tensor index of an APR file.
///
///     u16 name length, name · u8 dtype · u8 rank · rank x u64, slowest first · u64 offset · u64 bytes
///
/// One dtype byte may mean several types: early files used 8 and 9 for APR's own q4 and q8 where newer
/// ones have ggml's Q8_0 and Q8_1, and aprender gives 3 to 7 to plain types that realizar reads as ggml's.
/// The size in the index decides; where it fits none the tensor is refused, never guessed.
#include "base/env.h"
#include "base/quote.h"
#include "format/apr.h"
#include "format/byte_ranges.h"
#include "format/gguf_types.h"
#include "format/head_reader.h"

#include <inttypes.h>

enum {
    least_entry_bytes = 2 + 1 + 1 + 1 + 8 + 8,
    footer_bytes = 4, // CRC-32 of the file, written by aprender
    meanings_most = 2,
};

typedef struct apr_tensor {
    dray_text name;
    uint8_t type;
    uint32_t rank;
    dray_dtype dtype; // UNKNOWN under --lenient only
    uint64_t shape[DRAY_RANK_MAX];
    uint64_t offset, bytes; // offset from the start of the data
    uint64_t head_offset;
} apr_tensor;

/// What the tensors have in common, as far as they have been read.
typedef struct data_extent {
    uint64_t end;       // of the last byte, from the start of the data
    uint64_t positions; // all absolute offsets, or-ed: how they are aligned
    bool unordered;
} data_extent;

/// What a dtype byte may mean, the likelier first. Returns how many.
static uint32_t meanings_of(uint8_t type, dray_dtype out[meanings_most])
{
    static const struct {
        uint8_t type, dtype;
        bool first;
    } own[] = {
        {3, DRAY_DTYPE_F64, false},     {4, DRAY_DTYPE_I32, false},
        {5, DRAY_DTYPE_I64, false},     {6, DRAY_DTYPE_I8, false},
        {7, DRAY_DTYPE_U8, false},      {8, DRAY_DTYPE_APR_Q4, true},
        {9, DRAY_DTYPE_APR_Q8, true},   {128, DRAY_DTYPE_APR_Q4, true},
        {129, DRAY_DTYPE_APR_Q8, true},
    };
    uint32_t count = 0;
    dray_dtype ggml = drayi_gguf_dtype(type);
    if (ggml != DRAY_DTYPE_UNKNOWN)
        out[count++] = ggml;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (own[i].type != type)
            continue;
        out[count++] = (dray_dtype)own[i].dtype;
        if (own[i].first && count == 2) {
            out[1] = out[0];
            out[0] = (dray_dtype)own[i].dtype;
        }
    }
    return count;
}

static dray_status type_unknown(apr_file *file, const apr_tensor *tensor, dray_error *error)
{
    if (!file->lenient)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.type", tensor->head_offset,
                              "dtype %u is unknown, so is its size; --lenient lists the tensor",
                              tensor->type);
    return file->sink->warn(file->sink, "apr.tensor.type", tensor->head_offset, error,
                            "tensor %s: dtype %u is unknown", drayi_quote(tensor->name).text,
                            tensor->type);
}

/// The meaning of the dtype byte with which shape and size agree.
static dray_status type_find(apr_file *file, apr_tensor *tensor, dray_error *error)
{
    dray_dtype meanings[meanings_most];
    uint32_t count = meanings_of(tensor->type, meanings);
    uint64_t wanted = 0;
    tensor->dtype = DRAY_DTYPE_UNKNOWN;
    if (count == 0)
        return type_unknown(file, tensor, error);
    dray_status status = DRAY_OK;
    for (uint32_t i = 0; i < count; i++) {
        status = dray_dtype_tensor_bytes(meanings[i], tensor->shape, tensor->rank, &wanted, error);
        if (status == DRAY_OK && wanted == tensor->bytes) {
            tensor->dtype = meanings[i];
            return DRAY_OK;
        }
    }
    if (status == DRAY_OK)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.size", tensor->head_offset,
                              "%" PRIu64 " bytes, as %s it has %" PRIu64, tensor->bytes,
                              dray_dtype_get_info(meanings[count - 1])->name, wanted);
    if (error) {
        error->rule = "apr.tensor.shape";
        error->offset = tensor->head_offset;
    }
    return status;
}

// --- one entry -----------------------------------------------------------------------------------

static dray_status name_read(drayi_reader *reader, dray_text *out, dray_error *error)
{
    uint16_t length;
    const uint8_t *bytes;
    uint64_t offset = reader->position;
    DRAY_TRY(drayi_read_u16(reader, &length, "apr.truncated", "name length", error));
    DRAY_TRY(drayi_read_bytes(reader, length, &bytes, "apr.truncated", "name", error));
    *out = (dray_text){.bytes = (const char *)bytes, .length = length};
    if (length == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.name", offset,
                              "a tensor without a name");
    if (memchr(bytes, 0, length) || !drayi_is_utf8(bytes, length))
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.name", offset,
                              "name %s is not UTF-8, or has a NUL in it", drayi_quote(*out).text);
    return DRAY_OK;
}

static dray_status entry_read(drayi_reader *reader, apr_tensor *tensor, dray_error *error)
{
    const uint8_t *at;
    tensor->head_offset = reader->position;
    DRAY_TRY(name_read(reader, &tensor->name, error));
    DRAY_TRY(drayi_read_bytes(reader, 2, &at, "apr.truncated", "dtype and rank", error));
    tensor->type = at[0];
    tensor->rank = at[1];
    if (tensor->rank > DRAY_RANK_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.rank", reader->position - 1,
                              "tensor %s: %" PRIu32 " dimensions, the most are %d",
                              drayi_quote(tensor->name).text, tensor->rank, DRAY_RANK_MAX);
    DRAY_TRY(drayi_read_bytes(reader, (uint64_t)tensor->rank * 8 + 16, &at, "apr.truncated",
                              "shape, offset and size", error));
    for (uint32_t i = 0; i < tensor->rank; i++, at += 8)
        tensor->shape[i] = drayi_load_u64(at, false);
    tensor->offset = drayi_load_u64(at, false);
    tensor->bytes = drayi_load_u64(at + 8, false);
    return DRAY_OK;
}

static dray_status extent_add(const apr_file *file, data_extent *extent, const apr_tensor *tensor,
                              dray_error *error)
{
    uint64_t room = file->input->file_bytes - file->data_offset;
    if (!drayi_inside(tensor->offset, tensor->bytes, room))
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.offset", tensor->head_offset,
                              "tensor %s: %" PRIu64 " bytes at %" PRIu64
                              " of the data, which has %" PRIu64,
                              drayi_quote(tensor->name).text, tensor->bytes, tensor->offset, room);
    extent->unordered |= tensor->offset < extent->end;
    extent->end = drayi_max(extent->end, tensor->offset + tensor->bytes);
    extent->positions |= file->data_offset + tensor->offset;
    return DRAY_OK;
}

static dray_status tensor_give(apr_file *file, const apr_tensor *tensor, dray_error *error)
{
    dray_format_tensor given = {
        .name = tensor->name,
        .dtype = tensor->dtype,
        .native_type = tensor->type,
        .rank = tensor->rank,
        .size_known = tensor->dtype != DRAY_DTYPE_UNKNOWN,
        .shape = tensor->shape,
        .offset = file->data_offset + tensor->offset,
        .bytes = tensor->dtype != DRAY_DTYPE_UNKNOWN ? tensor->bytes : 0,
        .head_offset = tensor->head_offset,
    };
    return file->sink->tensor(file->sink, &given, error);
}

static dray_status tensor_read(apr_file *file, drayi_reader *reader, data_extent *extent,
                               dray_error *error)
{
    apr_tensor tensor;
    DRAY_TRY(entry_read(reader, &tensor, error));
    dray_status status = type_find(file, &tensor, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "tensor %s", drayi_quote(tensor.name).text);
    DRAY_TRY(extent_add(file, extent, &tensor, error));
    return tensor_give(file, &tensor, error);
}

// --- all of them ---------------------------------------------------------------------------------

static dray_status ranges_read(const apr_file *file, drayi_reader *reader, drayi_byte_range *out,
                               dray_error *error)
{
    reader->position = file->index_offset;
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        apr_tensor tensor;
        DRAY_TRY(entry_read(reader, &tensor, error));
        out[i] = (drayi_byte_range){.begin = tensor.offset, .end = tensor.offset + tensor.bytes};
    }
    return DRAY_OK;
}

static dray_status overlap_check(apr_file *file, drayi_reader *reader, dray_error *error)
{
    uint64_t count = file->tensor_count;
    drayi_byte_range overlap,
        *ranges = drayi_alloc_array(file->input->env, 2 * count, sizeof(*ranges), error);
    if (!ranges)
        return DRAY_E_NOMEM;
    dray_status status = ranges_read(file, reader, ranges, error);
    if (status == DRAY_OK && drayi_ranges_overlap(ranges, ranges + count, count, &overlap))
        status = dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.overlap", file->index_offset,
                                "the tensor at %" PRIu64
                                " of the data begins before another one ends at %" PRIu64,
                                overlap.begin, overlap.end);
    drayi_free(file->input->env, ranges, 2 * count * sizeof(*ranges));
    return status;
}

static dray_status trailing_check(apr_file *file, const data_extent *extent, dray_error *error)
{
    uint64_t behind = file->input->file_bytes - file->data_offset - extent->end;
    if (behind < apr_alignment + footer_bytes)
        return DRAY_OK; // padding of the last tensor, and the footer
    return file->sink->warn(file->sink, "apr.data.trailing", file->data_offset + extent->end, error,
                            "%" PRIu64 " bytes behind the last tensor belong to nothing", behind);
}

dray_status drayi_apr_tensors(apr_file *file, dray_error *error)
{
    if (file->tensor_count == 0)
        return DRAY_OK;
    uint64_t room = file->data_offset - file->index_offset;
    if (file->tensor_count > room / least_entry_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.tensor.count", 8,
                              "%" PRIu32 " tensors announced, the index of %" PRIu64
                              " bytes could hold at most %" PRIu64,
                              file->tensor_count, room, room / least_entry_bytes);
    drayi_head_source head = {.input = file->input, .limit = file->data_offset};
    drayi_reader reader = drayi_head_reader(&head);
    const uint8_t *before;
    DRAY_TRY(
        drayi_read_bytes(&reader, file->index_offset, &before, "apr.truncated", "header", error));
    data_extent extent = {.positions = apr_alignment};
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        dray_status status = tensor_read(file, &reader, &extent, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "tensor %" PRIu32 " of %" PRIu32, i,
                                    file->tensor_count);
    }
    if (extent.unordered)
        DRAY_TRY(overlap_check(file, &reader, error));
    file->sink->facts->alignment =
        extent.positions & (~extent.positions + 1); // what all positions share
    return trailing_check(file, &extent, error);
}
