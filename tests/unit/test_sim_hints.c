/// Hints on the simulated device, through the public API: a way to try all of them without a GPU.
#include "counting_allocator.h"
#include "device/sim/sim.h"
#include "device_rig.h"
#include "dray/hints.h"
#include "testing.h"

#include <string.h>

enum { page = 4096 };
#define MIB (UINT64_C(1) << 20)

typedef struct sim_case {
    dray_context *context;
    dray_device *device;
    dray_region *region;
    char *bytes;
    dray_device_native native;
    dray_hints *hints;
} sim_case;

static sim_case case_open(const dray_allocator *allocator, uint64_t bytes)
{
    device_rig_reset();
    sim_case out = {.context = device_rig_context(allocator, 0)};
    assert_int_equal(dray_device_open(out.context, "sim:0", &out.device, NULL), DRAY_OK);
    out.region = device_rig_region(out.context, out.device, DRAY_STORAGE_MANAGED, bytes);
    out.bytes = dray_region_pointer(out.region);
    dray_device_get_native(out.device, &out.native);
    assert_int_equal(dray_hints_open(out.context, out.device, &out.hints, NULL), DRAY_OK);
    return out;
}

static void case_close(sim_case *self)
{
    dray_hints_close(self->hints);
    dray_region_release(self->region);
    dray_device_release(self->device);
    dray_context_destroy(self->context);
}

static dray_hint_range range_of(const sim_case *self, uint64_t offset, uint64_t bytes)
{
    dray_hint_range range;
    assert_int_equal(dray_hint_range_raw(self->bytes + offset, bytes, &range, NULL), DRAY_OK);
    return range;
}

static dray_hint_policy policy_of(const char *text)
{
    dray_hint_policy policy;
    assert_int_equal(dray_hint_policy_parse(text, &policy, NULL), DRAY_OK);
    return policy;
}

static void a_plan_is_carried_out_and_undone(void **state)
{
    (void)state;
    sim_case self = case_open(NULL, 8 * MIB);
    dray_hint_plan *plan;
    assert_int_equal(dray_hint_plan_create(self.context, &plan, NULL), DRAY_OK);
    dray_hint_plan_policy(plan, range_of(&self, 0, 3 * page), policy_of("accessed-by:1,host"));
    dray_hint_plan_policy(plan, range_of(&self, 3 * page, page), policy_of("prefer-device:1"));
    dray_hint_plan_prefetch(plan, range_of(&self, 2 * MIB, 4 * MIB), dray_hint_at_device(1));
    dray_hint_run *run;
    assert_int_equal(dray_hint_run_create(self.hints, plan, NULL, &run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_wait(run, NULL), DRAY_OK);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(dray_hint_run_result(run, i)->outcome, DRAY_HINT_VERIFIED);
    assert_int_equal(dray_hint_run_result(run, 2)->bytes_done, 4 * MIB);
    assert_string_equal(dray_hint_run_result(run, 2)->note, "simulated");

    dray_hint_state set;
    dray_hint_range all = range_of(&self, 0, 4 * page), three = range_of(&self, 0, 3 * page);
    assert_int_equal(dray_hints_state(self.hints, &three, &set, NULL), DRAY_OK);
    assert_true(set.accessed_by.devices == 2 && set.accessed_by.host == 1);
    assert_int_equal(dray_hints_state(self.hints, &all, &set, NULL), DRAY_OK);
    assert_true(set.accessed_by.devices == 0 && set.preferred.place == DRAY_HINT_NOWHERE);

    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.restored, 2);
    assert_int_equal(report.impossible, 1);
    assert_int_equal(dray_hints_state(self.hints, &three, &set, NULL), DRAY_OK);
    assert_true(set.accessed_by.devices == 0 && set.accessed_by.host == 0);
    dray_hint_run_destroy(run);
    dray_hint_plan_destroy(plan);
    case_close(&self);
}

static void what_does_not_fit_is_refused_or_said(void **state)
{
    (void)state;
    sim_case self = case_open(NULL, 8 * MIB);
    drayi_sim_set_faults(self.native.self, &(drayi_sim_faults){.capacity_bytes = 4 * MIB});
    assert_int_equal(dray_hints_refresh(self.hints, NULL), DRAY_OK);
    dray_hint_range all = range_of(&self, 0, 8 * MIB);
    dray_error error;
    assert_int_equal(dray_hints_prefetch(self.hints, &all, dray_hint_at_device(0), NULL, &error),
                     DRAY_E_NOSPACE);

    dray_hint_plan *plan;
    assert_int_equal(dray_hint_plan_create(self.context, &plan, NULL), DRAY_OK);
    dray_hint_plan_prefetch(plan, all, dray_hint_at_device(0));
    dray_hint_run_options options = {.struct_bytes = sizeof(options), .lower = {.oversubscribe = 1}};
    dray_hint_run *run;
    assert_int_equal(dray_hint_run_create(self.hints, plan, &options, &run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_wait(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_result(run, 0)->outcome, DRAY_HINT_DEGRADED);
    assert_int_equal(dray_hint_run_result(run, 0)->bytes_done, 4 * MIB); // the last ones
    device_rig_says(dray_hint_run_result(run, 0)->note, "the device is full");
    dray_hint_run_destroy(run);
    dray_hint_plan_destroy(plan);
    case_close(&self);
}

static void a_discard_forgets_whole_pages_only(void **state)
{
    (void)state;
    sim_case self = case_open(NULL, MIB);
    memset(self.bytes, 5, MIB);
    dray_hint_plan *plan;
    assert_int_equal(dray_hint_plan_create(self.context, &plan, NULL), DRAY_OK);
    dray_hint_plan_release(plan, range_of(&self, 100, 3 * page), DRAY_HINT_DISCARD);
    dray_hint_run *run;
    assert_int_equal(dray_hint_run_create(self.hints, plan, NULL, &run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_start(run, NULL), DRAY_OK);
    assert_int_equal(dray_hint_run_wait(run, NULL), DRAY_OK);
    for (unsigned i = 0; i < 5 * page; i++)
        assert_int_equal(self.bytes[i], i >= page && i < 3 * page ? 0 : 5);
    dray_hint_run_destroy(run);
    dray_hint_plan_destroy(plan);
    case_close(&self);
}

static void strangers_memory_and_refusals_are_errors(void **state)
{
    (void)state;
    sim_case self = case_open(NULL, MIB);
    static char stranger[2 * page];
    dray_hint_range range;
    assert_int_equal(dray_hint_range_raw(stranger, sizeof(stranger), &range, NULL), DRAY_OK);
    dray_hint_policy policy = dray_hint_read_mostly();
    dray_error error;
    assert_int_equal(dray_hints_apply(self.hints, &range, &policy, NULL, &error), DRAY_E_INVALID);
    device_rig_says(error.message, "no managed memory");
    range = range_of(&self, 0, MIB + page);
    assert_int_equal(dray_hints_apply(self.hints, &range, &policy, NULL, &error), DRAY_E_INVALID);
    device_rig_says(error.message, "leave their allocation");

    range = range_of(&self, 0, page);
    drayi_sim_set_faults(self.native.self, &(drayi_sim_faults){.hint_at = 1});
    dray_hint_result result;
    assert_int_equal(dray_hints_apply(self.hints, &range, &policy, &result, &error), DRAY_E_DEVICE);
    assert_int_equal(result.outcome, DRAY_HINT_FAILED);
    assert_string_equal(result.code_name, "SIM_FAILED");
    assert_int_equal(dray_hints_apply(self.hints, &range, &policy, &result, &error), DRAY_OK);
    assert_int_equal(result.outcome, DRAY_HINT_VERIFIED);
    policy = dray_hint_prefer_device(2);
    assert_int_equal(dray_hints_apply(self.hints, &range, &policy, &result, &error), DRAY_E_INVALID);
    case_close(&self);
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        sim_case self = case_open(&allocator, MIB);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_hint_range range = range_of(&self, 0, MIB);
        dray_error error = {.message = ""};
        dray_status status =
            dray_hints_prefetch(self.hints, &range, dray_hint_at_device(1), NULL, &error);
        const bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        assert_true(!failed || error.message[0]);
        counter.fail_at = 0;
        assert_int_equal(
            dray_hints_prefetch(self.hints, &range, dray_hint_at_device(1), NULL, NULL), DRAY_OK);
        case_close(&self);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_carried_out_and_undone),
        cmocka_unit_test(what_does_not_fit_is_refused_or_said),
        cmocka_unit_test(a_discard_forgets_whole_pages_only),
        cmocka_unit_test(strangers_memory_and_refusals_are_errors),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
