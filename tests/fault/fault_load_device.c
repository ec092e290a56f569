/// Loading onto devices while allocations, system calls, and the device itself fail, each in turn: every
/// failure is an error with a message, nothing is left on the host or on the device, the next load works,
/// and a load that says it is done has brought every byte there.
#include "core/context.h"
#include "device/sim/sim.h"
#include "device_rig.h"
#include "dray/weights.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/test_model.h"
#include "support/testing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { model_tensors = 6, tensor_bytes = 150 << 10, chunk_bytes = 64 << 10 };

static char model_path[512], manifest_path[600], wanted_digest[65];

static int make_model(void **state)
{
    (void)state;
    dray_context *context;
    dray_weights *weights;
    dray_loaded *loaded;
    dray_error error = {0};
    fault_os_reset();
    device_rig_reset();
    snprintf(model_path, sizeof(model_path), "%s",
             test_model_make("faulty_device.gguf", model_tensors, tensor_bytes));
    snprintf(manifest_path, sizeof(manifest_path), "%s.dray", model_path);
    dray_manifest_options manifest = {.struct_bytes = sizeof(manifest), .chunk_bytes = chunk_bytes};
    assert_int_equal(dray_context_create(NULL, &context, &error), DRAY_OK);
    assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, &error), DRAY_OK);
    assert_int_equal(dray_manifest_write(weights, &manifest, &error), DRAY_OK);
    assert_int_equal(dray_weights_load(weights, NULL, &loaded, &error), DRAY_OK);
    assert_int_equal(dray_loaded_digest(loaded, 0, DRAY_DIGEST_XXH3_128, wanted_digest, &error),
                     DRAY_OK);
    dray_loaded_free(loaded);
    dray_weights_close(weights);
    dray_context_destroy(context);
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    unlink(model_path);
    unlink(manifest_path);
    return 0;
}

/// OK, or an error that says something.
static dray_status told(dray_status status, const dray_error *error)
{
    if (status != DRAY_OK && (error->status != status || strlen(error->message) < 8))
        fail_msg("status %d with error status %d, message '%s'", status, error->status,
                 error->message);
    return status;
}

typedef struct life {
    const drayi_os *os;
    counting_allocator *counter; // or NULL
    uint32_t threads;
    const char *device;
    dray_storage storage;
    const drayi_sim_faults *faults; // of a simulated device, once it is open; or NULL
    bool verify;
} life;

static void check_digest(const dray_loaded *loaded, dray_status *status, dray_error *error)
{
    char hex[65];
    *status = told(dray_loaded_digest(loaded, 0, DRAY_DIGEST_XXH3_128, hex, error), error);
    if (*status == DRAY_OK)
        assert_string_equal(hex, wanted_digest);
}

static dray_status load_once(const life *how, dray_weights *weights, dray_device *device,
                             dray_error *error)
{
    dray_loaded *loaded = NULL;
    dray_load_options options = {.struct_bytes = sizeof(options),
                                 .storage = how->storage,
                                 .manifest = how->verify ? manifest_path : NULL,
                                 .release_source = 1,
                                 .device = device};
    dray_status status = told(dray_weights_load(weights, &options, &loaded, error), error);
    if (status != DRAY_OK) {
        assert_null(loaded);
        return status;
    }
    check_digest(loaded, &status, error);
    dray_loaded_free(loaded);
    return status;
}

static dray_status use_device(const life *how, dray_context *context, dray_device *device,
                              dray_error *error)
{
    dray_weights *weights;
    dray_device_native native;
    dray_device_get_native(device, &native);
    dray_status status = told(dray_weights_open(context, model_path, NULL, &weights, error), error);
    if (status != DRAY_OK)
        return status;
    if (how->faults)
        drayi_sim_set_faults(native.self, how->faults);
    status = load_once(how, weights, device, error);
    if (how->faults) {
        drayi_sim_counters counters;
        drayi_sim_get_counters(native.self, &counters);
        assert_int_equal(counters.used_bytes, 0);
        assert_int_equal(counters.streams, 0);
    }
    if (how->faults && !how->faults->sticky && status != DRAY_OK) { // the same device still works
        dray_error later = {0};
        drayi_sim_set_faults(native.self, &(drayi_sim_faults){0});
        assert_int_equal(load_once(how, weights, device, &later), DRAY_OK);
    }
    dray_weights_close(weights);
    return status;
}

/// The whole life once: DRAY_OK, or the first failure.
static dray_status live(const life *how, dray_error *error)
{
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = how->threads};
    dray_context *context;
    dray_device *device;
    *error = (dray_error){.status = DRAY_OK};
    if (how->counter)
        options.allocator = counting_allocator_interface(how->counter);
    dray_status status = told(drayi_context_create_with(&options, how->os, &context, error), error);
    if (status != DRAY_OK)
        return status;
    status = told(dray_device_open(context, how->device, &device, error), error);
    if (status == DRAY_OK) {
        status = use_device(how, context, device, error);
        dray_device_release(device);
    }
    dray_context_destroy(context);
    return status;
}

static bool is_there(const char *name)
{
    dray_error error;
    dray_device *device = NULL;
    dray_context *context = device_rig_context(NULL, 0);
    dray_status status = dray_device_open(context, name, &device, &error);
    dray_device_release(device);
    dray_context_destroy(context);
    return status == DRAY_OK;
}

static void nothing_is_left_in_the_driver(const char *call, uint64_t n)
{
    standin_counts counts = device_rig_standin_counts();
    if (counts.misuse)
        fail_msg("%s, %" PRIu64 ": %s", call, n, counts.last_misuse);
    if (counts.contexts || counts.allocations || counts.host_allocations || counts.streams ||
        counts.events || counts.registrations)
        fail_msg("%s, %" PRIu64 ": left in the driver: %d contexts, %d allocations, %d of the host, "
                 "%d streams, %d events",
                 call, n, (int)counts.contexts, (int)counts.allocations,
                 (int)counts.host_allocations, (int)counts.streams, (int)counts.events);
}

// --- loops -----------------------------------------------------------------------------------------

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const char *const names[] = {"sim:0", "opencl:0", "cuda:0"};
    for (int i = 0; i < 3; i++) {
        device_rig_reset();
        if (!is_there(names[i]))
            continue;
        for (uint64_t n = 1;; n++) {
            counting_allocator counter;
            dray_error error;
            counting_allocator_init(&counter, n);
            device_rig_reset();
            const life how = {.os = device_rig_os(),
                              .counter = &counter,
                              .device = names[i],
                              .storage = DRAY_STORAGE_DEVICE,
                              .verify = true};
            dray_status status = live(&how, &error);
            if (counting_allocator_live_bytes(&counter) != 0)
                fail_msg("%s, allocation %" PRIu64 ": %" PRIu64 " bytes left", names[i], n,
                         counting_allocator_live_bytes(&counter));
            nothing_is_left_in_the_driver("allocation", n);
            if (!counting_allocator_failed(&counter)) {
                assert_int_equal(status, DRAY_OK);
                break;
            }
        }
    }
}

static void fail_calls(unsigned groups, int code, uint32_t threads)
{
    for (uint64_t n = 1;; n++) {
        dray_error error;
        fault_os_reset();
        int fds = fault_os_open_fds();
        fault_os_inject(&(fault_plan){.at = n, .groups = groups, .code = code});
        const life how = {.os = fault_os(),
                          .threads = threads,
                          .device = "sim:0",
                          .storage = n % 2 ? DRAY_STORAGE_DEVICE : DRAY_STORAGE_MANAGED,
                          .verify = true};
        dray_status status = live(&how, &error);
        uint64_t hits = fault_os_hits();
        if (fault_os_open_fds() != fds)
            fail_msg("%s failed as call %" PRIu64 ", and %d descriptors are left",
                     fault_os_last_hit(), n, fault_os_open_fds() - fds);
        if (hits == 0) {
            assert_int_equal(status, DRAY_OK);
            return;
        }
    }
}

static void every_system_call_may_fail(void **state)
{
    (void)state;
    fail_calls(FAULT_ANY, -EIO, 0);
    fail_calls(FAULT_ANY, -EINTR, 0);
    fail_calls(FAULT_READ | FAULT_COMPLETION, 0, 0); // short
    fail_calls(FAULT_MEMORY, -ENOMEM, 0);
    fail_calls(FAULT_READ | FAULT_COMPLETION, -EIO, 2);
}

static uint64_t *nth(drayi_sim_faults *faults, unsigned which)
{
    return which == 0 ? &faults->allocate_at : which == 1 ? &faults->start_at : &faults->finish_at;
}

static void a_device_may_fail_at_every_allocation_and_every_job(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12;
         round++) { // what fails, sticky or not, with threads or without
        for (uint64_t n = 1;; n++) {
            dray_error error;
            drayi_sim_faults faults = {.sticky = round / 3 % 2, .queries_before_done = 3};
            *nth(&faults, round % 3) = n;
            fault_os_reset();
            const life how = {.os = fault_os(),
                              .threads = round / 6 * 2,
                              .device = "sim:0",
                              .storage = DRAY_STORAGE_DEVICE,
                              .faults = &faults,
                              .verify = n % 2};
            dray_status status = live(&how, &error);
            if (status == DRAY_OK && n > 8) // the ring of a digest may go without locked memory
                break;
            if (status != DRAY_OK)
                assert_int_equal(status, round % 3 == 0 ? DRAY_E_NOMEM : DRAY_E_DEVICE);
        }
    }
}

static void a_full_device_says_how_much_was_wanted(void **state)
{
    (void)state;
    dray_error error;
    drayi_sim_faults faults = {.allocate_at = 1};
    fault_os_reset();
    const life how = {
        .os = fault_os(), .device = "sim:0", .storage = DRAY_STORAGE_DEVICE, .faults = &faults};
    assert_int_equal(live(&how, &error), DRAY_E_NOMEM);
    assert_non_null(strstr(error.message, "create region on sim:0: "));
    assert_non_null(strstr(error.message, "SIM_OUT_OF_MEMORY (2)"));
}

/// Whose failure leaves something behind, because the driver keeps it; or that guards such a call.
static bool gives_back(const char *call)
{
    return strstr(call, "Free") || strstr(call, "Destroy") || strstr(call, "Release") ||
           strstr(call, "Unregister") || strstr(call, "Ctx");
}

/// Codes of CUDA: out of memory, invalid device, a sticky one, and success that is a lie.
static void every_call_of_the_driver_may_fail(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        bool sticky;
    } kinds[] = {{2, false}, {101, false}, {700, true}};
    if (!device_rig_has_standin())
        skip();
    for (int i = 0; i < 3; i++) {
        for (uint64_t n = 1;; n++) {
            dray_error error;
            device_rig_reset();
            device_rig_standin(&(standin_config){
                .fault = {.call = "", .at = n, .code = kinds[i].code, .sticky = kinds[i].sticky}});
            const life how = {.os = device_rig_os(),
                              .device = "cuda:0",
                              .storage = DRAY_STORAGE_DEVICE,
                              .verify = true};
            dray_status status = live(&how, &error);
            standin_counts counts = device_rig_standin_counts();
            if (counts.misuse)
                fail_msg("call %" PRIu64 " (%s) gave %u: %s", n, counts.last_hit, kinds[i].code,
                         counts.last_misuse);
            if (!kinds[i].sticky && !gives_back(counts.last_hit))
                nothing_is_left_in_the_driver(counts.last_hit, n);
            if (counts.hits == 0) {
                assert_int_equal(status, DRAY_OK);
                nothing_is_left_in_the_driver("no call", n);
                break;
            }
        }
    }
}

/// A verified load that says it is done has every byte on the device, whatever the driver claimed.
static void copies_that_are_only_claimed_never_pass_as_verified(void **state)
{
    (void)state;
    uint64_t found = 0;
    if (!device_rig_has_standin())
        skip();
    for (uint64_t n = 2;; n++) { // the first job zeroes the destination, which nobody relies on
        dray_error error;
        device_rig_reset();
        device_rig_standin(&(standin_config){.fault = {.call = "(job)", .at = n, .code = 0}});
        dray_context *context = device_rig_context(NULL, 0);
        dray_device *device;
        dray_weights *weights;
        dray_loaded *loaded = NULL;
        assert_int_equal(dray_device_open(context, "cuda:0", &device, &error), DRAY_OK);
        assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, &error), DRAY_OK);
        dray_load_options options = {.struct_bytes = sizeof(options),
                                     .storage = DRAY_STORAGE_DEVICE,
                                     .manifest = manifest_path,
                                     .device = device};
        dray_status status = dray_weights_load(weights, &options, &loaded, &error);
        bool hit = device_rig_standin_counts().hits > 0;
        if (hit && status != DRAY_E_CORRUPT)
            fail_msg("job %" PRIu64 " was not done: status %d", n, (int)status);
        found += hit;
        dray_loaded_free(loaded);
        dray_weights_close(weights);
        dray_device_release(device);
        dray_context_destroy(context);
        if (!hit) {
            assert_int_equal(status, DRAY_OK);
            break;
        }
    }
    assert_true(found >= 2); // copies there, and copies back
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_system_call_may_fail),
        cmocka_unit_test(a_device_may_fail_at_every_allocation_and_every_job),
        cmocka_unit_test(a_full_device_says_how_much_was_wanted),
        cmocka_unit_test(every_call_of_the_driver_may_fail),
        cmocka_unit_test(copies_that_are_only_claimed_never_pass_as_verified),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
