/// Bundles: all modules of a tree or none, leaves first, and what was vouched for as a whole.
#include "counting_allocator.h"
#include "dray/bundle.h"
#include "dray/spi/loader.h"
#include "fault_os.h"
#include "test_module.h"
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const dray_policy allow = {.struct_bytes = sizeof(dray_policy), .trust = DRAY_TRUST_ALLOW};

// --- a kind whose loads are written down ---------------------------------------------------------------

static char order[64]; // a letter for each load
static unsigned alive;

struct dray_part {
    char letter;
};

static void note_event(char letter)
{
    size_t length = strlen(order);
    assert_true(length + 1 < sizeof(order));
    order[length] = letter;
    order[length + 1] = '\0';
}

static void letter_destroy(dray_part *part)
{
    alive--;
    free(part);
}

static int letter_call(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)arguments, (void)count;
    *result = dray_any_int(((dray_part *)handle)->letter);
    return 0;
}

static dray_status letter_function(dray_part *part, const char *name, dray_part_function *out,
                                   dray_error *error)
{
    (void)error;
    if (name[0] != part->letter || name[1] != '\0')
        return DRAY_E_NOTFOUND;
    *out = (dray_part_function){letter_call, part};
    return DRAY_OK;
}

static const dray_part_ops letter_part = {
    .abi = DRAY_LOADER_ABI, .destroy = letter_destroy, .function = letter_function};

static dray_status letter_load(const dray_load_request *request, dray_loaded_part *out,
                               dray_error *error)
{
    char letter = '\0';
    if (request->image->byte_count != 1)
        return dray_fail_rule(error, DRAY_E_FORMAT, "letter.size", 0, "letter: wanted one byte");
    dray_status status = request->image->read(request->image, 0, &letter, 1, error);
    if (status != DRAY_OK)
        return status;
    if (strlen(order) + 1 < sizeof(order))
        note_event(letter);
    dray_part *part = malloc(sizeof(*part));
    part->letter = letter;
    alive++;
    *out = (dray_loaded_part){.part = part, .ops = &letter_part};
    return DRAY_OK;
}

static const dray_loader_ops letter_loader = {
    .abi = DRAY_LOADER_ABI, .flags = DRAY_LOADER_SERIALIZED, .kind = "letter", .load = letter_load};

static dray_bundle_module letter(const char *text, uint64_t imports, const uint64_t *numbers)
{
    return (dray_bundle_module){.kind = "letter",
                                .payload = text,
                                .payload_bytes = strlen(text),
                                .imports = numbers,
                                .import_count = imports};
}

static dray_any written(void **state, const dray_bundle_module *modules, uint64_t count)
{
    dray_any bytes;
    dray_error error;
    if (dray_bundle_write(*state, modules, count, &bytes, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return bytes;
}

static dray_status load(void **state, const char *kind, const dray_any *bundle,
                        const dray_policy *policy, dray_module **out, dray_error *error)
{
    dray_byte_array bytes;
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = policy};
    assert_true(dray_any_get_bytes(bundle, &bytes));
    order[0] = '\0';
    *out = NULL;
    return dray_module_load_bytes(*state, kind, bytes.data, bytes.size, &options, out, error);
}

static int64_t call(void **state, dray_module *module, const char *name, bool through)
{
    dray_function_object *function;
    dray_any result;
    if (dray_module_get_function(module, name, through, &function, NULL) != DRAY_OK)
        return -1;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, NULL), DRAY_OK);
    dray_object_release(&function->head);
    return result.as.i64;
}

static const uint64_t one_two[] = {1, 2}, three[] = {3};

/// a imports b and c, both of which import d.
static dray_any diamond(void **state)
{
    const dray_bundle_module modules[] = {letter("a", 2, one_two), letter("b", 1, three),
                                          letter("c", 1, three), letter("d", 0, NULL)};
    return written(state, modules, 4);
}

static void leaves_are_loaded_first_and_the_root_is_what_comes_back(void **state)
{
    dray_any bundle = diamond(state);
    dray_module *root;
    assert_int_equal(load(state, "bundle", &bundle, &allow, &root, NULL), DRAY_OK);
    assert_string_equal(order, "dbca");
    assert_string_equal(dray_module_kind(root), "letter");
    assert_int_equal(call(state, root, "a", false), 'a');
    assert_int_equal(call(state, root, "d", false), -1);
    assert_int_equal(call(state, root, "d", true), 'd');
    assert_int_equal(dray_module_import_count(root), 2);
    assert_int_equal(alive, 4); // d once, for both
    dray_module_release(root);
    assert_int_equal(alive, 0);
    dray_any_release(&bundle);
}

static void its_kind_is_recognised(void **state)
{
    dray_any bundle = diamond(state);
    dray_module *root;
    assert_int_equal(load(state, "auto", &bundle, &allow, &root, NULL), DRAY_OK);
    dray_module_release(root);
    dray_any_release(&bundle);
}

static void it_is_all_or_nothing(void **state)
{
    const dray_bundle_module modules[] = {letter("a", 2, one_two), letter("b", 1, three),
                                          letter("too long", 1, three), letter("d", 0, NULL)};
    dray_any bundle = written(state, modules, 4);
    dray_module *root;
    dray_error error;
    assert_int_equal(load(state, "bundle", &bundle, &allow, &root, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "letter.size"); // what the loader said
    assert_non_null(strstr(error.message, "module 2 of 4"));
    assert_string_equal(order, "db");
    assert_int_equal(alive, 0);
    assert_null(root);
    dray_any_release(&bundle);
}

static void a_kind_that_nobody_loads_is_named_with_its_key(void **state)
{
    dray_bundle_module modules[] = {letter("a", 1, &one_two[0]), letter("b", 0, NULL)};
    modules[1].kind = "nowhere";
    dray_any bundle = written(state, modules, 2);
    dray_module *root;
    dray_error error;
    assert_int_equal(load(state, "bundle", &bundle, &allow, &root, &error), DRAY_E_NOTFOUND);
    assert_non_null(strstr(error.message, "ffi.Module.load_from_bytes.nowhere"));
    dray_any_release(&bundle);
}

static void a_tree_that_belongs_into_a_library_does_not_stand_alone(void **state)
{
    dray_bundle_module modules[] = {letter("a", 1, &one_two[0]), letter("b", 0, NULL)};
    modules[0].is_host = 1;
    dray_any bundle = written(state, modules, 2);
    dray_module *root;
    dray_error error;
    assert_int_equal(load(state, "bundle", &bundle, &allow, &root, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "bundle.host");
    assert_int_equal(alive, 0);
    dray_any_release(&bundle);
}

static void bundles_in_bundles_end_somewhere(void **state)
{
    dray_bundle_module inner = letter("a", 0, NULL);
    dray_any bundle = written(state, &inner, 1);
    for (int depth = 1; depth < 12; depth++) {
        dray_module *root;
        dray_error error;
        dray_status status = load(state, "bundle", &bundle, &allow, &root, &error);
        assert_int_equal(status, depth <= 8 ? DRAY_OK : DRAY_E_FORMAT);
        if (status == DRAY_OK)
            dray_module_release(root);
        else
            assert_string_equal(error.rule, "bundle.nested");
        dray_byte_array bytes;
        dray_any_get_bytes(&bundle, &bytes);
        const dray_bundle_module outer = {
            .kind = "bundle", .payload = bytes.data, .payload_bytes = bytes.size};
        dray_any next = written(state, &outer, 1);
        dray_any_release(&bundle);
        bundle = next;
    }
    dray_any_release(&bundle);
}

static void kinds_of_the_policy_hold_inside(void **state)
{
    static const char *const only_bundles[] = {"bundle", NULL};
    dray_policy policy = allow;
    policy.kinds = only_bundles;
    dray_any bundle = diamond(state);
    dray_module *root;
    dray_error error;
    assert_int_equal(load(state, "bundle", &bundle, &policy, &root, &error), DRAY_E_INVALID);
    assert_string_equal(error.rule, "module.trust");
    assert_int_equal(alive, 0);
    dray_any_release(&bundle);
}

static void native_code_inside_wants_a_decision_too(void **state)
{
    test_bytes file = test_module_read("answers");
    const dray_bundle_module modules[] = {
        letter("a", 1, &one_two[0]),
        {.kind = "elf", .payload = file.bytes, .payload_bytes = file.count}};
    dray_any bundle = written(state, modules, 2);
    dray_module *root;
    dray_error error;
    const dray_policy undecided = {.struct_bytes = sizeof(undecided)};
    assert_int_equal(load(state, "bundle", &bundle, &undecided, &root, &error), DRAY_E_INVALID);
    assert_string_equal(error.rule, "module.trust");
    assert_int_equal(load(state, "bundle", &bundle, &allow, &root, &error), DRAY_OK);
    dray_function_object *function;
    const dray_any argument = dray_any_int(41);
    dray_any result;
    assert_int_equal(dray_module_get_function(root, "add_one", true, &function, NULL), DRAY_OK);
    assert_int_equal(dray_function_call(*state, function, &argument, 1, &result, NULL), DRAY_OK);
    assert_int_equal(result.as.i64, 42);
    dray_object_release(&function->head);
    dray_module_release(root);
    dray_any_release(&bundle);
    test_bytes_free(&file);
}

static void a_library_brings_its_own_tree(void **state)
{
    test_bytes file = test_module_read("with_tree");
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = &allow};
    dray_module *module;
    dray_error error;
    order[0] = '\0';
    if (dray_module_load_bytes(*state, "elf", file.bytes, file.count, &options, &module, &error) !=
        DRAY_OK)
        fail_msg("%s", error.message);
    assert_string_equal(order, "z");
    assert_string_equal(dray_module_kind(module), "elf");
    assert_int_equal(call(state, module, "host", false), 1);
    assert_int_equal(call(state, module, "z", true), 'z');
    dray_module_release(module);
    assert_int_equal(alive, 0);
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = file.bytes, .byte_count = file.count};
    dray_bundle *tree; // and the same without loading it
    assert_int_equal(dray_bundle_open(*state, &source, &tree, &error), DRAY_OK);
    assert_int_equal(dray_bundle_count(tree), 2);
    assert_true(dray_bundle_at(tree, 0)->is_host);
    assert_string_equal(dray_bundle_at(tree, 1)->kind, "letter");
    assert_memory_equal(dray_bundle_at(tree, 1)->payload, "z", 1);
    assert_null(dray_bundle_at(tree, 2));
    dray_bundle_destroy(tree);
    test_bytes_free(&file);
}

static void what_has_no_tree_is_not_opened_as_one(void **state)
{
    test_bytes file = test_module_read("answers");
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = file.bytes, .byte_count = file.count};
    dray_bundle *tree;
    dray_error error;
    assert_int_equal(dray_bundle_open(*state, &source, &tree, &error), DRAY_E_NOTFOUND);
    test_bytes_free(&file);
}

static void a_thousand_modules_are_loaded(void **state)
{
    enum { count = 1000 };
    static dray_bundle_module modules[count];
    static uint64_t next[count];
    for (uint64_t i = 0; i < count; i++) {
        next[i] = i + 1;
        modules[i] = letter("a", i + 1 < count, &next[i]);
    }
    dray_any bundle = written(state, modules, count);
    dray_module *root;
    assert_int_equal(load(state, "bundle", &bundle, &allow, &root, NULL), DRAY_OK);
    assert_int_equal(alive, count);
    dray_module_release(root); // no recursion as deep as that
    assert_int_equal(alive, 0);
    dray_any_release(&bundle);
}

static void nothing_is_left_when_memory_runs_out(void **state)
{
    dray_any bundle = diamond(state);
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        dray_module *root;
        dray_error error = {.status = DRAY_OK};
        assert_int_equal(dray_context_create(&options, &context, NULL), DRAY_OK);
        assert_int_equal(dray_loader_register(context, &letter_loader, NULL, 0, NULL), DRAY_OK);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        void *own = context;
        dray_status status = load(&own, "bundle", &bundle, &allow, &root, &error);
        bool failed = counting_allocator_failed(&counter);
        if (status == DRAY_OK)
            dray_module_release(root);
        else
            assert_true(failed && status == DRAY_E_NOMEM && error.message[0]);
        assert_int_equal(alive, 0);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed)
            break;
    }
    dray_any_release(&bundle);
}

static int begin(void **state)
{
    if (fault_os_context(state) != 0)
        return 1;
    return dray_loader_register(*state, &letter_loader, NULL, 0, NULL) != DRAY_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_are_loaded_first_and_the_root_is_what_comes_back),
        cmocka_unit_test(its_kind_is_recognised),
        cmocka_unit_test(it_is_all_or_nothing),
        cmocka_unit_test(a_kind_that_nobody_loads_is_named_with_its_key),
        cmocka_unit_test(a_tree_that_belongs_into_a_library_does_not_stand_alone),
        cmocka_unit_test(bundles_in_bundles_end_somewhere),
        cmocka_unit_test(kinds_of_the_policy_hold_inside),
        cmocka_unit_test(native_code_inside_wants_a_decision_too),
        cmocka_unit_test(a_library_brings_its_own_tree),
        cmocka_unit_test(what_has_no_tree_is_not_opened_as_one),
        cmocka_unit_test(a_thousand_modules_are_loaded),
        cmocka_unit_test(nothing_is_left_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, begin, fault_os_context_end);
}
