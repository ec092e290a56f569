/// Hints on CUDA under everything that a driver does wrong: calls that fail, calls that say success and do
/// nothing, sticky errors, old drivers, devices that cannot, ends that come late. Each time two promises
/// are checked against the stand-in's own pages: nothing is reported as verified that is not so, and undo
/// puts back what was there before, or says that it could not.
#include "device_rig.h"
#include "dray/hints.h"
#include "testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { page = 4096, pages = 40 };

typedef struct world_case {
    dray_context *context;
    dray_device *device;
    dray_region *region;
    char *bytes;
    dray_hints *hints;
    dray_hint_plan *plan;
    dray_hint_run *run;
    standin_page before[pages];
} world_case;

static dray_hint_range range_of(const world_case *self, unsigned first, unsigned count)
{
    dray_hint_range whole, part;
    assert_int_equal(dray_hint_range_region(self->region, &whole, NULL), DRAY_OK);
    assert_int_equal(
        dray_hint_range_part(&whole, (uint64_t)first * page, (uint64_t)count * page, &part, NULL),
        DRAY_OK);
    return part;
}

static dray_hint_policy policy_of(const char *text)
{
    dray_hint_policy policy;
    assert_int_equal(dray_hint_policy_parse(text, &policy, NULL), DRAY_OK);
    return policy;
}

static void pages_read(const world_case *self, standin_page out[pages])
{
    for (unsigned i = 0; i < pages; i++)
        out[i] = device_rig_standin_page(self->bytes + (size_t)i * page);
}

/// Memory on which something is set already: host preferred on pages 8 to 11, accessed by device 0 on 16 to 19.
static world_case world_open(const standin_config *config)
{
    device_rig_reset();
    device_rig_standin(config);
    world_case self = {.context = device_rig_context(NULL, 0)};
    assert_int_equal(dray_device_open(self.context, "cuda:0", &self.device, NULL), DRAY_OK);
    self.region =
        device_rig_region(self.context, self.device, DRAY_STORAGE_MANAGED, (uint64_t)pages * page);
    self.bytes = dray_region_pointer(self.region);
    assert_int_equal(dray_hints_open(self.context, self.device, &self.hints, NULL), DRAY_OK);
    dray_hint_range host = range_of(&self, 8, 4), mapped = range_of(&self, 16, 4);
    dray_hint_policy prefer_host = dray_hint_prefer_host(), accessed = policy_of("accessed-by:0");
    assert_int_equal(dray_hints_apply(self.hints, &host, &prefer_host, NULL, NULL), DRAY_OK);
    assert_int_equal(dray_hints_apply(self.hints, &mapped, &accessed, NULL, NULL), DRAY_OK);
    assert_int_equal(dray_hint_plan_create(self.context, &self.plan, NULL), DRAY_OK);
    dray_hint_plan_policy(self.plan, range_of(&self, 0, 8),
                          policy_of("read-mostly+accessed-by:0,1"));
    dray_hint_plan_policy(self.plan, range_of(&self, 8, 8), dray_hint_prefer_device(1));
    dray_hint_plan_policy(self.plan, range_of(&self, 16, 8), dray_hint_prefer_host());
    dray_hint_plan_prefetch(self.plan, range_of(&self, 8, 8), dray_hint_at_device(1));
    dray_hint_plan_prefetch(self.plan, range_of(&self, 24, 8), dray_hint_at_host());
    pages_read(&self, self.before);
    return self;
}

static void world_close(world_case *self)
{
    dray_hint_run_destroy(self->run);
    dray_hint_plan_destroy(self->plan);
    dray_hints_close(self->hints);
    dray_region_release(self->region);
    dray_device_release(self->device);
    dray_context_destroy(self->context);
    assert_int_equal(device_rig_standin_depth(), 0);
}

/// The world's memory is gone, too: on a device that was not lost.
static void world_close_clean(world_case *self)
{
    world_close(self);
    standin_counts counts = device_rig_standin_counts();
    assert_string_equal(counts.last_misuse, "");
    assert_int_equal(counts.streams + counts.events + counts.contexts + counts.allocations, 0);
}

static dray_hint_outcome outcome(const world_case *self, uint64_t entry)
{
    return dray_hint_run_result(self->run, entry)->outcome;
}

/// Nothing is verified that does not stand in the stand-in's pages.
static void honest(const world_case *self)
{
    standin_page now[pages];
    pages_read(self, now);
    for (unsigned i = 0; i < 8; i++) {
        if (outcome(self, 0) == DRAY_HINT_VERIFIED)
            assert_true(now[i].read_mostly == 1 && now[i].accessed_by == 6);
        if (outcome(self, 1) == DRAY_HINT_VERIFIED)
            assert_true(now[8 + i].preferred_type == 1 && now[8 + i].preferred_id == 1);
        if (outcome(self, 2) == DRAY_HINT_VERIFIED)
            assert_true(now[16 + i].preferred_type == 2);
    }
    for (uint64_t i = 3; i < 5; i++) // the driver tells what was asked for, never where bytes are
        assert_int_not_equal(outcome(self, i), DRAY_HINT_VERIFIED);
    for (unsigned i = 32; i < pages; i++) // nobody asked for these
        assert_true(now[i].read_mostly == 0 && now[i].preferred_type == 0 && !now[i].accessed_by);
}

/// The settings are what they were; that read-mostly was ever set, nothing takes back.
static bool restored(const world_case *self)
{
    standin_page now[pages];
    pages_read(self, now);
    bool same = true;
    for (unsigned i = 0; i < pages; i++) {
        const standin_page *before = &self->before[i];
        same &= (now[i].read_mostly == 1) == (before->read_mostly == 1);
        same &= now[i].preferred_type == before->preferred_type;
        same &= now[i].preferred_id == before->preferred_id;
        same &= now[i].accessed_by == before->accessed_by;
    }
    return same;
}

static void run_make(world_case *self, uint32_t go_on)
{
    dray_hint_run_options options = {.struct_bytes = sizeof(options), .go_on = go_on};
    dray_error error = {.message = ""};
    if (dray_hint_run_create(self->hints, self->plan, &options, &self->run, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

static dray_status run_through(world_case *self, dray_error *error)
{
    dray_status status = dray_hint_run_start(self->run, error);
    dray_status end = dray_hint_run_wait(self->run, status == DRAY_OK ? error : NULL);
    return status == DRAY_OK ? end : status;
}

static void undo_restores(world_case *self)
{
    dray_hint_undo_report report;
    dray_error error = {.message = ""};
    if (dray_hint_run_undo(self->run, &report, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(report.failed, 0);
    assert_int_equal(report.entries, report.restored + report.accepted + report.inexact +
                                         report.impossible + report.failed);
    assert_true(restored(self));
}

// --- every driver ----------------------------------------------------------------------------------

static void every_driver_is_told_and_asked_and_undone(void **state)
{
    (void)state;
    static const int versions[] = {11080, 12020, 12080, 13000};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        world_case self =
            world_open(&(standin_config){.version = versions[i], .symbols = versions[i]});
        run_make(&self, 0);
        assert_int_equal(run_through(&self, NULL), DRAY_OK);
        honest(&self);
        for (uint64_t k = 0; k < 3; k++)
            assert_int_equal(outcome(&self, k), DRAY_HINT_VERIFIED);
        for (uint64_t k = 3; k < 5; k++)
            assert_int_equal(outcome(&self, k), DRAY_HINT_ACCEPTED);
        assert_int_equal(device_rig_standin_page(self.bytes + 9 * page).at, 1);
        assert_int_equal(device_rig_standin_page(self.bytes + 25 * page).at, -1);
        standin_counts counts = device_rig_standin_counts();
        assert_int_equal(counts.prefetch_batches, versions[i] >= 13000);
        assert_int_equal(counts.prefetches, versions[i] >= 13000 ? 0 : 2);
        dray_hint_undo_report report;
        assert_int_equal(dray_hint_run_undo(self.run, &report, NULL), DRAY_OK);
        assert_true(restored(&self));
        assert_int_equal(report.entries, 5);
        assert_int_equal(report.restored, 2);
        assert_int_equal(report.inexact, 1);    // read-mostly leaves a trace
        assert_int_equal(report.impossible, 2); // bytes that moved
        assert_non_null(report.why);
        world_close_clean(&self);
    }
}

static void a_node_is_degraded_to_the_host_by_an_old_driver_and_said(void **state)
{
    (void)state;
    for (int old = 0; old < 2; old++) {
        world_case self = world_open(&(standin_config){.symbols = old ? 11080 : 0});
        dray_hint_range range = range_of(&self, 32, 2);
        dray_hint_policy policy = policy_of("prefer-numa:0");
        dray_hint_result result;
        assert_int_equal(dray_hints_apply(self.hints, &range, &policy, &result, NULL), DRAY_OK);
        assert_int_equal(result.outcome, old ? DRAY_HINT_DEGRADED : DRAY_HINT_VERIFIED);
        assert_int_equal(device_rig_standin_page(self.bytes + 32 * page).preferred_type,
                         old ? 2 : 3);
        if (old)
            device_rig_says(result.note, "NUMA");
        world_close_clean(&self);
    }
}

static void a_stub_has_no_hints(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_standin(&(standin_config){.stub = true});
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device = NULL;
    dray_error error;
    assert_int_equal(dray_device_open(context, "cuda:0", &device, &error), DRAY_E_UNSUPPORTED);
    device_rig_says(error.message, "CUDA_ERROR_STUB_LIBRARY (34)");
    dray_context_destroy(context);
}

// --- devices that cannot ---------------------------------------------------------------------------

static void what_a_device_cannot_is_skipped_without_a_call(void **state)
{
    (void)state;
    for (uint32_t cannot = 1; cannot < 4; cannot++) {
        world_case self = world_open(&(standin_config){.fresh = true});
        standin_config config = {.no_concurrent = cannot, .keep = true};
        device_rig_standin(&config);
        assert_int_equal(dray_hints_refresh(self.hints, NULL), DRAY_OK);
        run_make(&self, 0);
        assert_int_equal(run_through(&self, NULL), DRAY_OK);
        honest(&self);
        if (cannot & 2)
            assert_int_equal(outcome(&self, 1), DRAY_HINT_SKIPPED); // prefer-device:1
        if (cannot & 1)
            assert_int_equal(outcome(&self, 4), DRAY_HINT_SKIPPED); // the stream's device
        if (cannot == 3) {
            assert_int_equal(device_rig_standin_counts().advises, 0);
            for (uint64_t k = 0; k < 5; k++) {
                assert_int_equal(outcome(&self, k), DRAY_HINT_SKIPPED);
                device_rig_says(dray_hint_run_result(self.run, k)->note, "concurrent");
            }
        }
        undo_restores(&self);
        world_close_clean(&self);
    }
}

static void bytes_beyond_the_allocation_are_refused_before_any_call(void **state)
{
    (void)state;
    world_case self = world_open(&(standin_config){.fresh = true});
    dray_hint_range past;
    dray_error error;
    assert_int_equal(dray_hint_range_raw(self.bytes, (uint64_t)(pages + 2) * page, &past, NULL),
                     DRAY_OK);
    const uint64_t advises = device_rig_standin_counts().advises;
    dray_hint_run *run = NULL;
    dray_hint_plan *alone;
    assert_int_equal(dray_hint_plan_create(self.context, &alone, NULL), DRAY_OK);
    dray_hint_plan_policy(alone, range_of(&self, 0, 8), dray_hint_prefer_host());
    dray_hint_plan_prefetch(alone, past, dray_hint_at_device(0));
    assert_int_equal(dray_hint_run_create(self.hints, alone, NULL, &run, &error), DRAY_E_INVALID);
    device_rig_says(error.message, "hint 1: 172032 bytes at ");
    device_rig_says(error.message, " leave their allocation");
    assert_null(run);
    assert_int_equal(device_rig_standin_counts().advises, advises);
    dray_hint_plan_destroy(alone);
    world_close_clean(&self);
}

// --- calls that fail -------------------------------------------------------------------------------

static void the_nth_call_fails_and_undo_still_restores(void **state)
{
    (void)state;
    static const unsigned codes[] = {1, 2, 34, 101, 999};
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        for (uint64_t n = 1;; n++) {
            world_case self = world_open(&(standin_config){.fresh = true});
            run_make(&self, n % 2);
            standin_config config = {.fault = {.call = "", .at = n, .code = codes[c]}, .keep = true};
            device_rig_standin(&config);
            dray_error error = {.message = ""};
            dray_status status = run_through(&self, &error);
            const standin_counts counts = device_rig_standin_counts();
            // a reading back that fails is no failure of the hint: it is accepted then, not verified
            const bool reading = strcmp(counts.last_hit, "cuMemRangeGetAttributes") == 0;
            assert_true(status != DRAY_OK || counts.hits == 0 || reading ||
                        strcmp(counts.last_hit, "cuCtxPushCurrent_v2") == 0);
            assert_true(status == DRAY_OK || error.message[0]);
            assert_true(status == DRAY_OK || counts.hits > 0);
            device_rig_standin(&(standin_config){.keep = true});
            honest(&self);
            undo_restores(&self);
            world_close_clean(&self);
            if (counts.hits == 0)
                break;
        }
    }
}

static void after_a_failure_the_run_resumes(void **state)
{
    (void)state;
    world_case self = world_open(&(standin_config){.fresh = true});
    run_make(&self, 0);
    standin_config config = {.fault = {.call = "cuMemAdvise_v2", .at = 4, .code = 1}, .keep = true};
    device_rig_standin(&config);
    dray_error error;
    assert_int_equal(run_through(&self, &error), DRAY_E_DEVICE);
    assert_int_equal(error.index, 1); // prefer-device:1
    assert_int_equal(outcome(&self, 0), DRAY_HINT_VERIFIED);
    assert_int_equal(outcome(&self, 1), DRAY_HINT_FAILED);
    assert_int_equal(dray_hint_run_result(self.run, 1)->code, 1);
    assert_string_equal(dray_hint_run_result(self.run, 1)->code_name, "CUDA_ERROR_INVALID_VALUE");
    assert_int_equal(dray_hint_run_result(self.run, 2)->enqueued, 0);
    const uint64_t advises = device_rig_standin_counts().advises;
    assert_int_equal(run_through(&self, NULL), DRAY_OK);
    assert_int_equal(device_rig_standin_counts().advises, advises + 2); // nothing was repeated
    honest(&self);
    for (uint64_t k = 0; k < 3; k++)
        assert_int_equal(outcome(&self, k), DRAY_HINT_VERIFIED);
    undo_restores(&self);
    world_close_clean(&self);
}

static void an_undo_that_fails_says_so_and_can_be_repeated(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        world_case self = world_open(&(standin_config){.fresh = true});
        run_make(&self, 0);
        assert_int_equal(run_through(&self, NULL), DRAY_OK);
        standin_config config = {.fault = {.call = "", .at = n, .code = 999}, .keep = true};
        device_rig_standin(&config);
        dray_hint_undo_report report;
        dray_error error = {.message = ""};
        dray_status status = dray_hint_run_undo(self.run, &report, &error);
        const bool hit = device_rig_standin_counts().hits > 0;
        assert_int_equal(status != DRAY_OK, report.failed > 0);
        assert_true(status == DRAY_OK || error.message[0]);
        // what is said to be restored is
        if (status == DRAY_OK)
            assert_true(restored(&self));
        device_rig_standin(&(standin_config){.keep = true});
        undo_restores(&self);
        world_close_clean(&self);
        if (!hit)
            break;
    }
}

// --- success that is none --------------------------------------------------------------------------

static void success_without_an_effect_is_seen_and_undone(void **state)
{
    (void)state;
    static const char *const calls[] = {"cuMemAdvise_v2", "cuMemPrefetchBatchAsync"};
    for (size_t c = 0; c < 2; c++) {
        for (uint64_t n = 1;; n++) {
            world_case self = world_open(&(standin_config){.fresh = true});
            run_make(&self, 0);
            standin_config config = {.fault = {.call = calls[c], .at = n, .code = 0}, .keep = true};
            device_rig_standin(&config);
            assert_int_equal(run_through(&self, NULL), DRAY_OK);
            const bool hit = device_rig_standin_counts().hits > 0;
            honest(&self);
            assert_int_equal(dray_hint_run_worst(self.run),
                             hit ? DRAY_HINT_NO_EFFECT : DRAY_HINT_ACCEPTED);
            device_rig_standin(&(standin_config){.keep = true});
            undo_restores(&self);
            world_close_clean(&self);
            if (!hit)
                break;
        }
    }
}

/// What undo is told to have worked and did not is not called restored.
static void an_undo_without_an_effect_is_seen(void **state)
{
    (void)state;
    world_case self = world_open(&(standin_config){.fresh = true});
    run_make(&self, 0);
    assert_int_equal(run_through(&self, NULL), DRAY_OK);
    standin_config config = {.fault = {.call = "cuMemAdvise_v2", .at = 1, .code = 0}, .keep = true};
    device_rig_standin(&config);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_undo(self.run, &report, NULL), DRAY_OK);
    assert_int_equal(device_rig_standin_counts().hits, 1);
    assert_false(restored(&self));
    assert_int_equal(report.restored, 1);
    assert_int_equal(report.inexact, 2);
    undo_restores(&self);
    world_close_clean(&self);
}

// --- sticky errors, and ends that come late --------------------------------------------------------

static void a_lost_device_is_told_by_everything_that_follows(void **state)
{
    (void)state;
    static const char *const calls[] = {"", "(job)"};
    for (size_t c = 0; c < 2; c++) {
        for (uint64_t n = 1;; n++) {
            world_case self = world_open(&(standin_config){.fresh = true});
            run_make(&self, 0);
            standin_config config = {
                .fault = {.call = calls[c], .at = n, .code = 700, .sticky = true}, .keep = true};
            device_rig_standin(&config);
            dray_error error = {.message = ""};
            dray_status status = run_through(&self, &error);
            assert_true(status == DRAY_OK || error.message[0]);
            honest(&self);
            dray_hint_undo_report report;
            dray_status undone = dray_hint_run_undo(self.run, &report, &error);
            const bool hit = device_rig_standin_counts().hits > 0; // in the run, or in its undo
            const bool touched = report.entries > report.impossible;
            assert_true(!hit || undone != DRAY_OK || !touched || restored(&self));
            assert_true(hit || undone == DRAY_OK);
            assert_true(undone == DRAY_OK || report.failed > 0);
            world_close(&self);
            if (!hit)
                break;
        }
    }
}

static void an_end_that_comes_late_is_pending_until_it_comes(void **state)
{
    (void)state;
    world_case self = world_open(&(standin_config){.queries_not_ready = 3});
    run_make(&self, 0);
    assert_int_equal(dray_hint_run_start(self.run, NULL), DRAY_OK);
    bool done = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dray_hint_run_query(self.run, &done, NULL), DRAY_OK);
        assert_false(done);
        assert_int_equal(outcome(&self, 3), DRAY_HINT_PENDING);
        assert_int_equal(dray_hint_run_worst(self.run), DRAY_HINT_PENDING);
        honest(&self);
    }
    assert_int_equal(dray_hint_run_query(self.run, &done, NULL), DRAY_OK);
    assert_true(done);
    assert_int_equal(outcome(&self, 3), DRAY_HINT_ACCEPTED);
    undo_restores(&self);
    dray_hint_run_destroy(self.run);

    run_make(&self, 0); // undone while it is under way
    assert_int_equal(dray_hint_run_start(self.run, NULL), DRAY_OK);
    undo_restores(&self);
    assert_int_equal(outcome(&self, 4), DRAY_HINT_ACCEPTED);
    world_close_clean(&self);
}

static void an_end_that_fails_fails_what_was_under_way(void **state)
{
    (void)state;
    world_case self = world_open(&(standin_config){.fresh = true});
    run_make(&self, 0);
    standin_config config = {.fault = {.call = "(job)", .at = 1, .code = 719}, .keep = true};
    device_rig_standin(&config);
    dray_error error;
    assert_int_equal(run_through(&self, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 719);
    assert_int_equal(outcome(&self, 1), DRAY_HINT_VERIFIED);
    assert_int_equal(outcome(&self, 3), DRAY_HINT_FAILED);
    assert_int_equal(outcome(&self, 4), DRAY_HINT_FAILED);
    assert_string_equal(dray_hint_run_result(self.run, 3)->code_name, "CUDA_ERROR_LAUNCH_FAILED");
    honest(&self);
    world_close(&self);
}

int main(void)
{
    if (!device_rig_has_standin()) {
        printf("skipped: the stand-in was not built\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_driver_is_told_and_asked_and_undone),
        cmocka_unit_test(a_node_is_degraded_to_the_host_by_an_old_driver_and_said),
        cmocka_unit_test(a_stub_has_no_hints),
        cmocka_unit_test(what_a_device_cannot_is_skipped_without_a_call),
        cmocka_unit_test(bytes_beyond_the_allocation_are_refused_before_any_call),
        cmocka_unit_test(the_nth_call_fails_and_undo_still_restores),
        cmocka_unit_test(after_a_failure_the_run_resumes),
        cmocka_unit_test(an_undo_that_fails_says_so_and_can_be_repeated),
        cmocka_unit_test(success_without_an_effect_is_seen_and_undone),
        cmocka_unit_test(an_undo_without_an_effect_is_seen),
        cmocka_unit_test(a_lost_device_is_told_by_everything_that_follows),
        cmocka_unit_test(an_end_that_comes_late_is_pending_until_it_comes),
        cmocka_unit_test(an_end_that_fails_fails_what_was_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
