#include "abi/import_tree.h"

#include "base/quote.h"

#include <inttypes.h>

static const char host_kind[] = "_lib";

// --- reading -----------------------------------------------------------------------------------------

/// A count of u64 and the words behind it.
static dray_status read_words(drayi_reader *reader, const char *rule, const char *what, uint64_t max,
                              uint64_t *out_count, const uint8_t **out_words, dray_error *error)
{
    uint64_t count, at = reader->position;
    DRAY_TRY(drayi_read_u64(reader, &count, rule, what, error));
    if (count > max)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, at,
                              "bundle: %" PRIu64 " entries of %s, at most %" PRIu64 " are read",
                              count, what, max);
    DRAY_TRY(drayi_read_bytes(reader, count * 8, out_words, rule, what, error));
    *out_count = count;
    return DRAY_OK;
}

static uint64_t word_at(const uint8_t *words, uint64_t index)
{
    return drayi_load_u64(words + index * 8, false);
}

/// Where the imports of each module begin: from 0, never back, to the end of the list.
static dray_status check_starts(const uint8_t *starts, uint64_t count, uint64_t imports,
                                uint64_t at, dray_error *error)
{
    if (count < 2)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.index", at,
                              "bundle: an index of %" PRIu64 " entries describes no module", count);
    if (word_at(starts, 0) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.index", at + 8,
                              "bundle: the index begins with %" PRIu64 ", wanted 0",
                              word_at(starts, 0));
    for (uint64_t i = 1; i < count; i++) {
        if (word_at(starts, i) < word_at(starts, i - 1))
            return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.index", at + 8 + i * 8,
                                  "bundle: the index goes back from %" PRIu64 " to %" PRIu64
                                  " at entry %" PRIu64,
                                  word_at(starts, i - 1), word_at(starts, i), i);
    }
    if (word_at(starts, count - 1) != imports)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.index", at + 8 + (count - 1) * 8,
                              "bundle: the index ends with %" PRIu64 " imports, %" PRIu64
                              " are listed",
                              word_at(starts, count - 1), imports);
    return DRAY_OK;
}

static dray_status read_index(drayi_env *env, drayi_reader *reader, drayi_tree *tree,
                              dray_error *error)
{
    const uint8_t *starts = NULL, *imports = NULL;
    uint64_t count = 0, at = reader->position;
    DRAY_TRY(read_words(reader, "bundle.index", "the index", DRAYI_TREE_MODULES_MAX + 1, &count,
                        &starts, error));
    uint64_t imports_at = reader->position;
    DRAY_TRY(read_words(reader, "bundle.imports", "the imports", DRAYI_TREE_IMPORTS_MAX,
                        &tree->import_count, &imports, error));
    DRAY_TRY(check_starts(starts, count, tree->import_count, at, error));
    tree->count = count - 1;
    tree->modules = drayi_alloc_array(env, tree->count, sizeof(*tree->modules), error);
    tree->imports = drayi_alloc_array(env, tree->import_count, sizeof(*tree->imports), error);
    tree->leaves_first = drayi_alloc_array(env, tree->count, sizeof(*tree->leaves_first), error);
    if (!tree->modules || !tree->imports || !tree->leaves_first)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < tree->import_count; i++) {
        tree->imports[i] = word_at(imports, i);
        if (tree->imports[i] >= tree->count)
            return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.imports", imports_at + 8 + i * 8,
                                  "bundle: import %" PRIu64 " is module %" PRIu64 " of %" PRIu64, i,
                                  tree->imports[i], tree->count);
    }
    for (uint64_t i = 0; i < tree->count; i++) {
        tree->modules[i].imports = tree->imports + word_at(starts, i);
        tree->modules[i].import_count = word_at(starts, i + 1) - word_at(starts, i);
    }
    return DRAY_OK;
}

static dray_status read_kind(drayi_reader *reader, uint64_t index, drayi_tree_module *module,
                             dray_error *error)
{
    uint64_t at = reader->position;
    DRAY_TRY(drayi_read_u64(reader, &module->kind.length, "bundle.kind", "a module's kind", error));
    const uint8_t *text;
    DRAY_TRY(drayi_read_bytes(reader, module->kind.length, &text, "bundle.kind", "a module's kind",
                              error));
    module->kind.bytes = (const char *)text;
    if (module->kind.length == 0 || module->kind.length > DRAYI_TREE_KIND_MAX ||
        memchr(text, 0, module->kind.length) || !drayi_is_utf8(text, module->kind.length))
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.kind", at,
                              "bundle: the kind of module %" PRIu64 ", %" PRIu64
                              " bytes, is no name of 1 to %d",
                              index, module->kind.length, DRAYI_TREE_KIND_MAX);
    module->is_host = module->kind.length == sizeof(host_kind) - 1 &&
                      memcmp(text, host_kind, sizeof(host_kind) - 1) == 0;
    return DRAY_OK;
}

static dray_status read_modules(drayi_reader *reader, drayi_tree *tree, dray_error *error)
{
    bool host_seen = false;
    for (uint64_t i = 0; i < tree->count; i++) {
        drayi_tree_module *module = &tree->modules[i];
        uint64_t at = reader->position;
        DRAY_TRY(read_kind(reader, i, module, error));
        if (module->is_host && host_seen)
            return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.host", at,
                                  "bundle: module %" PRIu64 " is the library itself once more", i);
        host_seen |= module->is_host;
        if (module->is_host)
            continue;
        DRAY_TRY(drayi_read_u64(reader, &module->payload_bytes, "bundle.payload",
                                "a module's payload", error));
        DRAY_TRY(drayi_read_bytes(reader, module->payload_bytes, &module->payload, "bundle.payload",
                                  "a module's payload", error));
    }
    if (reader->position != reader->limit)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.size", reader->position,
                              "bundle: %" PRIu64 " bytes are left behind the last module",
                              reader->limit - reader->position);
    return DRAY_OK;
}

// --- order -------------------------------------------------------------------------------------------

/// Where the walk stands: a module, and how many of its imports are done.
typedef struct tree_step {
    uint64_t module, done;
} tree_step;

enum { fresh = 0, open = 1, finished = 2 };

static dray_status walk(const drayi_tree *tree, tree_step *steps, uint8_t *states,
                        uint64_t *heights, uint64_t *out_placed, dray_error *error)
{
    uint64_t depth = 1, placed = 0;
    steps[0] = (tree_step){0, 0};
    states[0] = open;
    while (depth > 0) {
        tree_step *step = &steps[depth - 1];
        const drayi_tree_module *module = &tree->modules[step->module];
        if (step->done == module->import_count) {
            uint64_t highest = 0;
            for (uint64_t i = 0; i < module->import_count; i++)
                highest = drayi_max(highest, heights[module->imports[i]]);
            heights[step->module] = highest + 1;
            states[step->module] = finished;
            tree->leaves_first[placed++] = step->module;
            depth--;
            continue;
        }
        uint64_t next = module->imports[step->done++];
        if (states[next] == open)
            return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.cycle", DRAY_UNKNOWN,
                                  "bundle: module %" PRIu64 " imports module %" PRIu64
                                  ", which imports it in turn",
                                  step->module, next);
        if (states[next] == fresh) {
            states[next] = open;
            steps[depth++] = (tree_step){next, 0};
        }
    }
    *out_placed = placed;
    return DRAY_OK;
}

static dray_status find_order(drayi_env *env, drayi_tree *tree, dray_error *error)
{
    uint64_t placed = 0;
    tree_step *steps = drayi_alloc_array(env, tree->count, sizeof(*steps), error);
    uint64_t *heights = drayi_alloc_array(env, tree->count, sizeof(*heights), error);
    uint8_t *states = drayi_alloc_array(env, tree->count, 1, error);
    dray_status status = steps && heights && states ? DRAY_OK : DRAY_E_NOMEM;
    if (status == DRAY_OK)
        status = walk(tree, steps, states, heights, &placed, error);
    if (status == DRAY_OK)
        tree->depth = heights[0];
    drayi_free(env, steps, tree->count * sizeof(*steps));
    drayi_free(env, heights, tree->count * sizeof(*heights));
    drayi_free(env, states, tree->count);
    if (status == DRAY_OK && placed < tree->count)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.unused", DRAY_UNKNOWN,
                              "bundle: only %" PRIu64 " of %" PRIu64
                              " modules can be reached from the first",
                              placed, tree->count);
    if (status == DRAY_OK && tree->depth > DRAYI_TREE_DEPTH_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.depth", DRAY_UNKNOWN,
                              "bundle: imports are %" PRIu64 " deep, at most %d are followed",
                              tree->depth, DRAYI_TREE_DEPTH_MAX);
    return status;
}

static dray_status read_tree(drayi_env *env, const uint8_t *bytes, uint64_t count,
                             bool more_follows, drayi_tree *tree, dray_error *error)
{
    drayi_reader reader = {.bytes = bytes, .available = count, .limit = count};
    uint64_t size;
    DRAY_TRY(drayi_read_u64(&reader, &size, "bundle.size", "the bundle's size", error));
    if (size > count - 8 || (size < count - 8 && !more_follows))
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.size", 0,
                              "bundle: %" PRIu64 " bytes should follow its first number, %" PRIu64
                              " do",
                              size, count - 8);
    reader.limit = reader.available = 8 + size;
    DRAY_TRY(read_index(env, &reader, tree, error));
    DRAY_TRY(read_modules(&reader, tree, error));
    return find_order(env, tree, error);
}

dray_status drayi_tree_read(drayi_env *env, const uint8_t *bytes, uint64_t count, bool more_follows,
                            drayi_tree *out, dray_error *error)
{
    *out = (drayi_tree){.modules = NULL};
    dray_status status = read_tree(env, bytes, count, more_follows, out, error);
    if (status != DRAY_OK)
        drayi_tree_free(env, out);
    return status;
}

void drayi_tree_free(drayi_env *env, drayi_tree *tree)
{
    drayi_free(env, tree->modules, tree->count * sizeof(*tree->modules));
    drayi_free(env, tree->imports, tree->import_count * sizeof(*tree->imports));
    drayi_free(env, tree->leaves_first, tree->count * sizeof(*tree->leaves_first));
    *tree = (drayi_tree){.modules = NULL};
}

// --- writing -----------------------------------------------------------------------------------------

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, 8); // little-endian, as base/reader.c asserts
    return at + 8;
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, uint64_t count)
{
    at = put_u64(at, count);
    if (count)
        memcpy(at, bytes, count);
    return at + count;
}

static bool tree_bytes(const drayi_tree_module *modules, uint64_t count, uint64_t *out_imports,
                       uint64_t *out_bytes)
{
    uint64_t imports = 0, bytes = 8 + 8 + (count + 1) * 8 + 8;
    for (uint64_t i = 0; i < count; i++) {
        imports += modules[i].import_count;
        if (!drayi_add(bytes, 8 + modules[i].kind.length, &bytes) ||
            (!modules[i].is_host &&
             (!drayi_add(bytes, modules[i].payload_bytes, &bytes) || !drayi_add(bytes, 8, &bytes))))
            return false;
    }
    *out_imports = imports;
    return drayi_add(bytes, imports * 8, out_bytes);
}

static void put_tree(uint8_t *at, uint64_t bytes, const drayi_tree_module *modules, uint64_t count,
                     uint64_t imports)
{
    uint64_t start = 0;
    at = put_u64(at, bytes - 8);
    at = put_u64(at, count + 1);
    at = put_u64(at, 0);
    for (uint64_t i = 0; i < count; i++)
        at = put_u64(at, start += modules[i].import_count);
    at = put_u64(at, imports);
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t j = 0; j < modules[i].import_count; j++)
            at = put_u64(at, modules[i].imports[j]);
    }
    for (uint64_t i = 0; i < count; i++) {
        at = put_bytes(at, modules[i].kind.bytes, modules[i].kind.length);
        if (!modules[i].is_host)
            at = put_bytes(at, modules[i].payload, modules[i].payload_bytes);
    }
}

dray_status drayi_tree_write(drayi_env *env, const drayi_tree_module *modules, uint64_t count,
                             uint8_t **out, uint64_t *out_bytes, dray_error *error)
{
    uint64_t imports, bytes;
    if (count == 0 || count > DRAYI_TREE_MODULES_MAX)
        return dray_fail(error, DRAY_E_INVALID, "bundle: %" PRIu64 " modules, wanted 1 to %d",
                         count, DRAYI_TREE_MODULES_MAX);
    if (!tree_bytes(modules, count, &imports, &bytes))
        return dray_fail(error, DRAY_E_INVALID, "bundle: the sizes of its modules overflow");
    uint8_t *written = drayi_alloc(env, bytes, error);
    if (!written)
        return DRAY_E_NOMEM;
    put_tree(written, bytes, modules, count, imports);
    drayi_tree tree; // what we write, we can read
    dray_status status = drayi_tree_read(env, written, bytes, false, &tree, error);
    drayi_tree_free(env, &tree);
    if (status != DRAY_OK) {
        drayi_free(env, written, bytes);
        return status == DRAY_E_FORMAT ? DRAY_E_INVALID : status;
    }
    *out = written;
    *out_bytes = bytes;
    return DRAY_OK;
}
