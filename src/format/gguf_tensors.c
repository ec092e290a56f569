/// GGUF tensor descriptions, and where the data lies.
///
///     name: u64 length, bytes · u32 rank · rank x u64, fastest first · u32 type · u64 offset
///
/// Offsets count from the start of the data, which is known only behind the last description; so the
/// descriptions are read twice: once to check them, once to give them away. The strict layout is
/// ggml's: tensors stand in the order of their descriptions, each padded to the alignment, no holes.
#include "base/env.h"
#include "base/quote.h"
#include "format/byte_ranges.h"
#include "format/gguf.h"
#include "format/gguf_types.h"

#include <inttypes.h>

enum { rank_most = 4, name_bytes_most = 63, padding_look_bytes = 4096 };

typedef struct tensor_info {
    dray_text name;
    uint32_t rank, type;
    dray_dtype dtype;          // UNKNOWN under --lenient only
    uint64_t shape[rank_most]; // slowest first
    uint64_t offset;           // from the start of the data
    uint64_t bytes;            // 0 when the dtype is unknown
    uint64_t head_offset, type_at, offset_at;
} tensor_info;

/// What the first pass learns.
typedef struct data_layout {
    uint64_t next; // where the next tensor has to begin
    uint64_t end;  // of the last byte of any tensor
    uint64_t padded_end;
    bool unordered;     // some offset was not `next` (--lenient)
    bool after_unknown; // the size of the tensor before is unknown (--lenient)
    bool unknown_sizes; // that of any tensor is
    uint64_t start;     // absolute
} data_layout;

// --- one description -----------------------------------------------------------------------------

static dray_status name_read(gguf_file *file, dray_text *out, dray_error *error)
{
    uint64_t offset = file->reader.position;
    DRAY_TRY(drayi_read_u64(&file->reader, &out->length, GGUF_CUT, "name length", error));
    if (out->length == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.name", offset,
                              "a tensor without a name");
    if (out->length > name_bytes_most)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.name", offset,
                              "a name of %" PRIu64 " bytes, the most are %d", out->length,
                              name_bytes_most);
    const uint8_t *bytes;
    DRAY_TRY(drayi_read_bytes(&file->reader, out->length, &bytes, GGUF_CUT, "name", error));
    out->bytes = (const char *)bytes;
    if (memchr(bytes, 0, out->length))
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.name", offset + 8,
                              "a NUL in name %s", drayi_quote(*out).text);
    if (!drayi_is_utf8(bytes, out->length))
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.name", offset + 8,
                              "name %s is not UTF-8", drayi_quote(*out).text);
    return DRAY_OK;
}

/// ggml counts elements in an int64; a product may pass through no value that does not fit, whatever
/// the order (a zero must not hide an overflow).
static dray_status shape_read(gguf_file *file, tensor_info *info, dray_error *error)
{
    uint64_t offset = file->reader.position, product = 1;
    DRAY_TRY(drayi_read_u32(&file->reader, &info->rank, GGUF_CUT, "rank", error));
    if (info->rank > rank_most)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.rank", offset,
                              "%" PRIu32 " dimensions, the most are %d", info->rank, rank_most);
    for (uint32_t i = 0; i < info->rank; i++) {
        uint64_t size;
        offset = file->reader.position;
        DRAY_TRY(drayi_read_u64(&file->reader, &size, GGUF_CUT, "dimension", error));
        if (size > INT64_MAX)
            return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.shape", offset,
                                  "dimension %" PRIu32 " is negative or too large (%" PRIu64 ")", i,
                                  size);
        if (size != 0 && (!drayi_mul(product, size, &product) || product > INT64_MAX))
            return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.shape", offset,
                                  "element count overflows at dimension %" PRIu32 " (%" PRIu64 ")",
                                  i, size);
        info->shape[info->rank - 1 - i] = size;
    }
    return DRAY_OK;
}

static dray_status type_read(gguf_file *file, tensor_info *info, dray_error *error)
{
    info->type_at = file->reader.position;
    DRAY_TRY(drayi_read_u32(&file->reader, &info->type, GGUF_CUT, "tensor type", error));
    info->dtype = drayi_gguf_dtype(info->type);
    info->bytes = 0;
    if (info->dtype == DRAY_DTYPE_UNKNOWN)
        return file->lenient ? DRAY_OK : drayi_gguf_refuse_type(info->type, info->type_at, error);
    dray_status status =
        dray_dtype_tensor_bytes(info->dtype, info->shape, info->rank, &info->bytes, error);
    if (status != DRAY_OK && error) {
        error->rule = "gguf.tensor.shape";
        error->offset = info->type_at;
    }
    return status;
}

static dray_status info_read(gguf_file *file, tensor_info *info, dray_error *error)
{
    info->head_offset = file->reader.position;
    DRAY_TRY(name_read(file, &info->name, error));
    dray_status status = shape_read(file, info, error);
    if (status == DRAY_OK)
        status = type_read(file, info, error);
    info->offset_at = file->reader.position;
    if (status == DRAY_OK)
        status = drayi_read_u64(&file->reader, &info->offset, GGUF_CUT, "tensor offset", error);
    return status == DRAY_OK
               ? DRAY_OK
               : dray_fail_within(error, status, "tensor %s", drayi_quote(info->name).text);
}

// --- first pass: the layout ----------------------------------------------------------------------

/// Is the tensor where it must be? Moves the layout behind it.
static dray_status layout_add(gguf_file *file, data_layout *layout, const tensor_info *info,
                              dray_error *error)
{
    if (info->offset % file->alignment != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.offset", info->offset_at,
                              "tensor %s: offset %" PRIu64
                              " is not a multiple of the alignment %" PRIu64,
                              drayi_quote(info->name).text, info->offset, file->alignment);
    bool anywhere_behind = layout->after_unknown && info->offset > layout->next;
    if (info->offset != layout->next && !anywhere_behind) {
        if (!file->lenient)
            return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.offset", info->offset_at,
                                  "tensor %s: offset %" PRIu64
                                  ", the tensors before it end at %" PRIu64
                                  "; --lenient allows any order without overlap",
                                  drayi_quote(info->name).text, info->offset, layout->next);
        layout->unordered = true;
    }
    uint64_t end, padded;
    if (!drayi_add(info->offset, info->bytes, &end) ||
        !drayi_round_up(end, file->alignment, &padded))
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.offset", info->offset_at,
                              "tensor %s: %" PRIu64 " bytes at %" PRIu64 " overflow",
                              drayi_quote(info->name).text, info->bytes, info->offset);
    layout->next = padded;
    layout->end = drayi_max(layout->end, end);
    layout->after_unknown = info->dtype == DRAY_DTYPE_UNKNOWN;
    layout->unknown_sizes |= layout->after_unknown;
    return DRAY_OK;
}

static dray_status unknown_type_warn(gguf_file *file, const tensor_info *info, dray_error *error)
{
    return drayi_gguf_warn(file, "gguf.tensor.type", info->type_at, error,
                           "tensor %s: type %" PRIu32 " is unknown, so is its size",
                           drayi_quote(info->name).text, info->type);
}

static dray_status layout_read(gguf_file *file, data_layout *layout, dray_error *error)
{
    for (uint64_t i = 0; i < file->tensor_count; i++) {
        tensor_info info;
        dray_status status = info_read(file, &info, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "tensor %" PRIu64 " of %" PRIu64, i,
                                    file->tensor_count);
        if (info.dtype == DRAY_DTYPE_UNKNOWN)
            DRAY_TRY(unknown_type_warn(file, &info, error));
        DRAY_TRY(layout_add(file, layout, &info, error));
    }
    return DRAY_OK;
}

// --- --lenient: any order without overlap ---------------------------------------------------------

/// Reads the descriptions once more, for the ranges alone.
static dray_status ranges_read(gguf_file *file, uint64_t infos_at, drayi_byte_range *out,
                               dray_error *error)
{
    file->reader.position = infos_at;
    for (uint64_t i = 0; i < file->tensor_count; i++) {
        tensor_info info;
        DRAY_TRY(info_read(file, &info, error));
        out[i] = (drayi_byte_range){.begin = info.offset, .end = info.offset + info.bytes};
    }
    return DRAY_OK;
}

static dray_status overlap_check(gguf_file *file, uint64_t infos_at, dray_error *error)
{
    uint64_t count = file->tensor_count; // at most a 25th of the file's bytes
    drayi_byte_range overlap,
        *ranges = drayi_alloc_array(file->input->env, 2 * count, sizeof(*ranges), error);
    if (!ranges)
        return DRAY_E_NOMEM;
    dray_status status = ranges_read(file, infos_at, ranges, error);
    if (status == DRAY_OK && drayi_ranges_overlap(ranges, ranges + count, count, &overlap))
        status = dray_fail_rule(error, DRAY_E_FORMAT, "gguf.tensor.overlap", infos_at,
                                "the tensor at %" PRIu64
                                " of the data begins before another one ends at %" PRIu64,
                                overlap.begin, overlap.end);
    drayi_free(file->input->env, ranges, 2 * count * sizeof(*ranges));
    if (status != DRAY_OK)
        return status;
    return drayi_gguf_warn(file, "gguf.tensor.offset", infos_at, error,
                           "the tensors do not stand in the order of their descriptions, "
                           "or with holes between them");
}

// --- the data ------------------------------------------------------------------------------------

/// Did the writer forget the padding in front of the data? Then the file ends too early by exactly
/// that much. So does a file that was cut by as much, but there the padding is to be seen: zeros, and
/// then something else.
static dray_status padding_look(gguf_file *file, const data_layout *layout, uint64_t infos_end,
                                bool *out_missing, dray_error *error)
{
    uint64_t left = file->reader.limit - infos_end, zeros = 0;
    *out_missing = false;
    if (layout->unknown_sizes || layout->start == infos_end ||
        (left != layout->end && left != layout->padded_end))
        return DRAY_OK;
    const uint8_t *bytes;
    uint64_t looked_at = drayi_min(left, padding_look_bytes);
    file->reader.position = infos_end;
    DRAY_TRY(drayi_read_bytes(&file->reader, looked_at, &bytes, GGUF_CUT, "data", error));
    while (zeros < looked_at && bytes[zeros] == 0)
        zeros++;
    bool would_fit = drayi_inside(layout->start, layout->end, file->reader.limit);
    *out_missing = zeros < layout->start - infos_end || (zeros == looked_at && !would_fit);
    return DRAY_OK;
}

/// The last tensor's own padding is there or not, but not a part of it: then something was cut.
static bool data_fits(const gguf_file *file, const data_layout *layout)
{
    uint64_t limit = file->reader.limit;
    if (!drayi_inside(layout->start, layout->end, limit))
        return false;
    uint64_t behind = limit - layout->start;
    return behind == layout->end || behind >= layout->padded_end || layout->unknown_sizes;
}

static dray_status padding_forgive(gguf_file *file, data_layout *layout, uint64_t infos_end,
                                   dray_error *error)
{
    if (!file->lenient)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.data.padding", infos_end,
                              "no padding in front of the data, which should begin at %" PRIu64
                              " and seems to begin at %" PRIu64 "; --lenient reads it there",
                              layout->start, infos_end);
    layout->start = infos_end;
    file->sink->facts->alignment = 0; // not in the file, at least
    return drayi_gguf_warn(file, "gguf.data.padding", infos_end, error,
                           "no padding in front of the data: it begins at %" PRIu64, infos_end);
}

static dray_status data_place(gguf_file *file, data_layout *layout, uint64_t infos_end,
                              dray_error *error)
{
    uint64_t limit = file->reader.limit;
    bool padding_is_missing;
    if (!drayi_round_up(infos_end, file->alignment, &layout->start) ||
        !drayi_round_up(layout->end, file->alignment, &layout->padded_end))
        layout->start = layout->padded_end = UINT64_MAX; // does not fit
    if (file->tensor_count == 0) { // real vocabulary files end here, without padding
        layout->start = drayi_min(layout->start, limit);
        return DRAY_OK;
    }
    DRAY_TRY(padding_look(file, layout, infos_end, &padding_is_missing, error));
    if (padding_is_missing)
        return padding_forgive(file, layout, infos_end, error);
    if (data_fits(file, layout))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.data.short", infos_end,
                          "the tensors need %" PRIu64 " bytes (padded %" PRIu64 ") at %" PRIu64
                          ", file ends at %" PRIu64 ": it was cut, or its data was never written",
                          layout->end, layout->padded_end, layout->start, limit);
}

static dray_status trailing_check(gguf_file *file, const data_layout *layout, dray_error *error)
{
    uint64_t behind = file->reader.limit - layout->start; // the data fits: no overflow from here on
    if (layout->unknown_sizes || behind <= layout->padded_end)
        return DRAY_OK;
    return drayi_gguf_warn(file, "gguf.data.trailing", layout->start + layout->padded_end, error,
                           "%" PRIu64 " bytes behind the last tensor belong to nothing",
                           behind - layout->padded_end);
}

// --- second pass ---------------------------------------------------------------------------------

static dray_status tensors_give(gguf_file *file, const data_layout *layout, dray_error *error)
{
    for (uint64_t i = 0; i < file->tensor_count; i++) {
        tensor_info info;
        DRAY_TRY(info_read(file, &info, error));
        dray_format_tensor tensor = {
            .name = info.name,
            .dtype = info.dtype,
            .native_type = info.type,
            .rank = info.rank,
            .size_known = info.dtype != DRAY_DTYPE_UNKNOWN,
            .shape = info.shape,
            .offset = layout->start + info.offset,
            .bytes = info.bytes,
            .head_offset = info.head_offset,
        };
        DRAY_TRY(file->sink->tensor(file->sink, &tensor, error));
    }
    return DRAY_OK;
}

dray_status drayi_gguf_tensors(gguf_file *file, dray_error *error)
{
    data_layout layout = {0};
    uint64_t infos_at = file->reader.position;
    DRAY_TRY(layout_read(file, &layout, error));
    uint64_t infos_end = file->reader.position;
    if (layout.unordered)
        DRAY_TRY(overlap_check(file, infos_at, error));
    DRAY_TRY(data_place(file, &layout, infos_end, error));
    DRAY_TRY(trailing_check(file, &layout, error));
    file->sink->facts->data_offset = layout.start;
    file->reader.position = infos_at;
    return tensors_give(file, &layout, error);
}
