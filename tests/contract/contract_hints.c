/// What hints promise on every backend, checked on each: the Linux host, simulated devices, every OpenCL device
/// with shared memory (PoCL's in a plain test run), and CUDA: the stand-in, or a GPU where there is one
/// (`contract_hints cuda` with an empty DRAY_STANDIN_CUDA). Managed memory is kept tiny: a driver that is
/// asked for more than is free can hang.
#include "device_rig.h"
#include "dray/hints.h"
#include "testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { page = 4096, pages = 64, bytes_all = pages * page, backends_max = 16 };

typedef struct backend_case {
    dray_context *context;
    dray_device *device; // NULL: the host
    dray_region *region;
    uint8_t *bytes;
    dray_hints *hints;
    const dray_hint_abilities *abilities;
} backend_case;

static backend_case case_open(const char *name)
{
    device_rig_reset();
    backend_case out = {.context = device_rig_context(NULL, 1)};
    dray_error error = {.message = ""};
    dray_storage storage = DRAY_STORAGE_SYSTEM;
    if (strcmp(name, "host") != 0) {
        if (dray_device_open(out.context, name, &out.device, &error) != DRAY_OK)
            fail_msg("%s", error.message);
        storage = DRAY_STORAGE_MANAGED;
    }
    out.region = device_rig_region(out.context, out.device, storage, bytes_all);
    out.bytes = dray_region_pointer(out.region);
    if (dray_hints_open(out.context, out.device, &out.hints, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    out.abilities = dray_hints_abilities(out.hints);
    return out;
}

static void case_close(backend_case *self)
{
    dray_hints_close(self->hints);
    dray_region_release(self->region);
    dray_device_release(self->device);
    dray_context_destroy(self->context);
    standin_counts counts = device_rig_standin_counts();
    assert_string_equal(counts.last_misuse, "");
    assert_int_equal(counts.contexts + counts.streams + counts.events + counts.allocations, 0);
    assert_int_equal(device_rig_standin_depth(), 0);
}

static dray_hint_range range_of(const backend_case *self, uint64_t offset, uint64_t bytes)
{
    dray_hint_range whole, part;
    assert_int_equal(dray_hint_range_region(self->region, &whole, NULL), DRAY_OK);
    assert_int_equal(dray_hint_range_part(&whole, offset, bytes, &part, NULL), DRAY_OK);
    return part;
}

static dray_hint_location home(const backend_case *self)
{
    return self->device ? dray_hint_at_device(self->abilities->ordinal) : dray_hint_at_host();
}

static dray_hint_plan *plan_new(const backend_case *self)
{
    dray_hint_plan *plan;
    assert_int_equal(dray_hint_plan_create(self->context, &plan, NULL), DRAY_OK);
    return plan;
}

static dray_hint_run *run_new(const backend_case *self, dray_hint_plan *plan)
{
    dray_hint_run *run = NULL;
    dray_error error = {.message = ""};
    if (dray_hint_run_create(self->hints, plan, NULL, &run, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_hint_plan_destroy(plan);
    return run;
}

static void run_through(dray_hint_run *run)
{
    dray_error error = {.message = ""};
    if (dray_hint_run_start(run, &error) != DRAY_OK || dray_hint_run_wait(run, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

/// It has ended, and what is less than done says why.
static void is_told(const dray_hint_result *result)
{
    assert_int_not_equal(result->outcome, DRAY_HINT_PENDING);
    assert_int_not_equal(result->outcome, DRAY_HINT_FAILED);
    if (result->outcome >= DRAY_HINT_NO_EFFECT)
        assert_true(result->note && result->note[0]);
}

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 2654435761u >> 11);
}

static void fill(const backend_case *self)
{
    for (uint64_t i = 0; i < bytes_all; i++)
        self->bytes[i] = pattern(i);
}

// --- promises --------------------------------------------------------------------------------------

static void default_makes_no_call(void **state)
{
    backend_case self = case_open(*state);
    dray_hint_plan *plan = plan_new(&self);
    dray_hint_plan_policy(plan, range_of(&self, 0, bytes_all), dray_hint_default());
    dray_hint_run *run = run_new(&self, plan);
    const dray_hint_call *calls;
    assert_int_equal(dray_hint_lowering_calls(dray_hint_run_lowering(run), &calls), 0);
    run_through(run);
    assert_int_equal(dray_hint_run_result(run, 0)->outcome, DRAY_HINT_VERIFIED);
    dray_hint_run_destroy(run);
    case_close(&self);
}

/// Verified is what can be seen again, where the backend of a device lets us look.
static void policy_is_told(const backend_case *self, const char *text)
{
    dray_hint_policy policy;
    dray_hint_result result;
    dray_error error = {.message = ""};
    dray_hint_range range = range_of(self, page, 7 * page);
    assert_int_equal(dray_hint_policy_parse(text, &policy, NULL), DRAY_OK);
    if (dray_hints_apply(self->hints, &range, &policy, &result, &error) != DRAY_OK)
        fail_msg("%s: %s", text, error.message);
    is_told(&result);
    dray_hint_state set;
    if (!self->device || result.outcome != DRAY_HINT_VERIFIED ||
        dray_hints_state(self->hints, &range, &set, NULL) != DRAY_OK)
        return;
    if (policy.read_mostly || policy.reset)
        assert_int_equal(set.read_mostly, policy.read_mostly);
    if (policy.preferred.place != DRAY_HINT_NOWHERE || policy.reset)
        assert_true(set.preferred.place == policy.preferred.place &&
                    set.preferred.index == policy.preferred.index);
    if (policy.accessed_by.devices || policy.reset)
        assert_true(set.accessed_by.devices == policy.accessed_by.devices);
    if (policy.reset)
        assert_int_equal(set.accessed_by.host, policy.accessed_by.host);
}

static void every_policy_says_what_became_of_it(void **state)
{
    backend_case self = case_open(*state);
    char near[64];
    snprintf(near, sizeof(near), "prefer-device:%u+accessed-by:%u", self.abilities->ordinal,
             self.abilities->ordinal);
    static const char *const policies[] = {"read-mostly",      "prefer-host",       "prefer-numa:0",
                                           "accessed-by:host", "reset+read-mostly", "reset"};
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        policy_is_told(&self, policies[i]);
    if (self.device)
        policy_is_told(&self, near);
    policy_is_told(&self, "reset");
    case_close(&self);
}

static void hints_move_no_byte_out_of_place(void **state)
{
    backend_case self = case_open(*state);
    fill(&self);
    const dray_hint_location places[] = {home(&self), dray_hint_at_host(), home(&self)};
    for (size_t i = 0; i < 3; i++) {
        dray_hint_range all = range_of(&self, 0, bytes_all);
        dray_hint_policy policy = i == 1 ? dray_hint_read_mostly() : dray_hint_reset();
        dray_hint_result result;
        assert_int_equal(dray_hints_apply(self.hints, &all, &policy, &result, NULL), DRAY_OK);
        assert_int_equal(dray_hints_prefetch(self.hints, &all, places[i], &result, NULL), DRAY_OK);
        is_told(&result);
    }
    for (uint64_t i = 0; i < bytes_all; i++)
        assert_int_equal(self.bytes[i], pattern(i));
    case_close(&self);
}

static void undo_puts_back_what_was_set(void **state)
{
    backend_case self = case_open(*state);
    dray_hint_state before[4], after;
    dray_hint_range parts[4];
    dray_hint_policy host = dray_hint_prefer_host();
    for (unsigned i = 0; i < 4; i++)
        parts[i] = range_of(&self, (uint64_t)i * 8 * page, 8 * page);
    assert_int_equal(dray_hints_apply(self.hints, &parts[1], &host, NULL, NULL), DRAY_OK);
    bool readable = true;
    for (unsigned i = 0; i < 4; i++)
        readable &= dray_hints_state(self.hints, &parts[i], &before[i], NULL) == DRAY_OK;
    dray_hint_plan *plan = plan_new(&self);
    dray_hint_policy accessed = {.accessed_by = {.host = 1}}, near = {.preferred = home(&self)};
    dray_hint_plan_policy(plan, parts[0], accessed);
    dray_hint_plan_policy(plan, parts[1], near);
    dray_hint_plan_policy(plan, parts[2], host);
    dray_hint_plan_prefetch(plan, parts[3], home(&self));
    dray_hint_run *run = run_new(&self, plan);
    run_through(run);
    dray_hint_undo_report report;
    assert_int_equal(dray_hint_run_undo(run, &report, NULL), DRAY_OK);
    assert_int_equal(report.failed, 0);
    for (unsigned i = 0; i < 4 && readable && self.device; i++) {
        assert_int_equal(dray_hints_state(self.hints, &parts[i], &after, NULL), DRAY_OK);
        assert_true(after.preferred.place == before[i].preferred.place &&
                    after.preferred.index == before[i].preferred.index);
        assert_true(after.accessed_by.devices == before[i].accessed_by.devices &&
                    after.accessed_by.host == before[i].accessed_by.host);
    }
    for (uint64_t i = 0; i < dray_hint_run_length(run); i++)
        is_told(dray_hint_run_result(run, i));
    dray_hint_run_destroy(run);
    case_close(&self);
}

static void many_ranges_are_all_told(void **state)
{
    backend_case self = case_open(*state);
    dray_hint_plan *plan = plan_new(&self);
    for (uint64_t i = 0; i < pages / 2; i++) // no two of them touch
        dray_hint_plan_prefetch(plan, range_of(&self, i * 2 * page, page),
                                i % 3 ? home(&self) : dray_hint_at_host());
    dray_hint_run *run = run_new(&self, plan);
    run_through(run);
    for (uint64_t i = 0; i < pages / 2; i++) {
        is_told(dray_hint_run_result(run, i));
        assert_int_equal(dray_hint_run_result(run, i)->enqueued,
                         dray_hint_run_result(run, i)->outcome != DRAY_HINT_SKIPPED);
    }
    assert_int_equal(dray_hint_run_length(run), pages / 2);
    dray_hint_run_destroy(run);
    case_close(&self);
}

static void a_discard_touches_whole_pages_only(void **state)
{
    backend_case self = case_open(*state);
    fill(&self);
    dray_hint_plan *plan = plan_new(&self);
    dray_hint_plan_release(plan, range_of(&self, 3 * page + 100, 3 * page), DRAY_HINT_DISCARD);
    dray_hint_run *run = run_new(&self, plan);
    run_through(run);
    is_told(dray_hint_run_result(run, 0));
    for (uint64_t i = 0; i < bytes_all; i++) {
        if (i < 4 * page || i >= 6 * page)
            assert_int_equal(self.bytes[i], pattern(i));
    }
    dray_hint_run_destroy(run);
    case_close(&self);
}

static void wrong_hints_are_errors(void **state)
{
    backend_case self = case_open(*state);
    dray_hint_range range, all = range_of(&self, 0, bytes_all);
    dray_error error = {.message = ""};
    assert_int_equal(dray_hint_range_raw(self.bytes, 0, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_raw(self.bytes, UINT64_MAX, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_part(&all, page, bytes_all, &range, NULL), DRAY_E_INVALID);
    assert_int_equal(dray_hint_range_part(&all, 0, 0, &range, NULL), DRAY_E_INVALID);
    if (self.device) {
        static char stranger[2 * page];
        assert_int_equal(
            dray_hints_prefetch(self.hints, &all, dray_hint_at_device(63), NULL, &error),
            DRAY_E_INVALID);
        assert_int_equal(dray_hint_range_raw(stranger, sizeof(stranger), &range, NULL), DRAY_OK);
        dray_hint_policy policy = dray_hint_prefer_host();
        if (!self.abilities->devices[self.abilities->ordinal].pageable)
            assert_int_equal(dray_hints_apply(self.hints, &range, &policy, NULL, &error),
                             DRAY_E_INVALID);
        assert_int_equal(dray_hint_range_raw(self.bytes, UINT64_C(2) * bytes_all, &range, NULL),
                         DRAY_OK);
        assert_int_equal(dray_hints_apply(self.hints, &range, &policy, NULL, &error),
                         DRAY_E_INVALID);
    }
    case_close(&self);
}

static const struct {
    const char *name;
    CMUnitTestFunction run;
} cases[] = {
    {"default makes no call", default_makes_no_call},
    {"every policy says what became of it", every_policy_says_what_became_of_it},
    {"hints move no byte out of place", hints_move_no_byte_out_of_place},
    {"undo puts back what was set", undo_puts_back_what_was_set},
    {"many ranges are all told", many_ranges_are_all_told},
    {"a discard touches whole pages only", a_discard_touches_whole_pages_only},
    {"wrong hints are errors", wrong_hints_are_errors},
};
enum { case_count = sizeof(cases) / sizeof(cases[0]) };

/// The host, and every device with managed memory whose hints can be opened; `family`: only of it, or NULL.
static uint32_t backends_find(const char *family, char names[backends_max][32])
{
    uint32_t count = 0;
    device_rig_reset();
    dray_context *context = device_rig_context(NULL, 0);
    dray_device_list *list;
    assert_int_equal(dray_device_list_create(context, &list, NULL), DRAY_OK);
    if (!family)
        snprintf(names[count++], sizeof(names[0]), "host");
    for (uint32_t i = 0; i < dray_device_list_count(list); i++) {
        const dray_device_info *info = dray_device_list_at(list, i);
        if (family && strcmp(info->family, family) != 0)
            continue;
        if (info->unavailable[0] || !(info->capabilities & DRAY_DEVICE_MANAGED))
            printf("not here: %s: %s\n", info->name,
                   info->unavailable[0] ? info->unavailable : "no managed memory");
        else if (count < backends_max)
            snprintf(names[count++], sizeof(names[0]), "%s", info->name);
    }
    dray_device_list_destroy(list);
    dray_context_destroy(context);
    return count;
}

int main(int argument_count, char **arguments)
{
    static char names[backends_max][32], titles[backends_max * case_count][96];
    const uint32_t count = backends_find(argument_count > 1 ? arguments[1] : NULL, names);
    if (count == 0) {
        printf("skipped: no device to test\n");
        return 77;
    }
    struct CMUnitTest tests[backends_max * case_count] = {{0}};
    for (uint32_t i = 0; i < count * case_count; i++) {
        char *name = names[i / case_count];
        snprintf(titles[i], sizeof(titles[i]), "%s: %s", name, cases[i % case_count].name);
        tests[i] = (struct CMUnitTest){
            .name = titles[i], .test_func = cases[i % case_count].run, .initial_state = name};
    }
    return _cmocka_run_group_tests("hints", tests, (size_t)count * case_count, NULL, NULL);
}
