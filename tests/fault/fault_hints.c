/// Hints when memory runs out at every allocation, when the system refuses every call in turn, and when
/// parts of the kernel are absent. Nothing leaks, nothing is called done that was not, undo restores.
#include "core/context.h"
#include "dray/hints.h"
#include "dray/model_data.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/hint_rig.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { page = 4096, file_bytes = 1 << 20, memory_bytes = 64 * page };

/// A fresh plan over raw memory and a file: every kind of hint the host has.
static dray_status plan_build(dray_context *context, uint8_t *memory, dray_model_data *data,
                              dray_hint_plan **out, dray_error *error)
{
    dray_hint_range part, file;
    dray_hint_policy node = {.reset = 1, .preferred = dray_hint_at_numa(0)};
    dray_span span = {.region = dray_model_data_region(data), .offset = 10, .bytes = file_bytes / 2};
    dray_hint_plan *plan;
    DRAY_TRY(dray_hint_range_span(&span, &file, error));
    DRAY_TRY(dray_hint_plan_create(context, &plan, error));
    dray_hint_plan_prefetch(plan, file, dray_hint_at_host());
    dray_hint_range_raw(memory, 8 * page, &part, NULL);
    dray_hint_plan_policy(plan, part, node);
    dray_hint_range_raw(memory + 16 * page, 8 * page, &part, NULL);
    dray_hint_plan_policy(plan, part, dray_hint_prefer_host());
    dray_hint_range_raw(memory + 32 * page, 4 * page, &part, NULL);
    dray_hint_plan_release(plan, part, DRAY_HINT_DISCARD);
    dray_hint_range_raw(memory + 40 * page, 4 * page, &part, NULL);
    dray_hint_plan_release(plan, part, DRAY_HINT_COLD);
    dray_hint_plan_huge_pages(plan, part);
    dray_status status = dray_hint_plan_check(plan, error);
    if (status != DRAY_OK)
        dray_hint_plan_destroy(plan);
    else
        *out = plan;
    return status;
}

typedef struct outcome_count {
    unsigned of[DRAY_HINT_FAILED + 1];
} outcome_count;

/// Plan, run, undo. Returns the first error; counts the outcomes.
static dray_status use_host(dray_context *context, uint8_t *memory, dray_model_data *data,
                            outcome_count *counts, dray_error *error)
{
    dray_hints *hints = NULL;
    dray_hint_plan *plan = NULL;
    dray_hint_run *run = NULL;
    dray_status status = dray_hints_open(context, NULL, &hints, error);
    if (status == DRAY_OK)
        status = plan_build(context, memory, data, &plan, error);
    if (status == DRAY_OK)
        status = dray_hint_run_create(hints, plan, NULL, &run, error);
    if (status == DRAY_OK)
        status = dray_hint_run_start(run, error);
    for (uint64_t i = 0; run && i < dray_hint_run_length(run); i++) {
        const dray_hint_result *result = dray_hint_run_result(run, i);
        counts->of[result->outcome]++;
        if (result->outcome == DRAY_HINT_FAILED)
            assert_int_not_equal(result->status, DRAY_OK);
    }
    if (run) {
        dray_status undone = dray_hint_run_undo(run, NULL, status == DRAY_OK ? error : NULL);
        status = status == DRAY_OK ? undone : status;
    }
    dray_hint_run_destroy(run);
    dray_hint_plan_destroy(plan);
    dray_hints_close(hints);
    return status;
}

static dray_model_data *data_open(dray_context *context, const char *path)
{
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .backing = DRAY_BACKING_MAPPED};
    dray_model_data *data;
    assert_int_equal(dray_model_data_open(context, path, &options, &data, NULL), DRAY_OK);
    return data;
}

static uint8_t *memory_map(void)
{
    uint8_t *memory =
        mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 5, memory_bytes);
    return memory;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const char *path = test_file_make("fault-hints", file_bytes);
    int fds = fault_os_open_fds();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        uint8_t *memory = memory_map();
        fault_os_reset();
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        assert_int_equal(drayi_context_create_with(&options, fault_os(), &context, NULL), DRAY_OK);
        dray_model_data *data = data_open(context, path);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        outcome_count counts = {0};
        dray_error error = {.message = ""};
        dray_status status = use_host(context, memory, data, &counts, &error);
        bool failed = counting_allocator_failed(&counter);
        if (status != DRAY_OK) {
            assert_true(failed);
            assert_int_equal(status, DRAY_E_NOMEM);
            assert_true(error.message[0] != 0);
        }
        dray_model_data_close(data);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        assert_int_equal(fault_os_open_fds(), fds);
        munmap(memory, memory_bytes);
        if (!failed)
            break;
    }
    unlink(path);
}

/// Locked pages of the process, in KiB (VmLck).
static uint64_t locked_kib(void)
{
    char text[4096];
    int fd = drayi_os_linux.open("/proc/self/status", 0, 0);
    ssize_t got = drayi_os_linux.pread(fd, text, sizeof(text) - 1, 0);
    drayi_os_linux.close(fd);
    assert_true(got > 0);
    text[got] = 0;
    const char *at = strstr(text, "VmLck:");
    assert_non_null(at);
    uint64_t kib = 0;
    for (at += 6; *at == ' ' || *at == '\t'; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++)
        kib = kib * 10 + (uint64_t)(*at - '0');
    return kib;
}

static void every_system_call_may_fail(void **state)
{
    (void)state;
    const char *path = test_file_make("fault-hints-os", file_bytes);
    int fds = fault_os_open_fds();
    for (uint64_t n = 1;; n++) {
        uint8_t *memory = memory_map();
        dray_context *context;
        fault_os_reset();
        assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, NULL), DRAY_OK);
        dray_model_data *data = data_open(context, path);
        fault_os_inject(&(fault_plan){.at = n, .code = -EIO});
        outcome_count counts = {0};
        dray_error error = {.message = ""};
        dray_status status = use_host(context, memory, data, &counts, &error);
        uint64_t hits = fault_os_hits();
        const char *hit = fault_os_last_hit();
        if (status != DRAY_OK && !error.message[0])
            fail_msg("call %d (%s): status %d without a message", (int)n, hit, (int)status);
        fault_os_inject(&(fault_plan){0});
        for (unsigned i = 0; i < 32 * page; i++) // nothing but the discarded pages has changed
            assert_int_equal(memory[i], 5);
        assert_true(test_file_same(dray_model_data_bytes(data), 0, file_bytes));
        dray_model_data_close(data);
        dray_context_destroy(context);
        munmap(memory, memory_bytes);
        assert_int_equal(fault_os_open_fds(), fds);
        assert_int_equal(locked_kib(), 0); // undone, or unmapped
        if (hits == 0)
            break;
    }
    unlink(path);
}

static void kernels_that_lack_a_part_lose_that_hint(void **state)
{
    (void)state;
    static const struct {
        unsigned absent;
        unsigned skipped, failed;
    } cases[] = {
        {0, 1, 0}, // huge pages: the range is too small
        {FAULT_NO_CACHESTAT, 1, 0},
        {FAULT_NO_NUMA, 2, 0},
        {FAULT_NO_POPULATE, 1, 0}, // the file is read instead
        {FAULT_NO_COLD, 2, 0},
        {FAULT_NO_COLLAPSE, 1, 0},
        {FAULT_STRANGER, 1, 0},
        {FAULT_NO_NUMA | FAULT_NO_POPULATE | FAULT_NO_COLD | FAULT_NO_COLLAPSE | FAULT_NO_CACHESTAT,
         3, 0},
    };
    const char *path = test_file_make("fault-hints-absent", file_bytes);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *memory = memory_map();
        dray_context *context;
        fault_os_reset();
        fault_os_make_absent(cases[i].absent);
        assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, NULL), DRAY_OK);
        dray_model_data *data = data_open(context, path);
        outcome_count counts = {0};
        dray_error error = {.message = ""};
        if (use_host(context, memory, data, &counts, &error) != DRAY_OK)
            fail_msg("case %zu: %s", i, error.message);
        if (drayi_os_linux.node_here(&(unsigned){0}) == 0)
            assert_int_equal(counts.of[DRAY_HINT_SKIPPED], cases[i].skipped);
        assert_int_equal(counts.of[DRAY_HINT_FAILED], cases[i].failed);
        assert_int_equal(counts.of[DRAY_HINT_PENDING], 0);
        dray_model_data_close(data);
        dray_context_destroy(context);
        munmap(memory, memory_bytes);
    }
    unlink(path);
}

static void every_allocation_of_a_devices_run_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        hint_rig rig;
        counting_allocator counter;
        hint_rig_reset(&rig);
        counting_allocator_init(&counter, n);
        dray_allocator allocator = counting_allocator_interface(&counter);
        dray_error error = {.message = ""};
        if (hint_rig_open(&rig, &allocator, &error)) {
            dray_hint_plan *plan = NULL;
            dray_hint_run *run = NULL;
            dray_hint_policy wish = {.reset = 1, .preferred = dray_hint_at_device(1)};
            dray_status status = dray_hint_plan_create(rig.context, &plan, &error);
            for (unsigned i = 0; status == DRAY_OK && i < 40; i++) { // backwards: has to be sorted
                dray_hint_plan_policy(plan, hint_rig_range(&rig, 40 - i, 1), wish);
                dray_hint_plan_prefetch(plan, hint_rig_range(&rig, 40 - i, 1), dray_hint_at_host());
            }
            if (status == DRAY_OK)
                status = dray_hint_run_create(rig.hints, plan, NULL, &run, &error);
            if (status == DRAY_OK)
                status = dray_hint_run_start(run, &error);
            if (status == DRAY_OK)
                status = dray_hint_run_undo(run, NULL, &error);
            if (status != DRAY_OK)
                assert_true(counting_allocator_failed(&counter) && error.message[0]);
            dray_hint_run_destroy(run);
            dray_hint_plan_destroy(plan);
        }
        hint_rig_close(&rig);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter))
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_system_call_may_fail),
        cmocka_unit_test(kernels_that_lack_a_part_lose_that_hint),
        cmocka_unit_test(every_allocation_of_a_devices_run_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
