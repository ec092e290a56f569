/// The CUDA family against the stand-in for its driver: which calls it uses, what it does without some of
/// them, and what it says of errors. Nothing here says how a GPU behaves.
#include "device_rig.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

// --- whether it is there -------------------------------------------------------------------------------

static void why_it_is_unavailable_is_told(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_hide_library("libcuda.so.1");
    assert_string_equal(device_rig_listed("cuda").unavailable,
                        "no CUDA driver: libcuda.so.1: cannot open shared object file");
    device_rig_hide_library(NULL);
    device_rig_standin(&(standin_config){.stub = true});
    assert_string_equal(
        device_rig_listed("cuda").unavailable,
        "libcuda.so.1 is the toolkit's stub, no driver: CUDA_ERROR_STUB_LIBRARY (34)");
    device_rig_standin(&(standin_config){.devices = -1});
    assert_string_equal(device_rig_listed("cuda").unavailable, "cuInit: CUDA_ERROR_NO_DEVICE (100)");
    device_rig_standin(&(standin_config){.fault = {.call = "cuInit", .at = 1, .code = 803}});
    assert_string_equal(device_rig_listed("cuda").unavailable,
                        "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)");
    device_rig_standin(&(standin_config){.fault = {.call = "cuInit", .at = 1, .code = 777}});
    device_rig_says(device_rig_listed("cuda").unavailable, "(777)");
    device_rig_reset();
    device_rig_hide_symbol("cuMemAlloc_v2"); // costs a capability, not the device
    assert_string_equal(device_rig_listed("cuda:0").unavailable, "");
    device_rig_hide_symbol("cuCtxPushCurrent_v2");
    assert_string_equal(device_rig_listed("cuda").unavailable,
                        "libcuda.so.1 has no cuCtxPushCurrent_v2: this driver is too old");
}

static void a_missing_call_takes_one_capability(void **state)
{
    (void)state;
    static const struct {
        const char *symbol;
        uint32_t lost;
    } cases[] = {
        {"cuMemAlloc_v2", DRAY_DEVICE_MEMORY | DRAY_DEVICE_MANAGED},
        {"cuMemAllocManaged", DRAY_DEVICE_MANAGED},
        {"cuMemHostAlloc", DRAY_DEVICE_PINNED},
        {"cuMemHostRegister_v2", DRAY_DEVICE_REGISTER},
        {"cuMemcpyPeerAsync", DRAY_DEVICE_PEER},
        {"cuMemcpyBatchAsync_v2", 0}, // the older one is there
        {"cuGetErrorName", 0},
        {"cuDevicePrimaryCtxRelease_v2", 0},
        {"cuEventQuery", DRAY_DEVICE_COPY | DRAY_DEVICE_BATCH | DRAY_DEVICE_PEER},
    };
    device_rig_reset();
    const uint32_t all = device_rig_listed("cuda:1").capabilities;
    assert_int_equal(all & 0xff, 0xff & ~0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        device_rig_reset();
        device_rig_hide_symbol(cases[i].symbol);
        dray_device_info info = device_rig_listed("cuda:1");
        assert_string_equal(info.unavailable, "");
        assert_string_equal(info.missing, cases[i].symbol);
        assert_int_equal(info.capabilities, all & ~cases[i].lost);
    }
    device_rig_hide_symbol("cuMemcpyBatchAsync_v2");
    device_rig_hide_symbol("cuMemcpyBatchAsync");
    assert_int_equal(device_rig_listed("cuda:1").capabilities & DRAY_DEVICE_BATCH, 0);
    device_rig_reset();
    device_rig_standin(&(standin_config){.no_managed = true, .no_register = true});
    assert_int_equal(
        device_rig_listed("cuda:0").capabilities & (DRAY_DEVICE_MANAGED | DRAY_DEVICE_REGISTER), 0);
}

static void facts_are_the_drivers(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_standin(&(standin_config){.version = 12080, .capacity_bytes = 1 << 20});
    dray_device_info info = device_rig_listed("cuda:1");
    assert_string_equal(info.model, "Stand-in 1, compute 9.0");
    assert_string_equal(info.driver, "CUDA driver API 12.8, libcuda.so.1");
    assert_string_equal(info.symbols, "cuDevicePrimaryCtxRelease_v2, cuMemcpyBatchAsync_v2");
    assert_int_equal(info.total_bytes, 1 << 20);
    assert_int_equal(info.free_bytes, 1 << 20);
    assert_int_equal(info.ordinal, 1);
    assert_int_equal(info.numa_node, -1);
    assert_non_null(info.unproven);
    device_rig_standin(
        &(standin_config){.fault = {.call = "cuMemGetInfo_v2", .at = 1, .code = 999}});
    assert_int_equal(device_rig_listed("cuda:0").free_bytes,
                     DRAY_UNKNOWN); // unknown is unknown, no number
    device_rig_standin(
        &(standin_config){.fault = {.call = "cuDeviceTotalMem_v2", .at = 2, .code = 101}});
    device_rig_says(device_rig_listed("cuda:1").unavailable, "CUDA_ERROR_INVALID_DEVICE (101)");
}

static void names_are_checked(void **state)
{
    (void)state;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    static const struct {
        const char *name;
        dray_status status;
        const char *part;
    } cases[] = {
        {"cuda", DRAY_E_INVALID, "family:number, like cuda:0"},
        {"cuda:", DRAY_E_INVALID, "family:number"},
        {":0", DRAY_E_INVALID, "family:number"},
        {"cuda:x", DRAY_E_INVALID, "family:number"},
        {"cuda:-1", DRAY_E_INVALID, "family:number"},
        {"cuda:99999999999", DRAY_E_INVALID, "family:number"},
        {"cud:0", DRAY_E_NOTFOUND, "there are: cuda, opencl, sim"},
        {"cuda:2", DRAY_E_NOTFOUND, "cuda has 2 devices here, numbered from 0"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dray_device *device = NULL;
        dray_error error = {0};
        assert_int_equal(dray_device_open(context, cases[i].name, &device, &error), cases[i].status);
        device_rig_says(error.message, cases[i].part);
        assert_null(device);
    }
    dray_context_destroy(context);
    assert_int_equal(device_rig_standin_counts().contexts, 0);
}

// --- copies --------------------------------------------------------------------------------------------

enum { run_count = 200, run_bytes = 64 };

/// 200 runs from pinned (or ordinary) memory to the device; the stand-in's counts.
static standin_counts copy_many(dray_storage storage, dray_status wanted, dray_error *error)
{
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device;
    assert_int_equal(dray_device_open(context, "cuda:0", &device, NULL), DRAY_OK);
    dray_region *from = device_rig_region(context, storage == DRAY_STORAGE_PINNED ? device : NULL,
                                          storage, run_count * run_bytes),
                *on = device_rig_region(context, device, DRAY_STORAGE_DEVICE, run_count * run_bytes),
                *back = device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, run_count * run_bytes);
    memset(dray_region_pointer(from), 0x3c, run_count * run_bytes);
    dray_device_native native;
    dray_device_get_native(device, &native);
    dray_stream *stream;
    assert_int_equal(native.ops->copy->stream_open(native.self, &stream, NULL), DRAY_OK);
    static dray_device_run runs[run_count];
    for (uint32_t i = 0; i < run_count; i++)
        runs[i] = (dray_device_run){.from = device_rig_side(from, (uint64_t)i * run_bytes),
                                    .to = device_rig_side(on, (uint64_t)i * run_bytes),
                                    .bytes = run_bytes};
    dray_status status = native.ops->copy->start(stream, runs, run_count, error);
    if (status == DRAY_OK)
        status = native.ops->copy->wait(stream, error);
    assert_int_equal(status, wanted);
    if (status != DRAY_OK) // nothing of a job that could not start reads its source any more
        memset(dray_region_pointer(from), 0x99, run_count * run_bytes);
    native.ops->copy->stream_close(stream);
    standin_counts counts = device_rig_standin_counts();
    if (status != DRAY_OK) {
        assert_int_equal(device_rig_copy(device, back, 0, on, 0, run_count * run_bytes, NULL),
                         DRAY_OK);
        for (int i = 0; i < run_count * run_bytes; i++)
            assert_int_not_equal(((uint8_t *)dray_region_pointer(back))[i], 0x99);
    }
    if (status == DRAY_OK) {
        assert_int_equal(device_rig_copy(device, back, 0, on, 0, run_count * run_bytes, NULL),
                         DRAY_OK);
        assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back),
                            run_count * run_bytes);
    }
    dray_region_release(from);
    dray_region_release(on);
    dray_region_release(back);
    dray_device_release(device);
    dray_context_destroy(context);
    return counts;
}

static void many_copies_of_locked_memory_are_batched(void **state)
{
    (void)state;
    for (int version = 0; version < 2; version++) {
        device_rig_reset();
        if (version == 1)
            device_rig_hide_symbol("cuMemcpyBatchAsync_v2"); // 12.8: the call with failIdx
        standin_counts counts = copy_many(DRAY_STORAGE_PINNED, DRAY_OK, NULL);
        assert_int_equal(counts.batches, 2); // of 128 at most
        assert_int_equal(counts.single_copies, 0);
    }
}

static void ordinary_memory_is_not_batched(void **state)
{
    (void)state;
    device_rig_reset();
    standin_counts counts = copy_many(DRAY_STORAGE_SYSTEM, DRAY_OK, NULL);
    assert_int_equal(counts.batches, 0);
    assert_int_equal(counts.single_copies, run_count);
}

static void without_the_batch_call_copies_go_one_by_one(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_hide_symbol("cuMemcpyBatchAsync_v2");
    device_rig_hide_symbol("cuMemcpyBatchAsync");
    assert_int_equal(copy_many(DRAY_STORAGE_PINNED, DRAY_OK, NULL).single_copies, run_count);
    device_rig_reset(); // it is there, and says "not supported"
    device_rig_standin(
        &(standin_config){.fault = {.call = "cuMemcpyBatchAsync_v2", .at = 1, .code = 801}});
    standin_counts counts = copy_many(DRAY_STORAGE_PINNED, DRAY_OK, NULL);
    assert_int_equal(counts.single_copies, run_count);
    assert_int_equal(counts.batches, 0);
}

static void errors_carry_code_and_name(void **state)
{
    (void)state;
    dray_error error = {0};
    device_rig_reset();
    device_rig_standin(
        &(standin_config){.fault = {.call = "cuMemcpyHtoDAsync_v2", .at = 3, .code = 1}});
    copy_many(DRAY_STORAGE_SYSTEM, DRAY_E_DEVICE, &error);
    assert_string_equal(error.message, "cuMemcpyHtoDAsync_v2 64 bytes, copy 3 of 200: "
                                       "CUDA_ERROR_INVALID_VALUE (1)");
    assert_int_equal(error.native_code, 1);
    assert_string_equal(error.origin, "cuMemcpyHtoDAsync_v2");
    device_rig_standin(
        &(standin_config){.fault = {.call = "cuMemcpyHtoDAsync_v2", .at = 1, .code = 777}});
    copy_many(DRAY_STORAGE_SYSTEM, DRAY_E_DEVICE, &error); // a name that only the driver knows
    device_rig_says(error.message, "CUDA_ERROR_OF_THE_STANDIN (777)");
}

// --- memory --------------------------------------------------------------------------------------------

static void success_without_anything_is_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        dray_storage storage;
    } cases[] = {
        {"cuMemAlloc_v2", DRAY_STORAGE_DEVICE},
        {"cuMemAllocManaged", DRAY_STORAGE_MANAGED},
        {"cuMemHostAlloc", DRAY_STORAGE_PINNED},
        {"cuStreamCreate", DRAY_STORAGE_DEVICE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        device_rig_reset();
        dray_context *context = device_rig_context(NULL, 0);
        dray_device *device;
        assert_int_equal(dray_device_open(context, "cuda:0", &device, NULL), DRAY_OK);
        device_rig_standin(&(standin_config){0}); // restarts the counting only
        dray_region_options options = {.struct_bytes = sizeof(options),
                                       .storage = cases[i].storage,
                                       .bytes = 4096,
                                       .device = device};
        dray_device_list *list; // the driver is asked again, and is started again
        assert_int_equal(dray_device_list_create(context, &list, NULL), DRAY_OK);
        dray_device_list_destroy(list);
        device_rig_standin(&(standin_config){.fault = {.call = cases[i].call, .at = 1}});
        assert_int_equal(dray_device_list_create(context, &list, NULL), DRAY_OK);
        dray_device_list_destroy(list);
        dray_region *region = NULL;
        dray_error error = {0};
        assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_DEVICE);
        device_rig_says(error.message, "said success and gave nothing");
        device_rig_says(error.message, cases[i].call);
        assert_null(region);
        dray_device_release(device);
        dray_context_destroy(context);
        standin_counts counts = device_rig_standin_counts();
        assert_int_equal(counts.contexts + counts.allocations + counts.streams, 0);
    }
}

/// The driver puts its own allocations where it likes, so ours are registered with it.
static void memory_near_a_device_is_ours_and_the_driver_locks_it(void **state)
{
    (void)state;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device;
    dray_region *region;
    dray_error error = {0};
    assert_int_equal(dray_device_open(context, "cuda:0", &device, NULL), DRAY_OK);
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_PINNED,
                                   .bytes = 8192,
                                   .device = device,
                                   .numa = DRAY_NUMA_NODE};
    if (dray_region_create(context, &options, &region, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(device_rig_standin_counts().registrations, 1);
    assert_int_equal(device_rig_standin_counts().host_allocations, 0);
    dray_region_release(region);
    assert_int_equal(device_rig_standin_counts().registrations, 0);
    dray_device_release(device);
    dray_context_destroy(context);
}

static void memory_that_is_locked_twice_is_refused(void **state)
{
    (void)state;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device;
    assert_int_equal(dray_device_open(context, "cuda:0", &device, NULL), DRAY_OK);
    dray_region *memory = device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, 8192), *once, *twice;
    dray_error error = {0};
    assert_int_equal(dray_device_pin(device, memory, &once, &error), DRAY_OK);
    assert_int_equal(dray_device_pin(device, memory, &twice, &error), DRAY_E_DEVICE);
    assert_string_equal(error.message, "pin on cuda:0: cuMemHostRegister_v2 8192 bytes: "
                                       "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED (712)");
    assert_int_equal(device_rig_standin_counts().registrations, 1);
    dray_region_release(once);
    assert_int_equal(dray_device_pin(device, memory, &twice, &error), DRAY_OK);
    dray_region_release(twice);
    dray_region_release(memory);
    dray_device_release(device);
    dray_context_destroy(context);
    assert_int_equal(device_rig_standin_counts().registrations, 0);
}

static void take_back(void *self, void *memory, uint64_t bytes)
{
    assert_null(memory);
    *(uint64_t *)self += bytes;
}

static void memory_of_others_is_given_back_their_way(void **state)
{
    (void)state;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device;
    assert_int_equal(dray_device_open(context, "cuda:0", &device, NULL), DRAY_OK);
    dray_region *own = device_rig_region(context, device, DRAY_STORAGE_DEVICE, 4096), *wrapped;
    dray_region_native native;
    dray_region_get_native(own, &native);
    uint64_t given_back = 0;
    dray_error error = {0};
    assert_int_equal(dray_device_wrap(device, NULL, native.device_address + 96, 4000, take_back,
                                      &given_back, &wrapped, &error),
                     DRAY_OK);
    dray_region *from = device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, 4000);
    memset(dray_region_pointer(from), 7, 4000);
    assert_int_equal(device_rig_copy(device, wrapped, 0, from, 0, 4000, &error), DRAY_OK);
    assert_int_equal(device_rig_copy(device, from, 0, own, 96, 4000, &error), DRAY_OK);
    assert_int_equal(((uint8_t *)dray_region_pointer(from))[3999], 7);
    dray_region_release(wrapped);
    assert_int_equal(given_back, 4000);
    assert_int_equal(dray_device_wrap(device, NULL, 0, 4000, NULL, NULL, &wrapped, &error),
                     DRAY_E_INVALID);
    assert_int_equal(dray_device_wrap(device, NULL, UINT64_MAX, 2, NULL, NULL, &wrapped, &error),
                     DRAY_E_INVALID);
    assert_non_null(dray_device_handle(device));
    dray_region_release(own);
    dray_region_release(from);
    dray_device_release(device);
    dray_context_destroy(context);
}

int main(void)
{
    if (!device_rig_has_standin()) {
        printf("skipped: DRAY_STANDIN_CUDA does not name the stand-in for libcuda.so.1\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(why_it_is_unavailable_is_told),
        cmocka_unit_test(a_missing_call_takes_one_capability),
        cmocka_unit_test(facts_are_the_drivers),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(many_copies_of_locked_memory_are_batched),
        cmocka_unit_test(ordinary_memory_is_not_batched),
        cmocka_unit_test(without_the_batch_call_copies_go_one_by_one),
        cmocka_unit_test(errors_carry_code_and_name),
        cmocka_unit_test(success_without_anything_is_an_error),
        cmocka_unit_test(memory_near_a_device_is_ours_and_the_driver_locks_it),
        cmocka_unit_test(memory_that_is_locked_twice_is_refused),
        cmocka_unit_test(memory_of_others_is_given_back_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
