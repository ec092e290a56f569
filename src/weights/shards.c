#include "weights/shards.h"

#include "weights/index_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// --- index.json ----------------------------------------------------------------------------------

bool drayi_looks_like_json(const uint8_t *bytes, uint64_t count)
{
    uint64_t at = 0;
    while (at < count &&
           (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == '\t'))
        at++;
    return at < count && bytes[at] == '{';
}

bool drayi_is_index_json(const uint8_t *bytes, uint64_t count)
{
    static const char needle[] = "\"weight_map\"";
    return drayi_looks_like_json(bytes, count) &&
           memmem(bytes, (size_t)count, needle, sizeof(needle) - 1) != NULL;
}

static dray_status shard_open(dray_weights *weights, const char *index_path, const char *name,
                              dray_error *error)
{
    char *path;
    DRAY_TRY(drayi_path_beside(&weights->index.arena, index_path, name, &path, error));
    DRAY_TRY(drayi_weights_add_file(weights, path, error));
    const dray_format_ops *format;
    drayi_model_file *file = &weights->files[weights->file_count - 1];
    DRAY_TRY(drayi_weights_probe(weights, file, &format, error));
    if (!format)
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.shard", DRAY_UNKNOWN,
                              "%s: no format recognises it", name);
    if (weights->format && strcmp(weights->format, format->name) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "index.shard", DRAY_UNKNOWN,
                              "%s: is %s, the shards before are %s", name, format->name,
                              weights->format);
    return drayi_weights_read_file(weights, format, error);
}

/// Every name in the map lies in the shard the map says; tensors the map forgets are warned about.
static dray_status map_check(dray_weights *weights, const drayi_index_json *json, dray_error *error)
{
    drayi_index *index = &weights->index;
    for (uint64_t i = 0; i < json->entry_count; i++) {
        const drayi_index_entry *entry = &json->entries[i];
        uint64_t found = drayi_index_find(index, entry->name);
        const char *wanted = json->files[entry->file];
        if (found == UINT64_MAX)
            return dray_fail_rule(error, DRAY_E_FORMAT, "index.tensor", entry->offset,
                                  "tensor %s: the index names it in %s, but no shard holds it",
                                  drayi_show(entry->name).text, wanted);
        if (index->tensors[found].file != entry->file)
            return dray_fail_rule(error, DRAY_E_FORMAT, "index.tensor", entry->offset,
                                  "tensor %s: the index names it in %s, but it lies in %s",
                                  drayi_show(entry->name).text, wanted,
                                  json->files[index->tensors[found].file]);
    }
    if (index->tensor_count == json->entry_count)
        return DRAY_OK;
    return drayi_index_warn(index, "index.tensor.unnamed", DRAY_UNKNOWN, error,
                            "the shards hold %" PRIu64 " tensors, the index names %" PRIu64
                            " of them",
                            index->tensor_count, json->entry_count);
}

static dray_status total_check(const dray_weights *weights, const drayi_index_json *json,
                               dray_error *error)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < weights->index.tensor_count; i++) {
        if (weights->index.tensors[i].bytes == DRAY_UNKNOWN)
            return DRAY_OK;                     // nothing to compare with
        sum += weights->index.tensors[i].bytes; // within the files, so it cannot overflow
    }
    if (json->total_bytes == DRAY_UNKNOWN || json->total_bytes == sum)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "index.total_size", DRAY_UNKNOWN,
                          "metadata.total_size is %" PRIu64 ", the shards hold %" PRIu64
                          " bytes of tensors",
                          json->total_bytes, sum);
}

typedef struct stray_search {
    dray_weights *weights;
    const drayi_index_json *json;
    dray_status status;
    dray_error *error;
} stray_search;

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), wanted = strlen(suffix);
    return length >= wanted && strcmp(name + length - wanted, suffix) == 0;
}

static void stray_look(void *self, const char *name)
{
    stray_search *search = self;
    if (search->status != DRAY_OK || name[0] == '.' || !has_suffix(name, ".safetensors"))
        return;
    for (uint64_t i = 0; i < search->json->file_count; i++) {
        if (strcmp(search->json->files[i], name) == 0)
            return;
    }
    dray_text text = {.bytes = name, .length = strlen(name)};
    search->status = drayi_index_warn(
        &search->weights->index, "index.shard.unnamed", DRAY_UNKNOWN, search->error,
        "%s lies beside the shards, but the index does not name it", drayi_show(text).text);
}

/// A folder that cannot be listed is no reason to refuse its shards, which could be opened.
static dray_status strays_warn(dray_weights *weights, const char *path,
                               const drayi_index_json *json, dray_error *error)
{
    char *folder;
    DRAY_TRY(drayi_path_beside(&weights->index.arena, path, ".", &folder, error));
    stray_search search = {.weights = weights, .json = json, .error = error};
    weights->env->os->read_dir(folder, stray_look, &search);
    return search.status;
}

dray_status drayi_open_index_json(dray_weights *weights, const char *path, const uint8_t *bytes,
                                  uint64_t count, dray_error *error)
{
    drayi_index_json json = {0};
    DRAY_TRY(drayi_index_json_read(&weights->index.arena, bytes, count, &json, error));
    for (uint64_t i = 0; i < json.file_count; i++) {
        dray_status status = shard_open(weights, path, json.files[i], error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "shard %" PRIu64 " of %" PRIu64, i + 1,
                                    json.file_count);
    }
    DRAY_TRY(map_check(weights, &json, error));
    DRAY_TRY(total_check(weights, &json, error));
    return strays_warn(weights, path, &json, error);
}

// --- GGUF splits ---------------------------------------------------------------------------------

enum { split_tail_bytes = 20 }; // "-00001-of-00004.gguf"

static bool digits_read(const char *at, uint32_t *out)
{
    uint32_t number = 0;
    for (int i = 0; i < 5; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(at[i] - '0');
    }
    *out = number;
    return true;
}

bool drayi_split_name(const char *path, uint32_t *out_number, uint32_t *out_count)
{
    size_t length = strlen(path);
    if (length < split_tail_bytes)
        return false;
    const char *tail = path + length - split_tail_bytes;
    return tail[0] == '-' && digits_read(tail + 1, out_number) &&
           memcmp(tail + 6, "-of-", 4) == 0 && digits_read(tail + 10, out_count) &&
           strcmp(tail + 15, ".gguf") == 0;
}

/// The name of split `number` (from 1) beside `path`, which is itself a split's name.
static char *split_path(drayi_arena *arena, const char *path, uint32_t number, uint32_t count,
                        dray_error *error)
{
    size_t length = strlen(path);
    char *name = drayi_arena_text(arena, path, length, error);
    if (name)
        snprintf(name + length - split_tail_bytes, split_tail_bytes + 1,
                 "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", number, count);
    return name;
}

static dray_status first_check(const dray_weights *weights, dray_error *error)
{
    const drayi_model_file *first = &weights->files[0];
    const dray_format_facts *facts = &first->format;
    uint32_t number = 0, count = 0;
    if (first->keeper)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "gguf.split", DRAY_UNKNOWN,
                              "split 1 of %" PRIu32
                              " is in memory or compressed: its other files cannot be found",
                              facts->split_count);
    if (facts->split_no != 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "gguf.split.no", DRAY_UNKNOWN,
                              "this is split %" PRIu32 " of %" PRIu32
                              ": open the first one, its name ends in "
                              "-00001-of-%05" PRIu32 ".gguf",
                              facts->split_no + 1, facts->split_count, facts->split_count);
    if (facts->split_count > 99999 || !drayi_split_name(first->info.path, &number, &count) ||
        number != 1 || count != facts->split_count)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split.name", DRAY_UNKNOWN,
                              "the file says it is split 1 of %" PRIu32
                              ", so its name must end in -00001-of-%05" PRIu32 ".gguf",
                              facts->split_count, facts->split_count);
    return DRAY_OK;
}

static dray_status split_open(dray_weights *weights, const dray_format_ops *format, uint32_t number,
                              dray_error *error)
{
    dray_format_facts first = weights->files[0].format;
    char *path = split_path(&weights->index.arena, weights->files[0].info.path, number,
                            first.split_count, error);
    if (!path)
        return DRAY_E_NOMEM;
    DRAY_TRY(drayi_weights_add_file(weights, path, error));
    const dray_format_ops *found;
    DRAY_TRY(drayi_weights_probe(weights, &weights->files[weights->file_count - 1], &found, error));
    if (found != format)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split", DRAY_UNKNOWN,
                              "%s is not a %s file", drayi_last_component(path), format->name);
    DRAY_TRY(drayi_weights_read_file(weights, format, error));
    const dray_format_facts *facts = &weights->files[weights->file_count - 1].format;
    if (facts->split_no != number - 1 || facts->split_count != first.split_count)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split.no", DRAY_UNKNOWN,
                              "%s says it is split %" PRIu32 " of %" PRIu32,
                              drayi_last_component(path), facts->split_no + 1, facts->split_count);
    if (facts->big_endian != first.big_endian)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split.endian", DRAY_UNKNOWN,
                              "%s has another byte order than the first split",
                              drayi_last_component(path));
    return DRAY_OK;
}

dray_status drayi_open_splits(dray_weights *weights, const dray_format_ops *format,
                              dray_error *error)
{
    DRAY_TRY(first_check(weights, error));
    uint32_t count = weights->files[0].format.split_count;
    uint64_t total = weights->files[0].format.split_tensors;
    for (uint32_t number = 2; number <= count; number++) {
        dray_status status = split_open(weights, format, number, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "split %" PRIu32 " of %" PRIu32, number, count);
    }
    if (weights->index.tensor_count != total)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split.tensors", DRAY_UNKNOWN,
                              "split.tensors.count is %" PRIu64 ", the %" PRIu32
                              " splits hold %" PRIu64 " tensors",
                              total, count, weights->index.tensor_count);
    return DRAY_OK;
}
