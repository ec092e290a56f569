/// NIXL over its stand-in: bytes, queues that lie, errors and what comes after them, faults.
#include "backend_rig.h"
#include "counting_allocator.h"
#include "device_rig.h"
#include "dray/transfer.h"
#include "standin_nixl.h"
#include "testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const dray_backend_ops drayi_backend_nixl;

static void nixl_set(const standin_nixl_config *config)
{
    standin_nixl_set_fn set;
    void *symbol = device_rig_real_symbol(getenv("DRAY_STANDIN_NIXL_CAPI"), "standin_nixl_set");
    memcpy(&set, &symbol, sizeof(symbol));
    set(config);
}

static standin_nixl_counts nixl_counts(void)
{
    standin_nixl_get_fn get;
    void *symbol = device_rig_real_symbol(getenv("DRAY_STANDIN_NIXL_CAPI"), "standin_nixl_get");
    memcpy(&get, &symbol, sizeof(symbol));
    standin_nixl_counts counts;
    get(&counts);
    return counts;
}

static void reset(void)
{
    device_rig_reset();
    nixl_set(&(standin_nixl_config){.fresh = true});
}

static void nothing_is_left(void)
{
    standin_nixl_counts counts = nixl_counts();
    if (counts.misuse)
        fail_msg("NIXL: %s", counts.last_misuse);
    assert_int_equal(counts.agents, 0);
    assert_int_equal(counts.plugins, 0);
    assert_int_equal(counts.objects, 0);
    assert_int_equal(counts.registrations, 0);
    standin_counts driver = device_rig_standin_counts();
    if (driver.misuse)
        fail_msg("driver: %s", driver.last_misuse);
    assert_int_equal(driver.contexts + driver.allocations + driver.streams, 0);
}

// --- a bench: an agent with NIXL alone, a file, memory -------------------------------------------------------

enum { BYTES = (5 << 20) + 77 };

typedef struct bench {
    dray_context *context;
    dray_agent *agent;
    dray_region *memory, *file;
    char path[256];
    char how[512]; // the last plan's backends
} bench;

static dray_status agent_open(dray_context *context, dray_agent **out, dray_error *error)
{
    static const char *const names[] = {"NIXL", NULL};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = names};
    return dray_agent_create(context, &options, out, error);
}

static bench bench_open(const standin_nixl_config *config, uint64_t bytes)
{
    reset();
    nixl_set(config);
    bench own = {.context = device_rig_context(NULL, 0)};
    dray_error error = {0};
    backend_rig_file(NULL, bytes, own.path);
    dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    if (agent_open(own.context, &own.agent, &error) != DRAY_OK ||
        dray_region_open(own.context, own.path, &writable, &own.file, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    own.memory = device_rig_region(own.context, NULL, DRAY_STORAGE_SYSTEM, bytes);
    return own;
}

static void bench_close(bench *own)
{
    dray_region_release(own->file);
    dray_region_release(own->memory);
    dray_agent_destroy(own->agent);
    dray_context_destroy(own->context);
    unlink(own->path);
    nothing_is_left();
}

static dray_status move(bench *own, dray_region *from, dray_region *to, uint64_t bytes,
                        dray_error *error)
{
    dray_copy copy = {.source = from, .target = to, .run_bytes = bytes};
    dray_plan *plan;
    dray_transfer *transfer;
    dray_status status = dray_plan_create(own->agent, &copy, 1, NULL, &plan, error);
    if (status != DRAY_OK)
        return status;
    status = dray_transfer_create(own->agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK) {
        status = dray_transfer_submit(transfer, error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(transfer, -1, error);
        dray_plan_describe(own->agent, plan, own->how, sizeof(own->how));
        dray_transfer_destroy(transfer);
    }
    dray_plan_destroy(plan);
    return status;
}

static void assert_moves(bench *own, dray_region *from, dray_region *to, uint64_t bytes)
{
    dray_error error = {0};
    if (move(own, from, to, bytes, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

static void assert_memory(const bench *own, uint64_t count)
{
    assert_int_equal(backend_rig_first_wrong(dray_region_pointer(own->memory), count, 0),
                     DRAY_UNKNOWN);
}

static void assert_file(const bench *own, uint64_t count)
{
    uint8_t *bytes = malloc(count);
    int fd = open(own->path, O_RDONLY);
    assert_true(bytes && fd >= 0);
    assert_int_equal(pread(fd, bytes, count, 0), count);
    assert_int_equal(backend_rig_first_wrong(bytes, count, 0), DRAY_UNKNOWN);
    close(fd);
    free(bytes);
}

static void file_wipe(const bench *own, uint64_t count)
{
    uint8_t *zeros = calloc(1, count);
    int fd = open(own->path, O_WRONLY);
    assert_true(zeros && fd >= 0);
    assert_int_equal(pwrite(fd, zeros, count, 0), count);
    close(fd);
    free(zeros);
}

// --- bytes ------------------------------------------------------------------------------------------------

static void bytes_go_there_and_back(void **state)
{
    (void)state;
    for (uint32_t polls = 0; polls < 100; polls += 33) {
        bench own = bench_open(&(standin_nixl_config){.polls = polls}, BYTES);
        assert_moves(&own, own.file, own.memory, BYTES);
        assert_memory(&own, BYTES);
        file_wipe(&own, BYTES);
        assert_moves(&own, own.memory, own.file, BYTES);
        assert_file(&own, BYTES);
        assert_string_equal(own.how,
                            "nixl (NIXL, POSIX plug-in with use_aio, GDS_MT plug-in, 8 at a "
                            "time)");
        bench_close(&own);
    }
}

static void device_memory_goes_by_gds_mt(void **state)
{
    (void)state;
    bench own = bench_open(&(standin_nixl_config){.polls = 2}, BYTES);
    dray_device *device;
    dray_error error = {0};
    if (dray_device_open(own.context, "cuda:1", &device, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_region *on = device_rig_region(own.context, device, DRAY_STORAGE_DEVICE, BYTES);
    assert_moves(&own, own.file, on, BYTES);
    if (device_rig_copy(device, own.memory, 0, on, 0, BYTES, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_memory(&own, BYTES);
    file_wipe(&own, BYTES);
    assert_moves(&own, on, own.file, BYTES);
    assert_file(&own, BYTES);
    dray_region_release(on);
    dray_device_release(device);
    bench_close(&own);
}

static void without_gds_mt_device_memory_is_not_offered(void **state)
{
    (void)state;
    bench own = bench_open(&(standin_nixl_config){.no_gds = true}, BYTES);
    dray_device *device;
    dray_error error = {0};
    assert_int_equal(dray_device_open(own.context, "cuda:0", &device, &error), DRAY_OK);
    dray_region *on = device_rig_region(own.context, device, DRAY_STORAGE_DEVICE, BYTES);
    assert_int_equal(move(&own, own.file, on, BYTES, &error), DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "no backend of the agent moves bytes"));
    assert_moves(&own, own.file, own.memory, BYTES);
    assert_memory(&own, BYTES);
    dray_region_release(on);
    dray_device_release(device);
    bench_close(&own);
}

// --- who may have it ----------------------------------------------------------------------------------------

static void nobody_gets_it_unasked(void **state)
{
    (void)state;
    reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_agent_options options = {.struct_bytes = sizeof(options)};
    dray_agent *agent;
    dray_error error = {0};
    assert_int_equal(dray_agent_create(context, &options, &agent, &error), DRAY_OK);
    assert_false(dray_agent_has_backend(agent, "NIXL"));
    dray_agent_destroy(agent);
    dray_context_destroy(context);
    assert_int_equal(nixl_counts().calls, 0);
    assert_non_null(drayi_backend_nixl.unproven);
}

static void assert_refused(const char *wanted)
{
    dray_context *context = device_rig_context(NULL, 0);
    dray_agent *agent = NULL;
    dray_error error = {0};
    assert_int_equal(agent_open(context, &agent, &error), DRAY_E_UNSUPPORTED);
    if (!strstr(error.message, wanted) || !strstr(error.message, "backend nixl"))
        fail_msg("\"%s\" is not in \"%s\"", wanted, error.message);
    dray_context_destroy(context);
    nothing_is_left();
}

static void an_absent_or_stub_library_is_named(void **state)
{
    (void)state;
    reset();
    device_rig_hide_library("libnixl_capi.so");
    assert_refused("libnixl_capi.so: cannot open shared object file");
    reset();
    device_rig_hide_symbol("nixl_capi_release_xfer_req");
    assert_refused("libnixl_capi.so has no nixl_capi_release_xfer_req");
    reset();
    nixl_set(&(standin_nixl_config){.stub = true});
    assert_refused("is NIXL's stub, which moves no bytes");
}

// --- queues that lie ----------------------------------------------------------------------------------------

static void a_queue_that_calls_short_reads_a_success_is_not_used(void **state)
{
    (void)state;
    static const struct {
        unsigned liars, absent;
        const char *chosen;
    } cases[] = {
        {STANDIN_NIXL_AIO, 0, "use_uring"},
        {STANDIN_NIXL_AIO | STANDIN_NIXL_URING, 0, "use_posix_aio"}, // NIXL 1.4.0
        {0, STANDIN_NIXL_AIO, "use_uring"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bench own = bench_open(
            &(standin_nixl_config){.liars = cases[i].liars, .absent = cases[i].absent}, BYTES);
        assert_moves(&own, own.file, own.memory, BYTES);
        assert_memory(&own, BYTES);
        assert_non_null(strstr(own.how, cases[i].chosen));
        bench_close(&own);
    }
    reset();
    nixl_set(&(standin_nixl_config){.liars = 7});
    assert_refused("a read beyond the end of a file is called a success");
}

static void a_file_that_became_shorter_is_an_error(void **state)
{
    (void)state;
    bench own = bench_open(&(standin_nixl_config){0}, BYTES);
    dray_error error = {0};
    assert_int_equal(truncate(own.path, 8192), 0);
    assert_int_equal(move(&own, own.file, own.memory, BYTES, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "file ends at 8192"));
    nixl_set(&(standin_nixl_config){.liars = 7}); // even if its queue learns to lie
    assert_int_equal(move(&own, own.file, own.memory, BYTES, &error), DRAY_E_CORRUPT);
    bench_close(&own);
}

// --- errors ------------------------------------------------------------------------------------------------

static void after_an_error_everything_works_again(void **state)
{
    (void)state;
    static const char *const calls[] = {"create_xfer_req", "post_xfer_req", "get_xfer_status",
                                        "xfer_dlist_add_desc", "create_xfer_dlist"};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        bench own = bench_open(&(standin_nixl_config){0}, BYTES);
        dray_error error = {0};
        nixl_set(&(standin_nixl_config){.call = calls[i], .at = 2, .code = -2});
        assert_int_equal(move(&own, own.file, own.memory, BYTES, &error), DRAY_E_DEVICE);
        assert_int_equal(error.native_code, -2);
        assert_non_null(strstr(error.message, "NIXL_CAPI_ERROR_BACKEND (-2)"));
        assert_non_null(strstr(error.message, calls[i]));
        assert_int_equal(nixl_counts().hits, 1);
        for (int again = 0; again < 3; again++) {
            memset(dray_region_pointer(own.memory), 0, BYTES);
            assert_moves(&own, own.file, own.memory, BYTES);
            assert_memory(&own, BYTES);
        }
        assert_non_null(strstr(own.how, "; 1 engines made anew after errors"));
        bench_close(&own);
    }
}

static void an_engine_that_does_not_come_back_fails_its_operations_only(void **state)
{
    (void)state;
    bench own = bench_open(&(standin_nixl_config){0}, BYTES);
    dray_error error = {0};
    nixl_set(&(standin_nixl_config){.call = "get_xfer_status", .at = 1, .code = -4});
    assert_int_equal(move(&own, own.file, own.memory, BYTES, &error), DRAY_E_DEVICE);
    nixl_set(&(standin_nixl_config){.call = "create_agent", .at = 1, .repeat = 1000, .code = -2});
    assert_int_equal(move(&own, own.file, own.memory, BYTES, &error), DRAY_E_DEVICE);
    assert_non_null(strstr(error.message, "nixl_capi_create_agent"));
    nixl_set(&(standin_nixl_config){0});
    assert_moves(&own, own.file, own.memory, BYTES);
    assert_memory(&own, BYTES);
    bench_close(&own);
}

// --- faults ---------------------------------------------------------------------------------------------------

static dray_status round_trip(dray_context *context, const char *path, dray_error *error)
{
    bench own = {.context = context};
    dray_region_options options = {.struct_bytes = sizeof(options), .bytes = 300000};
    dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    dray_status status = agent_open(context, &own.agent, error);
    if (status == DRAY_OK)
        status = dray_region_create(context, &options, &own.memory, error);
    if (status == DRAY_OK)
        status = dray_region_open(context, path, &writable, &own.file, error);
    if (status == DRAY_OK)
        status = move(&own, own.file, own.memory, 300000, error);
    if (status == DRAY_OK)
        status = move(&own, own.memory, own.file, 300000, error);
    dray_region_release(own.file);
    dray_region_release(own.memory);
    dray_agent_destroy(own.agent);
    return status;
}

static void the_nth_call_of_nixl_may_fail(void **state)
{
    (void)state;
    bench own = {0};
    reset();
    backend_rig_file(NULL, 300000, own.path);
    for (uint64_t n = 1;; n++) {
        reset();
        nixl_set(&(standin_nixl_config){.call = "", .at = n, .code = -2});
        dray_context *context = device_rig_context(NULL, 0);
        dray_error error = {0};
        dray_status status = round_trip(context, own.path, &error);
        dray_context_destroy(context);
        if (status != DRAY_OK)
            assert_true(error.message[0]);
        standin_nixl_counts counts = nixl_counts();
        nothing_is_left();
        assert_file(&own, 300000); // whatever happened, no wrong byte was written
        if (counts.hits == 0) {
            assert_int_equal(status, DRAY_OK);
            assert_true(n > 100);
            break;
        }
    }
    unlink(own.path);
}

static void allocations_may_fail_anywhere(void **state)
{
    (void)state;
    char path[256];
    reset();
    backend_rig_file(NULL, 300000, path);
    for (uint64_t n = 1;; n++) {
        reset();
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        dray_context *context = device_rig_context(&allocator, 0);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_error error = {0};
        dray_status status = round_trip(context, path, &error);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        nothing_is_left();
        if (!counting_allocator_failed(&counter)) {
            assert_int_equal(status, DRAY_OK);
            break;
        }
        if (status != DRAY_OK) // looking for a GPU may fail, NIXL then works without
            assert_int_equal(status, DRAY_E_NOMEM);
    }
    unlink(path);
}

int main(void)
{
    if (!device_rig_has_standin() || !getenv("DRAY_STANDIN_NIXL_CAPI")) {
        printf("skipped: the stand-ins are not here; run this through ctest\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_there_and_back),
        cmocka_unit_test(device_memory_goes_by_gds_mt),
        cmocka_unit_test(without_gds_mt_device_memory_is_not_offered),
        cmocka_unit_test(nobody_gets_it_unasked),
        cmocka_unit_test(an_absent_or_stub_library_is_named),
        cmocka_unit_test(a_queue_that_calls_short_reads_a_success_is_not_used),
        cmocka_unit_test(a_file_that_became_shorter_is_an_error),
        cmocka_unit_test(after_an_error_everything_works_again),
        cmocka_unit_test(an_engine_that_does_not_come_back_fails_its_operations_only),
        cmocka_unit_test(the_nth_call_of_nixl_may_fail),
        cmocka_unit_test(allocations_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
