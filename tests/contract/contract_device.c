/// What every device promises, checked on each: two simulated ones, every OpenCL device (three of PoCL in
/// a plain test run), and the stand-in for CUDA. A device that lacks a kind of memory says so in words.
#include "counting_allocator.h"
#include "device_rig.h"
#include "testing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// The device of a test, opened.
typedef struct bench {
    dray_context *context;
    dray_device *device;
    dray_device_info info;
} bench;

static bench bench_open(const char *name)
{
    device_rig_reset();
    bench own = {.context = device_rig_context(NULL, 1)};
    dray_error error = {0};
    if (dray_device_open(own.context, name, &own.device, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(dray_device_get_info(own.device, &own.info, &error), DRAY_OK);
    return own;
}

static void bench_close(bench *own)
{
    bool standin = strcmp(own->info.family, "cuda") == 0;
    dray_device_release(own->device);
    dray_context_destroy(own->context);
    if (!standin)
        return;
    standin_counts counts = device_rig_standin_counts();
    if (counts.misuse)
        fail_msg("%s", counts.last_misuse);
    assert_int_equal(counts.contexts, 0);
    assert_int_equal(counts.allocations + counts.host_allocations + counts.registrations, 0);
    assert_int_equal(counts.streams + counts.events, 0);
    assert_int_equal(device_rig_standin_depth(), 0);
}

static dray_region *host(bench *own, uint64_t bytes)
{
    return device_rig_region(own->context, NULL, DRAY_STORAGE_SYSTEM, bytes);
}

static dray_region *on_device(bench *own, uint64_t bytes)
{
    return device_rig_region(own->context, own->device, DRAY_STORAGE_DEVICE, bytes);
}

static void fill(dray_region *region, uint32_t seed)
{
    uint8_t *bytes = dray_region_pointer(region);
    for (uint64_t i = 0; i < dray_region_bytes(region); i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

static void copy(bench *own, dray_region *to, uint64_t to_offset, dray_region *from,
                 uint64_t from_offset, uint64_t bytes)
{
    dray_error error = {0};
    if (device_rig_copy(own->device, to, to_offset, from, from_offset, bytes, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

// --- what it says --------------------------------------------------------------------------------------

static void it_tells_its_facts(void **state)
{
    bench own = bench_open(*state);
    assert_string_equal(own.info.name, (const char *)*state);
    assert_string_equal(dray_device_name(own.device), (const char *)*state);
    assert_memory_equal(own.info.name, own.info.family, strlen(own.info.family));
    assert_string_equal(own.info.unavailable, "");
    assert_true(own.info.model[0] && own.info.driver[0]);
    assert_true(own.info.total_bytes > 0 && own.info.largest_bytes > 0);
    assert_true(own.info.free_bytes == DRAY_UNKNOWN || own.info.free_bytes <= own.info.total_bytes);
    assert_true(own.info.alignment > 0 && (own.info.alignment & (own.info.alignment - 1)) == 0);
    uint32_t both = DRAY_DEVICE_MEMORY | DRAY_DEVICE_COPY;
    assert_int_equal(own.info.capabilities & both, both);
    bench_close(&own);
}

static void the_list_names_it(void **state)
{
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_device_list *list;
    dray_error error;
    assert_int_equal(dray_device_list_create(context, &list, &error), DRAY_OK);
    uint32_t found = 0;
    for (uint32_t i = 0; i < dray_device_list_count(list); i++)
        found += strcmp(dray_device_list_at(list, i)->name, *state) == 0;
    assert_int_equal(found, 1);
    assert_null(dray_device_list_at(list, dray_device_list_count(list)));
    dray_device_list_destroy(list);
    dray_context_destroy(context);
}

// --- memory --------------------------------------------------------------------------------------------

static void fresh_memory_is_zero(void **state)
{
    enum { bytes = (1 << 20) + 3 };
    bench own = bench_open(*state);
    dray_region *device = on_device(&own, bytes), *back = host(&own, bytes);
    assert_null(dray_region_pointer(device));
    assert_int_equal(dray_region_bytes(device), bytes);
    assert_string_equal(dray_region_name(device), (const char *)*state);
    fill(back, 1);
    copy(&own, back, 0, device, 0, bytes);
    const uint8_t *at = dray_region_pointer(back);
    for (uint32_t i = 0; i < bytes; i++)
        assert_int_equal(at[i], 0);
    dray_region_release(device);
    dray_region_release(back);
    bench_close(&own);
}

static void bytes_come_back_from_any_offset(void **state)
{
    enum { bytes = 300000 };
    bench own = bench_open(*state);
    dray_region *from = host(&own, bytes), *back = host(&own, bytes);
    dray_region *first = on_device(&own, bytes + 100), *second = on_device(&own, bytes + 100);
    fill(from, 7);
    copy(&own, first, 13, from, 0, bytes);
    copy(&own, second, 77, first, 13, bytes);
    copy(&own, back, 0, second, 77, bytes);
    assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
    copy(&own, back, 0, second, 0, 77); // what stands before was not touched
    for (int i = 0; i < 77; i++)
        assert_int_equal(((uint8_t *)dray_region_pointer(back))[i], 0);
    dray_region_release(first);
    dray_region_release(second);
    dray_region_release(from);
    dray_region_release(back);
    bench_close(&own);
}

static void views_begin_where_they_say(void **state)
{
    bench own = bench_open(*state);
    dray_region *whole = on_device(&own, 1000), *view, *inner, *from = host(&own, 100),
                *back = host(&own, 1000);
    dray_error error;
    assert_int_equal(dray_region_view(whole, 300, 500, &view, &error), DRAY_OK);
    assert_int_equal(dray_region_view(view, 50, 100, &inner, &error), DRAY_OK);
    dray_region_release(view);
    fill(from, 3);
    copy(&own, inner, 0, from, 0, 100);
    copy(&own, back, 0, whole, 0, 1000);
    assert_memory_equal((char *)dray_region_pointer(back) + 350, dray_region_pointer(from), 100);
    assert_int_equal(((uint8_t *)dray_region_pointer(back))[349], 0);
    assert_int_equal(((uint8_t *)dray_region_pointer(back))[450], 0);
    dray_region_release(whole);
    dray_region_release(inner); // the last to hold the memory
    dray_region_release(from);
    dray_region_release(back);
    bench_close(&own);
}

static void a_region_keeps_its_device(void **state)
{
    bench own = bench_open(*state);
    dray_region *device = on_device(&own, 4096), *back = host(&own, 4096);
    dray_device *kept = own.device;
    dray_device_release(own.device); // the region's own reference is left
    fill(back, 2);
    own.device = kept;
    copy(&own, back, 0, device, 0, 4096);
    assert_int_equal(((uint8_t *)dray_region_pointer(back))[4095], 0);
    dray_region_release(back);
    dray_device_retain(kept); // for bench_close
    dray_region_release(device);
    bench_close(&own);
}

/// MANAGED and PINNED: host memory, too; or a sentence.
static void host_visible(bench *own, dray_storage storage, uint32_t capability)
{
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = storage, .bytes = 70000, .device = own->device};
    dray_region *region = NULL;
    dray_error error = {0};
    dray_status status = dray_region_create(own->context, &options, &region, &error);
    if (!(own->info.capabilities & capability)) {
        assert_int_equal(status, DRAY_E_UNSUPPORTED);
        assert_non_null(strstr(error.message, dray_storage_name(storage)));
        return;
    }
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    uint8_t *at = dray_region_pointer(region);
    assert_int_equal((uintptr_t)at % 4096, 0);
    for (int i = 0; i < 70000; i++)
        assert_int_equal(at[i], 0);
    dray_region *device = on_device(own, 70000), *from = host(own, 70000), *back = host(own, 70000);
    fill(from, 9);
    copy(own, device, 0, from, 0, 70000);
    copy(own, region, 0, device, 0, 70000); // from the device
    assert_memory_equal(at, dray_region_pointer(from), 70000);
    memset(at, 0x5a, 70000);
    copy(own, device, 0, region, 0, 70000); // and back
    copy(own, back, 0, device, 0, 70000);
    for (int i = 0; i < 70000; i++)
        assert_int_equal(((uint8_t *)dray_region_pointer(back))[i], 0x5a);
    dray_region_release(region);
    dray_region_release(device);
    dray_region_release(from);
    dray_region_release(back);
}

static void managed_memory_is_the_hosts_too(void **state)
{
    bench own = bench_open(*state);
    host_visible(&own, DRAY_STORAGE_MANAGED, DRAY_DEVICE_MANAGED);
    bench_close(&own);
}

static void pinned_memory_is_on_pages(void **state)
{
    bench own = bench_open(*state);
    host_visible(&own, DRAY_STORAGE_PINNED, DRAY_DEVICE_PINNED);
    bench_close(&own);
}

static void memory_of_the_host_can_be_pinned_or_not(void **state)
{
    bench own = bench_open(*state);
    dray_region *memory = host(&own, 8192), *pinned = NULL;
    dray_error error;
    dray_status status = dray_device_pin(own.device, memory, &pinned, &error);
    if (!(own.info.capabilities & DRAY_DEVICE_REGISTER)) {
        assert_int_equal(status, DRAY_E_UNSUPPORTED);
    } else {
        assert_int_equal(status, DRAY_OK);
        assert_ptr_equal(dray_region_pointer(pinned), dray_region_pointer(memory));
        assert_int_equal(dray_region_storage(pinned), DRAY_STORAGE_PINNED);
        dray_region_release(memory);
        memory = NULL;
        memset(dray_region_pointer(pinned), 1, 8192); // it keeps the memory
        dray_region_release(pinned);
    }
    dray_region_release(memory);
    bench_close(&own);
}

static void what_is_too_much_is_refused_and_no_harm_done(void **state)
{
    bench own = bench_open(*state);
    const uint64_t sizes[] = {own.info.total_bytes + (1 << 20), UINT64_MAX - 4096, UINT64_MAX};
    for (int i = 0; i < 3; i++) {
        dray_region_options options = {.struct_bytes = sizeof(options),
                                       .storage = DRAY_STORAGE_DEVICE,
                                       .bytes = sizes[i],
                                       .device = own.device};
        dray_region *region = NULL;
        dray_error error;
        assert_int_equal(dray_region_create(own.context, &options, &region, &error), DRAY_E_NOMEM);
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)sizes[i]);
        assert_non_null(strstr(error.message, wanted));
        assert_null(region);
    }
    dray_region_release(on_device(&own, 4096));
    bench_close(&own);
}

static void nonsense_is_refused(void **state)
{
    bench own = bench_open(*state);
    const struct {
        dray_region_options options;
        dray_status status;
    } cases[] = {
        {{.storage = DRAY_STORAGE_DEVICE}, DRAY_E_INVALID},
        {{.storage = DRAY_STORAGE_DEVICE, .bytes = 1, .phase = 1}, DRAY_E_INVALID},
        {{.storage = DRAY_STORAGE_DEVICE, .bytes = 1, .huge_pages = 2}, DRAY_E_INVALID},
        {{.storage = DRAY_STORAGE_DEVICE, .bytes = 1, .on_demand = 1}, DRAY_E_INVALID},
        {{.storage = DRAY_STORAGE_DEVICE, .bytes = 1, .alignment = 3}, DRAY_E_INVALID},
        {{.storage = DRAY_STORAGE_DEVICE, .bytes = 1, .alignment = 1u << 30}, DRAY_E_UNSUPPORTED},
        {{.storage = DRAY_STORAGE_SYSTEM, .bytes = 1}, DRAY_E_INVALID},
        {{.storage = DRAY_STORAGE_DISK, .bytes = 1}, DRAY_E_INVALID},
        {{.bytes = 1}, DRAY_E_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dray_region_options options = cases[i].options;
        options.struct_bytes = sizeof(options);
        options.device = own.device;
        dray_region *region;
        dray_error error = {0};
        assert_int_equal(dray_region_create(own.context, &options, &region, &error),
                         cases[i].status);
        assert_true(error.message[0]);
    }
    bench_close(&own);
}

// --- copies --------------------------------------------------------------------------------------------

static void many_runs_are_one_job(void **state)
{
    enum { run_bytes = 777, bytes = run_bytes * DRAY_DEVICE_RUNS_MAX };
    bench own = bench_open(*state);
    dray_device_native native;
    dray_device_get_native(own.device, &native);
    const dray_device_copy_ops *ops = native.ops->copy;
    dray_region *from = host(&own, bytes), *back = host(&own, bytes),
                *device = on_device(&own, bytes);
    fill(from, 5);
    static dray_device_run runs[DRAY_DEVICE_RUNS_MAX];
    dray_stream *stream;
    dray_error error = {0};
    assert_int_equal(ops->stream_open(native.self, &stream, &error), DRAY_OK);
    for (int way = 0; way < 2; way++) {
        for (uint32_t i = 0; i < DRAY_DEVICE_RUNS_MAX; i++) { // back to front
            uint64_t at = (uint64_t)i * run_bytes, mirrored = bytes - at - run_bytes;
            runs[i] = way == 0 ? (dray_device_run){.from = device_rig_side(from, at),
                                                   .to = device_rig_side(device, mirrored)}
                               : (dray_device_run){.from = device_rig_side(device, mirrored),
                                                   .to = device_rig_side(back, at)};
            runs[i].bytes = run_bytes;
        }
        assert_int_equal(ops->start(stream, runs, DRAY_DEVICE_RUNS_MAX, &error), DRAY_OK);
        bool done = false;
        while (!done)
            assert_int_equal(ops->query(stream, &done, &error), DRAY_OK);
        assert_int_equal(ops->query(stream, &done, &error), DRAY_OK);
        assert_true(done); // and stays so
    }
    assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
    ops->stream_close(stream);
    dray_region_release(from);
    dray_region_release(back);
    dray_region_release(device);
    bench_close(&own);
}

typedef struct waiter {
    const dray_device_copy_ops *ops;
    dray_stream *stream;
    dray_status status;
} waiter;

static void *wait_for_it(void *argument)
{
    waiter *own = argument;
    own->status = own->ops->wait(own->stream, NULL);
    return NULL;
}

static void another_thread_may_wait(void **state)
{
    enum { bytes = 1 << 20 };
    bench own = bench_open(*state);
    dray_device_native native;
    dray_device_get_native(own.device, &native);
    dray_region *from = host(&own, bytes), *device = on_device(&own, bytes),
                *back = host(&own, bytes);
    fill(from, 8);
    waiter waits = {.ops = native.ops->copy};
    dray_error error = {0};
    assert_int_equal(waits.ops->stream_open(native.self, &waits.stream, &error), DRAY_OK);
    assert_int_equal(waits.ops->wait(waits.stream, &error), DRAY_OK); // there is no job yet
    dray_device_run run = {
        .from = device_rig_side(from, 0), .to = device_rig_side(device, 0), .bytes = bytes};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(waits.ops->start(waits.stream, &run, 1, &error), DRAY_OK);
        pthread_t thread;
        pthread_create(&thread, NULL, wait_for_it, &waits);
        bool done = false;
        while (!done)
            assert_int_equal(waits.ops->query(waits.stream, &done, &error), DRAY_OK);
        pthread_join(thread, NULL);
        assert_int_equal(waits.status, DRAY_OK);
    }
    waits.ops->stream_close(waits.stream);
    copy(&own, back, 0, device, 0, bytes);
    assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
    dray_region_release(from);
    dray_region_release(back);
    dray_region_release(device);
    bench_close(&own);
}

static void closing_a_stream_waits(void **state)
{
    enum { bytes = 1 << 20 };
    bench own = bench_open(*state);
    dray_device_native native;
    dray_device_get_native(own.device, &native);
    dray_region *from = host(&own, bytes), *device = on_device(&own, bytes),
                *back = host(&own, bytes);
    fill(from, 4);
    dray_stream *stream;
    dray_error error = {0};
    assert_int_equal(native.ops->copy->stream_open(native.self, &stream, &error), DRAY_OK);
    dray_device_run run = {
        .from = device_rig_side(from, 0), .to = device_rig_side(device, 0), .bytes = bytes};
    assert_int_equal(native.ops->copy->start(stream, &run, 1, &error), DRAY_OK);
    native.ops->copy->stream_close(stream);
    copy(&own, back, 0, device, 0, bytes);
    assert_memory_equal(dray_region_pointer(from), dray_region_pointer(back), bytes);
    dray_region_release(from);
    dray_region_release(back);
    dray_region_release(device);
    bench_close(&own);
}

// --- faults --------------------------------------------------------------------------------------------

/// Opens, allocates, copies; every step may fail, and then everything is given back.
static dray_status work(dray_context *context, const char *name, dray_error *error)
{
    dray_device *device = NULL;
    dray_region *region = NULL, *memory = NULL;
    dray_region_options options = {.struct_bytes = sizeof(options), .bytes = 4096};
    dray_status status = dray_device_open(context, name, &device, error);
    if (status == DRAY_OK)
        status = dray_region_create(context, &options, &memory, error);
    options.storage = DRAY_STORAGE_DEVICE;
    options.device = device;
    if (status == DRAY_OK)
        status = dray_region_create(context, &options, &region, error);
    if (status == DRAY_OK)
        status = device_rig_copy(device, region, 0, memory, 0, 4096, error);
    dray_region_release(region);
    dray_region_release(memory);
    dray_device_release(device);
    return status;
}

static void the_nth_allocation_may_fail(void **state)
{
    device_rig_reset();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        dray_context *context = device_rig_context(&allocator, 0);
        uint64_t before = counting_allocator_live_bytes(&counter);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_error error = {0};
        dray_status status = work(context, *state, &error);
        assert_int_equal(counting_allocator_live_bytes(&counter), before);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter)) {
            assert_int_equal(status, DRAY_OK);
            assert_true(n > 3);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
        assert_true(error.message[0]);
    }
}

// --- every case on every device ------------------------------------------------------------------------

static const struct {
    const char *name;
    void (*run)(void **state);
} cases[] = {
    {"it tells its facts", it_tells_its_facts},
    {"the list names it", the_list_names_it},
    {"fresh memory is zero", fresh_memory_is_zero},
    {"bytes come back from any offset", bytes_come_back_from_any_offset},
    {"views begin where they say", views_begin_where_they_say},
    {"a region keeps its device", a_region_keeps_its_device},
    {"managed memory is the host's, too", managed_memory_is_the_hosts_too},
    {"pinned memory is on pages", pinned_memory_is_on_pages},
    {"memory of the host can be pinned, or not", memory_of_the_host_can_be_pinned_or_not},
    {"what is too much is refused, and no harm done", what_is_too_much_is_refused_and_no_harm_done},
    {"nonsense is refused", nonsense_is_refused},
    {"many runs are one job", many_runs_are_one_job},
    {"another thread may wait", another_thread_may_wait},
    {"closing a stream waits", closing_a_stream_waits},
    {"the Nth allocation may fail", the_nth_allocation_may_fail},
};
enum { case_count = sizeof(cases) / sizeof(cases[0]), devices_max = 16 };

/// Usage: contract_device [family]. With a family: only its devices; 77 when there is none.
int main(int argument_count, char **arguments)
{
    static char names[devices_max][32], titles[devices_max * case_count][96];
    static struct CMUnitTest tests[devices_max * case_count];
    uint32_t devices = 0;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_device_list *list;
    if (dray_device_list_create(context, &list, NULL) != DRAY_OK)
        return 1;
    for (uint32_t i = 0; i < dray_device_list_count(list); i++) {
        const dray_device_info *info = dray_device_list_at(list, i);
        if (argument_count > 1 && strcmp(info->family, arguments[1]) != 0)
            continue;
        if (info->unavailable[0])
            printf("not here: %s: %s\n", info->name, info->unavailable);
        else if (devices < devices_max)
            snprintf(names[devices++], sizeof(names[0]), "%s", info->name);
    }
    dray_device_list_destroy(list);
    dray_context_destroy(context);
    if (devices == 0) {
        printf("skipped: no device to test\n");
        return 77;
    }
    for (uint32_t d = 0; d < devices; d++) {
        for (uint32_t c = 0; c < case_count; c++) {
            uint32_t at = d * case_count + c;
            snprintf(titles[at], sizeof(titles[at]), "%s: %s", names[d], cases[c].name);
            tests[at] = (struct CMUnitTest){
                .name = titles[at], .test_func = cases[c].run, .initial_state = names[d]};
        }
    }
    struct CMUnitTest run[devices_max * case_count];
    memcpy(run, tests, sizeof(run));
    return _cmocka_run_group_tests("devices", run, (size_t)devices * case_count, NULL, NULL);
}
