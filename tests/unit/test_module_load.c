/// Loading by kind, what a miss says, and the module object: on loaders of the test's own.
#include "core/context.h"
#include "counting_allocator.h"
#include "dray/module.h"
#include "dray/spi/loader.h"
#include "fault_os.h"
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- a loader for tests: a module with one function that gives its bytes back ----------------------

struct dray_part {
    char *bytes;
    uint64_t count;
};

static void echo_destroy(dray_part *part)
{
    free(part->bytes);
    free(part);
}

static int echo_bytes(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    const dray_part *part = handle;
    (void)arguments;
    (void)count;
    *result = dray_any_string(DRAY_TYPE_BYTES, part->bytes, part->count);
    return 0;
}

static int fail_silently(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle;
    (void)arguments;
    (void)count;
    (void)result;
    return -1;
}

static int return_nonsense(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle;
    (void)arguments;
    (void)count;
    result->type_index = 4711;
    result->as.bits = 0;
    return 0;
}

static int fail_aloud(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)arguments;
    (void)count;
    (void)result;
    return dray_function_raise(handle, "ValueError", "the answer is not 42");
}

static dray_status echo_function(dray_part *part, const char *name, dray_part_function *out,
                                 dray_error *error)
{
    (void)error;
    if (strcmp(name, "bytes") != 0)
        return DRAY_E_NOTFOUND;
    *out = (dray_part_function){.call = echo_bytes, .handle = part};
    return DRAY_OK;
}

static const char *echo_name_at(dray_part *part, uint64_t index)
{
    (void)part;
    return index == 0 ? "bytes" : NULL;
}

static dray_status echo_save(dray_part *part, dray_any *out_bytes, dray_error *error)
{
    (void)error;
    *out_bytes = dray_any_string(DRAY_TYPE_BYTES, part->bytes, part->count);
    return DRAY_OK;
}

static const dray_part_ops echo_part_ops = {
    .abi = DRAY_LOADER_ABI,
    .properties = DRAY_MODULE_RUNNABLE | DRAY_MODULE_SERIALIZABLE,
    .destroy = echo_destroy,
    .function = echo_function,
    .name_at = echo_name_at,
    .save = echo_save,
};

static dray_status echo_load(const dray_load_request *request, dray_loaded_part *out,
                             dray_error *error)
{
    dray_image *image = request->image;
    if (image->byte_count >= 4) {
        char head[4];
        if (image->read(image, 0, head, 4, error) != DRAY_OK)
            return DRAY_E_IO;
        if (memcmp(head, "fail", 4) == 0)
            return dray_fail_rule(error, DRAY_E_FORMAT, "echo.fail", 3,
                                  "echo: these bytes were made to fail");
    }
    dray_part *part = calloc(1, sizeof(*part));
    part->count = image->byte_count;
    part->bytes = malloc(part->count + 1);
    dray_status status = image->read(image, 0, part->bytes, part->count, error);
    if (status != DRAY_OK) {
        echo_destroy(part);
        return status;
    }
    *out = (dray_loaded_part){.part = part, .ops = &echo_part_ops};
    return DRAY_OK;
}

static uint32_t echo_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    (void)byte_count;
    return head_bytes >= 4 && memcmp(head, "echo", 4) == 0 ? 100 : 0;
}

static uint32_t other_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    (void)byte_count;
    return head_bytes >= 5 && memcmp(head, "other", 5) == 0 ? 100 : 0;
}

static const char *const echo_extensions[] = {"echo", NULL};

static const dray_loader_ops echo_loader = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_SERIALIZED,
    .kind = "test-echo",
    .extensions = echo_extensions,
    .load = echo_load,
};

static const dray_loader_ops sniffing_loader = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_SERIALIZED | DRAY_LOADER_RAW,
    .kind = "sniffing",
    .sniff = echo_sniff,
    .load = echo_load,
};

static const dray_loader_ops other_loader = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_RAW,
    .kind = "other",
    .sniff = other_sniff,
    .refusal = "other modules are carried, not loaded",
};

static const dray_loader_ops native_loader = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_RAW | DRAY_LOADER_NATIVE,
    .kind = "native",
    .load = echo_load,
};

static int setup(void **state)
{
    dray_context *context;
    dray_error error;
    assert_int_equal(dray_context_create(NULL, &context, &error), DRAY_OK);
    assert_int_equal(dray_loader_register(context, &echo_loader, NULL, 0, &error), DRAY_OK);
    *state = context;
    return 0;
}

static int teardown(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static dray_module *load(dray_context *context, const char *kind, const char *text)
{
    dray_module *module = NULL;
    dray_error error;
    dray_status status =
        dray_module_load_bytes(context, kind, text, strlen(text), NULL, &module, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    return module;
}

static void call_bytes(dray_context *context, dray_function_object *function, const char *wanted)
{
    dray_any result;
    dray_error error;
    assert_int_equal(dray_function_call(context, function, NULL, 0, &result, &error), DRAY_OK);
    dray_byte_array bytes = {0};
    assert_true(dray_any_get_bytes(&result, &bytes));
    assert_int_equal(bytes.size, strlen(wanted));
    assert_memory_equal(bytes.data, wanted, bytes.size);
    dray_any_release(&result);
}

// --- the three of the original --------------------------------------------------------------------------

static void an_echo_loader_gets_its_bytes_back(void **state)
{
    dray_module *module = load(*state, "test-echo", "some bytes, more than seven");
    assert_string_equal(dray_module_kind(module), "test-echo");
    dray_function_object *function;
    dray_error error;
    assert_int_equal(dray_module_get_function(module, "bytes", false, &function, &error), DRAY_OK);
    call_bytes(*state, function, "some bytes, more than seven");
    dray_object_release(&function->head);
    dray_any saved;
    assert_int_equal(dray_module_save(module, &saved, &error), DRAY_OK);
    dray_any_release(&saved);
    dray_module_release(module);
}

static void a_miss_names_kind_key_kinds_and_looks(void **state)
{
    dray_module *module;
    dray_error error;
    dray_loader_register(*state, &sniffing_loader, NULL, 0, &error);
    assert_int_equal(dray_module_load_bytes(*state, "no-such", "echo!", 5, NULL, &module, &error),
                     DRAY_E_NOTFOUND);
    assert_non_null(strstr(error.message, "no loader for kind \"no-such\": "
                                          "ffi.Module.load_from_bytes.no-such is not registered"));
    assert_non_null(strstr(error.message, "there are "));
    assert_non_null(strstr(error.message, "sniffing, "));
    assert_non_null(strstr(error.message, "test-echo; "));
    assert_non_null(strstr(error.message, "the bytes look like sniffing"));
}

static void a_loaders_error_arrives_whole(void **state)
{
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_load_bytes(*state, "test-echo", "fail", 4, NULL, &module, &error),
                     DRAY_E_FORMAT);
    assert_string_equal(error.message, "load module <bytes>: echo: these bytes were made to fail");
    assert_string_equal(error.rule, "echo.fail");
    assert_int_equal(error.offset, 3);
}

// --- kinds --------------------------------------------------------------------------------------------------

static void auto_takes_the_surest(void **state)
{
    dray_error error;
    assert_int_equal(dray_loader_register(*state, &sniffing_loader, NULL, 0, &error), DRAY_OK);
    dray_module *module = load(*state, "auto", "echo of it");
    assert_string_equal(dray_module_kind(module), "sniffing");
    dray_module_release(module);
    module = load(*state, NULL, "echo of it");
    dray_module_release(module);
    assert_int_equal(dray_module_load_bytes(*state, "auto", "\x01\x02", 2, NULL, &module, &error),
                     DRAY_E_NOTFOUND);
    assert_string_equal(error.message, "load module <bytes>: the bytes look like no kind that dray "
                                       "knows, they begin with 01 02: name the kind");
}

static void a_declared_kind_that_the_bytes_contradict_is_an_error_naming_both(void **state)
{
    dray_module *module;
    dray_error error;
    dray_loader_register(*state, &sniffing_loader, NULL, 0, &error);
    dray_loader_register(*state, &other_loader, NULL, 0, &error);
    assert_int_equal(
        dray_module_load_bytes(*state, "sniffing", "other bytes", 11, NULL, &module, &error),
        DRAY_E_FORMAT);
    assert_string_equal(error.rule, "module.kind");
    assert_string_equal(error.message, "load module <bytes>: declared as sniffing, but the bytes "
                                       "look like other");
}

static void a_kind_that_is_only_recognised_is_refused_by_name(void **state)
{
    dray_module *module;
    dray_error error;
    dray_loader_register(*state, &other_loader, NULL, 0, &error);
    assert_int_equal(dray_module_load_bytes(*state, "auto", "other", 5, NULL, &module, &error),
                     DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "load module <bytes>: kind other: other modules are carried, not loaded");
    dray_module_facts *facts;
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = "other", .byte_count = 5};
    assert_int_equal(dray_module_inspect(*state, "auto", &source, &facts, &error), DRAY_OK);
    const dray_module_facts_view *view = dray_module_facts_get(facts);
    assert_string_equal(view->kind, "other");
    assert_int_equal(view->bytes, 5);
    assert_int_equal(view->loadable, 0);
    assert_string_equal(view->notes[0], "other modules are carried, not loaded");
    dray_module_facts_destroy(facts);
}

static void create_and_load_are_two_registries(void **state)
{
    dray_module *module;
    dray_error error;
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = "echo", .byte_count = 4};
    assert_int_equal(dray_module_create(*state, "test-echo", &source, NULL, &module, &error),
                     DRAY_E_NOTFOUND);
    assert_non_null(strstr(error.message, "ffi.Module.create.test-echo is not registered"));
    dray_loader_register(*state, &sniffing_loader, NULL, 0, &error);
    assert_int_equal(dray_module_create(*state, "sniffing", &source, NULL, &module, &error),
                     DRAY_OK);
    dray_module_release(module);
}

static void native_code_needs_a_decision(void **state)
{
    dray_module *module;
    dray_error error;
    dray_loader_register(*state, &native_loader, NULL, 0, &error);
    assert_int_equal(dray_module_load_bytes(*state, "native", "x", 1, NULL, &module, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.rule, "module.trust");
    const dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = &policy};
    assert_int_equal(dray_module_load_bytes(*state, "native", "x", 1, &options, &module, &error),
                     DRAY_OK);
    dray_module_release(module);
}

// --- sources ------------------------------------------------------------------------------------------------

static void every_source_gives_the_same_bytes(void **state)
{
    char path[] = "/tmp/dray-test-module-XXXXXX.echo";
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    assert_int_equal(dprintf(fd, "0123echo in a file"), 18);
    dray_error error;
    dray_region *region;
    assert_int_equal(dray_region_open(*state, path, NULL, &region, &error), DRAY_OK);
    static char memory[] = "0123echo in a file";
    dray_region *wrapped;
    assert_int_equal(
        dray_region_wrap(*state, DRAY_STORAGE_SYSTEM, memory, 18, NULL, NULL, &wrapped, &error),
        DRAY_OK);
    const dray_module_source sources[] = {
        {.struct_bytes = sizeof(*sources), .use_fd = 1, .fd = fd, .offset = 4},
        {.struct_bytes = sizeof(*sources), .path = path, .offset = 4},
        {.struct_bytes = sizeof(*sources), .region = region, .offset = 4},
        {.struct_bytes = sizeof(*sources), .region = wrapped, .offset = 4},
        {.struct_bytes = sizeof(*sources), .bytes = memory + 4, .byte_count = 14},
    };
    for (unsigned i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
        dray_module *module;
        assert_int_equal(dray_module_load(*state, "test-echo", &sources[i], NULL, &module, &error),
                         DRAY_OK);
        dray_function_object *function;
        dray_module_get_function(module, "bytes", false, &function, &error);
        dray_module_release(module);
        call_bytes(*state, function, "echo in a file");
        dray_object_release(&function->head);
    }
    dray_module *module;
    assert_int_equal(dray_module_load_file(*state, path, NULL, &module, &error), DRAY_OK);
    assert_string_equal(dray_module_kind(module), "test-echo"); // by its extension
    dray_module_release(module);
    dray_region_release(region);
    dray_region_release(wrapped);
    close(fd);
    unlink(path);
}

static void a_range_beyond_the_file_is_an_error_with_numbers(void **state)
{
    char path[] = "/tmp/dray-test-module-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "12345", 5), 5);
    dray_module *module;
    dray_error error;
    const dray_module_source source = {.struct_bytes = sizeof(source),
                                       .use_fd = 1,
                                       .fd = fd,
                                       .offset = 3,
                                       .byte_count = 4,
                                       .name = "short"};
    assert_int_equal(dray_module_load(*state, "test-echo", &source, NULL, &module, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.message, "load module: short: 4 bytes wanted at 3, the file has 5");
    close(fd);
    unlink(path);
}

// --- functions ------------------------------------------------------------------------------------------------

static dray_function_object *function_of(dray_context *context, dray_safe_call call)
{
    dray_function_object *function;
    dray_error error;
    assert_int_equal(dray_function_create(context, call, context, NULL, &function, &error), DRAY_OK);
    return function;
}

static void a_function_that_fails_without_an_error_gives_a_clear_one(void **state)
{
    dray_function_object *function = function_of(*state, fail_silently);
    dray_any result;
    dray_error error;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_E_FAILED);
    assert_string_equal(error.message,
                        "the function failed (code -1) without saying why: it raised no error");
    dray_object_release(&function->head);
}

static void a_raised_error_arrives_with_kind_and_message(void **state)
{
    dray_function_object *function = function_of(*state, fail_aloud);
    dray_any result;
    dray_error error;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_E_FAILED);
    assert_string_equal(error.message, "ValueError: the answer is not 42");
    assert_int_equal(result.type_index, DRAY_TYPE_NONE);
    assert_int_equal(dray_function_take_raised(*state).type_index, DRAY_TYPE_NONE); // it was taken
    dray_object_release(&function->head);
}

static void nonsense_values_are_errors(void **state)
{
    dray_function_object *function = function_of(*state, return_nonsense);
    dray_any result;
    dray_error error;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_E_FAILED);
    assert_string_equal(error.message,
                        "the function returned no value: type 4711 without an object of that type");
    static const int32_t types[] = {-1, 13, 63, 64, 68, 73, 127, 4711, INT32_MAX, INT32_MIN};
    for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++) {
        dray_any argument = dray_any_none();
        argument.type_index = types[i];
        assert_int_equal(dray_function_call(*state, function, &argument, 1, &result, &error),
                         DRAY_E_INVALID);
    }
    dray_object_release(&function->head);
}

static void own_globals_load_modules(void **state)
{
    dray_function_object *from_bytes, *from_file, *get;
    dray_error error;
    assert_int_equal(dray_global_get(*state, "ffi.ModuleLoadFromBytes", &from_bytes, &error),
                     DRAY_OK);
    assert_int_equal(dray_global_get(*state, "ffi.ModuleLoadFromFile", &from_file, &error), DRAY_OK);
    assert_int_equal(dray_global_get(*state, "ffi.ModuleGetFunction", &get, &error), DRAY_OK);
    dray_byte_array bytes = {"eight by", 8};
    dray_any arguments[2] = {dray_any_text("test-echo"), dray_any_borrow_bytes(&bytes)}, module;
    if (dray_function_call(*state, from_bytes, arguments, 2, &module, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_any_release(&arguments[0]);
    assert_non_null(dray_any_get_module(&module));
    dray_any wanted[2] = {module, dray_any_text("bytes")}, function;
    assert_int_equal(dray_function_call(*state, get, wanted, 2, &function, &error), DRAY_OK);
    assert_int_equal(function.type_index, DRAY_TYPE_FUNCTION);
    dray_any_release(&module);
    call_bytes(*state, (dray_function_object *)function.as.object, "eight by");
    dray_any_release(&function);

    dray_any missing[2] = {dray_any_text("gone"), dray_any_borrow_bytes(&bytes)}, result;
    assert_int_equal(dray_function_call(*state, from_bytes, missing, 2, &result, &error),
                     DRAY_E_FAILED);
    assert_non_null(strstr(error.message, "KeyError: load module <bytes>: no loader for kind"));
    dray_any path = dray_any_text("/no/such/file.echo");
    assert_int_equal(dray_function_call(*state, from_file, &path, 1, &result, &error),
                     DRAY_E_FAILED);
    assert_non_null(strstr(error.message, "/no/such/file.echo"));
    dray_any_release(&path);
    dray_object_release(&from_bytes->head);
    dray_object_release(&from_file->head);
    dray_object_release(&get->head);
}

/// A loader that is a plain function of the registry, as the original's are: (Bytes) -> module.
static int echo_as_function(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    dray_context *context = handle;
    dray_byte_array bytes = {0};
    dray_module *module;
    dray_error error;
    if (count != 1 || !dray_any_get_bytes(&arguments[0], &bytes))
        return dray_function_raise(context, "TypeError", "one argument of bytes is wanted");
    if (bytes.size == 0)
        return dray_function_raise(context, "ValueError", "there are no bytes at all");
    if (dray_module_load_bytes(context, "test-echo", bytes.data, bytes.size, NULL, &module, &error))
        return dray_function_raise(context, "RuntimeError", error.message);
    *result = dray_any_module(module);
    dray_module_release(module);
    return 0;
}

static void a_loader_may_be_a_plain_function(void **state)
{
    dray_function_object *function = function_of(*state, echo_as_function);
    dray_error error;
    assert_int_equal(dray_global_set(*state, "ffi.Module.load_from_bytes.by-function", function,
                                     NULL, 0, &error),
                     DRAY_OK);
    dray_object_release(&function->head);
    dray_module *module = load(*state, "by-function", "whatever it is");
    assert_string_equal(dray_module_kind(module), "test-echo");
    dray_module_release(module);
    assert_int_equal(dray_module_load_bytes(*state, "by-function", "", 0, NULL, &module, &error),
                     DRAY_E_FAILED);
    assert_string_equal(error.message, "load module <bytes>: ValueError: there are no bytes at all");
}

// --- imports ------------------------------------------------------------------------------------------------

static int give_handle(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)arguments;
    (void)count;
    *result = dray_any_int((int64_t)(intptr_t)handle);
    return 0;
}

static dray_module *static_module(dray_context *context, const char *function, intptr_t value)
{
    const dray_static_function functions[] = {
        {.name = function, .call = give_handle, .handle = (void *)value, .doc = "gives a number"}};
    const dray_static_table table = {
        .struct_bytes = sizeof(table), .name = function, .count = 1, .functions = functions};
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_create_static(context, &table, &module, &error), DRAY_OK);
    return module;
}

static int64_t call_int(dray_context *context, dray_module *module, const char *name)
{
    dray_function_object *function;
    dray_error error;
    if (dray_module_get_function(module, name, true, &function, &error) != DRAY_OK)
        return -1;
    dray_any result;
    assert_int_equal(dray_function_call(context, function, NULL, 0, &result, &error), DRAY_OK);
    dray_object_release(&function->head);
    return result.as.i64;
}

static void functions_are_found_through_imports_depth_first(void **state)
{
    dray_module *top = static_module(*state, "top", 1), *left = static_module(*state, "left", 2);
    dray_module *deep = static_module(*state, "both", 3), *right = static_module(*state, "both", 4);
    dray_error error;
    assert_int_equal(dray_module_import(top, left, &error), DRAY_OK);
    assert_int_equal(dray_module_import(left, deep, &error), DRAY_OK);
    assert_int_equal(dray_module_import(top, right, &error), DRAY_OK);
    assert_int_equal(dray_module_import(right, deep, &error), DRAY_OK); // a diamond is no circle
    assert_int_equal(call_int(*state, top, "both"), 3);
    assert_int_equal(call_int(*state, top, "top"), 1);
    assert_int_equal(call_int(*state, top, "none"), -1);
    dray_function_object *function;
    assert_int_equal(dray_module_get_function(top, "both", false, &function, &error),
                     DRAY_E_NOTFOUND);
    assert_string_equal(error.message, "module top (static) has no function \"both\"");
    assert_int_equal(dray_module_import(deep, top, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "import top into both: the module would import itself");
    assert_int_equal(dray_module_import(top, top, &error), DRAY_E_INVALID);
    dray_module_clear_imports(left);
    assert_int_equal(call_int(*state, top, "both"), 4);
    assert_int_equal(dray_module_import_count(top), 2);
    dray_module_release(left);
    dray_module_release(deep);
    dray_module_release(right);
    dray_module_release(top);
}

static void a_chain_of_imports_ends_without_recursion(void **state)
{
    enum { length = 20000 };
    dray_module *top = static_module(*state, "f", 0);
    dray_error error;
    for (int i = 1; i < length; i++) {
        dray_module *next = static_module(*state, i == 1 ? "deepest" : "f", i);
        assert_int_equal(dray_module_import(next, top, &error), DRAY_OK);
        dray_module_release(top);
        top = next;
    }
    assert_int_equal(call_int(*state, top, "deepest"), 1);
    dray_module_release(top);
}

static void released(void *self)
{
    ++*(int *)self;
}

static void a_function_keeps_its_module(void **state)
{
    int releases = 0;
    const dray_static_function functions[] = {
        {.name = "z", .call = give_handle, .handle = (void *)26},
        {.name = "a",
         .call = give_handle,
         .handle = (void *)1,
         .doc = "the first letter",
         .metadata = "{\"letter\": \"a\"}"},
    };
    const dray_static_table table = {.struct_bytes = sizeof(table),
                                     .count = 2,
                                     .functions = functions,
                                     .release = released,
                                     .self = &releases};
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_create_static(*state, &table, &module, &error), DRAY_OK);
    assert_string_equal(dray_module_function_name(module, 0), "a");
    assert_string_equal(dray_module_function_name(module, 1), "z");
    assert_null(dray_module_function_name(module, 2));
    dray_any text;
    assert_int_equal(dray_module_function_doc(module, "a", &text, &error), DRAY_OK);
    dray_byte_array bytes = {0};
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "the first letter");
    dray_any_release(&text);
    assert_int_equal(dray_module_function_doc(module, "z", &text, &error), DRAY_OK);
    assert_int_equal(text.type_index, DRAY_TYPE_NONE);
    assert_int_equal(dray_module_function_metadata(module, "a", &text, &error), DRAY_OK);
    dray_any_release(&text);
    assert_int_equal(dray_module_save(module, &text, &error), DRAY_E_UNSUPPORTED);

    dray_function_object *function;
    assert_int_equal(dray_module_get_function(module, "z", false, &function, &error), DRAY_OK);
    dray_module_release(module);
    assert_int_equal(releases, 0);
    dray_any result;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_OK);
    assert_int_equal(result.as.i64, 26);
    dray_object_release(&function->head);
    assert_int_equal(releases, 1);
}

static void static_tables_are_checked(void **state)
{
    const dray_static_function twice[] = {{.name = "a", .call = give_handle},
                                          {.name = "a", .call = give_handle}};
    const dray_static_function empty[] = {{.name = "a"}};
    dray_static_table table = {.struct_bytes = sizeof(table), .count = 2, .functions = twice};
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_create_static(*state, &table, &module, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "static module: \"a\" stands in it twice");
    table.count = 1;
    table.functions = empty;
    assert_int_equal(dray_module_create_static(*state, &table, &module, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "static module: entry 0 of 1 has no function");
}

// --- faults ---------------------------------------------------------------------------------------------------

static dray_status load_call_and_save(dray_context *context, dray_error *error)
{
    dray_status status = dray_loader_register(context, &echo_loader, NULL, 0, error);
    if (status != DRAY_OK)
        return status;
    dray_module *module, *imported;
    status = dray_module_load_bytes(context, "test-echo", "echo", 4, NULL, &module, error);
    if (status != DRAY_OK)
        return status;
    status = dray_module_load_bytes(context, "test-echo", "more", 4, NULL, &imported, error);
    if (status == DRAY_OK) {
        status = dray_module_import(module, imported, error);
        dray_module_release(imported);
    }
    dray_function_object *function;
    if (status == DRAY_OK)
        status = dray_module_get_function(module, "bytes", true, &function, error);
    dray_module_release(module);
    if (status != DRAY_OK)
        return status;
    dray_any result;
    status = dray_function_call(context, function, NULL, 0, &result, error);
    if (status == DRAY_OK)
        dray_any_release(&result);
    dray_object_release(&function->head);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, n);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        dray_error error = {0};
        dray_status status = dray_context_create(&options, &context, &error);
        if (status == DRAY_OK) {
            status = load_call_and_save(context, &error);
            if (status != DRAY_OK) { // and the context is as good as before
                assert_int_equal(status, DRAY_E_NOMEM);
                assert_int_not_equal(error.message[0], 0);
                dray_loader_unregister(context, &echo_loader, -1, NULL);
                assert_int_equal(load_call_and_save(context, &error), DRAY_OK);
            }
            dray_context_destroy(context);
        }
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter))
            break;
    }
}

static void every_system_call_may_fail(void **state)
{
    (void)state;
    char path[] = "/tmp/dray-test-module-XXXXXX";
    int file = mkstemp(path);
    assert_int_equal(write(file, "echo in a file", 14), 14);
    close(file);
    int fds = fault_os_open_fds();
    for (uint64_t n = 1;; n++) {
        fault_os_reset();
        dray_context *context;
        dray_error error = {0};
        assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, &error), DRAY_OK);
        assert_int_equal(dray_loader_register(context, &echo_loader, NULL, 0, &error), DRAY_OK);
        fault_os_inject(&(fault_plan){.at = n, .code = -EIO});
        const dray_module_source source = {.struct_bytes = sizeof(source), .path = path};
        dray_module *module = NULL;
        dray_status status = dray_module_load(context, "test-echo", &source, NULL, &module, &error);
        uint64_t hits = fault_os_hits();
        fault_os_inject(&(fault_plan){0});
        if (status != DRAY_OK)
            assert_int_not_equal(error.message[0], 0);
        dray_module_release(module);
        dray_context_destroy(context);
        assert_int_equal(fault_os_open_fds(), fds);
        if (hits == 0)
            break;
    }
    unlink(path);
}

int main(void)
{
#define MODULE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        MODULE_TEST(an_echo_loader_gets_its_bytes_back),
        MODULE_TEST(a_miss_names_kind_key_kinds_and_looks),
        MODULE_TEST(a_loaders_error_arrives_whole),
        MODULE_TEST(auto_takes_the_surest),
        MODULE_TEST(a_declared_kind_that_the_bytes_contradict_is_an_error_naming_both),
        MODULE_TEST(a_kind_that_is_only_recognised_is_refused_by_name),
        MODULE_TEST(create_and_load_are_two_registries),
        MODULE_TEST(native_code_needs_a_decision),
        MODULE_TEST(every_source_gives_the_same_bytes),
        MODULE_TEST(a_range_beyond_the_file_is_an_error_with_numbers),
        MODULE_TEST(a_function_that_fails_without_an_error_gives_a_clear_one),
        MODULE_TEST(a_raised_error_arrives_with_kind_and_message),
        MODULE_TEST(nonsense_values_are_errors),
        MODULE_TEST(own_globals_load_modules),
        MODULE_TEST(a_loader_may_be_a_plain_function),
        MODULE_TEST(functions_are_found_through_imports_depth_first),
        MODULE_TEST(a_chain_of_imports_ends_without_recursion),
        MODULE_TEST(a_function_keeps_its_module),
        MODULE_TEST(static_tables_are_checked),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_system_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
