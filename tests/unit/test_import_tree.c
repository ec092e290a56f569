/// Import trees: what a compiler writes is read, byte for byte; what an attacker writes is refused.
#include "abi/import_tree.h"
#include "core/context.h"
#include "corpus.h"
#include "counting_allocator.h"
#include "testing.h"

#include <stdlib.h>

/// A tree under construction.
typedef struct blob {
    uint8_t bytes[4096];
    uint64_t count;
} blob;

static void put(blob *to, const void *bytes, uint64_t count)
{
    assert_true(to->count + count <= sizeof(to->bytes));
    memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
}

static void put_u64(blob *to, uint64_t value)
{
    put(to, &value, 8);
}

static void put_words(blob *to, uint64_t count, const uint64_t *words)
{
    put_u64(to, count);
    put(to, words, count * 8);
}

static void put_text(blob *to, const char *text)
{
    put_u64(to, strlen(text));
    put(to, text, strlen(text));
}

static void put_module(blob *to, const char *kind, const char *payload)
{
    put_text(to, kind);
    put_text(to, payload);
}

#define WORDS(...)                                                  \
    sizeof((const uint64_t[]){__VA_ARGS__}) / 8, (const uint64_t[]) \
    {                                                               \
        __VA_ARGS__                                                 \
    }

static blob begin(void)
{
    return (blob){.count = 8};
}

static void finish(blob *tree)
{
    uint64_t bytes = tree->count - 8;
    memcpy(tree->bytes, &bytes, 8);
}

/// Reads an exact copy, so that a read behind the end is found out.
static dray_status read_copy(dray_context *context, const uint8_t *bytes, uint64_t count,
                             dray_error *error)
{
    drayi_tree tree;
    uint8_t *copy = malloc(count ? count : 1);
    assert_non_null(copy);
    if (count)
        memcpy(copy, bytes, count);
    dray_status status = drayi_tree_read(drayi_env_of(context), copy, count, false, &tree, error);
    drayi_tree_free(drayi_env_of(context), &tree);
    free(copy);
    return status;
}

static void refused(void **state, blob *tree, const char *name, const char *rule)
{
    dray_error error = {.status = DRAY_OK};
    corpus_write(name, tree->bytes, tree->count);
    assert_int_equal(read_copy(*state, tree->bytes, tree->count, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, rule);
}

/// The host with two imports, one of which both have.
static blob usual_tree(void)
{
    blob tree = begin();
    put_words(&tree, WORDS(0, 2, 3, 3));
    put_words(&tree, WORDS(1, 2, 2));
    put_text(&tree, "_lib");
    put_module(&tree, "cuda", "code");
    put_module(&tree, "const_loader", "");
    finish(&tree);
    return tree;
}

static void a_tree_is_read_as_it_was_written(void **state)
{
    blob bytes = usual_tree();
    drayi_tree tree;
    corpus_write("usual", bytes.bytes, bytes.count);
    assert_int_equal(
        drayi_tree_read(drayi_env_of(*state), bytes.bytes, bytes.count, false, &tree, NULL),
        DRAY_OK);
    assert_int_equal(tree.count, 3);
    assert_true(tree.modules[0].is_host && tree.modules[0].payload == NULL);
    assert_int_equal(tree.modules[0].import_count, 2);
    assert_int_equal(tree.modules[0].imports[1], 2);
    assert_int_equal(tree.modules[1].import_count, 1);
    assert_int_equal(tree.modules[1].payload_bytes, 4);
    assert_memory_equal(tree.modules[1].payload, "code", 4);
    assert_int_equal(tree.modules[2].payload_bytes, 0); // an empty payload is legal
    assert_non_null(tree.modules[2].payload);
    assert_int_equal(tree.depth, 3);
    assert_int_equal(tree.leaves_first[0], 2);
    assert_int_equal(tree.leaves_first[1], 1);
    assert_int_equal(tree.leaves_first[2], 0);
    uint8_t *again;
    uint64_t again_bytes;
    assert_int_equal(drayi_tree_write(drayi_env_of(*state), tree.modules, tree.count, &again,
                                      &again_bytes, NULL),
                     DRAY_OK);
    assert_int_equal(again_bytes, bytes.count);
    assert_memory_equal(again, bytes.bytes, bytes.count);
    drayi_free(drayi_env_of(*state), again, again_bytes);
    drayi_tree_free(drayi_env_of(*state), &tree);
}

static void every_cut_of_a_tree_is_refused(void **state)
{
    blob tree = usual_tree();
    for (uint64_t count = 0; count < tree.count; count++)
        assert_int_equal(read_copy(*state, tree.bytes, count, NULL), DRAY_E_FORMAT);
    for (uint64_t count = 8; count < tree.count; count++) { // and its first number agrees
        uint64_t bytes = count - 8;
        blob cut = tree;
        memcpy(cut.bytes, &bytes, 8);
        assert_int_equal(read_copy(*state, cut.bytes, count, NULL), DRAY_E_FORMAT);
    }
}

static void a_tree_of_no_modules_is_refused(void **state)
{
    blob one = begin(), none = begin();
    put_words(&one, WORDS(0));
    put_u64(&one, 0);
    finish(&one);
    refused(state, &one, "no modules", "bundle.index");
    put_u64(&none, 0);
    put_u64(&none, 0);
    finish(&none);
    refused(state, &none, "empty index", "bundle.index");
}

static void an_index_that_ends_beyond_the_imports_is_refused(void **state)
{
    blob tree = begin();
    put_words(&tree, WORDS(0, 5));
    put_words(&tree, WORDS(0));
    put_text(&tree, "_lib");
    finish(&tree);
    refused(state, &tree, "index beyond imports", "bundle.index");
}

static void an_index_that_begins_late_or_goes_back_is_refused(void **state)
{
    blob late = begin(), back = begin();
    put_words(&late, WORDS(1, 1));
    put_words(&late, WORDS(0));
    put_text(&late, "_lib");
    finish(&late);
    refused(state, &late, "index begins late", "bundle.index");
    put_words(&back, WORDS(0, 2, 1, 2));
    put_words(&back, WORDS(1, 2));
    put_text(&back, "_lib");
    put_module(&back, "a", "");
    put_module(&back, "b", "");
    finish(&back);
    refused(state, &back, "index goes back", "bundle.index");
}

static void an_import_that_is_not_there_is_refused(void **state)
{
    blob tree = begin();
    put_words(&tree, WORDS(0, 1));
    put_words(&tree, WORDS(1));
    put_text(&tree, "_lib");
    finish(&tree);
    refused(state, &tree, "import out of range", "bundle.imports");
}

static void a_module_that_imports_itself_is_refused(void **state)
{
    blob self = begin(), round = begin();
    put_words(&self, WORDS(0, 1));
    put_words(&self, WORDS(0));
    put_text(&self, "_lib");
    finish(&self);
    refused(state, &self, "imports itself", "bundle.cycle");
    put_words(&round, WORDS(0, 1, 2, 3));
    put_words(&round, WORDS(1, 2, 1));
    put_text(&round, "_lib");
    put_module(&round, "a", "");
    put_module(&round, "b", "");
    finish(&round);
    refused(state, &round, "imports in a round", "bundle.cycle");
}

static void a_payload_shorter_than_it_says_is_refused(void **state)
{
    blob tree = begin();
    put_words(&tree, WORDS(0, 1, 1));
    put_words(&tree, WORDS(1));
    put_text(&tree, "_lib");
    put_text(&tree, "echo");
    put_u64(&tree, 64);
    put(&tree, "short", 5);
    finish(&tree);
    refused(state, &tree, "short payload", "bundle.payload");
}

static void counts_and_lengths_without_end_are_refused(void **state)
{
    static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX / 8, UINT64_C(1) << 61, 1 << 20};
    for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
        blob index = begin(), imports = begin(), kind = begin();
        put_u64(&index, huge[i]);
        put(&index, "0123456701234567", 16);
        finish(&index);
        refused(state, &index, "huge index", "bundle.index");
        put_words(&imports, WORDS(0, 1));
        put_u64(&imports, huge[i]);
        put(&imports, "0123456701234567", 16);
        finish(&imports);
        refused(state, &imports, "huge imports", "bundle.imports");
        put_words(&kind, WORDS(0, 0));
        put_u64(&kind, 0);
        put_u64(&kind, huge[i]);
        put(&kind, "_lib", 4);
        finish(&kind);
        refused(state, &kind, "huge kind", "bundle.kind");
    }
}

static void a_size_that_is_not_that_of_the_bytes_is_refused(void **state)
{
    blob more = usual_tree(), less = usual_tree();
    more.bytes[0]++;
    refused(state, &more, "size too large", "bundle.size");
    less.bytes[0]--;
    refused(state, &less, "size too small", "bundle.size");
    blob tail = usual_tree();
    put(&tail, "x", 1);
    finish(&tail);
    refused(state, &tail, "bytes behind", "bundle.size");
    drayi_tree tree; // inside a library other bytes may follow
    tail = usual_tree();
    put(&tail, "x", 1);
    assert_int_equal(
        drayi_tree_read(drayi_env_of(*state), tail.bytes, tail.count, true, &tree, NULL), DRAY_OK);
    drayi_tree_free(drayi_env_of(*state), &tree);
}

static void modules_that_nobody_imports_are_refused(void **state)
{
    blob tree = begin();
    put_words(&tree, WORDS(0, 0, 0));
    put_u64(&tree, 0);
    put_text(&tree, "_lib");
    put_module(&tree, "hidden", "");
    finish(&tree);
    refused(state, &tree, "unused module", "bundle.unused");
}

static void kinds_that_are_no_names_are_refused(void **state)
{
    static const char *const kinds[] = {"", "\xff\xfe"};
    for (size_t i = 0; i < 2; i++) {
        blob tree = begin();
        put_words(&tree, WORDS(0, 0));
        put_u64(&tree, 0);
        put_module(&tree, kinds[i], "");
        finish(&tree);
        refused(state, &tree, "kind is no name", "bundle.kind");
    }
    blob hosts = begin();
    put_words(&hosts, WORDS(0, 1, 1));
    put_words(&hosts, WORDS(1));
    put_text(&hosts, "_lib");
    put_text(&hosts, "_lib");
    finish(&hosts);
    refused(state, &hosts, "library twice", "bundle.host");
}

/// One that imports one that imports one ...
static uint8_t *chain(dray_context *context, uint64_t count, uint64_t *out_bytes)
{
    drayi_tree_module *modules = calloc(count, sizeof(*modules));
    uint64_t *next = calloc(count, sizeof(*next));
    uint8_t *bytes = NULL;
    assert_true(modules && next);
    for (uint64_t i = 0; i < count; i++) {
        next[i] = i + 1;
        modules[i] = (drayi_tree_module){.kind = {"echo", 4},
                                         .payload = (const uint8_t *)"",
                                         .imports = &next[i],
                                         .import_count = i + 1 < count};
    }
    drayi_tree_write(drayi_env_of(context), modules, count, &bytes, out_bytes, NULL);
    free(modules);
    free(next);
    return bytes;
}

static void depth_has_a_limit_and_no_recursion(void **state)
{
    uint64_t bytes;
    uint8_t *deep = chain(*state, DRAYI_TREE_DEPTH_MAX, &bytes);
    drayi_tree tree;
    assert_non_null(deep);
    assert_int_equal(drayi_tree_read(drayi_env_of(*state), deep, bytes, false, &tree, NULL),
                     DRAY_OK);
    assert_int_equal(tree.depth, DRAYI_TREE_DEPTH_MAX);
    drayi_tree_free(drayi_env_of(*state), &tree);
    drayi_free(drayi_env_of(*state), deep, bytes);
    assert_null(chain(*state, DRAYI_TREE_DEPTH_MAX + 1, &bytes));
}

static void nothing_is_kept_when_memory_runs_out(void **state)
{
    (void)state;
    blob bytes = usual_tree();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        dray_error error;
        assert_int_equal(dray_context_create(&options, &context, NULL), DRAY_OK);
        uint64_t before = counting_allocator_live_bytes(&counter);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        drayi_tree tree;
        dray_status status =
            drayi_tree_read(drayi_env_of(context), bytes.bytes, bytes.count, false, &tree, &error);
        bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        drayi_tree_free(drayi_env_of(context), &tree);
        assert_int_equal(counting_allocator_live_bytes(&counter), before);
        dray_context_destroy(context);
        if (!failed)
            break;
    }
}

static int begin_context(void **state)
{
    dray_context *context = NULL;
    dray_status status = dray_context_create(NULL, &context, NULL);
    *state = context;
    return status != DRAY_OK;
}

static int end_context(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_is_read_as_it_was_written),
        cmocka_unit_test(every_cut_of_a_tree_is_refused),
        cmocka_unit_test(a_tree_of_no_modules_is_refused),
        cmocka_unit_test(an_index_that_ends_beyond_the_imports_is_refused),
        cmocka_unit_test(an_index_that_begins_late_or_goes_back_is_refused),
        cmocka_unit_test(an_import_that_is_not_there_is_refused),
        cmocka_unit_test(a_module_that_imports_itself_is_refused),
        cmocka_unit_test(a_payload_shorter_than_it_says_is_refused),
        cmocka_unit_test(counts_and_lengths_without_end_are_refused),
        cmocka_unit_test(a_size_that_is_not_that_of_the_bytes_is_refused),
        cmocka_unit_test(modules_that_nobody_imports_are_refused),
        cmocka_unit_test(kinds_that_are_no_names_are_refused),
        cmocka_unit_test(depth_has_a_limit_and_no_recursion),
        cmocka_unit_test(nothing_is_kept_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, begin_context, end_context);
}
