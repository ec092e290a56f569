/// Copies on devices through an agent: every way between host, devices of one family and of two, and
/// files; sleeping on threads and without any; and what happens when a driver fails.
#include "counting_allocator.h"
#include "device/sim/sim.h"
#include "device_rig.h"
#include "dray/transfer.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const all_backends[] = {"copy", "posix", "CUDA", "OPENCL", "sim_device", NULL};

typedef struct bench {
    dray_context *context;
    dray_agent *agent;
} bench;

static bench bench_open(uint32_t threads)
{
    device_rig_reset();
    bench own = {.context = device_rig_context(NULL, threads)};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = all_backends};
    dray_error error = {0};
    if (dray_agent_create(own.context, &options, &own.agent, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return own;
}

static void bench_close(bench *own)
{
    dray_agent_destroy(own->agent);
    dray_context_destroy(own->context);
    standin_counts counts = device_rig_standin_counts();
    if (counts.misuse)
        fail_msg("%s", counts.last_misuse);
    assert_int_equal(counts.contexts + counts.allocations + counts.host_allocations, 0);
    assert_int_equal(counts.streams + counts.events + counts.registrations, 0);
}

static dray_device *device_open(bench *own, const char *name)
{
    dray_device *device = NULL;
    dray_error error = {0};
    if (dray_device_open(own->context, name, &device, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return device;
}

/// NULL device: SYSTEM memory.
static dray_region *region_of(bench *own, dray_device *device, dray_storage storage, uint64_t bytes)
{
    return device_rig_region(own->context, device, storage, bytes);
}

static void fill(dray_region *region, uint32_t seed)
{
    uint8_t *bytes = dray_region_pointer(region);
    for (uint64_t i = 0; i < dray_region_bytes(region); i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761u >> 11);
}

static dray_status run(bench *own, const dray_copy *copies, uint64_t count, dray_plan_summary *out,
                       dray_error *error)
{
    dray_plan *plan;
    dray_transfer *transfer;
    dray_status status = dray_plan_create(own->agent, copies, count, NULL, &plan, error);
    if (status != DRAY_OK)
        return status;
    if (out)
        dray_plan_summarize(plan, out);
    status = dray_transfer_create(own->agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK) {
        status = dray_transfer_submit(transfer, error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(transfer, -1, error);
        dray_transfer_destroy(transfer);
    }
    dray_plan_destroy(plan);
    return status;
}

static dray_copy whole(dray_region *from, dray_region *to)
{
    return (dray_copy){.source = from, .target = to, .run_bytes = dray_region_bytes(from)};
}

static dray_plan_summary move(bench *own, dray_region *from, dray_region *to)
{
    dray_copy copy = whole(from, to);
    dray_plan_summary summary = {0};
    dray_error error = {0};
    if (run(own, &copy, 1, &summary, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return summary;
}

// --- ways ----------------------------------------------------------------------------------------------

static const char *const devices[] = {"cuda:0", "opencl:0", "opencl:2", "sim:0"};
enum { device_count = sizeof(devices) / sizeof(devices[0]) };

static void host_to_device_and_back(uint32_t threads)
{
    enum { bytes = (17 << 20) + 12345 }; // several steps of the edge's size
    bench own = bench_open(threads);
    for (int i = 0; i < device_count; i++) {
        dray_device *device = device_open(&own, devices[i]);
        dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                    *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                    *first = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes),
                    *second = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes);
        dray_device_release(device);
        fill(from, (uint32_t)i);
        assert_int_equal(move(&own, from, first).hops, 1);
        assert_int_equal(move(&own, first, second).hops, 1);
        assert_int_equal(move(&own, second, back).hops, 1);
        assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
        dray_region_release(from);
        dray_region_release(back);
        dray_region_release(first);
        dray_region_release(second);
    }
    bench_close(&own);
}

static void bytes_go_there_and_back_with_threads(void **state)
{
    (void)state;
    host_to_device_and_back(2);
}

static void bytes_go_there_and_back_without_threads(void **state)
{
    (void)state;
    host_to_device_and_back(0);
}

static void any_device_reaches_any_other(void **state)
{
    (void)state;
    enum { bytes = (2 << 20) + 3 };
    static const char *const names[] = {"cuda:0",   "cuda:1", "opencl:0",
                                        "opencl:1", "sim:0",  "sim:1"};
    bench own = bench_open(1);
    dray_region *regions[6], *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                             *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes);
    for (int i = 0; i < 6; i++) {
        dray_device *device = device_open(&own, names[i]);
        regions[i] = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes);
        dray_device_release(device);
    }
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 6; k++) {
            if (i == k)
                continue;
            fill(from, (uint32_t)(i * 6 + k));
            move(&own, from, regions[i]);
            bool family = i / 2 == k / 2, one_hop = family && i / 2 != 1; // opencl goes by the host
            assert_int_equal(move(&own, regions[i], regions[k]).hops, one_hop ? 1 : 2);
            move(&own, regions[k], back);
            assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
        }
    }
    assert_true(device_rig_standin_counts().peer_copies > 0);
    for (int i = 0; i < 6; i++)
        dray_region_release(regions[i]);
    dray_region_release(from);
    dray_region_release(back);
    bench_close(&own);
}

static void a_plan_may_concern_several_devices_at_once(void **state)
{
    (void)state;
    enum { count = 600, bytes = 5000 };
    static const char *const names[] = {"cuda:0",   "cuda:1", "opencl:0",
                                        "opencl:1", "sim:0",  "sim:1"};
    bench own = bench_open(1);
    dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, (uint64_t)count * bytes),
                *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, (uint64_t)count * bytes),
                *regions[6];
    for (int i = 0; i < 6; i++) {
        dray_device *device = device_open(&own, names[i]);
        regions[i] = region_of(&own, device, DRAY_STORAGE_DEVICE, (uint64_t)count * bytes);
        dray_device_release(device);
    }
    static dray_copy copies[count];
    fill(from, 99);
    for (int way = 0; way < 2; way++) {
        for (uint64_t i = 0; i < count; i++) { // small copies, devices in turn
            dray_region *device = regions[i % 6];
            copies[i] = (dray_copy){.source = way ? device : from,
                                    .target = way ? back : device,
                                    .source_offset = i * bytes,
                                    .target_offset = i * bytes,
                                    .run_bytes = bytes};
        }
        dray_error error = {0};
        if (run(&own, copies, count, NULL, &error) != DRAY_OK)
            fail_msg("%s", error.message);
    }
    assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), count * bytes);
    for (int i = 0; i < 6; i++)
        dray_region_release(regions[i]);
    dray_region_release(from);
    dray_region_release(back);
    bench_close(&own);
}

static void loops_reshape_on_the_way(void **state)
{
    (void)state;
    enum { rows = 64, columns = 96, element = 512, bytes = rows * columns * element };
    bench own = bench_open(1);
    for (int d = 0; d < device_count; d++) {
        dray_device *device = device_open(&own, devices[d]);
        dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                    *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                    *turned = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes);
        dray_device_release(device);
        fill(from, 17);
        dray_copy copy = {
            .source = from,
            .target = turned,
            .run_bytes = element,
            .loop_count = 2,
            .loops = {{rows, columns * element, element}, {columns, element, rows * element}}};
        dray_error error = {0};
        if (run(&own, &copy, 1, NULL, &error) != DRAY_OK)
            fail_msg("%s", error.message);
        move(&own, turned, back);
        const char *a = dray_region_pointer(from), *b = dray_region_pointer(back);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++)
                assert_memory_equal(a + (r * columns + c) * element, b + (c * rows + r) * element,
                                    element);
        }
        dray_region_release(from);
        dray_region_release(back);
        dray_region_release(turned);
    }
    assert_true(device_rig_standin_counts().single_copies > 0);
    bench_close(&own);
}

static void a_file_goes_through_a_device(void **state)
{
    (void)state;
    enum { bytes = (5 << 20) + 77 };
    bench own = bench_open(1);
    const char *folder = getenv("TMPDIR");
    for (int d = 0; d < device_count; d++) {
        char paths[2][256];
        dray_region *files[2], *memory = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                               *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes);
        dray_error error = {0};
        for (int i = 0; i < 2; i++) {
            snprintf(paths[i], sizeof(paths[i]), "%s/device-backend-%d-%d",
                     folder ? folder : "/tmp", (int)getpid(), i);
            dray_file_options options = {
                .struct_bytes = sizeof(options), .writable = 1, .create = 1, .bytes = bytes};
            if (dray_region_open(own.context, paths[i], &options, &files[i], &error) != DRAY_OK)
                fail_msg("%s", error.message);
        }
        dray_device *device = device_open(&own, devices[d]);
        dray_region *on = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes);
        dray_device_release(device);
        fill(memory, (uint32_t)d + 40);
        move(&own, memory, files[0]);
        assert_int_equal(move(&own, files[0], on).hops, 2);
        assert_int_equal(move(&own, on, files[1]).hops, 2);
        move(&own, files[1], back);
        assert_memory_equal(dray_region_pointer(memory), dray_region_pointer(back), bytes);
        for (int i = 0; i < 2; i++) {
            dray_region_release(files[i]);
            unlink(paths[i]);
        }
        dray_region_release(on);
        dray_region_release(memory);
        dray_region_release(back);
    }
    bench_close(&own);
}

static void managed_and_pinned_memory_take_part(void **state)
{
    (void)state;
    enum { bytes = 300001 };
    bench own = bench_open(1);
    for (int d = 0; d < device_count; d++) {
        dray_device *device = device_open(&own, devices[d]);
        dray_device_info info;
        assert_int_equal(dray_device_get_info(device, &info, NULL), DRAY_OK);
        const struct {
            dray_storage storage;
            uint32_t capability;
        } kinds[] = {{DRAY_STORAGE_MANAGED, DRAY_DEVICE_MANAGED},
                     {DRAY_STORAGE_PINNED, DRAY_DEVICE_PINNED}};
        for (int k = 0; k < 2; k++) {
            if (!(info.capabilities & kinds[k].capability))
                continue;
            dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                        *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                        *kind = region_of(&own, device, kinds[k].storage, bytes),
                        *on = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes);
            fill(from, (uint32_t)k);
            move(&own, from, kind);
            assert_int_equal(move(&own, kind, on).hops, 1);
            memset(dray_region_pointer(kind), 0, bytes);
            move(&own, on, kind);
            move(&own, kind, back);
            assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
            dray_region_release(from);
            dray_region_release(back);
            dray_region_release(kind);
            dray_region_release(on);
        }
        dray_device_release(device);
    }
    bench_close(&own);
}

// --- refusals ------------------------------------------------------------------------------------------

static void a_driver_that_is_missing_is_named(void **state)
{
    (void)state;
    device_rig_reset();
    static const struct {
        const char *backend, *library, *word;
    } cases[] = {{"CUDA", "libcuda.so.1", "cuda"}, {"OPENCL", "libOpenCL.so.1", "opencl"}};
    for (int i = 0; i < 2; i++) {
        device_rig_hide_library(cases[i].library);
        dray_context *context = device_rig_context(NULL, 0);
        const char *const names[] = {cases[i].backend, NULL};
        dray_agent_options options = {.struct_bytes = sizeof(options), .backends = names};
        dray_agent *agent = NULL;
        dray_error error = {0};
        assert_int_equal(dray_agent_create(context, &options, &agent, &error), DRAY_E_UNSUPPORTED);
        assert_non_null(strstr(error.message, cases[i].word));
        assert_non_null(strstr(error.message, cases[i].library));
        dray_context_destroy(context);
    }
    device_rig_hide_library(NULL);
}

static void no_agent_loads_a_driver_unasked(void **state)
{
    (void)state;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_agent *agent;
    dray_error error = {0};
    assert_int_equal(dray_agent_create(context, NULL, &agent, &error), DRAY_OK);
    assert_int_equal(device_rig_standin_counts().calls, 0);
    assert_false(dray_agent_has_backend(agent, "opencl"));
    dray_device *device;
    assert_int_equal(dray_device_open(context, "sim:0", &device, &error), DRAY_OK);
    dray_region *from = device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, 64),
                *to = device_rig_region(context, device, DRAY_STORAGE_DEVICE, 64);
    dray_copy copy = whole(from, to);
    dray_plan *plan;
    assert_int_equal(dray_plan_create(agent, &copy, 1, NULL, &plan, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message, "copy 0: no backend of the agent moves bytes from system to "
                                       "device memory of sim:0, in one hop or two");
    dray_region_release(from);
    dray_region_release(to);
    dray_device_release(device);
    dray_agent_destroy(agent);
    dray_context_destroy(context);
}

static void targets_that_share_device_memory_are_refused(void **state)
{
    (void)state;
    bench own = bench_open(0);
    dray_device *device = device_open(&own, "cuda:0");
    dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, 200),
                *on = region_of(&own, device, DRAY_STORAGE_DEVICE, 200), *views[2];
    dray_region_native native;
    dray_region_get_native(on, &native);
    dray_error error = {0};
    assert_int_equal(dray_region_view(on, 0, 100, &views[0], &error), DRAY_OK);
    // the same memory, wrapped as somebody else's
    assert_int_equal(dray_device_wrap(device, NULL, native.device_address + 99, 100, NULL, NULL,
                                      &views[1], &error),
                     DRAY_OK);
    dray_copy copies[2] = {
        {.source = from, .target = views[0], .run_bytes = 100},
        {.source = from, .source_offset = 100, .target = views[1], .run_bytes = 100}};
    assert_int_equal(run(&own, copies, 2, NULL, &error), DRAY_E_INVALID);
    copies[1].target_offset = 1;
    copies[1].run_bytes = 99;
    assert_int_equal(run(&own, copies, 2, NULL, &error), DRAY_OK);
    dray_region_release(views[0]);
    dray_region_release(views[1]);
    dray_region_release(on);
    dray_region_release(from);
    dray_device_release(device);
    bench_close(&own);
}

// --- faults --------------------------------------------------------------------------------------------

static void sim_faults(dray_device *device, const drayi_sim_faults *faults)
{
    dray_device_native native;
    dray_device_get_native(device, &native);
    drayi_sim_set_faults(native.self, faults);
}

/// The Nth job is refused, or fails on the way: the transfer says so, and the next one is fine.
static void a_job_that_fails_fails_the_transfer(void **state)
{
    enum { bytes = 20 << 20 };
    const uint32_t threads = *(const uint32_t *)*state;
    bench own = bench_open(threads);
    dray_device *device = device_open(&own, "sim:1");
    dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                *back = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, bytes),
                *on = region_of(&own, device, DRAY_STORAGE_DEVICE, bytes);
    fill(from, 12);
    for (uint64_t n = 1; n <= 6; n++) {
        const drayi_sim_faults kinds[] = {{.start_at = n, .queries_before_done = 3},
                                          {.finish_at = n, .queries_before_done = 3}};
        for (int kind = 0; kind < 2; kind++) {
            sim_faults(device, &kinds[kind]);
            dray_copy copy = whole(from, on);
            dray_error error = {0};
            dray_status status = run(&own, &copy, 1, NULL, &error);
            bool hit = n <= 3; // 20 MiB are three steps of at most 8 MiB
            assert_int_equal(status, hit ? DRAY_E_DEVICE : DRAY_OK);
            if (hit) {
                assert_int_equal(error.native_code, kind ? DRAYI_SIM_FAILED : DRAYI_SIM_INVALID);
                assert_non_null(strstr(error.message, kind ? "SIM_FAILED (3)" : "SIM_INVALID (1)"));
            }
        }
    }
    sim_faults(device, &(drayi_sim_faults){0});
    move(&own, from, on);
    move(&own, on, back);
    assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
    dray_region_release(from);
    dray_region_release(back);
    dray_region_release(on);
    dray_device_release(device);
    bench_close(&own);
}

static void a_lost_device_says_so(void **state)
{
    (void)state;
    bench own = bench_open(1);
    dray_device *device = device_open(&own, "cuda:1");
    dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, 4096),
                *on = region_of(&own, device, DRAY_STORAGE_DEVICE, 4096);
    dray_copy copy = whole(from, on);
    dray_error error = {0};
    assert_int_equal(run(&own, &copy, 1, NULL, &error), DRAY_OK);
    device_rig_standin(&(standin_config){
        .fault = {.call = "(job)", .at = 1, .code = 700, .sticky = true}, .queries_not_ready = 2});
    // the config restarts the stand-in's driver; what is open stays open, as after a driver's reset
    dray_device_list *list;
    assert_int_equal(dray_device_list_create(own.context, &list, &error), DRAY_OK);
    dray_device_list_destroy(list);
    assert_int_equal(run(&own, &copy, 1, NULL, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 700);
    assert_non_null(strstr(error.message, "CUDA_ERROR_ILLEGAL_ADDRESS (700)"));
    assert_non_null(strstr(error.message, "lost"));
    uint64_t calls = device_rig_standin_counts().calls;
    assert_int_equal(run(&own, &copy, 1, NULL, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 700);
    assert_int_equal(device_rig_standin_counts().calls, calls); // a lost context is not asked again
    device_rig_standin(&(standin_config){0});
    dray_region_release(from);
    dray_region_release(on);
    dray_device_release(device);
    dray_agent_destroy(own.agent);
    dray_context_destroy(own.context);
}

/// Did the driver say of a copy, a fill or an end that it happened, when it did not? Nobody can see that
/// but a digest of the bytes that arrived.
static bool lies_about_bytes(void)
{
    static const char *const calls[] = {
        "cuMemsetD8Async", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "(job)",
        "cuEventRecord",   "cuEventQuery",         "cuEventSynchronize",   "cuStreamSynchronize"};
    standin_counts counts = device_rig_standin_counts();
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(counts.last_hit, calls[i]) == 0)
            return true;
    }
    return false;
}

/// Is it a call without which something cannot be given back?
static bool gives_back(const char *call)
{
    return strstr(call, "Free") || strstr(call, "Destroy") || strstr(call, "Release") ||
           strstr(call, "Unregister") || strstr(call, "Push");
}

/// One round over everything; each failing call of the driver must come out as an error, or be of a kind
/// that only costs a capability or a fact.
static dray_status cuda_round(dray_context *context, dray_error *error)
{
    static const char *const names[] = {"cuda", NULL};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = names};
    dray_agent *agent = NULL;
    dray_device *device = NULL;
    dray_region *from = device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, 10000), *on = NULL,
                *pinned = NULL;
    dray_region_options region = {.struct_bytes = sizeof(region), .bytes = 10000};
    dray_status status = dray_agent_create(context, &options, &agent, error);
    if (status == DRAY_OK)
        status = dray_device_open(context, "cuda:0", &device, error);
    region.device = device;
    region.storage = DRAY_STORAGE_DEVICE;
    if (status == DRAY_OK)
        status = dray_region_create(context, &region, &on, error);
    region.storage = DRAY_STORAGE_PINNED;
    if (status == DRAY_OK)
        status = dray_region_create(context, &region, &pinned, error);
    if (status == DRAY_OK) {
        bench own = {.context = context, .agent = agent};
        fill(from, 1);
        dray_copy copies[] = {whole(from, on), whole(on, pinned)};
        for (int i = 0; i < 2 && status == DRAY_OK; i++)
            status = run(&own, &copies[i], 1, NULL, error);
        if (status == DRAY_OK && !lies_about_bytes())
            assert_memory_equal(dray_region_pointer(from), dray_region_pointer(pinned), 10000);
    }
    dray_region_release(from);
    dray_region_release(on);
    dray_region_release(pinned);
    dray_device_release(device);
    dray_agent_destroy(agent);
    return status;
}

static void the_nth_call_of_the_driver_may_fail(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        bool sticky;
    } kinds[] = {{2, false}, {101, false}, {700, true}, {0, false}};
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        for (uint64_t n = 1;; n++) {
            device_rig_reset();
            device_rig_standin(&(standin_config){
                .fault = {
                    .call = "", .at = n, .code = kinds[kind].code, .sticky = kinds[kind].sticky}});
            counting_allocator counter;
            counting_allocator_init(&counter, 0);
            dray_allocator allocator = counting_allocator_interface(&counter);
            dray_context *context = device_rig_context(&allocator, n % 2);
            dray_error error = {0};
            dray_status status = cuda_round(context, &error);
            if (status != DRAY_OK)
                assert_true(error.message[0]);
            dray_context_destroy(context);
            assert_int_equal(counting_allocator_live_bytes(&counter), 0);
            standin_counts counts = device_rig_standin_counts();
            assert_int_equal(device_rig_standin_depth(), 0);
            if (!kinds[kind].sticky && kinds[kind].code && !gives_back(counts.last_hit))
                assert_int_equal(counts.contexts + counts.allocations + counts.host_allocations +
                                     counts.streams + counts.events,
                                 0);
            if (counts.hits == 0) {
                assert_int_equal(status, DRAY_OK);
                assert_true(n > 50);
                break;
            }
        }
    }
}

static void allocations_may_fail_anywhere(void **state)
{
    (void)state;
    device_rig_reset();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        dray_context *context = device_rig_context(&allocator, 1);
        dray_region_release(device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, 1));
        counter.fail_at = counting_allocator_calls(&counter) + n + 1; // the round's first is no test
        dray_error error = {0};
        dray_status status = cuda_round(context, &error);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter)) {
            assert_int_equal(status, DRAY_OK);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
    }
    assert_int_equal(device_rig_standin_counts().misuse, 0);
}

static void nothing_allocates_after_creation(void **state)
{
    (void)state;
    device_rig_reset();
    counting_allocator counter;
    counting_allocator_init(&counter, 0);
    dray_allocator allocator = counting_allocator_interface(&counter);
    bench own = {.context = device_rig_context(&allocator, 1)};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = all_backends};
    dray_error error = {0};
    assert_int_equal(dray_agent_create(own.context, &options, &own.agent, &error), DRAY_OK);
    for (int d = 0; d < device_count; d++) {
        dray_device *device = device_open(&own, devices[d]);
        dray_region *from = region_of(&own, NULL, DRAY_STORAGE_SYSTEM, 9 << 20),
                    *on = region_of(&own, device, DRAY_STORAGE_DEVICE, 9 << 20);
        dray_copy copy = whole(from, on);
        dray_plan *plan;
        dray_transfer *transfer;
        assert_int_equal(dray_plan_create(own.agent, &copy, 1, NULL, &plan, &error), DRAY_OK);
        assert_int_equal(dray_transfer_create(own.agent, plan, NULL, &transfer, &error), DRAY_OK);
        uint64_t calls = counting_allocator_calls(&counter);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(dray_transfer_submit(transfer, &error), DRAY_OK);
            assert_int_equal(dray_transfer_wait(transfer, -1, &error), DRAY_OK);
        }
        assert_int_equal(counting_allocator_calls(&counter), calls);
        dray_transfer_destroy(transfer);
        dray_plan_destroy(plan);
        dray_region_release(from);
        dray_region_release(on);
        dray_device_release(device);
    }
    bench_close(&own);
    assert_int_equal(counting_allocator_live_bytes(&counter), 0);
}

int main(void)
{
    if (!device_rig_has_standin()) {
        printf("skipped: DRAY_STANDIN_CUDA does not name the stand-in for libcuda.so.1\n");
        return 77;
    }
    static uint32_t no_threads = 0, one_thread = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_there_and_back_with_threads),
        cmocka_unit_test(bytes_go_there_and_back_without_threads),
        cmocka_unit_test(any_device_reaches_any_other),
        cmocka_unit_test(a_plan_may_concern_several_devices_at_once),
        cmocka_unit_test(loops_reshape_on_the_way),
        cmocka_unit_test(a_file_goes_through_a_device),
        cmocka_unit_test(managed_and_pinned_memory_take_part),
        cmocka_unit_test(a_driver_that_is_missing_is_named),
        cmocka_unit_test(no_agent_loads_a_driver_unasked),
        cmocka_unit_test(targets_that_share_device_memory_are_refused),
        cmocka_unit_test_prestate(a_job_that_fails_fails_the_transfer, &no_threads),
        cmocka_unit_test_prestate(a_job_that_fails_fails_the_transfer, &one_thread),
        cmocka_unit_test(a_lost_device_says_so),
        cmocka_unit_test(the_nth_call_of_the_driver_may_fail),
        cmocka_unit_test(allocations_may_fail_anywhere),
        cmocka_unit_test(nothing_allocates_after_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
