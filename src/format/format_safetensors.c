/// safetensors: u64 header length, that many bytes of JSON, then the tensors without a gap.
///
/// Source of the rules: the reference parser (safetensors 0.8), in its order; then the strict verdicts
/// of ours on what the reference lets pass. The header is read once, into one small record per tensor
/// (40 bytes, where the shortest description takes 50); shapes stay where they are, as text that has
/// been checked, and are read again when they are needed. Records are sorted by offset, checked one
/// after the other against the end of the one before, and only then reported.
///
///   strict refuses, --lenient warns:  white space before the header, fields of a tensor that are not
///                                     known, "__metadata__": null, bytes behind the last tensor
///   both refuse, the reference not:   a name or a field twice, numbers that are not plain digits, NUL
///                                     in a name, rank over 64, a tensor that is not an object
#include "base/checked.h"
#include "base/env.h"
#include "base/json_reader.h"
#include "base/quote.h"
#include "base/reader.h"
#include "base/sort.h"
#include "dray/spi/format.h"

#include <inttypes.h>
#include <string.h>

enum {
    length_bytes = 8,
    header_bytes_max = 100000000,
    unknown_fields_warned = 32 // more of them are counted in one last warning
};

static const struct {
    char name[12];
    uint8_t length;
    uint8_t dtype;
} dtypes[] = {
    {"F32", 3, DRAY_DTYPE_F32},
    {"BF16", 4, DRAY_DTYPE_BF16},
    {"F16", 3, DRAY_DTYPE_F16},
    {"F8_E4M3", 7, DRAY_DTYPE_F8_E4M3},
    {"F8_E5M2", 7, DRAY_DTYPE_F8_E5M2},
    {"F8_E8M0", 7, DRAY_DTYPE_F8_E8M0},
    {"F8_E4M3FNUZ", 11, DRAY_DTYPE_F8_E4M3FNUZ},
    {"F8_E5M2FNUZ", 11, DRAY_DTYPE_F8_E5M2FNUZ},
    {"F6_E2M3", 7, DRAY_DTYPE_F6_E2M3},
    {"F6_E3M2", 7, DRAY_DTYPE_F6_E3M2},
    {"F4", 2, DRAY_DTYPE_F4},
    {"BOOL", 4, DRAY_DTYPE_BOOL},
    {"U8", 2, DRAY_DTYPE_U8},
    {"I8", 2, DRAY_DTYPE_I8},
    {"U16", 3, DRAY_DTYPE_U16},
    {"I16", 3, DRAY_DTYPE_I16},
    {"U32", 3, DRAY_DTYPE_U32},
    {"I32", 3, DRAY_DTYPE_I32},
    {"U64", 3, DRAY_DTYPE_U64},
    {"I64", 3, DRAY_DTYPE_I64},
    {"F64", 3, DRAY_DTYPE_F64},
    {"C64", 3, DRAY_DTYPE_C64},
};

/// A tensor as the header describes it.
typedef struct description {
    const char *name;
    uint32_t name_length;
    uint32_t at;       // of the name, absolute
    uint32_t shape_at; // of the '[', absolute
    uint8_t dtype, rank;
    uint64_t begin, end; // bytes, from the first tensor's first
} description;

typedef struct header_reading {
    dray_format_input *input;
    dray_format_sink *sink;
    drayi_json_reader json;
    uint64_t data_offset; // 8 + header length
    description *tensors;
    uint64_t tensor_count, tensor_room;
    uint64_t unknown_fields;
    bool has_metadata;
} header_reading;

static bool lenient(const header_reading *reading)
{
    return reading->input->flags & DRAY_FORMAT_LENIENT;
}

/// A tensor's name, fit for a message.
static drayi_quoted name_of(const description *tensor)
{
    return drayi_quote((dray_text){tensor->name, tensor->name_length});
}

static dray_status wanted(const char *rule, const drayi_json_token *key,
                          const drayi_json_token *found, const char *what, dray_error *error)
{
    return dray_fail_rule(
        error, DRAY_E_FORMAT, rule, found->offset, "\"%s\": wanted %s, found %s at byte %" PRIu64,
        drayi_quote(key->text).text, what, drayi_json_kind_name(found->kind), found->offset);
}

// ---------------------------------------------------------------- the header's frame

static dray_status need(header_reading *reading, uint64_t upto, dray_error *error)
{
    if (upto <= reading->input->head_bytes)
        return DRAY_OK;
    return reading->input->need(reading->input, upto, error);
}

static dray_status check_utf8(const uint8_t *bytes, uint64_t count, dray_error *error)
{
    if (drayi_is_utf8(bytes, count))
        return DRAY_OK;
    uint64_t at = 0;
    for (unsigned length; (length = drayi_utf8_sequence(bytes + at, count - at)) != 0;)
        at += length;
    return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.utf8", length_bytes + at,
                          "header: byte 0x%02X at %" PRIu64 " is not UTF-8", bytes[at],
                          length_bytes + at);
}

/// White space before the '{' lets a file pass for something else too; the specification forbids it.
static dray_status check_start(header_reading *reading, const uint8_t *header, dray_error *error)
{
    if (!memchr(" \t\r\n", header[0], 4))
        return DRAY_OK;
    static const char rule[] = "safetensors.start";
    if (lenient(reading))
        return reading->sink->warn(reading->sink, rule, length_bytes, error,
                                   "header begins with white space");
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, length_bytes,
                          "header begins with byte 0x%02X, wanted '{'", header[0]);
}

/// Everything before JSON: the length, and that the header is all there.
static dray_status open_header(header_reading *reading, dray_error *error)
{
    uint64_t file_bytes = reading->input->file_bytes, header_bytes;
    if (file_bytes < length_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.short", 0,
                              "file has %" PRIu64 " bytes, its header's length alone takes 8",
                              file_bytes);
    DRAY_TRY(need(reading, length_bytes, error));
    header_bytes = drayi_load_u64(reading->input->head, false);
    if (header_bytes > header_bytes_max)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.header_bytes", 0,
                              "header of %" PRIu64 " bytes, at most %d are allowed", header_bytes,
                              header_bytes_max);
    reading->data_offset = length_bytes + header_bytes;
    if (reading->data_offset > file_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.header_bytes", 0,
                              "header ends at %" PRIu64 ", file at %" PRIu64
                              ": it is cut off, or not safetensors",
                              reading->data_offset, file_bytes);
    DRAY_TRY(need(reading, reading->data_offset, error));
    const uint8_t *header = reading->input->head + length_bytes;
    DRAY_TRY(check_utf8(header, header_bytes, error));
    if (header_bytes > 0)
        DRAY_TRY(check_start(reading, header, error));
    reading->json = drayi_json_reader_of(header, header_bytes, length_bytes);
    reading->sink->facts->data_offset = reading->data_offset;
    return DRAY_OK;
}

// ---------------------------------------------------------------- metadata

/// The text of a token, for as long as the head lives.
static dray_status keep_text(header_reading *reading, const drayi_json_token *token, dray_text *out,
                             dray_error *error)
{
    *out = token->text;
    if (!token->escaped)
        return DRAY_OK;
    char *plain = reading->sink->keep(reading->sink, token->text.length, error);
    if (!plain)
        return DRAY_E_NOMEM;
    *out = (dray_text){plain, drayi_json_unescape(token, plain)};
    return DRAY_OK;
}

static dray_status read_metadata_entry(header_reading *reading, const drayi_json_token *key,
                                       dray_error *error)
{
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_STRING)
        return wanted("safetensors.metadata", key, &token, "a string", error);
    dray_text name;
    dray_value value = {.type = DRAY_VALUE_TEXT};
    DRAY_TRY(keep_text(reading, key, &name, error));
    DRAY_TRY(keep_text(reading, &token, &value.as.text, error));
    bool duplicate = false;
    dray_status status = reading->sink->metadata(reading->sink, name, &value, &duplicate, error);
    if (duplicate)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.duplicate", key->offset,
                              "__metadata__: \"%s\" is there twice", drayi_quote(name).text);
    return status;
}

static dray_status read_metadata(header_reading *reading, const drayi_json_token *key,
                                 dray_error *error)
{
    drayi_json_token token;
    if (reading->has_metadata)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.duplicate", key->offset,
                              "__metadata__ is there twice");
    reading->has_metadata = true;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind == DRAYI_JSON_NULL && lenient(reading))
        return reading->sink->warn(reading->sink, "safetensors.metadata", token.offset, error,
                                   "__metadata__ is null");
    if (token.kind != DRAYI_JSON_OBJECT)
        return wanted("safetensors.metadata", key, &token, "an object", error);
    for (;;) {
        DRAY_TRY(drayi_json_next(&reading->json, &token, error));
        if (token.kind == DRAYI_JSON_OBJECT_END)
            return DRAY_OK;
        DRAY_TRY(read_metadata_entry(reading, &token, error));
    }
}

// ---------------------------------------------------------------- one tensor's description

static dray_status read_dtype(header_reading *reading, const drayi_json_token *key,
                              description *tensor, dray_error *error)
{
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_STRING)
        return wanted("safetensors.dtype", key, &token, "a string", error);
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (token.escaped ? drayi_json_is(&token, dtypes[i].name)
                          : token.text.length == dtypes[i].length &&
                                memcmp(token.text.bytes, dtypes[i].name, dtypes[i].length) == 0) {
            tensor->dtype = dtypes[i].dtype;
            return DRAY_OK;
        }
    }
    return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.dtype", token.offset,
                          "tensor %s: dtype \"%s\" is not one of safetensors' 22",
                          name_of(tensor).text, drayi_quote(token.text).text);
}

static dray_status refuse_number(const char *rule, const description *tensor,
                                 const drayi_json_token *token, const char *what, dray_error *error)
{
    const char *kind = drayi_json_kind_name(token->kind);
    dray_text found =
        token->kind == DRAYI_JSON_NUMBER ? token->text : (dray_text){kind, strlen(kind)};
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, token->offset,
                          "tensor %s: %s, found %s at byte %" PRIu64, name_of(tensor).text, what,
                          drayi_quote(found).text, token->offset);
}

static dray_status read_shape(header_reading *reading, const drayi_json_token *key,
                              description *tensor, dray_error *error)
{
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_ARRAY)
        return wanted("safetensors.shape", key, &token, "an array", error);
    tensor->shape_at = (uint32_t)token.offset;
    for (uint32_t rank = 0;; rank++) {
        DRAY_TRY(drayi_json_next(&reading->json, &token, error));
        if (token.kind == DRAYI_JSON_ARRAY_END) {
            tensor->rank = (uint8_t)rank;
            return DRAY_OK;
        }
        if (!token.is_u64)
            return refuse_number("safetensors.shape", tensor, &token,
                                 "shape wants whole numbers below 2^64", error);
        if (rank == DRAY_RANK_MAX)
            return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.rank", token.offset,
                                  "tensor %s: more than %d dimensions", name_of(tensor).text,
                                  DRAY_RANK_MAX);
    }
}

static dray_status read_offsets(header_reading *reading, const drayi_json_token *key,
                                description *tensor, dray_error *error)
{
    static const char rule[] = "safetensors.data_offsets";
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_ARRAY)
        return wanted(rule, key, &token, "an array", error);
    uint64_t *const numbers[] = {&tensor->begin, &tensor->end};
    for (int i = 0; i < 2; i++) {
        DRAY_TRY(drayi_json_next(&reading->json, &token, error));
        if (!token.is_u64)
            return refuse_number(rule, tensor, &token,
                                 "data_offsets wants two whole numbers below 2^64", error);
        *numbers[i] = token.u64;
    }
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_ARRAY_END)
        return refuse_number(rule, tensor, &token, "data_offsets holds two numbers", error);
    return DRAY_OK;
}

static dray_status read_unknown_field(header_reading *reading, const drayi_json_token *key,
                                      const description *tensor, dray_error *error)
{
    static const char rule[] = "safetensors.field";
    if (!lenient(reading))
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, key->offset,
                              "tensor %s: unknown field \"%s\"", name_of(tensor).text,
                              drayi_quote(key->text).text);
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    DRAY_TRY(drayi_json_skip(&reading->json, &token, error));
    if (++reading->unknown_fields > unknown_fields_warned)
        return DRAY_OK;
    return reading->sink->warn(reading->sink, rule, key->offset, error,
                               "tensor %s: unknown field \"%s\" passed over", name_of(tensor).text,
                               drayi_quote(key->text).text);
}

enum { field_dtype, field_shape, field_offsets, field_count };

static const char *const field_names[] = {"dtype", "shape", "data_offsets"};

static unsigned field_of(const drayi_json_token *key)
{
    return drayi_json_is(key, "dtype")          ? field_dtype
           : drayi_json_is(key, "shape")        ? field_shape
           : drayi_json_is(key, "data_offsets") ? field_offsets
                                                : field_count;
}

static dray_status read_field(header_reading *reading, unsigned field, const drayi_json_token *key,
                              description *tensor, dray_error *error)
{
    switch (field) {
    case field_dtype:
        return read_dtype(reading, key, tensor, error);
    case field_shape:
        return read_shape(reading, key, tensor, error);
    case field_offsets:
        return read_offsets(reading, key, tensor, error);
    default:
        return read_unknown_field(reading, key, tensor, error);
    }
}

static dray_status read_fields(header_reading *reading, description *tensor, dray_error *error)
{
    const unsigned all = (1u << field_count) - 1;
    unsigned seen = 0;
    drayi_json_token key;
    for (;;) {
        DRAY_TRY(drayi_json_next(&reading->json, &key, error));
        if (key.kind == DRAYI_JSON_OBJECT_END)
            break;
        unsigned field = field_of(&key), bit = 1u << field & all;
        if (seen & bit)
            return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.duplicate", key.offset,
                                  "tensor %s: %s is there twice", name_of(tensor).text,
                                  field_names[field]);
        seen |= bit;
        DRAY_TRY(read_field(reading, field, &key, tensor, error));
    }
    if (seen == all)
        return DRAY_OK;
    unsigned missing = (unsigned)__builtin_ctz(~seen);
    return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.field", key.offset, "tensor %s: no %s",
                          name_of(tensor).text, field_names[missing]);
}

static dray_status read_tensor(header_reading *reading, const drayi_json_token *key,
                               dray_error *error)
{
    if (key->has_nul)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.name", key->offset,
                              "the tensor name at byte %" PRIu64 " holds a NUL", key->offset);
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_OBJECT)
        return wanted("safetensors.tensor", key, &token, "an object", error);
    DRAY_TRY(drayi_grow(reading->input->env, (void **)&reading->tensors, &reading->tensor_room,
                        reading->tensor_count + 1, sizeof(*reading->tensors), error));
    description *tensor = &reading->tensors[reading->tensor_count++];
    dray_text name;
    DRAY_TRY(keep_text(reading, key, &name, error));
    tensor->name = name.bytes;
    tensor->name_length = (uint32_t)name.length;
    tensor->at = (uint32_t)key->offset;
    if (name.length == 0)
        DRAY_TRY(reading->sink->warn(reading->sink, "safetensors.name", key->offset, error,
                                     "a tensor has an empty name"));
    return read_fields(reading, tensor, error);
}

static dray_status read_header(header_reading *reading, dray_error *error)
{
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_OBJECT)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.header", token.offset,
                              "header: wanted an object, found %s",
                              drayi_json_kind_name(token.kind));
    for (;;) {
        DRAY_TRY(drayi_json_next(&reading->json, &token, error));
        if (token.kind == DRAYI_JSON_OBJECT_END)
            break;
        if (drayi_json_is(&token, "__metadata__"))
            DRAY_TRY(read_metadata(reading, &token, error));
        else
            DRAY_TRY(read_tensor(reading, &token, error));
    }
    DRAY_TRY(drayi_json_next(&reading->json, &token, error)); // nothing behind it
    if (reading->unknown_fields > unknown_fields_warned)
        return reading->sink->warn(reading->sink, "safetensors.field", DRAY_UNKNOWN, error,
                                   "%" PRIu64 " more unknown fields passed over",
                                   reading->unknown_fields - unknown_fields_warned);
    return DRAY_OK;
}

// ---------------------------------------------------------------- all tensors together

static int by_span(const void *left, const void *right, const void *self)
{
    (void)self;
    const description *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

static dray_status sort_tensors(header_reading *reading, dray_error *error)
{
    uint64_t count = reading->tensor_count;
    if (drayi_in_order(reading->tensors, count, sizeof(description), by_span, NULL))
        return DRAY_OK;
    drayi_env *env = reading->input->env;
    description *scratch = drayi_alloc_array(env, count, sizeof(description), error);
    if (!scratch)
        return DRAY_E_NOMEM;
    drayi_sort(reading->tensors, scratch, count, sizeof(description), by_span, NULL);
    drayi_free(env, scratch, (size_t)(count * sizeof(description)));
    return DRAY_OK;
}

/// Reads a shape again that read_shape() has accepted: digits, commas, white space.
static void load_shape(const header_reading *reading, const description *tensor, uint64_t *shape)
{
    const uint8_t *at = reading->input->head + tensor->shape_at;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        while (*at < '0' || *at > '9')
            at++;
        for (shape[i] = 0; *at >= '0' && *at <= '9'; at++)
            shape[i] = shape[i] * 10 + (uint64_t)(*at - '0');
    }
}

/// It does not begin where the one before it ends. A tensor that is there twice looks like that, too.
static dray_status refuse_begin(const description *tensor, const description *previous,
                                dray_error *error)
{
    uint64_t end = previous ? previous->end : 0;
    if (previous && previous->name_length == tensor->name_length &&
        memcmp(previous->name, tensor->name, tensor->name_length) == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.duplicate", tensor->at,
                              "tensor %s: is there twice, at bytes %" PRIu32 " and %" PRIu32,
                              name_of(tensor).text, previous->at, tensor->at);
    return dray_fail_rule(
        error, DRAY_E_FORMAT, "safetensors.order", tensor->at,
        "tensor %s: begins at %" PRIu64 " of the data, %s at %" PRIu64, name_of(tensor).text,
        tensor->begin,
        tensor->begin < end ? "inside the tensor that ends" : "behind a hole that begins", end);
}

static dray_status check_tensor(const header_reading *reading, const description *tensor,
                                const description *previous, dray_error *error)
{
    if (tensor->begin != (previous ? previous->end : 0))
        return refuse_begin(tensor, previous, error);
    if (tensor->end < tensor->begin)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.order", tensor->at,
                              "tensor %s: ends at %" PRIu64 ", before it begins at %" PRIu64,
                              name_of(tensor).text, tensor->end, tensor->begin);
    uint64_t shape[DRAY_RANK_MAX], bytes;
    dray_error cause;
    load_shape(reading, tensor, shape);
    if (dray_dtype_tensor_bytes(tensor->dtype, shape, tensor->rank, &bytes, &cause) != DRAY_OK)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.size", tensor->shape_at,
                              "tensor %s: %s", name_of(tensor).text, cause.message);
    if (tensor->end - tensor->begin != bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "safetensors.size", tensor->at,
                              "tensor %s: spans %" PRIu64 " bytes, its shape takes %" PRIu64,
                              name_of(tensor).text, tensor->end - tensor->begin, bytes);
    return DRAY_OK;
}

/// The tensors fill the file to its last byte.
static dray_status check_end(const header_reading *reading, uint64_t end, dray_error *error)
{
    static const char rule[] = "safetensors.end";
    uint64_t file_bytes = reading->input->file_bytes, tensor_end;
    if (!drayi_add(end, reading->data_offset, &tensor_end) || tensor_end > file_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, file_bytes,
                              "tensors take %" PRIu64 " bytes behind the header, file has %" PRIu64
                              " there: it is cut off",
                              end, file_bytes - reading->data_offset);
    uint64_t trailing = file_bytes - tensor_end;
    if (trailing == 0)
        return DRAY_OK;
    if (lenient(reading))
        return reading->sink->warn(reading->sink, rule, tensor_end, error,
                                   "%" PRIu64 " bytes follow the last tensor", trailing);
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, tensor_end,
                          "last tensor ends at %" PRIu64 ", file at %" PRIu64 ": %" PRIu64
                          " bytes belong to nothing",
                          tensor_end, file_bytes, trailing);
}

static dray_status check_tensors(const header_reading *reading, dray_error *error)
{
    const description *previous = NULL;
    for (uint64_t i = 0; i < reading->tensor_count; i++) {
        DRAY_TRY(check_tensor(reading, &reading->tensors[i], previous, error));
        previous = &reading->tensors[i];
    }
    return check_end(reading, previous ? previous->end : 0, error);
}

static dray_status report_tensors(const header_reading *reading, dray_error *error)
{
    for (uint64_t i = 0; i < reading->tensor_count; i++) {
        const description *tensor = &reading->tensors[i];
        uint64_t shape[DRAY_RANK_MAX];
        load_shape(reading, tensor, shape);
        const dray_format_tensor report = {
            .name = {tensor->name, tensor->name_length},
            .dtype = (dray_dtype)tensor->dtype,
            .rank = tensor->rank,
            .size_known = 1,
            .shape = shape,
            .offset = reading->data_offset + tensor->begin,
            .bytes = tensor->end - tensor->begin,
            .head_offset = tensor->at,
        };
        DRAY_TRY(reading->sink->tensor(reading->sink, &report, error));
    }
    return DRAY_OK;
}

// ---------------------------------------------------------------- the table

static dray_status read_file(header_reading *reading, dray_error *error)
{
    DRAY_TRY(open_header(reading, error));
    DRAY_TRY(read_header(reading, error));
    DRAY_TRY(sort_tensors(reading, error));
    DRAY_TRY(check_tensors(reading, error));
    return report_tensors(reading, error);
}

static dray_status safetensors_read(dray_format_input *input, dray_format_sink *sink,
                                    dray_error *error)
{
    header_reading reading = {.input = input, .sink = sink};
    dray_status status = read_file(&reading, error);
    drayi_free(input->env, reading.tensors,
               (size_t)(reading.tensor_room * sizeof(*reading.tensors)));
    return status;
}

/// There is no magic: a length, then '{'. Sure when the length fits the file and JSON goes on as it
/// must. A length that does not fit is still taken for one while it is below 2^40 (text read as a number
/// is not), so that a file cut off is refused under its own name.
static uint32_t safetensors_probe(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes)
{
    if (head_bytes < length_bytes + 2)
        return 0;
    uint64_t header_bytes = drayi_load_u64(head, false), at = length_bytes;
    while (at < head_bytes - 2 && memchr(" \t\r\n", head[at], 4))
        at++;
    if (head[at] != '{' || !memchr("\"} \t\r\n", head[at + 1], 6) || header_bytes >> 40)
        return 0;
    bool fits = header_bytes >= 2 && header_bytes <= header_bytes_max &&
                drayi_inside(length_bytes, header_bytes, file_bytes);
    if (at > length_bytes)
        return fits ? 40 : 0;
    return fits ? 95 : 50;
}

const dray_format_ops drayi_format_safetensors = {
    .abi = DRAY_FORMAT_ABI,
    .name = "safetensors",
    .probe = safetensors_probe,
    .read = safetensors_read,
};
