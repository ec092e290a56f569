#include "weights/index.h"

#include "base/checked.h"
#include "base/sort.h"
#include "weights/layers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { warnings_kept = 1000 };

drayi_shown drayi_show(dray_text name)
{
    drayi_shown shown;
    size_t room = sizeof(shown.text) - 4, length = name.length < room ? (size_t)name.length : room;
    for (size_t i = 0; i < length; i++) {
        char letter = name.bytes[i];
        bool control = ((unsigned char)letter < 0x20) || letter == 0x7F;
        shown.text[i] = '?';
        if (!control)
            shown.text[i] = letter;
    }
    memcpy(shown.text + length, name.length > room ? "..." : "", name.length > room ? 4 : 1);
    return shown;
}

void drayi_index_init(drayi_index *index, drayi_env *env)
{
    *index = (drayi_index){.env = env};
    index->arena.env = env;
    index->tensor_names.env = env;
    index->metadata_names.env = env;
}

void drayi_index_free(drayi_index *index)
{
    drayi_env *env = index->env;
    if (!env)
        return; // never initialised
    drayi_names_free(&index->tensor_names);
    drayi_names_free(&index->metadata_names);
    drayi_free(env, index->tensors, (size_t)index->tensor_room * sizeof(*index->tensors));
    drayi_free(env, index->metadata, (size_t)index->metadata_room * sizeof(*index->metadata));
    drayi_free(env, index->warnings, (size_t)index->warning_room * sizeof(*index->warnings));
    drayi_arena_free(&index->arena);
    *index = (drayi_index){.env = env};
}

// --- warnings ------------------------------------------------------------------------------------

static dray_status warning_add(drayi_index *index, const char *rule, uint64_t offset,
                               const char *message, dray_error *error)
{
    if (index->warning_count >= warnings_kept) {
        index->warnings_dropped++;
        return DRAY_OK;
    }
    DRAY_TRY(drayi_grow(index->env, (void **)&index->warnings, &index->warning_room,
                        index->warning_count + 1, sizeof(*index->warnings), error));
    char *copy = drayi_arena_text(&index->arena, message, strlen(message), error);
    if (!copy)
        return DRAY_E_NOMEM;
    index->warnings[index->warning_count++] =
        (dray_warning){.rule = rule, .offset = offset, .message = copy};
    return DRAY_OK;
}

dray_status drayi_index_warn(drayi_index *index, const char *rule, uint64_t offset,
                             dray_error *error, const char *format, ...)
{
    char message[384];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return warning_add(index, rule, offset, message, error);
}

/// What was dropped is said in one last warning, which takes the place of the last one kept.
static dray_status warnings_finish(drayi_index *index, dray_error *error)
{
    if (index->warnings_dropped == 0)
        return DRAY_OK;
    uint64_t more = index->warnings_dropped + 1;
    index->warnings_dropped = 0;
    index->warning_count--;
    return drayi_index_warn(index, "weights.warnings", DRAY_UNKNOWN, error,
                            "%" PRIu64 " more warnings", more);
}

// --- what formats call ---------------------------------------------------------------------------

/// Is the report possible at all? Whether tensors overlap is known only when all are there.
static dray_status tensor_check(const drayi_index_sink *sink, const dray_format_tensor *tensor,
                                dray_error *error)
{
    drayi_shown name = drayi_show(tensor->name);
    if (tensor->rank > DRAY_RANK_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "weights.tensor.rank", tensor->head_offset,
                              "tensor %s: %" PRIu32 " dimensions, at most %d are known", name.text,
                              tensor->rank, DRAY_RANK_MAX);
    if (!tensor->size_known)
        return tensor->offset <= sink->file_bytes
                   ? DRAY_OK
                   : dray_fail_rule(error, DRAY_E_FORMAT, "weights.tensor.span", tensor->head_offset,
                                    "tensor %s: begins at %" PRIu64 ", the file has %" PRIu64
                                    " bytes",
                                    name.text, tensor->offset, sink->file_bytes);
    uint64_t bytes = 0;
    dray_status status =
        dray_dtype_tensor_bytes(tensor->dtype, tensor->shape, tensor->rank, &bytes, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "tensor %s", name.text);
    if (bytes != tensor->bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "weights.tensor.size", tensor->head_offset,
                              "tensor %s: %" PRIu64 " bytes, but its shape needs %" PRIu64,
                              name.text, tensor->bytes, bytes);
    if (!drayi_inside(tensor->offset, tensor->bytes, sink->file_bytes))
        return dray_fail_rule(error, DRAY_E_FORMAT, "weights.tensor.span", tensor->head_offset,
                              "tensor %s: %" PRIu64 " bytes at %" PRIu64
                              " are not within the file's %" PRIu64
                              " bytes: it is cut short or damaged",
                              name.text, tensor->bytes, tensor->offset, sink->file_bytes);
    return DRAY_OK;
}

static dray_status sink_tensor(dray_format_sink *given, const dray_format_tensor *tensor,
                               dray_error *error)
{
    drayi_index_sink *sink = (drayi_index_sink *)given;
    drayi_index *index = sink->index;
    DRAY_TRY(tensor_check(sink, tensor, error));
    uint64_t twin = drayi_index_find(index, tensor->name);
    if (twin != UINT64_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "weights.tensor.duplicate", tensor->head_offset,
                              "tensor %s: %s", drayi_show(tensor->name).text,
                              index->tensors[twin].file == sink->file
                                  ? "appears twice"
                                  : "is in an earlier file of the model too");
    DRAY_TRY(drayi_grow(index->env, (void **)&index->tensors, &index->tensor_room,
                        index->tensor_count + 1, sizeof(*index->tensors), error));
    uint64_t *shape =
        drayi_arena_alloc(&index->arena, (uint64_t)tensor->rank * sizeof(*shape), error);
    if (!shape)
        return DRAY_E_NOMEM;
    for (uint32_t i = 0; i < tensor->rank; i++)
        shape[i] = tensor->shape[i];
    DRAY_TRY(drayi_names_add(&index->tensor_names, tensor->name, index->tensor_count, error));
    index->tensors[index->tensor_count++] = (dray_tensor){
        .name = {.bytes = tensor->name.bytes ? tensor->name.bytes : "",
                 .length = tensor->name.length},
        .dtype = tensor->dtype,
        .native_type = tensor->native_type,
        .rank = tensor->rank,
        .file = sink->file,
        .shape = shape,
        .offset = tensor->offset,
        .bytes = tensor->size_known ? tensor->bytes : DRAY_UNKNOWN,
        .layer = drayi_layer_of(tensor->name),
    };
    return DRAY_OK;
}

/// The first file's keys go straight into the model's; later files are looked through at their end.
static drayi_names *sink_keys(drayi_index_sink *sink)
{
    return sink->file == 0 ? &sink->index->metadata_names : &sink->own_keys;
}

static dray_status sink_metadata(dray_format_sink *given, dray_text key, const dray_value *value,
                                 bool *out_duplicate, dray_error *error)
{
    drayi_index_sink *sink = (drayi_index_sink *)given;
    drayi_index *index = sink->index;
    drayi_names *keys = sink_keys(sink);
    *out_duplicate =
        drayi_names_find(keys, index->metadata, sizeof(*index->metadata), key) != UINT64_MAX;
    if (*out_duplicate)
        return dray_fail_rule(error, DRAY_E_FORMAT, "weights.metadata.duplicate", DRAY_UNKNOWN,
                              "metadata key %s appears twice", drayi_show(key).text);
    DRAY_TRY(drayi_grow(index->env, (void **)&index->metadata, &index->metadata_room,
                        index->metadata_count + 1, sizeof(*index->metadata), error));
    DRAY_TRY(drayi_names_add(keys, key, index->metadata_count, error));
    index->metadata[index->metadata_count++] =
        (dray_metadata){.key = key, .value = *value, .file = sink->file};
    return DRAY_OK;
}

static dray_status sink_warn(dray_format_sink *given, const char *rule, uint64_t offset,
                             dray_error *error, const char *format, ...)
{
    drayi_index_sink *sink = (drayi_index_sink *)given;
    char message[384];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return warning_add(sink->index, rule, offset, message, error);
}

static void *sink_keep(dray_format_sink *given, uint64_t bytes, dray_error *error)
{
    return drayi_arena_alloc(&((drayi_index_sink *)given)->index->arena, bytes, error);
}

// --- one file ------------------------------------------------------------------------------------

void drayi_index_file_begin(drayi_index_sink *sink, drayi_index *index, uint32_t file,
                            const char *path, uint64_t file_bytes, dray_format_facts *facts)
{
    *sink = (drayi_index_sink){
        .sink = {.self = index,
                 .facts = facts,
                 .tensor = sink_tensor,
                 .metadata = sink_metadata,
                 .warn = sink_warn,
                 .keep = sink_keep},
        .index = index,
        .path = path,
        .file = file,
        .file_bytes = file_bytes,
        .tensor_first = index->tensor_count,
        .metadata_first = index->metadata_count,
        .own_keys = {.env = index->env},
    };
}

/// Keeps of a later file's metadata what is new to the model.
static dray_status metadata_join(drayi_index_sink *sink, dray_error *error)
{
    drayi_index *index = sink->index;
    uint64_t kept = sink->metadata_first;
    for (uint64_t i = sink->metadata_first; i < index->metadata_count; i++) {
        dray_metadata entry = index->metadata[i];
        if (drayi_names_find(&index->metadata_names, index->metadata, sizeof(entry), entry.key) !=
            UINT64_MAX)
            continue;
        index->metadata[kept] = entry;
        DRAY_TRY(drayi_names_add(&index->metadata_names, entry.key, kept++, error));
    }
    index->metadata_count = kept;
    return DRAY_OK;
}

dray_status drayi_index_file_end(drayi_index_sink *sink, dray_error *error)
{
    const dray_format_facts *facts = sink->sink.facts;
    dray_status status = DRAY_OK;
    if (facts->data_offset > sink->file_bytes)
        status = dray_fail_rule(error, DRAY_E_FORMAT, "weights.data", facts->data_offset,
                                "tensor data begins at %" PRIu64 ", the file has %" PRIu64 " bytes",
                                facts->data_offset, sink->file_bytes);
    if (status == DRAY_OK && sink->file != 0)
        status = metadata_join(sink, error);
    drayi_names_free(&sink->own_keys);
    return status;
}

void drayi_index_file_abandon(drayi_index_sink *sink)
{
    drayi_names_free(&sink->own_keys);
}

// --- all files -----------------------------------------------------------------------------------

typedef struct order_key {
    uint64_t offset, bytes;
    uint32_t file, position;
} order_key;

static int order_compare(const void *left, const void *right, const void *self)
{
    (void)self;
    const order_key *a = left, *b = right;
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1; // empty tensors stand before the one that begins there
    return a->position < b->position ? -1 : a->position > b->position;
}

static order_key order_key_of(const drayi_index *index, uint64_t position)
{
    const dray_tensor *tensor = &index->tensors[position];
    return (order_key){.offset = tensor->offset,
                       .bytes = tensor->bytes,
                       .file = tensor->file,
                       .position = (uint32_t)position};
}

static bool is_in_order(const drayi_index *index)
{
    for (uint64_t i = 1; i < index->tensor_count; i++) {
        order_key before = order_key_of(index, i - 1), here = order_key_of(index, i);
        if (order_compare(&before, &here, NULL) > 0)
            return false;
    }
    return true;
}

/// Sorts small keys and then moves each tensor once.
static void order_apply(drayi_index *index, order_key *keys, order_key *scratch,
                        dray_tensor *sorted, uint32_t *moved)
{
    for (uint64_t i = 0; i < index->tensor_count; i++)
        keys[i] = order_key_of(index, i);
    drayi_sort(keys, scratch, index->tensor_count, sizeof(*keys), order_compare, NULL);
    for (uint64_t i = 0; i < index->tensor_count; i++) {
        sorted[i] = index->tensors[keys[i].position];
        moved[keys[i].position] = (uint32_t)i;
    }
    memcpy(index->tensors, sorted, (size_t)index->tensor_count * sizeof(*sorted));
    drayi_names_renumber(&index->tensor_names, moved);
}

static dray_status tensors_sort(drayi_index *index, dray_error *error)
{
    if (is_in_order(index))
        return DRAY_OK;
    drayi_env *env = index->env;
    uint64_t count = index->tensor_count;
    order_key *keys =
        drayi_alloc_array(env, 2 * count, sizeof(*keys), error); // and scratch for sorting
    dray_tensor *sorted = drayi_alloc_array(env, count, sizeof(*sorted), error);
    uint32_t *moved = drayi_alloc_array(env, count, sizeof(*moved), error);
    bool built = keys && sorted && moved;
    if (built)
        order_apply(index, keys, keys + count, sorted, moved);
    drayi_free(env, keys, (size_t)count * 2 * sizeof(*keys));
    drayi_free(env, sorted, (size_t)count * sizeof(*sorted));
    drayi_free(env, moved, (size_t)count * sizeof(*moved));
    return built ? DRAY_OK : DRAY_E_NOMEM;
}

/// Tensors of unknown size are not known to overlap anything.
static dray_status overlap_check(const drayi_index *index, dray_error *error)
{
    const dray_tensor *last = NULL; // the last tensor that holds bytes
    for (uint64_t i = 0; i < index->tensor_count; i++) {
        const dray_tensor *tensor = &index->tensors[i];
        if (tensor->bytes == DRAY_UNKNOWN || tensor->bytes == 0)
            continue;
        if (last && last->file == tensor->file && last->offset + last->bytes > tensor->offset)
            return dray_fail_rule(error, DRAY_E_FORMAT, "weights.tensor.overlap", tensor->offset,
                                  "tensor %s begins at %" PRIu64 ", but %s ends only at %" PRIu64,
                                  drayi_show(tensor->name).text, tensor->offset,
                                  drayi_show(last->name).text, last->offset + last->bytes);
        last = tensor;
    }
    return DRAY_OK;
}

dray_status drayi_index_finish(drayi_index *index, dray_error *error)
{
    DRAY_TRY(tensors_sort(index, error));
    DRAY_TRY(overlap_check(index, error));
    return warnings_finish(index, error);
}

uint64_t drayi_index_find(const drayi_index *index, dray_text name)
{
    return drayi_names_find(&index->tensor_names, index->tensors, sizeof(*index->tensors), name);
}
