/// What went wrong in the library whose idea this was, one test per defect: eleven of them.
#include "support/hint_rig.h"
#include "support/testing.h"

#include <string.h>

static hint_rig rig;

static int setup(void **state)
{
    (void)state;
    hint_rig_reset(&rig);
    return 0;
}

static void open_rig(void)
{
    dray_error error = {.message = ""};
    if (!hint_rig_open(&rig, NULL, &error))
        fail_msg("%s", error.message);
}

static int teardown(void **state)
{
    (void)state;
    hint_rig_close(&rig);
    return 0;
}

static dray_hint_outcome apply(dray_hint_policy policy, dray_hint_result *out)
{
    dray_hint_range range = hint_rig_range(&rig, 0, 1);
    dray_error error = {.message = ""};
    dray_hint_result result;
    if (dray_hints_apply(rig.hints, &range, &policy, &result, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    if (out)
        *out = result;
    return result.outcome;
}

static void defect_1_the_device_that_is_named_is_the_one_that_is_preferred(void **state)
{
    (void)state;
    open_rig(); // hints are given through device 0
    assert_int_equal(apply(dray_hint_prefer_device(1), NULL), DRAY_HINT_VERIFIED);
    hint_rig_logged(&rig, 1, "cuMemAdvise_v2 SET_PREFERRED_LOCATION device:1");
    assert_int_equal(rig.pages[0].preferred.index, 1);
    assert_int_equal(apply(dray_hint_prefer_host(), NULL), DRAY_HINT_VERIFIED);
    assert_int_equal(rig.log[1].location.place, DRAY_HINT_HOST); // and not the same call
}

static void defect_2_the_host_is_a_place_like_any_other(void **state)
{
    (void)state;
    rig.features &= ~(uint32_t)(DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_PREFETCH_V2);
    open_rig();
    dray_hint_range range = hint_rig_range(&rig, 0, 2);
    dray_hint_result result;
    assert_int_equal(apply(dray_hint_prefer_host(), NULL), DRAY_HINT_VERIFIED);
    assert_int_equal(dray_hint_call_location_id(&rig.log[0]), -1); // CU_DEVICE_CPU
    assert_int_equal(dray_hints_prefetch(rig.hints, &range, dray_hint_at_host(), &result, NULL),
                     DRAY_OK);
    assert_int_equal(rig.pages[1].last_prefetch.place, DRAY_HINT_HOST);
    assert_int_equal(result.outcome, DRAY_HINT_ACCEPTED);
}

static void defect_3_default_does_nothing_reset_unsets_and_undo_restores(void **state)
{
    (void)state;
    open_rig();
    apply(dray_hint_read_mostly(), NULL);
    assert_int_equal(apply(dray_hint_default(), NULL), DRAY_HINT_VERIFIED);
    assert_int_equal(rig.calls, 1); // default made none
    assert_true(rig.pages[0].read_mostly);
    dray_hint_policy exactly = {.reset = 1, .preferred = dray_hint_at_host()};
    assert_int_equal(apply(exactly, NULL), DRAY_HINT_VERIFIED);
    assert_false(rig.pages[0].read_mostly); // another axis, and not left in force
    assert_int_equal(rig.pages[0].preferred.place, DRAY_HINT_HOST);
    assert_int_equal(apply(dray_hint_reset(), NULL), DRAY_HINT_VERIFIED);
    assert_int_equal(rig.pages[0].preferred.place, DRAY_HINT_NOWHERE);
    assert_int_equal(rig.calls, 4); // only what was set was unset
    assert_int_equal(apply(dray_hint_reset(), NULL), DRAY_HINT_VERIFIED);
    assert_int_equal(rig.calls, 4);

    dray_hint_run *run =
        hint_rig_run(&rig,
                     dray_hint_plan_policy(hint_rig_plan(&rig), hint_rig_range(&rig, 0, 1),
                                           dray_hint_prefer_device(1)),
                     NULL);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.restored, 1);
    assert_int_equal(rig.pages[0].preferred.place, DRAY_HINT_NOWHERE);
    dray_hint_run_destroy(run);
}

static void defect_4_policies_combine_and_advice_carries_locations(void **state)
{
    (void)state;
    open_rig();
    dray_hint_policy policy;
    assert_int_equal(
        dray_hint_policy_parse("read-mostly+prefer-device:0+accessed-by:1,host", &policy, NULL),
        DRAY_OK);
    assert_int_equal(apply(policy, NULL), DRAY_HINT_VERIFIED);
    hint_rig_logged(&rig, 4, "cuMemAdvise_v2 SET_READ_MOSTLY device:0",
                    "cuMemAdvise_v2 SET_PREFERRED_LOCATION device:0",
                    "cuMemAdvise_v2 SET_ACCESSED_BY device:1",
                    "cuMemAdvise_v2 SET_ACCESSED_BY host");
}

static void defect_5_a_failed_plan_says_what_was_queued_and_can_go_on(void **state)
{
    (void)state;
    rig.features &= ~(uint32_t)DRAY_HINT_HAS_PREFETCH_BATCH;
    rig.fail_at = 1;
    rig.fail_code = 101;
    open_rig();
    dray_hint_plan *plan = hint_rig_plan(&rig);
    for (unsigned i = 0; i < 3; i++)
        dray_hint_plan_prefetch(plan, hint_rig_range(&rig, 2 * i, 1), dray_hint_at_device(0));
    dray_hint_run *run = hint_rig_run(&rig, plan, NULL);
    const dray_hint_call *calls;
    assert_int_equal(dray_hint_lowering_calls(dray_hint_run_lowering(run), &calls), 3); // a dry run
    assert_int_equal(rig.calls, 0);
    dray_error error;
    assert_int_equal(dray_hint_run_start(run, &error), DRAY_E_DEVICE);
    assert_int_equal(error.index, 1);
    assert_int_equal(error.native_code, 101);
    assert_true(dray_hint_run_result(run, 0)->enqueued);
    assert_int_equal(dray_hint_run_result(run, 1)->outcome, DRAY_HINT_FAILED);
    assert_string_equal(dray_hint_run_result(run, 1)->code_name, "CUDA_ERROR_INVALID_DEVICE");
    assert_int_equal(dray_hint_run_result(run, 2)->outcome, DRAY_HINT_PENDING);
    assert_false(dray_hint_run_result(run, 2)->enqueued);
    assert_int_equal(rig.marks, 1);                              // a completion for what was queued
    assert_int_equal(dray_hint_run_start(run, &error), DRAY_OK); // resumed
    assert_int_equal(rig.calls, 4);                              // 0, 1, again 1, 2
    assert_int_equal(dray_hint_run_wait(run, &error), DRAY_OK);
    assert_int_equal(dray_hint_run_worst(run), DRAY_HINT_ACCEPTED);
    dray_hint_run_destroy(run);
}

/// The plan is refused with these words, and nothing was called.
static void refused(dray_hint_plan *plan, const char *says)
{
    dray_hint_run *run = NULL;
    dray_error error = {.message = ""};
    assert_int_equal(dray_hint_run_create(rig.hints, plan, NULL, &run, &error), DRAY_E_INVALID);
    assert_null(run);
    dray_hint_plan_destroy(plan);
    assert_int_equal(rig.calls, 0);
    if (!strstr(error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

static void defect_6_wrong_entries_are_found_before_anything_is_queued(void **state)
{
    (void)state;
    open_rig();
    dray_hint_range good = hint_rig_range(&rig, 0, 2), bad = good;
    bad.bytes = 0;
    refused(dray_hint_plan_prefetch(
                dray_hint_plan_prefetch(hint_rig_plan(&rig), good, dray_hint_at_host()), bad,
                dray_hint_at_host()),
            "hint 1: hint about no bytes");
    bad = good;
    bad.pointer = NULL;
    refused(dray_hint_plan_prefetch(hint_rig_plan(&rig), bad, dray_hint_at_host()), "at NULL");
    refused(dray_hint_plan_prefetch(hint_rig_plan(&rig), good, dray_hint_at_device(2)),
            "device 2: cuda has 2 devices");
    refused(dray_hint_plan_prefetch(hint_rig_plan(&rig), good, dray_hint_at_device((uint32_t)-1)),
            "devices are numbered 0 to 63");
    dray_hint_plan *twice = dray_hint_plan_prefetch(hint_rig_plan(&rig), good, dray_hint_at_host());
    refused(dray_hint_plan_prefetch(twice, hint_rig_range(&rig, 1, 2), dray_hint_at_host()),
            "hints 0 and 1: both are a prefetch for the same");
}

static void defect_7_memory_devices_and_room_are_looked_at_first(void **state)
{
    (void)state;
    rig.concurrent[1] = false;
    rig.free_bytes[0] = 4096;
    open_rig();
    static char ordinary[64];
    dray_hint_range range, large = hint_rig_range(&rig, 0, 32);
    dray_hint_result result;
    dray_error error;
    assert_int_equal(dray_hint_range_raw(ordinary, sizeof(ordinary), &range, NULL), DRAY_OK);
    refused(dray_hint_plan_policy(hint_rig_plan(&rig), range, dray_hint_read_mostly()),
            "no managed memory");
    assert_int_equal(apply(dray_hint_prefer_device(1), &result), DRAY_HINT_SKIPPED);
    assert_non_null(strstr(result.note, "no concurrent access"));
    assert_int_equal(rig.calls, 0);
    assert_int_equal(dray_hints_prefetch(rig.hints, &large, dray_hint_at_device(0), NULL, &error),
                     DRAY_E_NOSPACE);
    assert_int_equal(rig.calls, 0);
}

static void defect_8_ranges_cannot_wrap_or_begin_nowhere(void **state)
{
    (void)state;
    open_rig();
    dray_hint_range range;
    assert_int_equal(dray_hint_range_raw(NULL, 1, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_raw(rig.memory, 0, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_raw(rig.memory, UINT64_MAX, &range, NULL), DRAY_E_INVALID);
    dray_hint_range whole = hint_rig_range(&rig, 0, 2);
    assert_int_equal(dray_hint_range_part(&whole, UINT64_MAX, 2, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_part(&whole, 0, 0, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_part(&whole, 1, whole.bytes, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_part(&whole, 1, whole.bytes - 1, &range, NULL), DRAY_OK);
    assert_int_equal(dray_hints_prefetch_part(rig.hints, &whole, 1, whole.bytes,
                                              dray_hint_at_host(), NULL, NULL),
                     DRAY_E_INVALID);
    assert_int_equal(rig.calls, 0);
}

static void defect_9_success_is_read_back(void **state)
{
    (void)state;
    rig.lie_at = 0;
    open_rig();
    dray_hint_result result;
    assert_int_equal(apply(dray_hint_read_mostly(), &result), DRAY_HINT_NO_EFFECT);
    assert_string_equal(result.note, "the driver said success, and it does not read back");
    assert_int_equal(apply(dray_hint_read_mostly(), &result), DRAY_HINT_VERIFIED);
}

static void defect_10_nodes_batches_and_discards_have_their_calls(void **state)
{
    (void)state;
    open_rig();
    dray_hint_policy node = {.preferred = dray_hint_at_numa(0)};
    assert_int_equal(apply(node, NULL), DRAY_HINT_VERIFIED);
    dray_hint_plan *plan = hint_rig_plan(&rig);
    dray_hint_plan_prefetch(plan, hint_rig_range(&rig, 0, 1), dray_hint_at_device(0));
    dray_hint_plan_prefetch(plan, hint_rig_range(&rig, 2, 1), dray_hint_at_device(1));
    dray_hint_plan_release(plan, hint_rig_range(&rig, 8, 1), DRAY_HINT_DISCARD);
    dray_hint_run *run = hint_rig_run(&rig, plan, NULL);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_wait(run, NULL), DRAY_OK);
    dray_hint_run_destroy(run);
    hint_rig_logged(&rig, 3, "cuMemAdvise_v2 SET_PREFERRED_LOCATION numa:0",
                    "cuMemPrefetchBatchAsync device:0", "cuMemDiscardBatchAsync none");
    assert_int_equal(rig.pages[2].last_prefetch.index, 1);
}

static void defect_11_two_wishes_for_one_page_are_refused_with_a_way_out(void **state)
{
    (void)state;
    open_rig();
    dray_hint_range whole = hint_rig_range(&rig, 0, 2), left, right;
    assert_int_equal(dray_hint_range_part(&whole, 0, 100, &left, NULL), DRAY_OK);
    assert_int_equal(dray_hint_range_part(&whole, 100, 100, &right, NULL), DRAY_OK);
    dray_hint_plan *plan =
        dray_hint_plan_policy(hint_rig_plan(&rig), left, dray_hint_prefer_device(0));
    refused(dray_hint_plan_policy(plan, right, dray_hint_prefer_host()),
            "want different things of the page");
    plan = dray_hint_plan_policy(hint_rig_plan(&rig), left, dray_hint_prefer_device(0));
    refused(dray_hint_plan_policy(plan, right, dray_hint_prefer_host()), "align them to");
    plan = dray_hint_plan_policy(hint_rig_plan(&rig), left, dray_hint_prefer_host());
    dray_hint_plan_policy(plan, right, dray_hint_prefer_host()); // the same wish
    assert_int_equal(dray_hint_plan_check(plan, NULL), DRAY_OK);
    dray_hint_plan_destroy(plan);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(defect_1_the_device_that_is_named_is_the_one_that_is_preferred),
        CASE(defect_2_the_host_is_a_place_like_any_other),
        CASE(defect_3_default_does_nothing_reset_unsets_and_undo_restores),
        CASE(defect_4_policies_combine_and_advice_carries_locations),
        CASE(defect_5_a_failed_plan_says_what_was_queued_and_can_go_on),
        CASE(defect_6_wrong_entries_are_found_before_anything_is_queued),
        CASE(defect_7_memory_devices_and_room_are_looked_at_first),
        CASE(defect_8_ranges_cannot_wrap_or_begin_nowhere),
        CASE(defect_9_success_is_read_back),
        CASE(defect_10_nodes_batches_and_discards_have_their_calls),
        CASE(defect_11_two_wishes_for_one_page_are_refused_with_a_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
