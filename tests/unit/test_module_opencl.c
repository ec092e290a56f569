/// Kernels as functions, on a real OpenCL driver: from source, from a binary, and what never reaches it.
#include "base/sha256.h"
#include "counting_allocator.h"
#include "device_rig.h"
#include "dray/module.h"
#include "dray/spi/kernels.h"
#include "testing.h"
#include "transfer/hmac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char source[] =
    "kernel void scale(global float *out, global const float *in, float factor, uint count)\n"
    "{\n"
    "    size_t i = get_global_id(0);\n"
    "    if (i < count)\n"
    "        out[i] = in[i] * factor;\n"
    "}\n"
    "kernel void sum_of_group(global int *out, local int *scratch, char add, int2 pair)\n"
    "{\n"
    "    size_t i = get_local_id(0);\n"
    "    scratch[i] = (int)i + add + pair.x * pair.y;\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    if (i == 0) {\n"
    "        int sum = 0;\n"
    "        for (size_t k = 0; k < get_local_size(0); k++)\n"
    "            sum += scratch[k];\n"
    "        out[get_group_id(0)] = sum;\n"
    "    }\n"
    "}\n";

typedef struct fixture {
    dray_context *context;
    dray_device *device;
    dray_module_options options;
    char log[4096];
} fixture;

static void take_log(void *self, const char *text, uint64_t length)
{
    fixture *f = self;
    snprintf(f->log, sizeof(f->log), "%.*s", (int)length, text);
}

static void fixture_open(fixture *f, const dray_allocator *allocator)
{
    memset(f, 0, sizeof(*f));
    dray_error error;
    f->context = device_rig_context(allocator, 0);
    if (dray_device_open(f->context, "opencl:0", &f->device, &error) != DRAY_OK)
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
    return 0;
}

static dray_module *load(fixture *f, const char *kind, const void *bytes, uint64_t count)
{
    dray_module *module = NULL;
    dray_error error;
    if (dray_module_load_bytes(f->context, kind, bytes, count, &f->options, &module, &error) !=
        DRAY_OK)
        fail_msg("%s", error.message);
    return module;
}

static dray_status call(fixture *f, dray_module *module, const char *name, dray_any *arguments,
                        int32_t count, dray_error *error)
{
    dray_function_object *function;
    dray_any result;
    dray_status status = dray_module_get_function(module, name, false, &function, error);
    if (status == DRAY_OK) {
        status = dray_function_call(f->context, function, arguments, count, &result, error);
        dray_object_release(&function->head);
    }
    for (int32_t i = 0; i < count; i++)
        dray_any_release(&arguments[i]);
    return status;
}

static dray_region *device_region(fixture *f, uint64_t bytes)
{
    const dray_region_options options = {.struct_bytes = sizeof(options),
                                         .storage = DRAY_STORAGE_DEVICE,
                                         .device = f->device,
                                         .bytes = bytes};
    dray_region *region;
    dray_error error;
    if (dray_region_create(f->context, &options, &region, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return region;
}

static void copy(fixture *f, dray_region *to, dray_region *from, uint64_t bytes)
{
    dray_error error;
    if (device_rig_copy(f->device, to, 0, from, 0, bytes, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

/// scale() with 1,000 floats, and all of them looked at.
static void scale_is_right(fixture *f, dray_module *module, double factor)
{
    enum { count = 1000 };
    static float numbers[count + 24];
    dray_error error;
    dray_region *host, *in = device_region(f, sizeof(numbers));
    dray_region *out = device_region(f, sizeof(numbers));
    for (int i = 0; i < count + 24; i++)
        numbers[i] = (float)i;
    assert_int_equal(dray_region_wrap(f->context, DRAY_STORAGE_SYSTEM, numbers, sizeof(numbers),
                                      NULL, NULL, &host, &error),
                     DRAY_OK);
    copy(f, in, host, sizeof(numbers));
    dray_any arguments[] = {
        dray_any_int(1024),
        dray_any_int(1),
        dray_any_int(1),
        dray_any_int(64),
        dray_any_int(1),
        dray_any_int(1),
        dray_any_int(0),
        dray_any_region(f->context, out),
        dray_any_region(f->context, in),
        dray_any_float(factor),
        dray_any_int(count),
    };
    if (call(f, module, "scale", arguments, 11, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    memset(numbers, 0xff, sizeof(numbers));
    copy(f, host, out, sizeof(numbers));
    for (int i = 0; i < count; i++)
        if (numbers[i] != (float)i * (float)factor)
            fail_msg("number %d is %g", i, (double)numbers[i]);
    for (int i = count; i < count + 24; i++)
        assert_true(numbers[i] == 0); // behind `count` nothing was written
    dray_region_release(host);
    dray_region_release(in);
    dray_region_release(out);
}

static void a_kernel_from_source_computes_a_right_answer(void **state)
{
    fixture *f = *state;
    dray_module *module = load(f, "auto", source, sizeof(source) - 1);
    assert_string_equal(dray_module_kind(module), "opencl-source");
    assert_int_equal(dray_module_function_count(module), 2);
    assert_string_equal(dray_module_function_name(module, 0), "scale");
    assert_string_equal(dray_module_function_name(module, 1), "sum_of_group");
    scale_is_right(f, module, 2.5);
    dray_any text;
    dray_error error;
    assert_int_equal(dray_module_inspect_source(module, NULL, &text, &error), DRAY_OK);
    dray_byte_array bytes = {0};
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, source);
    dray_any_release(&text);
    dray_module_release(module);
}

static void local_memory_small_ints_and_vectors_are_passed(void **state)
{
    fixture *f = *state;
    dray_module *module = load(f, "opencl-source", source, sizeof(source) - 1);
    dray_region *out = device_region(f, 64), *host;
    static int sums[16];
    dray_error error;
    dray_region_wrap(f->context, DRAY_STORAGE_SYSTEM, sums, sizeof(sums), NULL, NULL, &host, &error);
    const int pair[2] = {3, 5};
    dray_any arguments[] = {
        dray_any_int(16),
        dray_any_int(1),
        dray_any_int(1),
        dray_any_int(8),
        dray_any_int(1),
        dray_any_int(1),
        dray_any_int(0),
        dray_any_region(f->context, out),
        dray_any_int(8 * 4),
        dray_any_int(-2),
        dray_any_string(DRAY_TYPE_BYTES, pair, sizeof(pair)),
    };
    if (call(f, module, "sum_of_group", arguments, 11, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    copy(f, host, out, sizeof(sums));
    assert_int_equal(sums[0], 28 + 8 * (15 - 2));
    assert_int_equal(sums[1], 28 + 8 * (15 - 2));
    dray_region_release(host);
    dray_region_release(out);
    dray_module_release(module);
}

// --- arguments are checked before the driver hears of them --------------------------------------------------

static void refused(fixture *f, dray_module *module, const char *kernel, dray_any *arguments,
                    int32_t count, const char *message)
{
    dray_error error;
    assert_int_equal(call(f, module, kernel, arguments, count, &error), DRAY_E_FAILED);
    assert_string_equal(error.message, message);
}

static void wrong_arguments_are_refused_with_numbers(void **state)
{
    fixture *f = *state;
    dray_module *module = load(f, "opencl-source", source, sizeof(source) - 1);
    dray_region *host;
    dray_error error;
    static char memory[64];
    dray_region_wrap(f->context, DRAY_STORAGE_SYSTEM, memory, sizeof(memory), NULL, NULL, &host,
                     &error);
#define GEOMETRY(global, group)                                                                   \
    dray_any_int(global), dray_any_int(1), dray_any_int(1), dray_any_int(group), dray_any_int(1), \
        dray_any_int(1), dray_any_int(0)
    dray_any few[] = {GEOMETRY(8, 8)};
    refused(f, module, "scale", few, 7,
            "ValueError: kernel scale has 4 parameters, so 11 values are wanted (seven ints in "
            "front), 7 are given");
    dray_any uneven[] = {GEOMETRY(9, 4), dray_any_none(), dray_any_none(), dray_any_none(),
                         dray_any_none()};
    refused(f, module, "scale", uneven, 11,
            "ValueError: kernel scale: 9 items are not whole groups of 4");
    dray_any none[] = {GEOMETRY(0, 4), dray_any_none(), dray_any_none(), dray_any_none(),
                       dray_any_none()};
    refused(
        f, module, "scale", none, 11,
        "ValueError: kernel scale: number 1 of the seven in front (global x, y, z, group x, y, z, "
        "local bytes) is no int from 1 on");
    dray_any number[] = {GEOMETRY(8, 8), dray_any_int(7), dray_any_none(), dray_any_float(1),
                         dray_any_int(0)};
    refused(
        f, module, "scale", number, 11,
        "ValueError: kernel scale, argument 1 of 4: a region (dray_any_region) or none is wanted, "
        "this is int");
    dray_any on_host[] = {GEOMETRY(8, 8), dray_any_region(f->context, host), dray_any_none(),
                          dray_any_float(1), dray_any_int(0)};
    refused(
        f, module, "scale", on_host, 11,
        "ValueError: kernel scale, argument 1 of 4: the region is system memory, the kernel is on "
        "opencl:0");
    dray_any text[] = {GEOMETRY(8, 8), dray_any_none(), dray_any_none(), dray_any_text("x"),
                       dray_any_int(0)};
    refused(f, module, "scale", text, 11,
            "ValueError: kernel scale, argument 3 of 4: a float is wanted, this is text");
    dray_any negative[] = {GEOMETRY(8, 8), dray_any_none(), dray_any_none(), dray_any_float(1),
                           dray_any_int(-1)};
    refused(f, module, "scale", negative, 11,
            "ValueError: kernel scale, argument 4 of 4: -1 does not fit 4 unsigned bytes");
    dray_any large[] = {GEOMETRY(8, 8), dray_any_none(), dray_any_int(32), dray_any_int(128),
                        dray_any_none()};
    refused(f, module, "sum_of_group", large, 11,
            "ValueError: kernel sum_of_group, argument 3 of 4: 128 does not fit 1 signed bytes");
    dray_any vector[] = {GEOMETRY(8, 8), dray_any_none(), dray_any_int(32), dray_any_int(1),
                         dray_any_string(DRAY_TYPE_BYTES, "1234", 4)};
    refused(
        f, module, "sum_of_group", vector, 11,
        "ValueError: kernel sum_of_group, argument 4 of 4: 4 bytes are given, the parameter has 8");
    dray_region_release(host);
    dray_module_release(module);
}

static void a_compilers_complaint_goes_to_the_sink(void **state)
{
    fixture *f = *state;
    static const char broken[] = "kernel void broken(global int *out) { out[0] = nonsense; }\n";
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_load_bytes(f->context, "opencl-source", broken, sizeof(broken) - 1,
                                            &f->options, &module, &error),
                     DRAY_E_FORMAT);
    assert_non_null(strstr(error.message, "clBuildProgram"));
    assert_non_null(strstr(error.message, "CL_BUILD_PROGRAM_FAILURE"));
    assert_non_null(strstr(f->log, "nonsense"));
}

// --- binaries ------------------------------------------------------------------------------------------------

static dray_byte_array saved_binary(fixture *f, dray_any *out)
{
    dray_module *module = load(f, "opencl-source", source, sizeof(source) - 1);
    dray_error error;
    if (dray_module_save_as(module, "opencl-binary", out, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_module_release(module);
    dray_byte_array bytes = {0};
    assert_true(dray_any_get_bytes(out, &bytes));
    return bytes;
}

static void a_kernel_from_a_binary_computes_a_right_answer(void **state)
{
    fixture *f = *state;
    dray_any saved;
    dray_byte_array bytes = saved_binary(f, &saved);
    dray_module *module = load(f, "auto", bytes.data, bytes.size);
    assert_string_equal(dray_module_kind(module), "opencl-binary");
    scale_is_right(f, module, -3);
    dray_any again;
    dray_error error;
    assert_int_equal(dray_module_save(module, &again, &error), DRAY_OK);
    dray_byte_array same = {0};
    assert_true(dray_any_get_bytes(&again, &same));
    assert_int_equal(same.size, bytes.size);
    assert_memory_equal(same.data, bytes.data, bytes.size);
    dray_any_release(&again);
    dray_any_release(&saved);
    dray_module_release(module);
}

/// The driver would end the process: it is never asked.
static void cut_and_altered_binaries_never_reach_the_driver(void **state)
{
    fixture *f = *state;
    dray_any saved;
    dray_byte_array bytes = saved_binary(f, &saved);
    dray_module *module;
    dray_error error;
    for (uint64_t count = 8; count < bytes.size; count += 1 + count / 64) {
        char *cut = malloc(count);
        memcpy(cut, bytes.data, count);
        assert_int_equal(dray_module_load_bytes(f->context, "opencl-binary", cut, count,
                                                &f->options, &module, &error),
                         DRAY_E_CORRUPT);
        free(cut);
    }
    char *altered = malloc(bytes.size);
    for (uint64_t at = 8; at < bytes.size; at += 1 + at / 64) {
        memcpy(altered, bytes.data, bytes.size);
        altered[at] = (char)(altered[at] ^ 1);
        dray_status status = dray_module_load_bytes(f->context, "opencl-binary", altered,
                                                    bytes.size, &f->options, &module, &error);
        assert_true(status == DRAY_E_CORRUPT || status == DRAY_E_UNSUPPORTED);
    }
    free(altered);
    dray_any_release(&saved);
}

static void a_raw_binary_needs_its_digest(void **state)
{
    fixture *f = *state;
    dray_any saved;
    dray_byte_array bytes = saved_binary(f, &saved);
    uint32_t text_bytes;
    memcpy(&text_bytes, bytes.data + 12, 4);
    const char *raw = bytes.data + 56 + text_bytes; // behind the envelope's head
    uint64_t raw_bytes = bytes.size - 56 - text_bytes;
    const dray_module_source from = {
        .struct_bytes = sizeof(from), .bytes = raw, .byte_count = raw_bytes};
    dray_module *module;
    dray_error error;
    assert_int_equal(
        dray_module_create(f->context, "opencl-binary", &from, &f->options, &module, &error),
        DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "drivers crash on damaged binaries"));
    dray_module_options options = f->options;
    options.expected_sha256 = (const uint8_t *)bytes.data + 24;
    options.expected_bytes = raw_bytes;
    if (dray_module_create(f->context, "opencl-binary", &from, &options, &module, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    scale_is_right(f, module, 0.5);
    dray_module_release(module);
    const dray_module_source cut = {
        .struct_bytes = sizeof(cut), .bytes = raw, .byte_count = raw_bytes / 2};
    assert_int_equal(
        dray_module_create(f->context, "opencl-binary", &cut, &options, &module, &error),
        DRAY_E_CORRUPT);
    dray_any_release(&saved);
}

static void a_binary_of_another_device_is_refused_by_name(void **state)
{
    fixture *f = *state;
    dray_any saved;
    dray_byte_array bytes = saved_binary(f, &saved);
    char *other = malloc(bytes.size);
    memcpy(other, bytes.data, bytes.size);
    memcpy(other + 56, "another", 7); // in the text about its device
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_load_bytes(f->context, "opencl-binary", other, bytes.size,
                                            &f->options, &module, &error),
                     DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "made for another"));
    free(other);
    dray_any_release(&saved);
}

// --- without a device -----------------------------------------------------------------------------------------

static void without_a_device_a_module_is_carried(void **state)
{
    fixture *f = *state;
    f->options.device = NULL;
    dray_module *module = load(f, "auto", source, sizeof(source) - 1);
    dray_function_object *function;
    dray_error error;
    assert_int_equal(dray_module_get_function(module, "scale", false, &function, &error),
                     DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "module <bytes> was loaded without a device: its bytes are here, its kernels "
                        "cannot run (dray_module_options.device)");
    dray_any saved;
    assert_int_equal(dray_module_save(module, &saved, &error), DRAY_OK);
    dray_byte_array bytes = {0};
    assert_true(dray_any_get_bytes(&saved, &bytes));
    assert_int_equal(bytes.size, sizeof(source) - 1);
    assert_memory_equal(bytes.data, source, bytes.size);
    dray_any_release(&saved);
    dray_module_release(module);
}

static void spirv_is_checked_and_refused_by_a_device_that_takes_none(void **state)
{
    fixture *f = *state;
    static const uint32_t words[] = {0x07230203, 0x00010000, 0, 8, 0, 2u << 16 | 17, 6};
    dray_module *module;
    dray_error error;
    dray_status status = dray_module_load_bytes(f->context, "auto", words, sizeof(words),
                                                &f->options, &module, &error);
    assert_int_equal(status, DRAY_E_UNSUPPORTED); // PoCL 3.1 has no IL
    assert_int_equal(dray_module_load_bytes(f->context, "spirv", words, sizeof(words) - 4,
                                            &f->options, &module, &error),
                     DRAY_E_FORMAT);
    assert_string_equal(error.rule, "spirv.instruction");
}

static void a_driver_without_programs_says_what_it_lacks(void **state)
{
    fixture *f = *state;
    device_rig_hide_symbol("clBuildProgram");
    fixture lacking;
    fixture_open(&lacking, NULL);
    dray_module *module;
    dray_error error;
    assert_int_equal(dray_module_load_bytes(lacking.context, "opencl-source", source,
                                            sizeof(source) - 1, &lacking.options, &module, &error),
                     DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "clBuildProgram"));
    fixture_close(&lacking);
    device_rig_hide_symbol(NULL);
    (void)f;
}

static void every_allocation_of_a_load_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        fixture f;
        fixture_open(&f, &allocator);
        uint64_t before = counting_allocator_calls(&counter);
        counter.fail_at = before + n;
        dray_module *module = NULL;
        dray_error error = {0};
        dray_status status = dray_module_load_bytes(
            f.context, "opencl-source", source, sizeof(source) - 1, &f.options, &module, &error);
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
    device_rig_reset();
    dray_device_info info = device_rig_listed("opencl:0");
    if (info.name[0] == '\0' || info.unavailable[0] != '\0') {
        printf("skipped: no OpenCL device here\n");
        return 77;
    }
    if (!drayi_has_crypto()) {
        printf("skipped: without libcrypto there are no digests, which binaries need\n");
        return 77;
    }
#define OPENCL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        OPENCL_TEST(a_kernel_from_source_computes_a_right_answer),
        OPENCL_TEST(local_memory_small_ints_and_vectors_are_passed),
        OPENCL_TEST(wrong_arguments_are_refused_with_numbers),
        OPENCL_TEST(a_compilers_complaint_goes_to_the_sink),
        OPENCL_TEST(without_a_device_a_module_is_carried),
        OPENCL_TEST(spirv_is_checked_and_refused_by_a_device_that_takes_none),
        OPENCL_TEST(a_driver_without_programs_says_what_it_lacks),
        cmocka_unit_test(every_allocation_of_a_load_may_fail),
    };
    const struct CMUnitTest with_libcrypto[] = {
        OPENCL_TEST(a_kernel_from_a_binary_computes_a_right_answer),
        OPENCL_TEST(cut_and_altered_binaries_never_reach_the_driver),
        OPENCL_TEST(a_raw_binary_needs_its_digest),
        OPENCL_TEST(a_binary_of_another_device_is_refused_by_name),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return drayi_hmac_is_built() ? failed + cmocka_run_group_tests(with_libcrypto, NULL, NULL)
                                 : failed;
}
