/// Loading onto devices: OpenCL on a real driver, CUDA on the stand-in, and the simulated family. What
/// arrives is read back by the device's own driver and compared with the file, byte by byte; and what is
/// said to be verified was read back, too.
#include "device/sim/sim.h"
#include "device_rig.h"
#include "dray/weights.h"
#include "fault_os.h"
#include "test_file.h"
#include "test_model.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { model_tensors = 10, tensor_bytes = 700 << 10, chunk_bytes = 256 << 10 };

static dray_context *context;
static dray_weights *weights;
static char model_path[512], manifest_path[600];
static dray_error error;

static int open_model(void **state)
{
    (void)state;
    device_rig_reset();
    memset(&error, 0, sizeof(error));
    context = device_rig_context(NULL, 2);
    snprintf(model_path, sizeof(model_path), "%s",
             test_model_make("load_device.gguf", model_tensors, tensor_bytes));
    snprintf(manifest_path, sizeof(manifest_path), "%s.dray", model_path);
    assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, &error), DRAY_OK);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    dray_weights_close(weights);
    dray_context_destroy(context);
    unlink(model_path);
    unlink(manifest_path);
    standin_counts counts = device_rig_standin_counts();
    if (counts.misuse)
        fail_msg("%s", counts.last_misuse);
    assert_int_equal(counts.contexts + counts.allocations + counts.host_allocations, 0);
    assert_int_equal(counts.streams + counts.events + counts.registrations, 0);
    return 0;
}

/// NULL: no such device on this machine.
static dray_device *device_if_there(const char *name)
{
    dray_device *device = NULL;
    dray_status status = dray_device_open(context, name, &device, &error);
    if (status != DRAY_OK && status != DRAY_E_UNSUPPORTED)
        fail_msg("%s", error.message);
    return device;
}

static dray_load_options options_to(dray_device *device, dray_storage storage)
{
    return (dray_load_options){
        .struct_bytes = sizeof(dray_load_options), .storage = storage, .device = device};
}

static dray_loaded *load_ok(const dray_load_options *options)
{
    dray_loaded *loaded = NULL;
    if (dray_weights_load(weights, options, &loaded, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_non_null(loaded);
    return loaded;
}

static void load_fails(const dray_load_options *options, dray_status status, const char *part)
{
    dray_loaded *loaded = NULL;
    dray_status got = dray_weights_load(weights, options, &loaded, &error);
    assert_null(loaded);
    if (got != status || !strstr(error.message, part))
        fail_msg("\"%s\" lacks \"%s\"", error.message, part);
}

static bool makes(dray_device *device, uint32_t capability)
{
    dray_device_info info;
    assert_int_equal(dray_device_get_info(device, &info, &error), DRAY_OK);
    return info.capabilities & capability;
}

/// Every tensor, brought back by the device and not by anything that loading uses.
static void check_all(dray_device *device, const dray_loaded *loaded)
{
    for (uint64_t i = 0; i < dray_loaded_count(loaded); i++) {
        dray_tensor_view view;
        assert_int_equal(dray_loaded_tensor_at(loaded, i, &view, &error), DRAY_OK);
        assert_int_equal(view.span.bytes, view.tensor->bytes);
        if (view.tensor->bytes == 0)
            continue;
        if (dray_region_storage(view.span.region) == DRAY_STORAGE_PINNED) { // memory of the host
            assert_true(test_model_same(view.tensor, view.pointer));
            continue;
        }
        dray_region *host =
            device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, view.tensor->bytes);
        assert_int_equal(device_rig_copy(device, host, 0, view.span.region, view.span.offset,
                                         view.span.bytes, &error),
                         DRAY_OK);
        assert_true(test_model_same(view.tensor, dray_region_pointer(host)));
        dray_region_release(host);
    }
}

static const char *const names[] = {"opencl:0", "opencl:2", "cuda:0", "cuda:1", "sim:0"};
enum { name_count = sizeof(names) / sizeof(names[0]) };

// --- what arrives ----------------------------------------------------------------------------------

static void every_method_to_every_kind(const char *name, dray_storage storage, uint32_t capability)
{
    dray_device *device = device_if_there(name);
    if (!device)
        return;
    for (int method = DRAY_LOAD_AUTO; makes(device, capability) && method <= DRAY_LOAD_BUFFERED;
         method++) {
        for (int cold = 0; cold < 2; cold++) {
            if (cold)
                test_file_make_cold(model_path);
            dray_load_options options = options_to(device, storage);
            options.method = (dray_load_method)method;
            dray_loaded *loaded = load_ok(&options);
            assert_int_equal(dray_loaded_count(loaded), model_tensors);
            check_all(device, loaded);
            dray_loaded_free(loaded);
        }
    }
    dray_device_release(device);
}

static void every_way_to_every_device_gives_the_files_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < name_count; i++) {
        every_method_to_every_kind(names[i], DRAY_STORAGE_DEVICE, DRAY_DEVICE_MEMORY);
        every_method_to_every_kind(names[i], DRAY_STORAGE_MANAGED, DRAY_DEVICE_MANAGED);
        every_method_to_every_kind(names[i], DRAY_STORAGE_PINNED, DRAY_DEVICE_PINNED);
    }
}

static void without_threads_the_bytes_are_the_same(void **state)
{
    (void)state;
    dray_weights_close(weights);
    dray_context_destroy(context);
    context = device_rig_context(NULL, 0);
    assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, &error), DRAY_OK);
    for (int i = 0; i < name_count; i++) {
        dray_device *device = device_if_there(names[i]);
        if (!device)
            continue;
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        dray_loaded *loaded = load_ok(&options);
        check_all(device, loaded);
        dray_loaded_free(loaded);
        dray_device_release(device);
    }
}

static void bytes_in_memory_go_to_devices_in_one_copy(void **state)
{
    (void)state;
    dray_model_data_options how = {.struct_bytes = sizeof(how), .backing = DRAY_BACKING_HEAP};
    dray_model_data *data;
    dray_weights *of_file = weights;
    assert_int_equal(dray_model_data_open(context, model_path, &how, &data, &error), DRAY_OK);
    assert_int_equal(dray_weights_open_data(context, data, NULL, &weights, &error), DRAY_OK);
    for (int i = 0; i < name_count; i++) {
        dray_device *device = device_if_there(names[i]);
        if (!device)
            continue;
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        dray_loaded *loaded = load_ok(&options);
        dray_load_report report;
        dray_loaded_get_report(loaded, &report);
        assert_int_equal(report.staging_bytes, 0);
        assert_string_equal(report.method, "memory");
        check_all(device, loaded);
        dray_loaded_free(loaded);
        dray_device_release(device);
    }
    dray_weights_close(weights);
    dray_model_data_close(data);
    weights = of_file;
}

static void the_result_outlives_the_callers_hold_on_the_device(void **state)
{
    (void)state;
    char wanted[65], got[65];
    dray_load_options options = {.struct_bytes = sizeof(options)};
    dray_loaded *in_memory = load_ok(&options);
    assert_int_equal(dray_loaded_digest(in_memory, 0, DRAY_DIGEST_XXH3_128, wanted, &error),
                     DRAY_OK);
    dray_device *device = device_if_there("sim:0");
    options = options_to(device, DRAY_STORAGE_DEVICE);
    dray_loaded *loaded = load_ok(&options);
    dray_device_release(device);
    assert_int_equal(dray_loaded_digest(loaded, 0, DRAY_DIGEST_XXH3_128, got, &error), DRAY_OK);
    assert_string_equal(got, wanted);
    dray_loaded_free(loaded);
    dray_loaded_free(in_memory);
}

// --- what is shown ---------------------------------------------------------------------------------

static void a_view_has_the_drivers_address_and_no_pointer(void **state)
{
    (void)state;
    for (int i = 0; i < name_count; i++) {
        dray_device *device = device_if_there(names[i]);
        if (!device)
            continue;
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        dray_loaded *loaded = load_ok(&options);
        dray_tensor_view view;
        dray_region_native native;
        void *managed;
        assert_int_equal(dray_loaded_tensor_at(loaded, 1, &view, &error), DRAY_OK);
        dray_region_get_native(view.span.region, &native);
        assert_null(view.pointer);
        assert_ptr_equal(native.device, device);
        assert_true(native.device_memory || native.device_address);
        assert_int_equal(view.span.offset % 128, view.tensor->offset % 128);
        assert_int_equal(dray_loaded_dlpack(loaded, 1, &managed, &error), DRAY_E_UNSUPPORTED);
        dray_loaded_free(loaded);
        dray_device_release(device);
    }
}

typedef struct witness {
    uint32_t done[model_tensors];
    char text[8192];
} witness;

static void on_tensor(void *self, uint64_t index)
{
    ((witness *)self)->done[index]++;
}

static void on_explain(void *self, const char *line)
{
    witness *seen = self;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof(seen->text) - used, "%s\n", line);
}

static void every_tensor_is_told_once(void **state)
{
    (void)state;
    dray_manifest_options manifest = {.struct_bytes = sizeof(manifest), .chunk_bytes = chunk_bytes};
    assert_int_equal(dray_manifest_write(weights, &manifest, &error), DRAY_OK);
    for (int i = 0; i < 2 * name_count; i++) {
        dray_device *device = device_if_there(names[i / 2]);
        if (!device)
            continue;
        witness seen = {.text = ""};
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        options.manifest = i % 2 ? manifest_path : NULL;
        options.events =
            (dray_load_events){.self = &seen, .tensor_done = on_tensor, .explain = on_explain};
        dray_loaded *loaded = load_ok(&options);
        for (int k = 0; k < model_tensors; k++)
            assert_int_equal(seen.done[k], 1);
        dray_loaded_free(loaded);
        dray_device_release(device);
    }
}

static void says(const witness *seen, const char *format, const char *name)
{
    char line[128];
    snprintf(line, sizeof(line), format, name);
    if (!strstr(seen->text, line))
        fail_msg("\"%s\" lacks \"%s\"", seen->text, line);
}

static void explain_names_the_device_the_ring_and_what_is_verified(void **state)
{
    (void)state;
    dray_manifest_options manifest = {.struct_bytes = sizeof(manifest), .chunk_bytes = chunk_bytes};
    assert_int_equal(dray_manifest_write(weights, &manifest, &error), DRAY_OK);
    for (int i = 0; i < name_count; i++) {
        dray_device *device = device_if_there(names[i]);
        if (!device)
            continue;
        witness seen = {.text = ""};
        dray_loaded *loaded = (dray_loaded *)&seen;
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        options.manifest = manifest_path;
        options.explain_only = 1;
        options.events = (dray_load_events){.self = &seen, .explain = on_explain};
        assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_OK);
        assert_null(loaded);
        says(&seen, "destination: device memory of %s,", names[i]);
        says(&seen, "device: ", names[i]);
        says(&seen, "as read back afterwards from device memory of %s", names[i]);
        if (strncmp(names[i], "opencl", 6) == 0)
            says(&seen, " bytes of system memory, one for each lane", "");
        else
            says(&seen, " bytes of memory locked for %s, one for each lane", names[i]);
        if (strncmp(names[i], "cuda", 4) == 0)
            says(&seen, "; unproven: ", "");
        dray_device_release(device);
    }
}

static void memory_of_ours_is_locked_where_the_driver_allocates_none(void **state)
{
    (void)state;
    if (!device_rig_has_standin())
        skip();
    device_rig_hide_symbol("cuMemHostAlloc");
    dray_device *device = device_if_there("cuda:0");
    assert_non_null(device);
    assert_false(makes(device, DRAY_DEVICE_PINNED));
    assert_true(makes(device, DRAY_DEVICE_REGISTER));
    dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
    dray_loaded *loaded = load_ok(&options);
    check_all(device, loaded);
    dray_loaded_free(loaded);
    dray_device_release(device);
}

// --- what is verified ------------------------------------------------------------------------------

static void a_manifest_is_checked_against_what_the_device_holds(void **state)
{
    (void)state;
    dray_manifest_options manifest = {.struct_bytes = sizeof(manifest), .chunk_bytes = chunk_bytes};
    assert_int_equal(dray_manifest_write(weights, &manifest, &error), DRAY_OK);
    for (int i = 0; i < name_count; i++) {
        dray_device *device = device_if_there(names[i]);
        if (!device)
            continue;
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        options.manifest = manifest_path;
        dray_loaded *loaded = load_ok(&options);
        dray_load_report report;
        dray_loaded_get_report(loaded, &report);
        assert_true(report.chunks_verified >= model_tensors);
        dray_loaded_free(loaded);
        dray_device_release(device);
    }
}

/// The driver says that a copy was made, and made none: only reading back can see it.
static void a_copy_that_the_driver_only_claims_is_found_out(void **state)
{
    (void)state;
    if (!device_rig_has_standin())
        skip();
    dray_manifest_options manifest = {.struct_bytes = sizeof(manifest), .chunk_bytes = chunk_bytes};
    assert_int_equal(dray_manifest_write(weights, &manifest, &error), DRAY_OK);
    device_rig_standin(&(standin_config){.fault = {.call = "(job)", .at = 3, .code = 0}});
    dray_device *device = device_if_there("cuda:0"); // the first job zeroes the destination
    assert_non_null(device);
    dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
    options.manifest = manifest_path;
    load_fails(&options, DRAY_E_CORRUPT, "does not match the manifest");
    assert_non_null(strstr(error.message, "read back cuda:0: tensor "));
    assert_int_equal(device_rig_standin_counts().hits, 1);
    dray_device_release(device);
}

// --- limits ----------------------------------------------------------------------------------------

static void the_memory_limit_counts_the_hosts_memory_only(void **state)
{
    (void)state;
    dray_device *device = device_if_there("sim:0");
    dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
    options.memory_limit = 2 << 20; // the model is three times as large
    dray_loaded *loaded = load_ok(&options);
    dray_load_report report;
    dray_loaded_get_report(loaded, &report);
    assert_true(report.staging_bytes > 0 && report.staging_bytes <= options.memory_limit);
    check_all(device, loaded);
    dray_loaded_free(loaded);
    options.storage = DRAY_STORAGE_MANAGED; // may lie in the host's memory
    load_fails(&options, DRAY_E_NOSPACE, "the limit is 2097152");
    dray_manifest_options manifest = {.struct_bytes = sizeof(manifest), .chunk_bytes = chunk_bytes};
    assert_int_equal(dray_manifest_write(weights, &manifest, &error), DRAY_OK);
    options.storage = DRAY_STORAGE_DEVICE;
    options.manifest = manifest_path;
    loaded = load_ok(&options);
    options.memory_limit = chunk_bytes; // reading back needs two windows of a chunk
    dray_loaded *none = NULL;
    assert_int_equal(dray_weights_load(weights, &options, &none, &error), DRAY_E_NOSPACE);
    assert_non_null(strstr(error.message, "the limit is 262144"));
    dray_loaded_free(loaded);
    dray_device_release(device);
}

static void a_model_larger_than_the_device_is_refused_with_numbers(void **state)
{
    (void)state;
    dray_device *device = device_if_there("sim:0");
    dray_device_native native;
    drayi_sim_counters counters;
    dray_device_get_native(device, &native);
    drayi_sim_set_faults(native.self, &(drayi_sim_faults){.capacity_bytes = 1 << 20});
    dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
    load_fails(&options, DRAY_E_NOMEM, "create region on sim:0");
    drayi_sim_get_counters(native.self, &counters);
    assert_int_equal(counters.used_bytes, 0);
    drayi_sim_set_faults(native.self, &(drayi_sim_faults){0});
    dray_loaded *loaded = load_ok(&options);
    dray_loaded_free(loaded);
    dray_device_release(device);
    if (!device_rig_has_standin())
        return;
    device_rig_standin(&(standin_config){.capacity_bytes = 1 << 20});
    device = device_if_there("cuda:0");
    options.device = device;
    load_fails(&options, DRAY_E_NOMEM, "bytes of memory are needed on cuda:0, 1048576 of 1048576");
    dray_device_release(device);
}

static void options_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    dray_load_options options = options_to(NULL, DRAY_STORAGE_DEVICE);
    load_fails(&options, DRAY_E_INVALID, "storage device needs a device");
    options.storage = DRAY_STORAGE_MANAGED;
    load_fails(&options, DRAY_E_INVALID, "storage managed needs a device");
    dray_device *device = device_if_there("sim:0");
    options = options_to(device, DRAY_STORAGE_SYSTEM);
    load_fails(&options, DRAY_E_INVALID, "device and storage system contradict each other");
    options = options_to(device, DRAY_STORAGE_DEVICE);
    options.method = DRAY_LOAD_MAPPED;
    load_fails(&options, DRAY_E_INVALID, "method mapped and storage device contradict each other");
    dray_agent *agent;
    assert_int_equal(dray_agent_create(context, NULL, &agent, &error), DRAY_OK);
    options = options_to(device, DRAY_STORAGE_DEVICE);
    options.agent = agent; // it has not named the device's backend
    load_fails(&options, DRAY_E_UNSUPPORTED, "to device memory of sim:0");
    dray_agent_destroy(agent);
    dray_device_release(device);
}

// --- the source ------------------------------------------------------------------------------------

static void a_released_source_leaves_the_page_cache(void **state)
{
    (void)state;
    for (int i = 0; i < name_count; i++) {
        dray_device *device = device_if_there(names[i]);
        if (!device)
            continue;
        dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
        options.method = DRAY_LOAD_BUFFERED;
        options.release_source = 1;
        dray_loaded *loaded = load_ok(&options);
        dray_load_report report;
        dray_loaded_get_report(loaded, &report);
        if (report.cache_bytes_after == DRAY_UNKNOWN)
            skip(); // this kernel does not tell
        assert_true(report.cache_bytes_after <= report.bytes / 10);
        check_all(device, loaded);
        dray_loaded_free(loaded);
        dray_device_release(device);
    }
}

static void a_file_cut_short_is_refused(void **state)
{
    (void)state;
    dray_device *device = device_if_there("sim:0");
    dray_load_options options = options_to(device, DRAY_STORAGE_DEVICE);
    assert_int_equal(truncate(model_path, 1000000), 0);
    load_fails(&options, DRAY_E_CORRUPT, "was cut short");
    dray_device_release(device);
}

/// 77, which is "skipped", when everything passed but OpenCL, which should be here, was not tried.
static int all_there(void)
{
    device_rig_reset();
    context = device_rig_context(NULL, 0);
    dray_device *device = NULL;
    bool there = dray_device_open(context, "opencl:0", &device, &error) == DRAY_OK;
    if (!there)
        print_message("not tried on OpenCL: %s\n", error.message);
    dray_device_release(device);
    dray_context_destroy(context);
    return there ? 0 : 77;
}

int main(void)
{
#define with_model(test) cmocka_unit_test_setup_teardown(test, open_model, close_model)
    const struct CMUnitTest tests[] = {
        with_model(every_way_to_every_device_gives_the_files_bytes),
        with_model(without_threads_the_bytes_are_the_same),
        with_model(bytes_in_memory_go_to_devices_in_one_copy),
        with_model(the_result_outlives_the_callers_hold_on_the_device),
        with_model(a_view_has_the_drivers_address_and_no_pointer),
        with_model(every_tensor_is_told_once),
        with_model(explain_names_the_device_the_ring_and_what_is_verified),
        with_model(memory_of_ours_is_locked_where_the_driver_allocates_none),
        with_model(a_manifest_is_checked_against_what_the_device_holds),
        with_model(a_copy_that_the_driver_only_claims_is_found_out),
        with_model(the_memory_limit_counts_the_hosts_memory_only),
        with_model(a_model_larger_than_the_device_is_refused_with_numbers),
        with_model(options_that_contradict_each_other_are_refused),
        with_model(a_released_source_leaves_the_page_cache),
        with_model(a_file_cut_short_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : all_there();
}
