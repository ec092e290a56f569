/// Runs: what became of each entry, going on after failures, completions, and undo under faults.
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

static int teardown(void **state)
{
    (void)state;
    hint_rig_close(&rig);
    return 0;
}

static void open_rig(void)
{
    dray_error error = {.message = ""};
    if (!hint_rig_open(&rig, NULL, &error))
        fail_msg("%s", error.message);
}

static dray_hint_plan *three_policies(void)
{
    dray_hint_policy wish = {.read_mostly = 1, .preferred = dray_hint_at_device(1)};
    dray_hint_plan *plan = hint_rig_plan(&rig);
    for (unsigned i = 0; i < 3; i++)
        dray_hint_plan_policy(plan, hint_rig_range(&rig, 4 * i, 2), wish);
    return plan;
}

static dray_hint_outcome outcome(const dray_hint_run *run, uint64_t entry)
{
    return dray_hint_run_result(run, entry)->outcome;
}

static void going_on_skips_the_rest_of_the_failed_entry_only(void **state)
{
    (void)state;
    rig.fail_at = 2; // the first call of entry 1
    rig.fail_code = 1;
    open_rig();
    dray_hint_run_options options = {.struct_bytes = sizeof(options), .go_on = 1};
    dray_hint_run *run = hint_rig_run(&rig, three_policies(), &options);
    dray_error error;
    assert_int_equal(dray_hint_run_start(run, &error), DRAY_E_DEVICE);
    assert_int_equal(error.index, 1);
    assert_int_equal(rig.calls, 5); // 2 + the refused one + 2: not half a hint
    assert_int_equal(outcome(run, 0), DRAY_HINT_VERIFIED);
    assert_int_equal(outcome(run, 1), DRAY_HINT_FAILED);
    assert_int_equal(outcome(run, 2), DRAY_HINT_VERIFIED);
    assert_int_equal(dray_hint_run_worst(run), DRAY_HINT_FAILED);
    assert_int_equal(dray_hint_run_start(run, &error), DRAY_OK);
    assert_int_equal(rig.calls, 7);
    assert_int_equal(dray_hint_run_worst(run), DRAY_HINT_VERIFIED);
    dray_hint_run_destroy(run);
}

static void the_end_of_a_prefetch_is_seen_before_anything_is_said(void **state)
{
    (void)state;
    rig.slow = true;
    open_rig();
    dray_hint_run *run =
        hint_rig_run(&rig,
                     dray_hint_plan_prefetch(hint_rig_plan(&rig), hint_rig_range(&rig, 0, 1),
                                             dray_hint_at_device(0)),
                     NULL);
    bool done = true;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_true(dray_hint_run_result(run, 0)->enqueued);
    assert_int_equal(outcome(run, 0), DRAY_HINT_PENDING);
    assert_int_equal(dray_hint_run_query(run, &done, NULL), DRAY_OK);
    assert_false(done);
    assert_int_equal(dray_hint_run_worst(run), DRAY_HINT_PENDING);
    assert_int_equal(dray_hint_run_query(run, &done, NULL), DRAY_OK);
    assert_true(done);
    assert_int_equal(outcome(run, 0), DRAY_HINT_ACCEPTED);
    dray_hint_run_destroy(run);
}

static void a_bad_end_fails_all_that_was_under_way(void **state)
{
    (void)state;
    rig.wait_code = 700;
    open_rig();
    dray_hint_plan *plan = three_policies();
    dray_hint_plan_prefetch(plan, hint_rig_range(&rig, 20, 1), dray_hint_at_device(0));
    dray_hint_plan_prefetch(plan, hint_rig_range(&rig, 30, 1), dray_hint_at_device(1));
    dray_hint_run *run = hint_rig_run(&rig, plan, NULL);
    dray_error error;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_wait(run, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 700);
    assert_int_equal(outcome(run, 0), DRAY_HINT_VERIFIED); // was over already
    assert_int_equal(outcome(run, 3), DRAY_HINT_FAILED);
    assert_int_equal(outcome(run, 4), DRAY_HINT_FAILED);
    assert_int_equal(dray_hint_run_result(run, 4)->code, 700);
    dray_hint_run_destroy(run);
}

static void what_nobody_can_read_is_not_called_verified(void **state)
{
    (void)state;
    rig.no_state = true;
    open_rig();
    dray_hint_run *run = hint_rig_run(&rig, three_policies(), NULL);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(outcome(run, 0), DRAY_HINT_ACCEPTED);
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.impossible, 3);
    assert_non_null(strstr(report.why, "does not tell what was set before"));
    dray_hint_run_destroy(run);
}

static void without_verifying_nothing_is_verified(void **state)
{
    (void)state;
    open_rig();
    dray_hint_run_options options = {.struct_bytes = sizeof(options), .no_verify = 1};
    dray_hint_run *run = hint_rig_run(&rig, three_policies(), &options);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_worst(run), DRAY_HINT_ACCEPTED);
    dray_hint_run_destroy(run);
}

static void a_wish_that_is_half_possible_is_degraded(void **state)
{
    (void)state;
    rig.concurrent[1] = false;
    open_rig();
    dray_hint_run *run = hint_rig_run(&rig, three_policies(), NULL);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(outcome(run, 0), DRAY_HINT_DEGRADED);
    assert_non_null(strstr(dray_hint_run_result(run, 0)->note, "no concurrent access"));
    dray_hint_run_destroy(run);
}

// --- undo --------------------------------------------------------------------------------------------

static void undo_puts_back_what_was_there_piece_by_piece(void **state)
{
    (void)state;
    open_rig();
    hint_rig_page before[HINT_RIG_PAGES];
    for (unsigned i = 0; i < 16; i++) {
        rig.pages[i].read_mostly = i < 8;
        rig.pages[i].preferred = i < 4    ? dray_hint_at_device(0)
                                 : i < 12 ? dray_hint_at_host()
                                          : (dray_hint_location){0};
        rig.pages[i].accessed_by.devices = i % 2;
    }
    memcpy(before, rig.pages, sizeof(before));
    dray_hint_policy wish = {.reset = 1,
                             .read_mostly = 1,
                             .preferred = dray_hint_at_device(1),
                             .accessed_by = {.devices = 2, .host = 1}};
    dray_hint_run *run = hint_rig_run(
        &rig, dray_hint_plan_policy(hint_rig_plan(&rig), hint_rig_range(&rig, 0, 16), wish), NULL);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(outcome(run, 0), DRAY_HINT_VERIFIED);
    assert_int_equal(rig.pages[3].accessed_by.devices, 2); // device 0's access was unset
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(rig.pages[i].read_mostly, before[i].read_mostly);
        assert_memory_equal(&rig.pages[i].preferred, &before[i].preferred,
                            sizeof(before[i].preferred));
        assert_memory_equal(&rig.pages[i].accessed_by, &before[i].accessed_by,
                            sizeof(before[i].accessed_by));
    }
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.inexact, 1); // pages 8 to 15 may not be copied any more
    assert_non_null(strstr(report.why, "forbids the driver to make copies"));
    dray_hint_run_destroy(run);
}

static void undo_does_not_claim_to_move_bytes_back(void **state)
{
    (void)state;
    open_rig();
    dray_hint_run *run =
        hint_rig_run(&rig,
                     dray_hint_plan_prefetch(hint_rig_plan(&rig), hint_rig_range(&rig, 0, 1),
                                             dray_hint_at_device(0)),
                     NULL);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.impossible, 1);
    assert_non_null(strstr(dray_hint_run_undo_note(run, 0), "bytes that moved stay"));
    dray_hint_run_destroy(run);
}

static void undo_needs_a_journal(void **state)
{
    (void)state;
    open_rig();
    dray_hint_run_options options = {.struct_bytes = sizeof(options), .no_journal = 1};
    dray_hint_run *run = hint_rig_run(&rig, three_policies(), &options);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_undo(run, NULL, NULL), DRAY_E_INVALID);
    dray_hint_run_destroy(run);
}

/// Before, read-mostly is set everywhere, so that every change can be put back exactly.
static void mark_before(void)
{
    for (unsigned i = 0; i < HINT_RIG_PAGES; i++) {
        rig.pages[i].read_mostly = true;
        rig.pages[i].preferred = dray_hint_at_host();
    }
}

static void assert_as_before(void)
{
    for (unsigned i = 0; i < HINT_RIG_PAGES; i++) {
        assert_true(rig.pages[i].read_mostly);
        assert_int_equal(rig.pages[i].preferred.place, DRAY_HINT_HOST);
        assert_int_equal(rig.pages[i].accessed_by.devices, 0);
    }
}

static dray_hint_plan *three_changes(void)
{
    dray_hint_policy wish = {
        .reset = 1, .preferred = dray_hint_at_device(1), .accessed_by = {.devices = 3}};
    dray_hint_plan *plan = hint_rig_plan(&rig);
    for (unsigned i = 0; i < 3; i++)
        dray_hint_plan_policy(plan, hint_rig_range(&rig, 4 * i, 2), wish);
    return plan;
}

static void undo_restores_after_a_failure_at_every_call(void **state)
{
    (void)state;
    for (int n = 0;; n++) {
        for (uint32_t go_on = 0; go_on < 2; go_on++) {
            hint_rig_reset(&rig);
            rig.fail_at = n;
            rig.fail_code = 999;
            open_rig();
            mark_before();
            dray_hint_run_options options = {.struct_bytes = sizeof(options), .go_on = go_on};
            dray_hint_run *run = hint_rig_run(&rig, three_changes(), &options);
            dray_error error = {.message = ""};
            dray_status status = dray_hint_run_start(run, &error);
            assert_int_equal(status, rig.calls > n ? DRAY_E_DEVICE : DRAY_OK);
            bool undo_fails = status == DRAY_OK; // then the fault hits the undo, or nothing
            dray_hint_undo_report report;
            status = dray_hint_run_undo(run, &report, &error);
            bool all_came_through = undo_fails && status == DRAY_OK;
            if (!undo_fails || all_came_through) {
                assert_int_equal(status, DRAY_OK);
                assert_as_before();
            } else {
                assert_int_equal(report.failed, 1);
                assert_true(error.message[0] != 0);
                assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK); // once more
                assert_int_equal(report.failed, 0);
                assert_as_before();
            }
            dray_hint_run_destroy(run);
            if (all_came_through && go_on)
                return;
            hint_rig_close(&rig);
        }
    }
}

static void undo_sees_through_wrong_success(void **state)
{
    (void)state;
    rig.lie_at = 3 * 4; // the first call of undo, after three entries of four calls
    open_rig();
    mark_before();
    dray_hint_run *run = hint_rig_run(&rig, three_changes(), NULL);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(rig.calls, 12);
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.inexact, 1);
    assert_string_equal(report.why, "put back, but it does not read as before");
    dray_hint_run_destroy(run);
}

static void undo_works_with_the_oldest_calls(void **state)
{
    (void)state;
    rig.features = DRAY_HINT_HAS_ADVISE | DRAY_HINT_HAS_PREFETCH | DRAY_HINT_HAS_RANGE_STATE;
    open_rig();
    mark_before();
    dray_hint_run *run = hint_rig_run(&rig, three_changes(), NULL);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(rig.log[0].function, DRAY_HINT_CU_ADVISE);
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.restored, 3);
    assert_as_before();
    dray_hint_run_destroy(run);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(going_on_skips_the_rest_of_the_failed_entry_only),
        CASE(the_end_of_a_prefetch_is_seen_before_anything_is_said),
        CASE(a_bad_end_fails_all_that_was_under_way),
        CASE(what_nobody_can_read_is_not_called_verified),
        CASE(without_verifying_nothing_is_verified),
        CASE(a_wish_that_is_half_possible_is_degraded),
        CASE(undo_puts_back_what_was_there_piece_by_piece),
        CASE(undo_does_not_claim_to_move_bytes_back),
        CASE(undo_needs_a_journal),
        CASE(undo_restores_after_a_failure_at_every_call),
        CASE(undo_sees_through_wrong_success),
        CASE(undo_works_with_the_oldest_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
