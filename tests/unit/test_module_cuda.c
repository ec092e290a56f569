/// Code for CUDA devices on the stand-in for the driver: what reaches it, what does not, what comes back.
/// It says nothing of a GPU.
#include "counting_allocator.h"
#include "device_rig.h"
#include "dray/module.h"
#include "test_module.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ptx[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                          ".visible .entry scale_ints(.param .u64 out) { ret; }\n"
                          ".visible .entry nothing() { ret; }\n";

typedef struct fixture {
    dray_context *context;
    dray_device *device;
    dray_module_options options;
    char log[1024];
} fixture;

static void take_log(void *self, const char *text, uint64_t length)
{
    fixture *f = self;
    size_t used = strlen(f->log);
    snprintf(f->log + used, sizeof(f->log) - used, "%.*s|", (int)length, text);
}

static void fixture_open(fixture *f, const dray_allocator *allocator)
{
    memset(f, 0, sizeof(*f));
    dray_error error;
    f->context = device_rig_context(allocator, 0);
    if (dray_device_open(f->context, "cuda:0", &f->device, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    static const dray_policy allow = {.struct_bytes = sizeof(allow), .trust = DRAY_TRUST_ALLOW};
    f->options = (dray_module_options){.struct_bytes = sizeof(f->options),
                                       .policy = &allow,
                                       .device = f->device,
                                       .build_log = {.write = take_log, .self = f}};
}

static void fixture_close(fixture *f)
{
    dray_device_release(f->device);
    dray_context_destroy(f->context);
}

static int setup(void **state)
{
    device_rig_reset();
    fixture *f = malloc(sizeof(*f));
    fixture_open(f, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    standin_counts counts = device_rig_standin_counts();
    if (counts.misuse)
        fail_msg("%s", counts.last_misuse);
    assert_int_equal(counts.modules, 0);
    assert_int_equal(counts.streams, 0);
    assert_int_equal(counts.contexts, 0);
    return 0;
}

static dray_status load(fixture *f, const char *kind, const void *bytes, uint64_t count,
                        dray_module **out, dray_error *error)
{
    *out = NULL;
    return dray_module_load_bytes(f->context, kind, bytes, count, &f->options, out, error);
}

static dray_module *loaded(fixture *f, const char *kind, const void *bytes, uint64_t count)
{
    dray_module *module;
    dray_error error;
    if (load(f, kind, bytes, count, &module, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return module;
}

static test_bytes corpus(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/fuzz/corpus/gpu_image/%s", getenv("DRAY_TESTS_DIR"), name);
    return test_bytes_of_file(path);
}

/// scale_ints over 100 ints in groups of 32; factor and count are given as they are.
static dray_status scale(fixture *f, dray_module *module, dray_any factor, dray_any count,
                         int64_t group, int out_numbers[128], dray_error *error)
{
    static int numbers[128];
    dray_region *host, *in, *out;
    in = device_rig_region(f->context, f->device, DRAY_STORAGE_DEVICE, sizeof(numbers));
    out = device_rig_region(f->context, f->device, DRAY_STORAGE_DEVICE, sizeof(numbers));
    for (int i = 0; i < 128; i++)
        numbers[i] = i;
    dray_region_wrap(f->context, DRAY_STORAGE_SYSTEM, numbers, sizeof(numbers), NULL, NULL, &host,
                     error);
    assert_int_equal(device_rig_copy(f->device, in, 0, host, 0, sizeof(numbers), error), DRAY_OK);
    dray_any arguments[] = {dray_any_int(128),
                            dray_any_int(1),
                            dray_any_int(1),
                            dray_any_int(group),
                            dray_any_int(group > 0),
                            dray_any_int(group > 0),
                            dray_any_int(0),
                            dray_any_region(f->context, out),
                            dray_any_region(f->context, in),
                            factor,
                            count};
    dray_function_object *function;
    dray_any result;
    assert_int_equal(dray_module_get_function(module, "scale_ints", false, &function, error),
                     DRAY_OK);
    dray_status status = dray_function_call(f->context, function, arguments, 11, &result, error);
    dray_object_release(&function->head);
    for (int i = 0; i < 11; i++)
        dray_any_release(&arguments[i]);
    dray_error ignored;
    assert_int_equal(device_rig_copy(f->device, host, 0, out, 0, sizeof(numbers), &ignored),
                     DRAY_OK);
    memcpy(out_numbers, numbers, sizeof(numbers));
    dray_region_release(host);
    dray_region_release(in);
    dray_region_release(out);
    return status;
}

static void a_kernel_from_ptx_gets_its_arguments(void **state)
{
    fixture *f = *state;
    dray_module *module = loaded(f, "auto", ptx, sizeof(ptx) - 1);
    assert_string_equal(dray_module_kind(module), "ptx");
    assert_int_equal(dray_module_function_count(module), 2);
    assert_string_equal(dray_module_function_name(module, 0), "nothing");
    assert_string_equal(dray_module_function_name(module, 1), "scale_ints");
    assert_string_equal(f->log, "ptxas info: compiled|");
    int numbers[128];
    dray_error error;
    if (scale(f, module, dray_any_int(-3), dray_any_int(100), 32, numbers, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < 128; i++)
        assert_int_equal(numbers[i], i < 100 ? -3 * i : 0);
    dray_module_release(module);
}

static void arguments_that_do_not_fit_never_reach_the_driver(void **state)
{
    fixture *f = *state;
    dray_module *module = loaded(f, "ptx", ptx, sizeof(ptx) - 1);
    int numbers[128];
    dray_error error;
    assert_int_equal(
        scale(f, module, dray_any_int((int64_t)1 << 32), dray_any_int(100), 32, numbers, &error),
        DRAY_E_FAILED);
    assert_string_equal(error.message, "ValueError: kernel scale_ints, argument 3 of 4: 4294967296 "
                                       "does not fit 4 signed bytes");
    assert_int_equal(scale(f, module, dray_any_text("x"), dray_any_int(100), 32, numbers, &error),
                     DRAY_E_FAILED);
    assert_int_equal(scale(f, module, dray_any_int(1), dray_any_int(100), 0, numbers, &error),
                     DRAY_E_FAILED);
    assert_string_equal(error.message,
                        "ValueError: kernel scale_ints: CUDA chooses no size of a block, name one");
    dray_module_release(module);
}

static void a_driver_that_tells_no_sizes_takes_bytes(void **state)
{
    fixture *f = *state;
    (void)f;
    device_rig_hide_symbol("cuFuncGetParamInfo");
    fixture old;
    fixture_open(&old, NULL);
    dray_module *module = loaded(&old, "ptx", ptx, sizeof(ptx) - 1);
    int numbers[128], factor = 7, count = 100;
    dray_error error;
    if (scale(&old, module, dray_any_string(DRAY_TYPE_BYTES, &factor, 4),
              dray_any_string(DRAY_TYPE_BYTES, &count, 4), 32, numbers, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(numbers[99], 693);
    assert_int_equal(scale(&old, module, dray_any_int(7), dray_any_int(100), 32, numbers, &error),
                     DRAY_E_FAILED);
    assert_non_null(strstr(error.message, "the driver does not tell the size"));
    dray_module_release(module);
    fixture_close(&old);
    device_rig_hide_symbol(NULL);
}

static void a_refused_text_comes_back_with_its_log(void **state)
{
    fixture *f = *state;
    static const char broken[] = ".version 8.0\n.target sm_80\n.entry broken() { nonsense; }\n";
    dray_module *module;
    dray_error error;
    assert_int_equal(load(f, "ptx", broken, sizeof(broken) - 1, &module, &error), DRAY_E_FORMAT);
    assert_non_null(strstr(error.message, "the log begins with: ptxas: line 7: broken on purpose"));
    assert_int_equal(error.native_code, 218);
    assert_string_equal(f->log, "ptxas: line 7: broken on purpose\nsecond line|");
}

static void code_for_another_architecture_never_reaches_the_driver(void **state)
{
    fixture *f = *state;
    dray_module *module;
    dray_error error;
    test_bytes file = corpus("sm_75.cubin");
    assert_int_equal(load(f, "auto", file.bytes, file.count, &module, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "load module <bytes>: cubin: code for sm_75, the device is sm_90");
    test_bytes_free(&file);
    static const char newer[] = ".version 8.8\n.target sm_100\n.entry f() { ret; }\n";
    assert_int_equal(load(f, "ptx", newer, sizeof(newer) - 1, &module, &error), DRAY_E_UNSUPPORTED);
    static const char other[] = ".version 8.8\n.target sm_80a\n.entry f() { ret; }\n";
    assert_int_equal(load(f, "ptx", other, sizeof(other) - 1, &module, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "load module <bytes>: ptx: its target is sm_80a, the device is sm_90");
    static const char same[] = ".version 8.8\n.target sm_90a\n.entry f() { ret; }\n";
    dray_module_release(loaded(f, "ptx", same, sizeof(same) - 1));
}

static void a_whole_cubin_is_loaded_and_a_cut_one_never_is(void **state)
{
    fixture *f = *state;
    test_bytes file = corpus("sm_90.cubin");
    dray_module *module = loaded(f, "auto", file.bytes, file.count);
    assert_string_equal(dray_module_kind(module), "cubin");
    assert_string_equal(dray_module_function_name(module, 0), "add_one");
    assert_string_equal(dray_module_function_name(module, 1), "twice");
    dray_module_release(module);
    uint64_t calls = device_rig_standin_counts().calls;
    for (uint64_t count = 0; count < file.count; count += 1 + count / 32) {
        uint8_t *cut = malloc(count + 1);
        memcpy(cut, file.bytes, count);
        dray_error error;
        dray_status status = load(f, "cubin", cut, count, &module, &error);
        dray_module_release(module);
        free(cut);
        if (status == DRAY_OK) // cut behind everything that belongs to it
            break;
        assert_int_equal(device_rig_standin_counts().calls, calls);
    }
    test_bytes_free(&file);
}

static void fatbins_are_inspected_and_loaded_when_an_entry_suits(void **state)
{
    fixture *f = *state;
    test_bytes file = corpus("plain.fatbin");
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = file.bytes, .byte_count = file.count};
    dray_module_facts *facts;
    dray_error error;
    if (dray_module_inspect(f->context, "auto", &source, &facts, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    const dray_module_facts_view *view = dray_module_facts_get(facts);
    assert_string_equal(view->kind, "fatbin");
    assert_non_null(strstr(view->arch, "sm_"));
    assert_true(view->function_count > 0);
    dray_module *module;
    dray_status status = load(f, "fatbin", file.bytes, file.count, &module, &error);
    assert_true(status == DRAY_OK || status == DRAY_E_UNSUPPORTED);
    if (status == DRAY_OK)
        assert_int_equal(dray_module_function_count(module), view->function_count);
    dray_module_release(module);
    dray_module_facts_destroy(facts);
    test_bytes_free(&file);
}

static void without_a_device_code_is_carried(void **state)
{
    fixture *f = *state;
    f->options.device = NULL;
    dray_module *module = loaded(f, "ptx", ptx, sizeof(ptx) - 1);
    dray_function_object *function;
    dray_error error;
    assert_int_equal(dray_module_properties(module), DRAY_MODULE_SERIALIZABLE);
    assert_int_equal(dray_module_function_count(module), 2); // read from the bytes
    assert_string_equal(dray_module_function_name(module, 1), "scale_ints");
    assert_int_equal(dray_module_get_function(module, "scale_ints", false, &function, &error),
                     DRAY_E_UNSUPPORTED);
    dray_module_release(module);
}

static void a_driver_without_modules_says_what_it_lacks(void **state)
{
    (void)state;
    device_rig_hide_symbol("cuModuleLoadDataEx");
    fixture old;
    fixture_open(&old, NULL);
    dray_module *module;
    dray_error error;
    assert_int_equal(load(&old, "ptx", ptx, sizeof(ptx) - 1, &module, &error), DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "cuModuleLoadDataEx"));
    fixture_close(&old);
    device_rig_hide_symbol(NULL);
}

static void every_call_of_the_driver_may_fail(void **state)
{
    fixture *f = *state;
    for (uint64_t n = 1;; n++) {
        device_rig_standin(
            &(standin_config){.keep = true, .fault = {.call = "", .at = n, .code = 777}});
        dray_module *module;
        dray_error error = {0};
        int numbers[128];
        dray_status status = load(f, "ptx", ptx, sizeof(ptx) - 1, &module, &error);
        uint64_t hits = device_rig_standin_counts().hits;
        if (status != DRAY_OK)
            assert_int_not_equal(error.message[0], 0);
        device_rig_standin(&(standin_config){.keep = true});
        if (status == DRAY_OK)
            assert_int_equal(
                scale(f, module, dray_any_int(2), dray_any_int(100), 32, numbers, &error), DRAY_OK);
        dray_module_release(module);
        if (hits == 0)
            break;
    }
}

static void every_allocation_of_a_load_may_fail(void **state)
{
    (void)state;
    device_rig_reset();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        fixture f;
        fixture_open(&f, &allocator);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_module *module;
        dray_error error = {0};
        dray_status status = load(&f, "ptx", ptx, sizeof(ptx) - 1, &module, &error);
        if (status != DRAY_OK) {
            assert_int_equal(status, DRAY_E_NOMEM);
            assert_int_not_equal(error.message[0], 0);
        }
        dray_module_release(module);
        bool failed = counting_allocator_failed(&counter);
        fixture_close(&f);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed)
            break;
    }
}

int main(void)
{
    if (!device_rig_has_standin()) {
        printf("skipped: DRAY_STANDIN_CUDA does not name the stand-in\n");
        return 77;
    }
#define CUDA_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CUDA_TEST(a_kernel_from_ptx_gets_its_arguments),
        CUDA_TEST(arguments_that_do_not_fit_never_reach_the_driver),
        CUDA_TEST(a_driver_that_tells_no_sizes_takes_bytes),
        CUDA_TEST(a_refused_text_comes_back_with_its_log),
        CUDA_TEST(code_for_another_architecture_never_reaches_the_driver),
        CUDA_TEST(a_whole_cubin_is_loaded_and_a_cut_one_never_is),
        CUDA_TEST(fatbins_are_inspected_and_loaded_when_an_entry_suits),
        CUDA_TEST(without_a_device_code_is_carried),
        CUDA_TEST(a_driver_without_modules_says_what_it_lacks),
        CUDA_TEST(every_call_of_the_driver_may_fail),
        cmocka_unit_test(every_allocation_of_a_load_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
