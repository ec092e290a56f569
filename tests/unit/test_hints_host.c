/// Linux memory as a backend: real calls, measured. Files need a real file system under $TMPDIR: on tmpfs
/// the page cache is the file.
#include "core/context.h"
#include "dray/hints.h"
#include "dray/model_data.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { page = 4096, file_bytes = (12 << 20) + 1000, memory_bytes = 8 << 20 };

typedef struct fixture {
    dray_context *context;
    dray_hints *hints;
    uint8_t *memory;
    dray_model_data *data;
    const char *path;
    bool on_disk;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    fault_os_reset();
    assert_int_equal(drayi_context_create_with(NULL, fault_os(), &f.context, NULL), DRAY_OK);
    f.memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(f.memory != MAP_FAILED);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dray_hints_close(f->hints);
    dray_model_data_close(f->data);
    dray_context_destroy(f->context);
    munmap(f->memory, memory_bytes);
    if (f->path)
        unlink(f->path);
    return 0;
}

static void open_hints(fixture *f)
{
    dray_error error;
    if (dray_hints_open(f->context, NULL, &f->hints, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    if (drayi_os_linux.page_bytes() != page)
        skip();
}

static dray_hint_range file_range(fixture *f, uint64_t offset, uint64_t bytes)
{
    dray_hint_range range;
    if (!f->data) {
        f->path = test_file_make("hints-host", file_bytes);
        f->on_disk = test_file_make_cold(f->path);
        dray_model_data_options options = {.struct_bytes = sizeof(options),
                                           .backing = DRAY_BACKING_MAPPED};
        assert_int_equal(dray_model_data_open(f->context, f->path, &options, &f->data, NULL),
                         DRAY_OK);
    }
    dray_span span = {.region = dray_model_data_region(f->data), .offset = offset, .bytes = bytes};
    assert_int_equal(dray_hint_range_span(&span, &range, NULL), DRAY_OK);
    return range;
}

static dray_hint_range memory_range(fixture *f, uint64_t offset, uint64_t bytes)
{
    dray_hint_range range;
    assert_int_equal(dray_hint_range_raw(f->memory + offset, bytes, &range, NULL), DRAY_OK);
    return range;
}

static dray_hint_plan *new_plan(fixture *f)
{
    dray_hint_plan *plan;
    assert_int_equal(dray_hint_plan_create(f->context, &plan, NULL), DRAY_OK);
    return plan;
}

/// Runs a plan and takes it.
static dray_hint_run *ran(fixture *f, dray_hint_plan *plan)
{
    dray_hint_run *run;
    dray_error error = {.message = ""};
    if (dray_hint_run_create(f->hints, plan, NULL, &run, &error) != DRAY_OK ||
        dray_hint_run_start(run, &error) != DRAY_OK || dray_hint_run_wait(run, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_hint_plan_destroy(plan);
    return run;
}

/// The outcome of the run's first entry; the run is over.
static dray_hint_result end(dray_hint_run *run)
{
    dray_hint_result result = *dray_hint_run_result(run, 0);
    dray_hint_run_destroy(run);
    return result;
}

static uint64_t cached(fixture *f, uint64_t offset, uint64_t bytes)
{
    dray_residency now;
    assert_int_equal(dray_model_data_residency(f->data, offset, bytes, &now, NULL), DRAY_OK);
    return now.cached_bytes;
}

// --- files -------------------------------------------------------------------------------------------

static void prefetch_of_a_cold_file_loads_all_of_the_range(void **state)
{
    fixture *f = *state;
    open_hints(f);
    dray_hint_range range = file_range(f, 100, 9 << 20);
    dray_hint_result result =
        end(ran(f, dray_hint_plan_prefetch(new_plan(f), range, dray_hint_at_host())));
    assert_int_equal(result.outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(result.bytes_covered, (9 << 20) + page);
    assert_int_equal(result.bytes_done, (9 << 20) + page);
    assert_int_equal(cached(f, 100, 9 << 20), (9 << 20) + page);
    assert_true(test_file_same((uint8_t *)range.pointer, 100, range.bytes));
}

static void a_file_that_is_not_mapped_is_loaded_too(void **state)
{
    fixture *f = *state;
    open_hints(f);
    (void)file_range(f, 0, 1);
    dray_region *region;
    dray_hint_range range;
    dray_span span;
    assert_int_equal(dray_region_open(f->context, f->path, NULL, &region, NULL), DRAY_OK);
    span = (dray_span){.region = region, .offset = 5000, .bytes = 3 << 20};
    assert_int_equal(dray_hint_range_span(&span, &range, NULL), DRAY_OK);
    assert_null(range.pointer);
    dray_hint_result result =
        end(ran(f, dray_hint_plan_prefetch(new_plan(f), range, dray_hint_at_host())));
    assert_int_equal(result.outcome, DRAY_HINT_VERIFIED);
    assert_true(cached(f, 5000, 3 << 20) >= 3 << 20);
    result = end(ran(f, dray_hint_plan_policy(new_plan(f), range, dray_hint_prefer_host())));
    assert_int_equal(result.outcome, DRAY_HINT_DEGRADED); // resident, but nothing keeps it
    dray_region_release(region);
}

static void release_takes_the_pages_inside_and_no_other(void **state)
{
    fixture *f = *state;
    open_hints(f);
    dray_hint_range all = file_range(f, 0, file_bytes), inner = file_range(f, page + 1, 4 * page);
    if (!f->on_disk)
        skip();
    end(ran(f, dray_hint_plan_prefetch(new_plan(f), all, dray_hint_at_host())));
    dray_hint_result result = end(ran(f, dray_hint_plan_release(new_plan(f), inner, DRAY_HINT_OUT)));
    assert_int_equal(result.outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(result.bytes_done, 3 * page);
    assert_int_equal(cached(f, page, page), page);      // holds a stranger's byte
    assert_int_equal(cached(f, 2 * page, 3 * page), 0); // the three inside
    assert_int_equal(cached(f, 5 * page, page), page);
    assert_true(test_file_same(dray_model_data_bytes(f->data), 0, file_bytes));
}

static void what_a_model_prefers_can_be_undone(void **state)
{
    fixture *f = *state;
    open_hints(f);
    dray_hint_range range = file_range(f, 0, 64 * page);
    dray_hint_state now;
    dray_hint_run *run = ran(f, dray_hint_plan_policy(new_plan(f), range, dray_hint_prefer_host()));
    if (dray_hints_abilities(f->hints)->lockable_bytes < 70 * page)
        skip();
    assert_int_equal(dray_hint_run_result(run, 0)->outcome, DRAY_HINT_VERIFIED);
    assert_string_equal(dray_hint_run_result(run, 0)->note, "locked, and resident");
    assert_int_equal(dray_hints_state(f->hints, &range, &now, NULL), DRAY_OK);
    assert_int_equal(now.preferred.place, DRAY_HINT_HOST);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.restored, 1);
    assert_int_equal(dray_hints_state(f->hints, &range, &now, NULL), DRAY_OK);
    assert_int_equal(now.preferred.place, DRAY_HINT_NOWHERE);
    dray_hint_run_destroy(run);
}

// --- memory ------------------------------------------------------------------------------------------

static void populating_memory_is_seen_in_it(void **state)
{
    fixture *f = *state;
    open_hints(f);
    dray_hint_range range = memory_range(f, 0, 100 * page);
    dray_hint_result result =
        end(ran(f, dray_hint_plan_prefetch(new_plan(f), range, dray_hint_at_host())));
    unsigned char pages[101];
    assert_int_equal(result.outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(mincore(f->memory, 101 * page, pages), 0);
    assert_true(pages[0] & 1 && pages[99] & 1);
}

static void discard_forgets_whole_pages_only(void **state)
{
    fixture *f = *state;
    open_hints(f);
    memset(f->memory, 7, 8 * page);
    dray_hint_range range = memory_range(f, 1, 4 * page);
    dray_hint_result result =
        end(ran(f, dray_hint_plan_release(new_plan(f), range, DRAY_HINT_DISCARD)));
    assert_int_equal(result.outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(result.bytes_done, 3 * page);
    assert_int_equal(f->memory[page - 1], 7);
    assert_int_equal(f->memory[page], 0);
    assert_int_equal(f->memory[4 * page - 1], 0);
    assert_int_equal(f->memory[4 * page], 7);
}

static void paging_out_keeps_the_contents_and_says_what_left(void **state)
{
    fixture *f = *state;
    open_hints(f);
    memset(f->memory, 7, 8 * page);
    dray_hint_range range = memory_range(f, 0, 8 * page);
    dray_hint_result result = end(ran(f, dray_hint_plan_release(new_plan(f), range, DRAY_HINT_OUT)));
    assert_true(result.outcome == DRAY_HINT_VERIFIED || result.outcome == DRAY_HINT_DEGRADED ||
                result.outcome == DRAY_HINT_NO_EFFECT); // no swap
    for (unsigned i = 0; i < 8 * page; i++)
        assert_int_equal(f->memory[i], 7);
    result = end(ran(f, dray_hint_plan_release(new_plan(f), range, DRAY_HINT_COLD)));
    assert_int_equal(result.outcome, DRAY_HINT_ACCEPTED);
}

static void a_small_limit_of_locks_degrades_and_says_so(void **state)
{
    fixture *f = *state;
    fault_os_limit_lock(16 * page);
    open_hints(f);
    dray_hint_plan *plan = new_plan(f);
    dray_hint_plan_policy(plan, memory_range(f, 0, 4 * page), dray_hint_prefer_host());
    dray_hint_plan_policy(plan, memory_range(f, 8 * page, 64 * page), dray_hint_prefer_host());
    dray_hint_run *run = ran(f, plan);
    assert_int_equal(dray_hint_run_result(run, 0)->outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(dray_hint_run_result(run, 1)->outcome, DRAY_HINT_DEGRADED);
    assert_non_null(strstr(dray_hint_run_result(run, 1)->note, "limit of lockable memory"));
    dray_hint_run_destroy(run);
}

static void a_node_is_set_moved_to_read_back_and_undone(void **state)
{
    fixture *f = *state;
    open_hints(f);
    if (!(dray_hints_abilities(f->hints)->features & DRAY_HINT_HAS_NUMA))
        skip();
    dray_hint_policy wish = {.preferred = dray_hint_at_numa(0)};
    dray_hint_range range = memory_range(f, 16 * page, 32 * page);
    dray_hint_state now;
    memset(f->memory, 1, 64 * page);
    dray_hint_run *run = ran(f, dray_hint_plan_policy(new_plan(f), range, wish));
    assert_int_equal(dray_hint_run_result(run, 0)->outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(dray_hint_run_result(run, 0)->bytes_done, 32 * page);
    assert_int_equal(dray_hints_state(f->hints, &range, &now, NULL), DRAY_OK);
    assert_int_equal(now.preferred.place, DRAY_HINT_HOST_NUMA);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.impossible, 1); // the pages stay where they went; the policy is back
    assert_int_equal(dray_hints_state(f->hints, &range, &now, NULL), DRAY_OK);
    assert_int_equal(now.preferred.place, DRAY_HINT_NOWHERE);
    dray_hint_run_destroy(run);
}

static void huge_pages_are_measured(void **state)
{
    fixture *f = *state;
    open_hints(f);
    uint64_t huge = dray_hints_abilities(f->hints)->huge_page_bytes;
    bool can = dray_hints_abilities(f->hints)->features & DRAY_HINT_HAS_COLLAPSE;
    dray_hint_range range = memory_range(f, 0, memory_bytes);
    memset(f->memory, 3, memory_bytes);
    dray_hint_plan *plan = dray_hint_plan_huge_pages(new_plan(f), range);
    dray_hint_run *run;
    dray_error error;
    assert_int_equal(dray_hint_run_create(f->hints, plan, NULL, &run, &error), DRAY_OK);
    dray_hint_plan_destroy(plan);
    dray_status status = dray_hint_run_start(run, &error); // memory may be too fragmented
    dray_hint_outcome outcome = dray_hint_run_result(run, 0)->outcome;
    if (status != DRAY_OK)
        assert_int_equal(outcome, DRAY_HINT_FAILED);
    else
        assert_int_equal(outcome, huge == 0 ? DRAY_HINT_SKIPPED
                                  : can     ? DRAY_HINT_VERIFIED
                                            : DRAY_HINT_DEGRADED);
    assert_int_equal(f->memory[memory_bytes - 1], 3);
    dray_hint_run_destroy(run);
}

static void a_hole_is_no_memory(void **state)
{
    fixture *f = *state;
    open_hints(f);
    uint8_t *two = mmap(NULL, 4 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(two != MAP_FAILED);
    munmap(two + 2 * page, page);
    dray_hint_range range;
    dray_error error;
    assert_int_equal(dray_hint_range_raw(two, 4 * page, &range, NULL), DRAY_OK);
    assert_int_equal(dray_hints_prefetch(f->hints, &range, dray_hint_at_host(), NULL, &error),
                     DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "nothing is mapped there"));
    assert_int_equal(dray_hint_range_raw(two, 2 * page, &range, NULL), DRAY_OK);
    assert_int_equal(dray_hints_prefetch(f->hints, &range, dray_hint_at_host(), NULL, &error),
                     DRAY_OK); // read-only memory is populated by reading
    munmap(two, 4 * page);
}

static void what_linux_cannot_is_skipped_with_a_reason(void **state)
{
    fixture *f = *state;
    open_hints(f);
    dray_hint_range range = memory_range(f, 0, page);
    dray_hint_result result;
    dray_error error;
    assert_int_equal(dray_hints_set_read_mostly(f->hints, &range, true, &result, &error), DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_SKIPPED);
    assert_int_equal(
        dray_hints_set_preferred(f->hints, &range, dray_hint_at_device(0), &result, &error),
        DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_SKIPPED);
    assert_int_equal(dray_hints_prefetch(f->hints, &range, dray_hint_at_device(0), &result, &error),
                     DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_SKIPPED);
    assert_int_equal(
        dray_hints_set_accessed_by(f->hints, &range, dray_hint_at_device(3), true, &result, &error),
        DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_SKIPPED);
    assert_int_equal(dray_hints_prefetch(f->hints, &range, dray_hint_at_numa(1023), NULL, &error),
                     DRAY_E_INVALID); // wrong, not impossible
    assert_non_null(strstr(error.message, "NUMA node 1023"));
}

static void pinned_memory_keeps_its_promise(void **state)
{
    fixture *f = *state;
    open_hints(f);
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = DRAY_STORAGE_PINNED, .bytes = 16 * page};
    dray_region *region;
    dray_hint_range range;
    dray_hint_state now;
    if (dray_region_create(f->context, &options, &region, NULL) != DRAY_OK)
        skip(); // not even 64 KiB may be locked here
    assert_int_equal(dray_hint_range_region(region, &range, NULL), DRAY_OK);
    dray_hint_result result =
        end(ran(f, dray_hint_plan_policy(new_plan(f), range, dray_hint_reset())));
    assert_int_equal(result.outcome, DRAY_HINT_SKIPPED);
    result = end(ran(f, dray_hint_plan_release(new_plan(f), range, DRAY_HINT_DISCARD)));
    assert_int_equal(result.outcome, DRAY_HINT_SKIPPED);
    assert_int_equal(dray_hints_state(f->hints, &range, &now, NULL), DRAY_OK);
    assert_int_equal(now.preferred.place, DRAY_HINT_HOST); // locked
    dray_region_release(region);
}

// --- a kernel that says yes ----------------------------------------------------------------------------

static unsigned lie; // 1: does half of it, 2: does nothing; and says success

static int lying_advise(void *at, size_t bytes, int advice)
{
    if (lie == 2)
        return 0;
    return drayi_os_linux.advise(at, bytes > page ? bytes / 2 : bytes, advice);
}

static int lying_bind(void *at, size_t bytes, int mode, const uint64_t *nodes, unsigned bits,
                      unsigned flags)
{
    (void)at, (void)bytes, (void)mode, (void)nodes, (void)bits, (void)flags;
    return 0;
}

static void success_without_effect_is_seen(void **state)
{
    fixture *f = *state;
    drayi_os os = drayi_os_linux;
    os.advise = lying_advise;
    os.node_bind = lying_bind;
    lie = 0;
    dray_context *context;
    dray_hints *hints;
    dray_hint_result result;
    dray_hint_policy node = {.preferred = dray_hint_at_numa(0)};
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    assert_int_equal(dray_hints_open(context, NULL, &hints, NULL), DRAY_OK);
    dray_hint_range range = memory_range(f, 0, 64 * page);
    lie = 1;
    assert_int_equal(dray_hints_prefetch(hints, &range, dray_hint_at_host(), &result, NULL),
                     DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_DEGRADED);
    assert_int_equal(result.bytes_done, 32 * page);
    lie = 2;
    range = memory_range(f, 128 * page, 64 * page);
    assert_int_equal(dray_hints_prefetch(hints, &range, dray_hint_at_host(), &result, NULL),
                     DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_NO_EFFECT);
    if (dray_hints_abilities(hints)->features & DRAY_HINT_HAS_NUMA) {
        assert_int_equal(dray_hints_apply(hints, &range, &node, &result, NULL), DRAY_OK);
        assert_int_equal(result.outcome, DRAY_HINT_NO_EFFECT);
    }
    dray_hints_close(hints);
    dray_context_destroy(context);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(prefetch_of_a_cold_file_loads_all_of_the_range),
        CASE(a_file_that_is_not_mapped_is_loaded_too),
        CASE(release_takes_the_pages_inside_and_no_other),
        CASE(what_a_model_prefers_can_be_undone),
        CASE(populating_memory_is_seen_in_it),
        CASE(discard_forgets_whole_pages_only),
        CASE(paging_out_keeps_the_contents_and_says_what_left),
        CASE(a_small_limit_of_locks_degrades_and_says_so),
        CASE(a_node_is_set_moved_to_read_back_and_undone),
        CASE(huge_pages_are_measured),
        CASE(a_hole_is_no_memory),
        CASE(what_linux_cannot_is_skipped_with_a_reason),
        CASE(pinned_memory_keeps_its_promise),
        CASE(success_without_effect_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
