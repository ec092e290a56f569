/// One pass over the JSON collects a line per tensor; two sorts then find names that are there twice
/// and the files that lines share. Sorting instead of hashing: no chosen names can make it slow, and
/// the files come out in the order of their numbers.
#include "weights/index_json.h"

#include "base/checked.h"
#include "base/json_reader.h"
#include "base/quote.h"
#include "base/sort.h"

#include <inttypes.h>
#include <string.h>

/// One entry of weight_map. Texts point into `texts` of the reading.
typedef struct index_line {
    dray_text name, file;
    uint64_t offset;
} index_line;

typedef struct index_reading {
    drayi_arena *arena;
    drayi_env *env;
    drayi_json_reader json;
    char *texts; // unescaped texts, one after the other; as long as the JSON, so it cannot overflow
    uint64_t texts_used;
    index_line *lines;
    uint64_t line_count, line_room;
    uint64_t *order, *scratch; // line_count each
    uint64_t total_bytes;
    bool has_map, has_metadata;
} index_reading;

// ---------------------------------------------------------------- reading

/// Takes over the text of a key or string, with a NUL behind it (there was a quote).
static dray_text keep_text(index_reading *reading, const drayi_json_token *token)
{
    char *out = reading->texts + reading->texts_used;
    uint64_t length = drayi_json_unescape(token, out);
    out[length] = '\0';
    reading->texts_used += length + 1;
    return (dray_text){out, length};
}

static dray_status wanted(const char *rule, const drayi_json_token *found, const char *what,
                          dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, found->offset, "%s, found %s at byte %" PRIu64,
                          what, drayi_json_kind_name(found->kind), found->offset);
}

/// Is it the plain name of a file in the same folder?
static dray_status check_file_name(const char *name, const drayi_json_token *token,
                                   dray_error *error)
{
    const char *why = NULL;
    uint64_t length = strlen(name);
    if (token->has_nul)
        why = "holds a NUL";
    else if (length == 0)
        why = "is empty";
    else if (length > 255)
        why = "is longer than 255 bytes";
    else if (strchr(name, '/'))
        why = "holds a '/', but shards lie beside their index";
    else if (strstr(name, "..") || strcmp(name, ".") == 0)
        why = "holds \"..\" or is \".\", but shards lie beside their index";
    if (!why)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "index.file", token->offset,
                          "weight_map: file name \"%s\" at byte %" PRIu64 " %s",
                          drayi_quote((dray_text){name, length}).text, token->offset, why);
}

static dray_status read_line(index_reading *reading, const drayi_json_token *key, dray_error *error)
{
    if (key->has_nul)
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.name", key->offset,
                              "weight_map: the tensor name at byte %" PRIu64 " holds a NUL",
                              key->offset);
    drayi_json_token value;
    DRAY_TRY(drayi_json_next(&reading->json, &value, error));
    if (value.kind != DRAYI_JSON_STRING)
        return wanted("index.weight_map", &value, "weight_map: wanted a file name as a string",
                      error);
    DRAY_TRY(drayi_grow(reading->env, (void **)&reading->lines, &reading->line_room,
                        reading->line_count + 1, sizeof(*reading->lines), error));
    index_line *line = &reading->lines[reading->line_count];
    line->name = keep_text(reading, key);
    line->file = keep_text(reading, &value);
    line->offset = key->offset;
    reading->line_count++;
    return check_file_name(line->file.bytes, &value, error);
}

static dray_status read_weight_map(index_reading *reading, const drayi_json_token *first,
                                   dray_error *error)
{
    if (first->kind != DRAYI_JSON_OBJECT)
        return wanted("index.weight_map", first, "weight_map: wanted an object", error);
    for (;;) {
        drayi_json_token key;
        DRAY_TRY(drayi_json_next(&reading->json, &key, error));
        if (key.kind == DRAYI_JSON_OBJECT_END)
            break;
        DRAY_TRY(read_line(reading, &key, error));
    }
    if (reading->line_count == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.weight_map", first->offset,
                              "weight_map: names no tensor");
    return DRAY_OK;
}

/// A count of bytes. Some writers print it as a float: taken while a double holds it exactly.
static dray_status read_total_size(index_reading *reading, const drayi_json_token *value,
                                   dray_error *error)
{
    const double exact_limit = 9007199254740992.0; // 2^53
    if (value->kind != DRAYI_JSON_NUMBER)
        return wanted("index.total_size", value, "metadata.total_size: wanted a number", error);
    double real = -1;
    if (value->is_u64)
        reading->total_bytes = value->u64;
    else if (drayi_json_f64(value, &real) && real >= 0 && real <= exact_limit &&
             (double)(uint64_t)real == real)
        reading->total_bytes = (uint64_t)real;
    else
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.total_size", value->offset,
                              "metadata.total_size: wanted a whole number of bytes, found %s",
                              drayi_quote(value->text).text);
    return DRAY_OK;
}

static dray_status read_metadata(index_reading *reading, const drayi_json_token *first,
                                 dray_error *error)
{
    if (first->kind != DRAYI_JSON_OBJECT)
        return wanted("index.metadata", first, "metadata: wanted an object", error);
    bool seen = false;
    for (;;) {
        drayi_json_token key, value;
        DRAY_TRY(drayi_json_next(&reading->json, &key, error));
        if (key.kind == DRAYI_JSON_OBJECT_END)
            return DRAY_OK;
        DRAY_TRY(drayi_json_next(&reading->json, &value, error));
        if (!drayi_json_is(&key, "total_size")) {
            DRAY_TRY(drayi_json_skip(&reading->json, &value, error));
            continue;
        }
        if (seen)
            return dray_fail_rule(error, DRAY_E_FORMAT, "index.duplicate", key.offset,
                                  "metadata: total_size is there twice");
        seen = true;
        DRAY_TRY(read_total_size(reading, &value, error));
    }
}

static dray_status read_field(index_reading *reading, const drayi_json_token *key, dray_error *error)
{
    bool map = drayi_json_is(key, "weight_map"), metadata = drayi_json_is(key, "metadata");
    drayi_json_token value;
    DRAY_TRY(drayi_json_next(&reading->json, &value, error));
    if ((map && reading->has_map) || (metadata && reading->has_metadata))
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.duplicate", key->offset,
                              "%s is there twice", map ? "weight_map" : "metadata");
    reading->has_map |= map;
    reading->has_metadata |= metadata;
    if (map)
        return read_weight_map(reading, &value, error);
    if (metadata)
        return read_metadata(reading, &value, error);
    return drayi_json_skip(&reading->json, &value, error);
}

static dray_status read_document(index_reading *reading, dray_error *error)
{
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reading->json, &token, error));
    if (token.kind != DRAYI_JSON_OBJECT)
        return wanted("index.object", &token, "wanted an object with weight_map", error);
    for (;;) {
        DRAY_TRY(drayi_json_next(&reading->json, &token, error));
        if (token.kind == DRAYI_JSON_OBJECT_END)
            break;
        DRAY_TRY(read_field(reading, &token, error));
    }
    DRAY_TRY(drayi_json_next(&reading->json, &token, error)); // nothing behind it
    if (!reading->has_map)
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.weight_map", 0,
                              "no weight_map: this is not the index of a sharded model");
    return DRAY_OK;
}

// ---------------------------------------------------------------- tables

static int compare_texts(dray_text left, dray_text right)
{
    int order = memcmp(left.bytes, right.bytes, (size_t)drayi_min(left.length, right.length));
    return order ? order : (left.length > right.length) - (left.length < right.length);
}

static int by_name(const void *left, const void *right, const void *self)
{
    const index_line *lines = self;
    return compare_texts(lines[*(const uint64_t *)left].name, lines[*(const uint64_t *)right].name);
}

static int by_file(const void *left, const void *right, const void *self)
{
    const index_line *lines = self;
    return compare_texts(lines[*(const uint64_t *)left].file, lines[*(const uint64_t *)right].file);
}

static void order_lines(index_reading *reading, drayi_compare *compare)
{
    for (uint64_t i = 0; i < reading->line_count; i++)
        reading->order[i] = i;
    drayi_sort(reading->order, reading->scratch, reading->line_count, sizeof(*reading->order),
               compare, reading->lines);
}

static dray_status refuse_duplicate_names(index_reading *reading, dray_error *error)
{
    order_lines(reading, by_name);
    for (uint64_t i = 1; i < reading->line_count; i++) {
        const uint64_t *pair = &reading->order[i - 1];
        const index_line *line = &reading->lines[pair[1]];
        if (by_name(&pair[0], &pair[1], reading->lines) == 0)
            return dray_fail_rule(
                error, DRAY_E_FORMAT, "index.duplicate", line->offset,
                "weight_map: tensor \"%s\" is there twice, at bytes %" PRIu64 " and %" PRIu64,
                drayi_quote(line->name).text, reading->lines[pair[0]].offset, line->offset);
    }
    return DRAY_OK;
}

/// Does the i-th line in the order of files begin a new file?
static bool begins_file(const index_reading *reading, uint64_t i)
{
    return i == 0 || by_file(&reading->order[i - 1], &reading->order[i], reading->lines) != 0;
}

static dray_status build_tables(index_reading *reading, drayi_index_json *out, dray_error *error)
{
    order_lines(reading, by_file);
    uint64_t file_count = 0;
    for (uint64_t i = 0; i < reading->line_count; i++)
        file_count += begins_file(reading, i);
    drayi_index_entry *entries =
        drayi_arena_alloc(reading->arena, reading->line_count * sizeof(*entries), error);
    const char **files =
        entries ? drayi_arena_alloc(reading->arena, file_count * sizeof(*files), error) : NULL;
    if (!files)
        return DRAY_E_NOMEM;
    uint64_t file = 0;
    for (uint64_t i = 0; i < reading->line_count; i++) {
        const index_line *line = &reading->lines[reading->order[i]];
        if (begins_file(reading, i))
            files[file++] = line->file.bytes;
        entries[reading->order[i]] = (drayi_index_entry){line->name, file - 1, line->offset};
    }
    *out = (drayi_index_json){entries, reading->line_count, files, file_count, reading->total_bytes};
    return DRAY_OK;
}

static dray_status read_all(index_reading *reading, drayi_index_json *out, dray_error *error)
{
    reading->texts = drayi_arena_alloc(reading->arena, reading->json.length, error);
    if (!reading->texts)
        return DRAY_E_NOMEM;
    DRAY_TRY(read_document(reading, error));
    reading->order =
        drayi_alloc_array(reading->env, reading->line_count, sizeof(*reading->order), error);
    if (!reading->order)
        return DRAY_E_NOMEM;
    reading->scratch =
        drayi_alloc_array(reading->env, reading->line_count, sizeof(*reading->scratch), error);
    if (!reading->scratch)
        return DRAY_E_NOMEM;
    DRAY_TRY(refuse_duplicate_names(reading, error));
    return build_tables(reading, out, error);
}

dray_status drayi_index_json_read(drayi_arena *arena, const uint8_t *bytes, uint64_t length,
                                  drayi_index_json *out, dray_error *error)
{
    index_reading reading = {.arena = arena, .env = arena->env, .total_bytes = DRAY_UNKNOWN};
    reading.json = drayi_json_reader_of(bytes, length, 0);
    dray_status status = read_all(&reading, out, error);
    uint64_t order_bytes = reading.line_count * sizeof(*reading.order);
    drayi_free(reading.env, reading.order, (size_t)order_bytes);
    drayi_free(reading.env, reading.scratch, (size_t)order_bytes);
    drayi_free(reading.env, reading.lines, (size_t)(reading.line_room * sizeof(*reading.lines)));
    return status;
}
