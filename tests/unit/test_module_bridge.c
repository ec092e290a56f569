/// dray and the real libtvm_ffi in one process. DRAY_TVM_FFI names the library (the file that the Python
/// package apache-tvm-ffi installs); without it this is skipped.
#include "dray/module.h"
#include "test_module.h"
#include "testing.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tvm_library {
    int (*get_global)(const dray_byte_array *name, dray_object **out);
    void (*take_raised)(dray_object **out);
} tvm_library;

static tvm_library tvm;

static void *symbol(void *library, const char *name)
{
    void *address = dlsym(library, name);
    if (!address)
        fail_msg("%s", dlerror());
    return address;
}

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

/// A function of libtvm_ffi's registry, or NULL; owned.
static dray_function_object *there(const char *name)
{
    dray_byte_array text = {name, strlen(name)};
    dray_object *function = NULL;
    assert_int_equal(tvm.get_global(&text, &function), 0);
    return (dray_function_object *)function;
}

static dray_any call_there(const char *name, const dray_any *arguments, int32_t count)
{
    dray_function_object *function = there(name);
    assert_non_null(function);
    dray_any result = dray_any_none();
    int code = function->call(function, arguments, count, &result);
    if (code != 0) {
        dray_object *raised;
        tvm.take_raised(&raised);
        assert_non_null(raised);
        const dray_error_object *object = (const dray_error_object *)raised;
        fail_msg("%s: %.*s", name, (int)object->message.size, object->message.data);
    }
    dray_object_release(&function->head);
    return result;
}

static const dray_policy allow = {.struct_bytes = sizeof(allow), .trust = DRAY_TRUST_ALLOW};

static void our_entry_points_are_its_globals(void **state)
{
    dray_error error;
    dray_module_set_policy(*state, &allow);
    if (dray_bridge_attach(*state, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(dray_bridge_attach(*state, &error), DRAY_E_UNSUPPORTED);
    test_bytes file = test_module_read("numbers");
    dray_byte_array bytes = {(const char *)file.bytes, file.count};
    const dray_any load[2] = {dray_any_borrow_text("elf"), dray_any_borrow_bytes(&bytes)};
    dray_any module = call_there("ffi.ModuleLoadFromBytes", load, 2);
    const dray_any same[1] = {dray_any_borrow_bytes(&bytes)};
    dray_any again = call_there("ffi.Module.load_from_bytes.elf", same, 1);
    test_bytes_free(&file);
    const dray_any get[2] = {module, dray_any_borrow_text("add_one")};
    dray_any function = call_there("dray.ModuleGetFunction", get, 2);
    assert_int_equal(function.type_index, DRAY_TYPE_FUNCTION);
    dray_any argument = dray_any_int(41), result = dray_any_none();
    dray_function_object *object = (dray_function_object *)function.as.object;
    assert_int_equal(object->call(object, &argument, 1, &result), 0);
    assert_int_equal(result.as.i64, 42);
    dray_any_release(&function);
    dray_any_release(&module);
    dray_any_release(&again);
    dray_bridge_detach(*state);
    assert_null(there("ffi.ModuleLoadFromBytes"));
}

static void our_errors_are_raised_there(void **state)
{
    dray_error error;
    assert_int_equal(dray_bridge_attach(*state, &error), DRAY_OK);
    dray_function_object *function = there("ffi.ModuleLoadFromBytes");
    dray_byte_array bytes = {"", 0};
    const dray_any load[2] = {dray_any_borrow_text("no-such"), dray_any_borrow_bytes(&bytes)};
    dray_any result = dray_any_none();
    assert_int_not_equal(function->call(function, load, 2, &result), 0);
    dray_object *raised;
    tvm.take_raised(&raised);
    const dray_error_object *object = (const dray_error_object *)raised;
    assert_int_equal(raised->type_index, DRAY_TYPE_ERROR);
    assert_int_equal(object->kind.size, strlen("KeyError"));
    assert_memory_equal(object->kind.data, "KeyError", object->kind.size);
    assert_non_null(strstr(object->message.data, "ffi.Module.load_from_bytes.no-such"));
    dray_object_release(raised);

    dray_bridge_detach(*state); // and what somebody kept says so
    assert_int_not_equal(function->call(function, load, 2, &result), 0);
    tvm.take_raised(&raised);
    object = (const dray_error_object *)raised;
    assert_string_equal(object->message.data, "the dray context behind this function has ended");
    dray_object_release(raised);
    dray_object_release(&function->head);
}

static void its_errors_arrive_here(void **state)
{
    dray_function_object *function = there("ffi.ModuleLoadFromFile");
    dray_any path = dray_any_text("/no/such/library.so"), result;
    dray_error error;
    assert_int_equal(dray_function_call(*state, function, &path, 1, &result, &error), DRAY_E_FAILED);
    assert_non_null(strstr(error.message, "InternalError: "));
    assert_non_null(strstr(error.message, "/no/such/library.so"));
    dray_any_release(&path);
    dray_object_release(&function->head);
}

static void run_our_module(void)
{
    dray_any path = dray_any_text(test_module_path("numbers"));
    dray_any module = call_there("ffi.ModuleLoadFromFile", &path, 1);
    assert_int_equal(module.type_index, DRAY_TYPE_MODULE);
    dray_any get[3] = {module, dray_any_borrow_text("add_one"), dray_any_bool(0)};
    dray_any function = call_there("ffi.ModuleGetFunction", get, 3);
    dray_function_object *object = (dray_function_object *)function.as.object;
    dray_any argument = dray_any_int(41), result = dray_any_none(), text = dray_any_text("no");
    assert_int_equal(object->call(object, &argument, 1, &result), 0);
    assert_int_equal(result.as.i64, 42);
    assert_int_not_equal(object->call(object, &text, 1, &result), 0);
    dray_object *raised;
    tvm.take_raised(&raised);
    assert_non_null(raised);
    assert_string_equal(((const dray_error_object *)raised)->message.data, "add_one wants one int");
    dray_object_release(raised);
    dray_any_release(&function);
    dray_any_release(&module);
    dray_any_release(&path);
}

static void our_modules_run_in_it_when_it_is_shown_to_everybody(void **state)
{
    (void)state;
    void *shown = dlopen("libtvm_ffi.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    assert_non_null(shown);
    run_our_module();
}

static void our_modules_run_in_it_over_the_bridge(void **state)
{
    dray_error error;
    assert_int_equal(dray_bridge_attach(*state, &error), DRAY_OK);
    run_our_module();
}

static void stock_modules_use_it_here(void **state)
{
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = &allow};
    dray_module *module;
    dray_error error;
    if (dray_module_load_file(*state, test_module_path("stock"), &options, &module, &error) !=
        DRAY_OK)
        fail_msg("%s", error.message);
    dray_function_object *function;
    assert_int_equal(dray_module_get_function(module, "fail", false, &function, &error), DRAY_OK);
    dray_any result;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_E_FAILED);
    assert_string_equal(error.message, "RuntimeError: raised through an undefined symbol");
    dray_object_release(&function->head);
    dray_module_release(module);
}

int main(void)
{
    const char *path = getenv("DRAY_TVM_FFI");
    if (!path) {
        printf("skipped: DRAY_TVM_FFI does not name a libtvm_ffi.so\n");
        return 77;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("%s\n", dlerror());
        return 1;
    }
    *(void **)&tvm.get_global = symbol(library, "TVMFFIFunctionGetGlobal");
    *(void **)&tvm.take_raised = symbol(library, "TVMFFIErrorMoveFromRaised");
#define BRIDGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        BRIDGE_TEST(our_entry_points_are_its_globals),
        BRIDGE_TEST(our_errors_are_raised_there),
        BRIDGE_TEST(its_errors_arrive_here),
        BRIDGE_TEST(our_modules_run_in_it_over_the_bridge),
        BRIDGE_TEST(our_modules_run_in_it_when_it_is_shown_to_everybody),
        BRIDGE_TEST(stock_modules_use_it_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
