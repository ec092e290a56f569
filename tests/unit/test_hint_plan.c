/// Plans and their lowering: pure, exact, in order.
#include "core/context.h"
#include "dray/hints.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <string.h>

enum { page = 4096, base = 1 << 20 }; // addresses that are never read

typedef struct fixture {
    dray_context *context;
    dray_hint_plan *plan;
    dray_hint_abilities cuda, host, opencl;
    char text[4096];
    size_t used;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    assert_int_equal(dray_context_create(NULL, &f.context, NULL), DRAY_OK);
    assert_int_equal(dray_hint_plan_create(f.context, &f.plan, NULL), DRAY_OK);
    assert_int_equal(dray_hint_assume("cuda", 3, &f.cuda, NULL), DRAY_OK);
    assert_int_equal(dray_hint_assume("host", 0, &f.host, NULL), DRAY_OK);
    assert_int_equal(dray_hint_assume("opencl", 1, &f.opencl, NULL), DRAY_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dray_hint_plan_destroy(f->plan);
    dray_context_destroy(f->context);
    return 0;
}

static dray_hint_range at(uint64_t offset, uint64_t bytes)
{
    dray_hint_range range;
    assert_int_equal(dray_hint_range_raw((void *)(uintptr_t)(base + offset), bytes, &range, NULL),
                     DRAY_OK);
    return range;
}

static void take(void *self, const char *text, size_t bytes)
{
    fixture *f = self;
    assert_true(f->used + bytes < sizeof(f->text));
    memcpy(f->text + f->used, text, bytes);
    f->used += bytes;
    f->text[f->used] = 0;
}

/// The plan becomes exactly these lines.
static void becomes(fixture *f, const dray_hint_abilities *abilities, const char *lines)
{
    dray_hint_lowering *lowering;
    dray_error error;
    if (dray_hint_plan_lower(f->plan, abilities, NULL, &lowering, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    f->used = 0;
    dray_hint_lowering_print(lowering, take, f);
    dray_hint_lowering_destroy(lowering);
    assert_string_equal(f->text, lines);
}

static void refused(fixture *f, const dray_hint_abilities *abilities, dray_status status,
                    const char *says)
{
    dray_hint_lowering *lowering = NULL;
    dray_error error = {.message = ""};
    assert_int_equal(dray_hint_plan_lower(f->plan, abilities, NULL, &lowering, &error), status);
    assert_null(lowering);
    if (!strstr(error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

static void neighbours_in_order_become_one_call_and_nothing_else_does(void **state)
{
    fixture *f = *state;
    dray_hint_policy wish = dray_hint_read_mostly();
    dray_hint_plan_policy(f->plan, at(0, page), wish);
    dray_hint_plan_policy(f->plan, at(page, page), wish);     // touches
    dray_hint_plan_policy(f->plan, at(3 * page, page), wish); // a hole before it
    dray_hint_plan_policy(f->plan, at(2 * page, page), wish); // touches, but comes later
    assert_int_equal(dray_hint_plan_length(f->plan), 4);
    becomes(f, &f->cuda,
            "cuMemAdvise_v2 CU_MEM_ADVISE_SET_READ_MOSTLY device:0: 8192 bytes (hints 0 to 1)\n"
            "cuMemAdvise_v2 CU_MEM_ADVISE_SET_READ_MOSTLY device:0: 4096 bytes (hint 2)\n"
            "cuMemAdvise_v2 CU_MEM_ADVISE_SET_READ_MOSTLY device:0: 4096 bytes (hint 3)\n");
}

static void prefetches_of_a_plan_that_fits_are_one_batch_in_order(void **state)
{
    fixture *f = *state;
    dray_hint_plan_prefetch(f->plan, at(8 * page, page), dray_hint_at_device(1));
    dray_hint_plan_prefetch(f->plan, at(0, page), dray_hint_at_host());
    dray_hint_plan_prefetch(f->plan, at(page, page), dray_hint_at_host());
    becomes(f, &f->cuda, "cuMemPrefetchBatchAsync: 12288 bytes in 2 ranges (hints 0 to 2)\n");
    dray_hint_lowering *lowering;
    const dray_hint_call_range *ranges;
    assert_int_equal(dray_hint_plan_lower(f->plan, &f->cuda, NULL, &lowering, NULL), DRAY_OK);
    assert_int_equal(dray_hint_lowering_ranges(lowering, &ranges), 2);
    assert_int_equal(ranges[0].location.place, DRAY_HINT_DEVICE);
    assert_int_equal(ranges[0].location.index, 1);
    assert_int_equal(ranges[1].location.place, DRAY_HINT_HOST);
    assert_int_equal(ranges[1].range.bytes, 2 * page);
    dray_hint_lowering_destroy(lowering);
}

static void a_batch_needs_every_device_and_a_plan_that_fits(void **state)
{
    fixture *f = *state;
    dray_hint_plan_prefetch(f->plan, at(0, page), dray_hint_at_device(0));
    dray_hint_plan_prefetch(f->plan, at(2 * page, page), dray_hint_at_device(0));
    f->cuda.devices[2].concurrent_managed = 0;
    static const char one_by_one[] = "cuMemPrefetchAsync_v2 device:0: 4096 bytes (hint 0)\n"
                                     "cuMemPrefetchAsync_v2 device:0: 4096 bytes (hint 1)\n";
    becomes(f, &f->cuda, one_by_one);
    f->cuda.devices[2].concurrent_managed = 1;
    dray_hint_lower_options options = {.struct_bytes = sizeof(options), .oversubscribe = 1};
    dray_hint_lowering *lowering;
    assert_int_equal(dray_hint_plan_lower(f->plan, &f->cuda, &options, &lowering, NULL), DRAY_OK);
    f->used = 0;
    dray_hint_lowering_print(lowering, take, f);
    dray_hint_lowering_destroy(lowering);
    assert_string_equal(f->text, one_by_one);
}

static void older_drivers_get_the_older_calls_and_say_what_they_lose(void **state)
{
    fixture *f = *state;
    dray_hint_policy numa = {.preferred = dray_hint_at_numa(0)};
    f->cuda.features = DRAY_HINT_HAS_ADVISE | DRAY_HINT_HAS_PREFETCH;
    dray_hint_plan_policy(f->plan, at(0, page), numa);
    dray_hint_plan_prefetch(f->plan, at(0, page), dray_hint_at_host());
    dray_hint_plan_release(f->plan, at(0, page), DRAY_HINT_DISCARD);
    becomes(
        f, &f->cuda,
        "cuMemAdvise CU_MEM_ADVISE_SET_PREFERRED_LOCATION host: 4096 bytes (hint 0)\n"
        "cuMemPrefetchAsync host: 4096 bytes (hint 1)\n"
        "degraded (hint 0): the driver takes no NUMA node (CUDA 12.2 does): the host, whichever node\n"
        "skipped (hint 2): the driver has no cuMemDiscardBatchAsync (CUDA 13.0)\n");
}

static void json_is_the_same_list(void **state)
{
    fixture *f = *state;
    f->cuda.features = DRAY_HINT_HAS_ADVISE;
    dray_hint_plan_policy(f->plan, at(0, 100), dray_hint_prefer_host());
    dray_hint_plan_huge_pages(f->plan, at(page, page));
    dray_hint_lowering *lowering;
    assert_int_equal(dray_hint_plan_lower(f->plan, &f->cuda, NULL, &lowering, NULL), DRAY_OK);
    f->used = 0;
    dray_hint_lowering_print_json(lowering, take, f);
    dray_hint_lowering_destroy(lowering);
    assert_string_equal(
        f->text,
        "{\"calls\": [\n"
        "  {\"function\": \"cuMemAdvise\", \"bytes\": 100, \"advice\": "
        "\"CU_MEM_ADVISE_SET_PREFERRED_LOCATION\", \"location\": {\"type\": \"host\", \"id\": -1}}\n"
        "], \"remarks\": [\n"
        "  {\"outcome\": \"skipped\", \"hint\": 1, \"count\": 1, \"why\": "
        "\"CUDA chooses the size of pages by itself\"}\n"
        "]}\n");
}

static void reset_unsets_before_it_sets(void **state)
{
    fixture *f = *state;
    dray_hint_policy wish = {.reset = 1, .preferred = dray_hint_at_device(1)};
    f->cuda.device_count = 2;
    dray_hint_plan_policy(f->plan, at(0, page), wish);
    becomes(f, &f->cuda,
            "cuMemAdvise_v2 CU_MEM_ADVISE_UNSET_READ_MOSTLY device:0: 4096 bytes (hint 0)\n"
            "cuMemAdvise_v2 CU_MEM_ADVISE_UNSET_ACCESSED_BY device:0: 4096 bytes (hint 0)\n"
            "cuMemAdvise_v2 CU_MEM_ADVISE_UNSET_ACCESSED_BY device:1: 4096 bytes (hint 0)\n"
            "cuMemAdvise_v2 CU_MEM_ADVISE_UNSET_ACCESSED_BY host: 4096 bytes (hint 0)\n"
            "cuMemAdvise_v2 CU_MEM_ADVISE_SET_PREFERRED_LOCATION device:1: 4096 bytes (hint 0)\n");
}

static void discards_round_inwards_and_hints_do_not(void **state)
{
    fixture *f = *state;
    dray_hint_plan_release(f->plan, at(1, 3 * page), DRAY_HINT_DISCARD); // two whole pages inside
    dray_hint_plan_release(f->plan, at(8 * page + 1, page), DRAY_HINT_DISCARD); // none
    becomes(f, &f->cuda,
            "cuMemDiscardBatchAsync: 8192 bytes (hint 0)\n"
            "skipped (hint 1): no whole page lies inside\n");
}

static void opencl_moves_once_and_says_so(void **state)
{
    fixture *f = *state;
    dray_hint_policy wish = {.read_mostly = 1, .preferred = dray_hint_at_device(0)};
    dray_hint_plan_policy(f->plan, at(0, page), wish);
    dray_hint_plan_prefetch(f->plan, at(page, page), dray_hint_at_host());
    dray_hint_plan_prefetch(f->plan, at(4 * page, page), dray_hint_at_host());
    becomes(
        f, &f->opencl,
        "clEnqueueSVMMigrateMem device:0: 4096 bytes (hint 0)\n"
        "clEnqueueSVMMigrateMem CL_MIGRATE_MEM_OBJECT_HOST: 8192 bytes in 2 ranges (hints 1 to 2)\n"
        "skipped (hint 0): OpenCL has no advice about reading\n"
        "degraded (hint 0): moved once: OpenCL keeps no preferred location\n");
}

static void a_device_on_which_moving_does_nothing_is_known_before(void **state)
{
    fixture *f = *state;
    strcpy(f->opencl.devices[0].no_effect, "it shares the host's memory");
    dray_hint_plan_prefetch(f->plan, at(0, page), dray_hint_at_device(0));
    becomes(f, &f->opencl,
            "clEnqueueSVMMigrateMem device:0: 4096 bytes (hint 0)\n"
            "no effect (hint 0): it shares the host's memory\n");
}

static void the_host_has_a_call_for_each_wish_or_a_reason(void **state)
{
    fixture *f = *state;
    f->host.lockable_bytes = 100 * page;
    f->host.node_count = 2;
    dray_hint_policy node = {.preferred = dray_hint_at_numa(1)};
    dray_hint_plan_policy(f->plan, at(0, page), dray_hint_prefer_host());
    dray_hint_plan_policy(f->plan, at(8 * page, 200 * page), dray_hint_prefer_host());
    dray_hint_plan_policy(f->plan, at(300 * page, page), node);
    dray_hint_plan_policy(f->plan, at(310 * page, page), dray_hint_prefer_device(0));
    dray_hint_plan_prefetch(f->plan, at(0, page), dray_hint_at_host());
    dray_hint_plan_release(f->plan, at(0, page), DRAY_HINT_COLD);
    dray_hint_plan_release(f->plan, at(8 * page, page), DRAY_HINT_OUT);
    dray_hint_plan_release(f->plan, at(16 * page, page), DRAY_HINT_DISCARD);
    dray_hint_plan_huge_pages(f->plan, at(1 << 20, 4 << 20));
    becomes(
        f, &f->host,
        "mlock host: 4096 bytes (hint 0)\n"
        "madvise MADV_POPULATE_WRITE host: 819200 bytes (hint 1)\n"
        "mbind MPOL_PREFERRED numa:1: 4096 bytes (hint 2)\n"
        "move_pages numa:1: 4096 bytes (hint 2)\n"
        "madvise MADV_POPULATE_WRITE host: 4096 bytes (hint 4)\n"
        "madvise MADV_COLD host: 4096 bytes (hint 5)\n"
        "madvise MADV_PAGEOUT host: 4096 bytes (hint 6)\n"
        "madvise MADV_DONTNEED host: 4096 bytes (hint 7)\n"
        "madvise MADV_HUGEPAGE host: 4194304 bytes (hint 8)\n"
        "madvise MADV_COLLAPSE host: 4194304 bytes (hint 8)\n"
        "degraded (hint 1): brought in, but not kept there: the limit of lockable memory is too small\n"
        "skipped (hint 3): host memory cannot prefer a device of which no near NUMA node is known\n");
}

static void old_kernels_lose_hints_and_not_the_plan(void **state)
{
    fixture *f = *state;
    f->host.features = 0;
    f->host.huge_page_bytes = 0;
    dray_hint_policy node = {.preferred = dray_hint_at_numa(0)};
    dray_hint_plan_policy(f->plan, at(0, page), node);
    dray_hint_plan_prefetch(f->plan, at(8 * page, page), dray_hint_at_host());
    dray_hint_plan_release(f->plan, at(16 * page, page), DRAY_HINT_COLD);
    dray_hint_plan_huge_pages(f->plan, at(0, page));
    becomes(
        f, &f->host,
        "skipped (hint 0): this kernel, or this container, refuses mbind and move_pages\n"
        "skipped (hint 1): this kernel cannot bring pages in on request (MADV_POPULATE_READ, Linux 5.14)\n"
        "skipped (hint 2): this kernel knows no MADV_COLD and MADV_PAGEOUT (Linux 5.4)\n"
        "skipped (hint 3): transparent huge pages are off\n");
}

static void bytes_are_promised_to_a_place_only_once(void **state)
{
    fixture *f = *state;
    f->cuda.devices[1].free_bytes = 10 * page;
    dray_hint_plan_policy(f->plan, at(0, 8 * page), dray_hint_prefer_device(1));
    dray_hint_plan_prefetch(f->plan, at(0, 8 * page), dray_hint_at_device(1)); // the same bytes
    dray_hint_lowering *lowering;
    assert_int_equal(dray_hint_plan_lower(f->plan, &f->cuda, NULL, &lowering, NULL), DRAY_OK);
    dray_hint_lowering_destroy(lowering);
    dray_hint_plan_prefetch(f->plan, at(20 * page, 2 * page), dray_hint_at_device(1));
    refused(
        f, &f->cuda, DRAY_E_NOSPACE,
        "hints for device 1: 40960 bytes are wanted there, 40960 are free, of which 2560 stay free");
    dray_hint_lower_options options = {.struct_bytes = sizeof(options), .no_headroom = 1};
    assert_int_equal(dray_hint_plan_lower(f->plan, &f->cuda, &options, &lowering, NULL), DRAY_OK);
    dray_hint_lowering_destroy(lowering);
}

static void advice_on_other_axes_may_share_bytes(void **state)
{
    fixture *f = *state;
    dray_hint_advice read = {.kind = DRAY_HINT_SET_READ_MOSTLY};
    dray_hint_advice access = {.kind = DRAY_HINT_SET_ACCESSED_BY, .location = {DRAY_HINT_DEVICE, 1}};
    dray_hint_advice back = {.kind = DRAY_HINT_UNSET_ACCESSED_BY, .location = {DRAY_HINT_DEVICE, 1}};
    dray_hint_plan_advice(f->plan, at(0, page), read);
    dray_hint_plan_advice(f->plan, at(0, page), access);
    assert_int_equal(dray_hint_plan_check(f->plan, NULL), DRAY_OK);
    dray_hint_plan_advice(f->plan, at(0, page), back);
    dray_error error;
    assert_int_equal(dray_hint_plan_check(f->plan, &error), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "hints 1 and 2 want different things"));
}

static void a_policy_and_advice_that_contradict_it_are_refused(void **state)
{
    fixture *f = *state;
    dray_hint_advice unset = {.kind = DRAY_HINT_UNSET_READ_MOSTLY};
    dray_hint_plan_policy(f->plan, at(0, page), dray_hint_read_mostly());
    dray_hint_plan_advice(f->plan, at(100, 100), unset);
    dray_error error;
    assert_int_equal(dray_hint_plan_check(f->plan, &error), DRAY_E_INVALID);
    assert_int_equal(error.index, 1);
}

static dray_region *file_region(fixture *f, const char *path)
{
    dray_region *region;
    dray_error error;
    if (dray_region_open(f->context, path, NULL, &region, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return region;
}

static void files_that_are_not_mapped_are_told_apart(void **state)
{
    fixture *f = *state;
    const char *first = test_file_make("hint-one", 4 * page);
    dray_region *one = file_region(f, first), *again = file_region(f, first);
    dray_region *other = file_region(f, test_file_make("hint-other", 4 * page)), *view;
    dray_hint_range range;
    assert_int_equal(dray_hint_range_region(one, &range, NULL), DRAY_OK);
    dray_hint_plan_prefetch(f->plan, range, dray_hint_at_host());
    assert_int_equal(dray_hint_range_region(other, &range, NULL), DRAY_OK);
    dray_hint_plan_prefetch(f->plan, range, dray_hint_at_host()); // the same offsets, another file
    assert_int_equal(dray_hint_plan_check(f->plan, NULL), DRAY_OK);
    assert_int_equal(dray_region_view(again, page, page, &view, NULL), DRAY_OK);
    assert_int_equal(dray_hint_range_region(view, &range, NULL), DRAY_OK);
    dray_hint_plan_prefetch(f->plan, range, dray_hint_at_host()); // the same bytes by another way
    dray_error error;
    assert_int_equal(dray_hint_plan_check(f->plan, &error), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "hints 0 and 2: both are a prefetch"));
    dray_region_release(view);
    dray_region_release(one);
    dray_region_release(again);
    dray_region_release(other);
}

static void neighbours_of_two_regions_stay_two_calls(void **state)
{
    fixture *f = *state;
    static char bytes[4 * page] __attribute__((aligned(page)));
    dray_region *halves[2];
    dray_hint_range range;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dray_region_wrap(f->context, DRAY_STORAGE_SYSTEM, bytes + i * 2 * page,
                                          2 * page, NULL, NULL, &halves[i], NULL),
                         DRAY_OK);
        assert_int_equal(dray_hint_range_region(halves[i], &range, NULL), DRAY_OK);
        dray_hint_plan_prefetch(f->plan, range, dray_hint_at_host());
    }
    becomes(f, &f->host,
            "madvise MADV_POPULATE_WRITE host: 8192 bytes (hint 0)\n"
            "madvise MADV_POPULATE_WRITE host: 8192 bytes (hint 1)\n");
    dray_region_release(halves[0]);
    dray_region_release(halves[1]);
}

static void an_empty_plan_does_nothing_well(void **state)
{
    fixture *f = *state;
    assert_true(dray_hint_plan_is_empty(f->plan));
    assert_null(dray_hint_plan_at(f->plan, 0));
    becomes(f, &f->cuda, "nothing to do\n");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(neighbours_in_order_become_one_call_and_nothing_else_does),
        CASE(prefetches_of_a_plan_that_fits_are_one_batch_in_order),
        CASE(a_batch_needs_every_device_and_a_plan_that_fits),
        CASE(older_drivers_get_the_older_calls_and_say_what_they_lose),
        CASE(json_is_the_same_list),
        CASE(reset_unsets_before_it_sets),
        CASE(discards_round_inwards_and_hints_do_not),
        CASE(opencl_moves_once_and_says_so),
        CASE(a_device_on_which_moving_does_nothing_is_known_before),
        CASE(the_host_has_a_call_for_each_wish_or_a_reason),
        CASE(old_kernels_lose_hints_and_not_the_plan),
        CASE(bytes_are_promised_to_a_place_only_once),
        CASE(advice_on_other_axes_may_share_bytes),
        CASE(a_policy_and_advice_that_contradict_it_are_refused),
        CASE(files_that_are_not_mapped_are_told_apart),
        CASE(neighbours_of_two_regions_stay_two_calls),
        CASE(an_empty_plan_does_nothing_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
