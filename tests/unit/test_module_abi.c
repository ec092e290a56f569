/// Modules as others build them, called through the ABI: without libtvm_ffi in the process.
#include "dray/module.h"
#include "test_module.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

static const dray_policy allow = {.struct_bytes = sizeof(allow), .trust = DRAY_TRUST_ALLOW};
static const dray_module_options allowed = {.struct_bytes = sizeof(allowed), .policy = &allow};

static int setup(void **state)
{
    dray_context *context;
    dray_error error;
    assert_int_equal(dray_context_create(NULL, &context, &error), DRAY_OK);
    *state = context;
    return 0;
}

static int teardown(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static dray_module *load(dray_context *context, const char *name)
{
    test_bytes file = test_module_read(name);
    dray_module *module = NULL;
    dray_error error;
    dray_status status =
        dray_module_load_bytes(context, "auto", file.bytes, file.count, &allowed, &module, &error);
    test_bytes_free(&file);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    return module;
}

static dray_function_object *function_of(dray_module *module, const char *name)
{
    dray_function_object *function = NULL;
    dray_error error;
    if (dray_module_get_function(module, name, false, &function, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return function;
}

/// Calls by name with at most one argument, which it releases.
static dray_status call(dray_context *context, dray_module *module, const char *name,
                        dray_any argument, dray_any *out, dray_error *error)
{
    dray_function_object *function = function_of(module, name);
    dray_status status = dray_function_call(context, function, &argument, 1, out, error);
    dray_object_release(&function->head);
    dray_any_release(&argument);
    return status;
}

static void a_module_of_one_header_is_called(void **state)
{
    dray_module *module = load(*state, "numbers");
    dray_any result;
    dray_error error;
    assert_string_equal(dray_module_kind(module), "elf");
    assert_int_equal(dray_module_function_count(module), 5);
    assert_string_equal(dray_module_function_name(module, 0), "add_one");
    assert_string_equal(dray_module_function_name(module, 4), "twice");
    assert_int_equal(call(*state, module, "add_one", dray_any_int(41), &result, &error), DRAY_OK);
    assert_int_equal(result.type_index, DRAY_TYPE_INT);
    assert_int_equal(result.as.i64, 42);
    dray_module_release(module);
    assert_int_equal(dray_module_collect(*state), 0);
}

static void texts_of_every_length_come_back(void **state)
{
    dray_module *module = load(*state, "numbers");
    char text[65] = "", wanted[129];
    for (int length = 0; length <= 64; length++) {
        dray_any result;
        dray_error error;
        assert_int_equal(call(*state, module, "twice", dray_any_text(text), &result, &error),
                         DRAY_OK);
        dray_byte_array got = {0};
        assert_true(dray_any_get_text(&result, &got));
        snprintf(wanted, sizeof(wanted), "%s%s", text, text);
        assert_int_equal(got.size, 2 * length);
        assert_string_equal(got.data, wanted);
        dray_any_release(&result);
        text[length] = (char)('a' + length % 26);
        text[length + (length < 64)] = '\0';
    }
    dray_any result;
    dray_error error;
    assert_int_equal(call(*state, module, "twice", dray_any_borrow_text("raw"), &result, &error),
                     DRAY_OK);
    assert_int_equal(result.small_length, 6);
    dray_module_release(module);
}

static void a_modules_errors_arrive(void **state)
{
    dray_module *module = load(*state, "numbers");
    dray_any result;
    dray_error error;
    assert_int_equal(call(*state, module, "fail", dray_any_none(), &result, &error), DRAY_E_FAILED);
    assert_string_equal(error.message, "ValueError: it was asked to fail");
    assert_int_equal(call(*state, module, "add_one", dray_any_text("no"), &result, &error),
                     DRAY_E_FAILED);
    assert_string_equal(error.message, "TypeError: add_one wants one int");
    assert_int_equal(call(*state, module, "fail_silently", dray_any_none(), &result, &error),
                     DRAY_E_FAILED);
    assert_string_equal(error.message,
                        "the function failed (code -1) without saying why: it raised no error");
    dray_module_release(module);
}

static void a_modules_texts_are_read(void **state)
{
    dray_module *module = load(*state, "numbers");
    dray_any text;
    dray_byte_array bytes = {0};
    dray_error error;
    assert_int_equal(dray_module_function_doc(module, "add_one", &text, &error), DRAY_OK);
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "the int that follows");
    dray_any_release(&text);
    assert_int_equal(dray_module_function_metadata(module, "add_one", &text, &error), DRAY_OK);
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "{\"arguments\": [\"int\"]}");
    dray_any_release(&text);
    assert_int_equal(dray_module_function_doc(module, "twice", &text, &error), DRAY_OK);
    assert_int_equal(text.type_index, DRAY_TYPE_NONE);
    dray_module_release(module);
}

static void a_nonsense_type_in_an_argument_reaches_no_module(void **state)
{
    dray_module *module = load(*state, "numbers");
    dray_any nonsense = dray_any_none(), result;
    nonsense.type_index = 4711;
    dray_function_object *function = function_of(module, "count_arguments");
    dray_error error;
    assert_int_equal(dray_function_call(*state, function, &nonsense, 1, &result, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.message, "call: argument 1 of 1 is no value: type 4711 without an "
                                       "object of that type");
    dray_object_release(&function->head);
    dray_module_release(module);
}

// --- stock modules -----------------------------------------------------------------------------------------

static void a_stock_module_runs_without_libtvm_ffi(void **state)
{
    dray_module *module = load(*state, "stock");
    dray_any result;
    dray_error error;
    assert_int_equal(call(*state, module, "fail", dray_any_none(), &result, &error), DRAY_E_FAILED);
    assert_string_equal(error.message, "RuntimeError: raised through an undefined symbol");
    assert_int_equal(call(*state, module, "greet", dray_any_none(), &result, &error), DRAY_OK);
    dray_byte_array text = {0};
    assert_true(dray_any_get_text(&result, &text));
    assert_string_equal(text.data, "good morning to everybody");
    dray_any_release(&result);
    assert_int_equal(call(*state, module, "types", dray_any_none(), &result, &error), DRAY_OK);
    assert_int_equal(result.as.i64, 1);
    dray_module_release(module);
}

static void a_module_calls_its_imports_by_name(void **state)
{
    dray_module *module = load(*state, "stock"), *numbers = load(*state, "numbers");
    dray_any result;
    dray_error error;
    assert_int_equal(call(*state, module, "call_import", dray_any_int(1), &result, &error),
                     DRAY_E_FAILED);
    assert_non_null(strstr(error.message, "neither its imports nor the registry have \"add_one\""));
    assert_int_equal(dray_module_import(module, numbers, &error), DRAY_OK);
    dray_module_release(numbers);
    assert_int_equal(call(*state, module, "call_import", dray_any_int(1), &result, &error), DRAY_OK);
    assert_int_equal(result.as.i64, 2);
    dray_module_clear_imports(module); // what the code may have kept stays callable, but is not found
    assert_int_equal(call(*state, module, "call_import", dray_any_int(1), &result, &error),
                     DRAY_E_FAILED);
    dray_module_release(module);
}

/// The original kept one context per mapping, overwritten by whoever came last, dangling when it went.
static void two_modules_of_one_library_have_two_contexts(void **state)
{
    dray_module *first = load(*state, "stock"), *second = load(*state, "stock");
    dray_module *numbers = load(*state, "numbers");
    dray_any result;
    dray_error error;
    assert_int_equal(dray_module_import(first, numbers, &error), DRAY_OK);
    dray_module_release(numbers);
    assert_int_equal(call(*state, second, "call_import", dray_any_int(1), &result, &error),
                     DRAY_E_FAILED);
    dray_module_release(second);
    assert_int_equal(call(*state, first, "call_import", dray_any_int(1), &result, &error), DRAY_OK);
    assert_int_equal(result.as.i64, 2);
    dray_module_release(first);
}

// --- objects that outlive their module ------------------------------------------------------------------------

static void an_object_outlives_its_module(void **state)
{
    dray_module *module = load(*state, "maker");
    dray_any text;
    dray_error error;
    assert_int_equal(call(*state, module, "make", dray_any_none(), &text, &error), DRAY_OK);
    char why[128];
    assert_string_equal(dray_module_pinned(module, why, sizeof(why)),
                        "1 of the objects that it made is still alive");
    dray_module_release(module);
    assert_int_equal(dray_module_collect(*state), 1); // its code is still needed
    dray_byte_array bytes = {0};
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "long enough for an object");
    dray_any_release(&text); // runs code of the module
    assert_int_equal(dray_module_collect(*state), 0);
}

static void dead_objects_do_not_pile_up(void **state)
{
    dray_module *module = load(*state, "maker");
    dray_function_object *function = function_of(module, "make");
    dray_error error;
    for (int i = 0; i < 10000; i++) {
        dray_any text;
        assert_int_equal(dray_function_call(*state, function, NULL, 0, &text, &error), DRAY_OK);
        dray_any_release(&text);
    }
    dray_object_release(&function->head);
    char why[128];
    assert_null(dray_module_pinned(module, why, sizeof(why)));
    dray_module_release(module);
    assert_int_equal(dray_module_collect(*state), 0);
}

static void what_cannot_be_followed_pins_the_code(void **state)
{
    dray_module *module = load(*state, "maker");
    dray_any function;
    dray_error error;
    assert_int_equal(call(*state, module, "make_function", dray_any_none(), &function, &error),
                     DRAY_OK);
    char why[128];
    assert_string_equal(dray_module_pinned(module, why, sizeof(why)),
                        "it made an object that may hold or make others");
    dray_module_release(module);
    dray_any result;
    assert_int_equal(dray_function_call(*state, (dray_function_object *)function.as.object, NULL, 0,
                                        &result, &error),
                     DRAY_OK);
    assert_int_equal(result.as.i64, 77);
    dray_any_release(&function);
    assert_int_equal(dray_module_collect(*state), 1);
}

static void a_callback_pins_the_code(void **state)
{
    dray_module *module = load(*state, "numbers");
    dray_function_object *function = function_of(module, "add_one");
    dray_any argument = dray_any_take(&function->head), result;
    dray_error error;
    assert_int_equal(call(*state, module, "count_arguments", argument, &result, &error), DRAY_OK);
    char why[128];
    assert_string_equal(dray_module_pinned(module, why, sizeof(why)),
                        "an object that can hold others, or call, was handed to it");
    dray_module_release(module);
}

int main(void)
{
#define ABI_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ABI_TEST(a_module_of_one_header_is_called),
        ABI_TEST(texts_of_every_length_come_back),
        ABI_TEST(a_modules_errors_arrive),
        ABI_TEST(a_modules_texts_are_read),
        ABI_TEST(a_nonsense_type_in_an_argument_reaches_no_module),
        ABI_TEST(a_stock_module_runs_without_libtvm_ffi),
        ABI_TEST(a_module_calls_its_imports_by_name),
        ABI_TEST(two_modules_of_one_library_have_two_contexts),
        ABI_TEST(an_object_outlives_its_module),
        ABI_TEST(dead_objects_do_not_pile_up),
        ABI_TEST(what_cannot_be_followed_pins_the_code),
        ABI_TEST(a_callback_pins_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
