/// dray inspect: what a model file holds, without reading a byte of its tensors.
#include "command.h"
#include "json_out.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES_MAX 160 // of one metadata value in the table
#define ELEMENTS_SHOWN 6    // of an array in the table
#define ARRAY_DEPTH_MAX 8   // the library stops before

typedef struct inspect_values {
    const char *file;
    bool json, lenient;
} inspect_values;

// --- values --------------------------------------------------------------------------------------

static const char *type_name(dray_value_type type)
{
    static const char *const names[] = {
        [DRAY_VALUE_U8] = "u8",     [DRAY_VALUE_I8] = "i8",       [DRAY_VALUE_U16] = "u16",
        [DRAY_VALUE_I16] = "i16",   [DRAY_VALUE_U32] = "u32",     [DRAY_VALUE_I32] = "i32",
        [DRAY_VALUE_U64] = "u64",   [DRAY_VALUE_I64] = "i64",     [DRAY_VALUE_F32] = "f32",
        [DRAY_VALUE_F64] = "f64",   [DRAY_VALUE_BOOL] = "bool",   [DRAY_VALUE_TEXT] = "text",
        [DRAY_VALUE_JSON] = "json", [DRAY_VALUE_ARRAY] = "array",
    };
    size_t index = (size_t)type;
    return index < sizeof(names) / sizeof(names[0]) && names[index] ? names[index] : "?";
}

/// A number or truth value as text.
static void scalar_text(char out[64], const dray_value *value)
{
    switch (value->type) {
    case DRAY_VALUE_I8:
    case DRAY_VALUE_I16:
    case DRAY_VALUE_I32:
    case DRAY_VALUE_I64:
        snprintf(out, 64, "%" PRId64, value->as.i64);
        break;
    case DRAY_VALUE_F32: // nine digits tell any two floats apart; six are what was meant
        snprintf(out, 64,
                 (float)strtod((snprintf(out, 64, "%.6g", value->as.f64), out), NULL) ==
                         (float)value->as.f64
                     ? "%.6g"
                     : "%.9g",
                 value->as.f64);
        break;
    case DRAY_VALUE_F64:
        snprintf(out, 64, "%.15g", value->as.f64);
        break;
    case DRAY_VALUE_BOOL:
        snprintf(out, 64, "%s", value->as.u64 ? "true" : "false");
        break;
    default:
        snprintf(out, 64, "%" PRIu64, value->as.u64);
    }
}

static bool is_text(dray_value_type type)
{
    return type == DRAY_VALUE_TEXT || type == DRAY_VALUE_JSON;
}

/// The text in quotes; takes `safe` and gives a new one.
static char *quoted(char *safe)
{
    char *shown = text_memory(NULL, 2 * strlen(safe) + 3), *to = shown;
    *to++ = '"';
    for (const char *from = safe; *from; from++) {
        if (*from == '"')
            *to++ = '\\';
        *to++ = *from;
    }
    memcpy(to, "\"", 2);
    free(safe);
    return shown;
}

/// One value, or the first elements of an array, on one line. Caller frees.
static char *value_text(const dray_weights *weights, const dray_value *value, bool inside)
{
    char scalar[64];
    if (is_text(value->type)) {
        char *safe = text_safe_start(value->as.text.bytes, value->as.text.length,
                                     inside ? 24 : VALUE_BYTES_MAX);
        return inside ? quoted(safe) : safe;
    }
    if (value->type == DRAY_VALUE_ARRAY && inside)
        return text_format("[...]");
    if (value->type != DRAY_VALUE_ARRAY) {
        scalar_text(scalar, value);
        return text_format("%s", scalar);
    }
    char *line = text_format("%s", "");
    uint64_t cursor = 0, shown = 0;
    dray_value element;
    while (dray_weights_array_next(weights, value, &cursor, &element)) {
        char *next =
            shown < ELEMENTS_SHOWN ? value_text(weights, &element, true) : text_format("...");
        char *longer = text_format("%s%s%s", line, shown ? ", " : "", next);
        free(next);
        free(line);
        line = longer;
        if (shown++ == ELEMENTS_SHOWN)
            break;
    }
    return line;
}

static void value_out(json_out *json, const dray_weights *weights, const dray_value *value,
                      unsigned depth)
{
    uint64_t cursor = 0;
    dray_value element;
    switch (value->type) {
    case DRAY_VALUE_I8:
    case DRAY_VALUE_I16:
    case DRAY_VALUE_I32:
    case DRAY_VALUE_I64:
        json_i64(json, NULL, value->as.i64);
        break;
    case DRAY_VALUE_F32:
    case DRAY_VALUE_F64:
        json_f64(json, NULL, value->as.f64);
        break;
    case DRAY_VALUE_BOOL:
        json_bool(json, NULL, value->as.u64 != 0);
        break;
    case DRAY_VALUE_TEXT:
        json_text(json, NULL, value->as.text.bytes, value->as.text.length);
        break;
    case DRAY_VALUE_JSON:
        json_raw(json, NULL, value->as.text.bytes, value->as.text.length);
        break;
    case DRAY_VALUE_ARRAY:
        json_array_flat(json, NULL);
        while (depth < ARRAY_DEPTH_MAX && dray_weights_array_next(weights, value, &cursor, &element))
            value_out(json, weights, &element, depth + 1);
        json_end(json);
        break;
    default:
        json_u64(json, NULL, value->as.u64);
    }
}

// --- JSON ----------------------------------------------------------------------------------------

static const char *dtype_name(const dray_tensor *tensor, char out[32])
{
    const dray_dtype_info *info = dray_dtype_get_info(tensor->dtype);
    if (info)
        return info->name;
    snprintf(out, 32, "id %" PRIu32, tensor->native_type);
    return out;
}

static void files_out(json_out *json, const dray_weights *weights)
{
    const dray_weights_file *file;
    json_array(json, "files");
    for (uint32_t i = 0; (file = dray_weights_file_at(weights, i)); i++) {
        json_object_flat(json, NULL);
        json_string(json, "path", file->path);
        json_u64(json, "bytes", file->bytes);
        json_end(json);
    }
    json_end(json);
}

/// Split files repeat keys; an object must not, so the first file's value stands.
static bool is_repeated(const dray_weights *weights, const dray_metadata *entry)
{
    const dray_metadata *earlier;
    for (uint64_t i = 0; entry->file > 0 && (earlier = dray_weights_metadata_at(weights, i)); i++) {
        if (earlier == entry)
            break;
        if (earlier->key.length == entry->key.length &&
            memcmp(earlier->key.bytes, entry->key.bytes, entry->key.length) == 0)
            return true;
    }
    return false;
}

static void metadata_out(json_out *json, const dray_weights *weights)
{
    const dray_metadata *entry;
    json_object(json, "metadata");
    for (uint64_t i = 0; (entry = dray_weights_metadata_at(weights, i)); i++) {
        if (is_repeated(weights, entry))
            continue;
        json_key(json, entry->key.bytes, entry->key.length);
        value_out(json, weights, &entry->value, 0);
    }
    json_end(json);
}

static void tensors_out(json_out *json, const dray_weights *weights)
{
    const dray_tensor *tensor;
    char id[32];
    json_array(json, "tensors");
    for (uint64_t i = 0; (tensor = dray_weights_tensor_at(weights, i)); i++) {
        json_object_flat(json, NULL);
        json_text(json, "name", tensor->name.bytes, tensor->name.length);
        json_string(json, "dtype", dtype_name(tensor, id));
        json_array_flat(json, "shape");
        for (uint32_t axis = 0; axis < tensor->rank; axis++)
            json_u64(json, NULL, tensor->shape[axis]);
        json_end(json);
        json_string(json, "file", dray_weights_file_at(weights, tensor->file)->path);
        json_u64(json, "offset", tensor->offset);
        json_u64_or_null(json, "bytes", tensor->bytes, DRAY_UNKNOWN);
        json_end(json);
    }
    json_end(json);
}

static void document_out(const dray_weights *weights)
{
    dray_weights_info info;
    dray_weights_get_info(weights, &info);
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "format", info.format);
    json_u64(&json, "version", info.version);
    json_string(&json, "endian", info.big_endian ? "big" : "little");
    json_string(&json, "codec", info.codec);
    json_u64(&json, "alignment", info.alignment);
    files_out(&json, weights);
    json_u64(&json, "tensor_count", info.tensor_count);
    json_u64(&json, "tensor_bytes", info.tensor_bytes);
    session_warnings_out(&json, weights);
    metadata_out(&json, weights);
    tensors_out(&json, weights);
    json_end(&json);
    json_finish(&json);
}

// --- for people ----------------------------------------------------------------------------------

static const char *format_title(const char *format)
{
    return strcmp(format, "gguf") == 0 ? "GGUF" : strcmp(format, "apr") == 0 ? "APR" : format;
}

static void heading(const char *title)
{
    printf("\n%s%s%s\n", terminal_bold(stdout), title, terminal_plain(stdout));
}

static void print_headline(const dray_weights *weights, const dray_weights_info *info)
{
    char bytes[TEXT_NUMBER_BYTES], count[TEXT_NUMBER_BYTES];
    uint64_t file_bytes = 0;
    const dray_weights_file *file;
    for (uint32_t i = 0; (file = dray_weights_file_at(weights, i)); i++)
        file_bytes += file->bytes;
    char *path = text_safe(dray_weights_file_at(weights, 0)->path,
                           strlen(dray_weights_file_at(weights, 0)->path));
    printf("%s%s%s", terminal_bold(stdout), path, terminal_plain(stdout));
    free(path);
    if (info->file_count > 1)
        printf(" and %" PRIu32 " more", info->file_count - 1);
    printf(": %s", format_title(info->format));
    if (info->version)
        printf(" v%" PRIu32, info->version);
    printf(", %s endian%s%s, %s, %s tensor%s\n", info->big_endian ? "big" : "little",
           info->codec ? ", packed with " : "", info->codec ? info->codec : "",
           text_bytes(bytes, file_bytes), text_count(count, info->tensor_count),
           info->tensor_count == 1 ? "" : "s");
}

static void print_files(const dray_weights *weights, const dray_weights_info *info)
{
    static const table_column columns[] = {{"file", TABLE_LEFT, TABLE_CUT_MIDDLE},
                                           {"bytes", TABLE_RIGHT, 0}};
    const dray_weights_file *file;
    if (info->file_count < 2)
        return;
    table *rows = table_create(columns, 2);
    for (uint32_t i = 0; (file = dray_weights_file_at(weights, i)); i++) {
        char *path = text_safe(file->path, strlen(file->path)), bytes[TEXT_NUMBER_BYTES];
        table_cell(rows, "%s", path);
        table_cell(rows, "%s", text_bytes(bytes, file->bytes));
        free(path);
    }
    heading("files");
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static void print_metadata(const dray_weights *weights)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, TABLE_CUT_MIDDLE},
                                           {NULL, TABLE_LEFT, 0},
                                           {NULL, TABLE_LEFT, TABLE_CUT_END}};
    const dray_metadata *entry;
    table *rows = table_create(columns, 3);
    for (uint64_t i = 0; (entry = dray_weights_metadata_at(weights, i)); i++) {
        char *key = text_safe_start(entry->key.bytes, entry->key.length, VALUE_BYTES_MAX);
        char *value = value_text(weights, &entry->value, false), count[TEXT_NUMBER_BYTES];
        table_cell(rows, "%s", key);
        if (entry->value.type == DRAY_VALUE_ARRAY)
            table_cell(rows, "%s[%s]", type_name(entry->value.element_type),
                       text_count(count, entry->value.as.array.count));
        else
            table_cell(rows, "%s", type_name(entry->value.type));
        table_cell(rows, "%s", value);
        free(key);
        free(value);
    }
    if (table_row_count(rows)) {
        heading("metadata");
        table_print(rows, stdout, 2);
    }
    table_destroy(rows);
}

static void shape_cell(table *rows, const dray_tensor *tensor)
{
    char shape[DRAY_RANK_MAX * 23 + 8] = "scalar";
    size_t used = 0;
    for (uint32_t axis = 0; axis < tensor->rank; axis++)
        used += (size_t)sprintf(shape + used, "%s%" PRIu64, axis ? " x " : "", tensor->shape[axis]);
    table_cell(rows, "%s", shape);
}

static void print_tensors(const dray_weights *weights, const dray_weights_info *info)
{
    static const table_column columns[] = {
        {"tensor", TABLE_LEFT, TABLE_CUT_MIDDLE}, {"dtype", TABLE_LEFT, 0},
        {"shape", TABLE_RIGHT, TABLE_CUT_MIDDLE}, {"bytes", TABLE_RIGHT, 0},
        {"offset", TABLE_RIGHT, TABLE_MAY_GO},    {"file", TABLE_RIGHT, TABLE_MAY_GO}};
    const dray_tensor *tensor;
    bool files = info->file_count > 1;
    table *rows = table_create(columns, files ? 6 : 5);
    for (uint64_t i = 0; (tensor = dray_weights_tensor_at(weights, i)); i++) {
        char *name = text_safe(tensor->name.bytes, tensor->name.length), bytes[TEXT_NUMBER_BYTES],
             id[32];
        table_cell(rows, "%s", name);
        table_cell(rows, "%s", dtype_name(tensor, id));
        shape_cell(rows, tensor);
        table_cell(rows, "%s",
                   tensor->bytes == DRAY_UNKNOWN ? "?" : text_bytes(bytes, tensor->bytes));
        table_cell(rows, "%" PRIu64, tensor->offset);
        if (files)
            table_cell(rows, "%" PRIu32, tensor->file + 1);
        free(name);
    }
    if (table_row_count(rows)) {
        putchar('\n');
        table_print(rows, stdout, 2);
    }
    table_destroy(rows);
}

/// What all tensors of one type are together.
typedef struct dtype_total {
    const char *name;
    uint64_t tensors, bytes;
    double elements;
} dtype_total;

static int larger_first(const void *a, const void *b)
{
    const dtype_total *left = a, *right = b;
    return left->bytes < right->bytes   ? 1
           : left->bytes > right->bytes ? -1
                                        : strcmp(left->name, right->name);
}

static size_t sum_dtypes(const dray_weights *weights, dtype_total totals[64])
{
    size_t count = 0;
    const dray_tensor *tensor;
    for (uint64_t i = 0; (tensor = dray_weights_tensor_at(weights, i)); i++) {
        const dray_dtype_info *info = dray_dtype_get_info(tensor->dtype);
        const char *name = info ? info->name : "unknown";
        size_t at = 0;
        while (at < count && strcmp(totals[at].name, name) != 0)
            at++;
        if (at == count && count < 63)
            totals[count++] = (dtype_total){.name = name};
        double elements = 1;
        for (uint32_t axis = 0; axis < tensor->rank; axis++)
            elements *= (double)tensor->shape[axis];
        totals[at].tensors++;
        totals[at].bytes += tensor->bytes == DRAY_UNKNOWN ? 0 : tensor->bytes;
        totals[at].elements += elements;
    }
    qsort(totals, count, sizeof(*totals), larger_first);
    return count;
}

/// "1.10 B": as people name the size of a model.
static void cell_elements(table *rows, double elements)
{
    char count[TEXT_NUMBER_BYTES];
    if (elements >= 1e9)
        table_cell(rows, "%.2f B", elements / 1e9);
    else if (elements >= 1e6)
        table_cell(rows, "%.2f M", elements / 1e6);
    else
        table_cell(rows, "%s", text_count(count, (uint64_t)elements));
}

static void print_totals(const dray_weights *weights, const dray_weights_info *info)
{
    static const table_column columns[] = {{"dtype", TABLE_LEFT, 0},
                                           {"tensors", TABLE_RIGHT, 0},
                                           {"elements", TABLE_RIGHT, 0},
                                           {"bytes", TABLE_RIGHT, 0},
                                           {"share", TABLE_RIGHT, 0}};
    dtype_total totals[64] = {{0}},
                all = {.name = "all", .tensors = info->tensor_count, .bytes = info->tensor_bytes};
    size_t count = sum_dtypes(weights, totals);
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        all.elements += totals[i].elements;
    if (count > 1)
        totals[count++] = all;
    table *rows = table_create(columns, 5);
    for (size_t i = 0; i < count; i++) {
        char tensors[TEXT_NUMBER_BYTES], bytes[TEXT_NUMBER_BYTES];
        table_cell(rows, "%s", totals[i].name);
        table_cell(rows, "%s", text_count(tensors, totals[i].tensors));
        cell_elements(rows, totals[i].elements);
        table_cell(rows, "%s", text_bytes(bytes, totals[i].bytes));
        table_cell(rows, "%.1f%%",
                   all.bytes ? 100.0 * (double)totals[i].bytes / (double)all.bytes : 100.0);
    }
    putchar('\n');
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static void print_all(const dray_weights *weights)
{
    dray_weights_info info;
    dray_weights_get_info(weights, &info);
    print_headline(weights, &info);
    print_files(weights, &info);
    print_metadata(weights);
    print_tensors(weights, &info);
    print_totals(weights, &info);
}

static int inspect_run(const void *values)
{
    const inspect_values *given = values;
    session job = session_begin("inspect", given->json);
    dray_status status =
        session_open(&job, given->file, given->lenient, (option_number){.given = true}, 0);
    if (status == DRAY_OK && given->json)
        document_out(job.weights);
    else if (status == DRAY_OK)
        print_all(job.weights);
    return session_end(&job, status, false);
}

static const option inspect_options[] = {
    {"json", NULL, "one JSON document on standard output; arrays are printed whole",
     .at = offsetof(inspect_values, json)},
    {"lenient", NULL, "relax the rules that the format names; each is a warning",
     .at = offsetof(inspect_values, lenient)},
    {0},
};

const command command_inspect = {
    .name = "inspect",
    .summary = "what a model file holds: format, metadata, tensors",
    .description =
        "Lists metadata and tensors of a model without reading a byte of its tensors. FILE is a GGUF,\n"
        "safetensors or APR file, the first of several split files, an index.json, or a folder that\n"
        "holds one model. The format is found by content, never by name.\n",
    .operand = {.name = "FILE", .at = offsetof(inspect_values, file)},
    .options = inspect_options,
    .values_bytes = sizeof(inspect_values),
    .run = inspect_run,
};
