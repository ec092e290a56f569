/// A backend of hints, opened: the host, or a device's facet; and one hint at a time.
#include "dray/spi/hints.h"

#include "hints/hint_run.h"
#include "hints/host.h"

static dray_status device_attach(dray_hints *hints, dray_device *device, dray_error *error)
{
    dray_device_native native;
    dray_device_get_native(device, &native);
    hints->device = dray_device_retain(device);
    hints->ops = native.ops->hints;
    hints->self = native.self;
    if (!hints->ops)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "hints for %s: its family gives none",
                         dray_device_name(device));
    if (hints->ops->abi != DRAY_HINTS_ABI)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "hints for %s: its table is of version %u, this library speaks %u",
                         dray_device_name(device), hints->ops->abi, DRAY_HINTS_ABI);
    return DRAY_OK;
}

static dray_status hints_build(dray_hints *hints, dray_device *device, dray_error *error)
{
    if (device) {
        DRAY_TRY(device_attach(hints, device, error));
    } else {
        hints->ops = &drayi_host_hints;
        DRAY_TRY(drayi_host_open(hints->env, &hints->self, error));
    }
    return dray_hints_refresh(hints, error);
}

dray_status dray_hints_open(dray_context *context, struct dray_device *device,
                            dray_hints **out_hints, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_hints *hints = drayi_new(env, dray_hints, error);
    if (!hints)
        return DRAY_E_NOMEM;
    hints->env = env;
    dray_status status = hints_build(hints, device, error);
    if (status != DRAY_OK)
        dray_hints_close(hints);
    else
        *out_hints = hints;
    return status;
}

void dray_hints_close(dray_hints *hints)
{
    if (!hints)
        return;
    if (hints->device)
        dray_device_release(hints->device);
    else
        drayi_host_close(hints->self);
    drayi_free(hints->env, hints, sizeof(*hints));
}

const dray_hint_abilities *dray_hints_abilities(const dray_hints *hints)
{
    return &hints->abilities;
}

dray_status dray_hints_refresh(dray_hints *hints, dray_error *error)
{
    dray_hint_abilities abilities = {0};
    drayi_host_facts(hints->env, &abilities);
    dray_status status = hints->ops->probe(hints->self, &abilities, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "hints for %s",
                                hints->device ? dray_device_name(hints->device) : "the host");
    hints->abilities = abilities;
    return DRAY_OK;
}

dray_status dray_hints_state(dray_hints *hints, const dray_hint_range *range,
                             dray_hint_state *out_state, dray_error *error)
{
    if (!hints->ops->state)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "hints: %s has nothing to read back",
                         hints->abilities.family);
    return hints->ops->state(hints->self, range, out_state, error);
}

// --- one at a time -------------------------------------------------------------------------------------------

static dray_status run_once(dray_hint_run *run, dray_hint_result *out_result, dray_error *error)
{
    dray_status status = dray_hint_run_start(run, error);
    dray_status end = dray_hint_run_wait(run, status == DRAY_OK ? error : NULL);
    if (out_result)
        *out_result = *dray_hint_run_result(run, 0);
    return status == DRAY_OK ? end : status;
}

/// Takes the plan.
static dray_status once(dray_hints *hints, dray_hint_plan *plan, dray_hint_result *out_result,
                        dray_error *error)
{
    dray_hint_run_options options = {.struct_bytes = sizeof(options), .no_journal = 1};
    dray_hint_run *run = NULL;
    dray_status status = dray_hint_run_create(hints, plan, &options, &run, error);
    dray_hint_plan_destroy(plan);
    if (status != DRAY_OK)
        return status;
    status = run_once(run, out_result, error);
    dray_hint_run_destroy(run);
    return status;
}

static dray_status entry_once(dray_hints *hints, const dray_hint_entry *entry,
                              dray_hint_result *out_result, dray_error *error)
{
    dray_hint_plan *plan;
    DRAY_TRY(dray_hint_plan_create((dray_context *)hints->env, &plan, error));
    return once(hints, dray_hint_plan_add(plan, entry), out_result, error);
}

static dray_status advice_once(dray_hints *hints, const dray_hint_range *range,
                               dray_hint_advice_kind kind, dray_hint_location location,
                               dray_hint_result *out_result, dray_error *error)
{
    dray_hint_entry entry = {
        .kind = DRAY_HINT_ADVICE, .range = *range, .advice = {.kind = kind, .location = location}};
    return entry_once(hints, &entry, out_result, error);
}

dray_status dray_hints_apply(dray_hints *hints, const dray_hint_range *range,
                             const dray_hint_policy *policy, dray_hint_result *out_result,
                             dray_error *error)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_POLICY, .range = *range, .policy = *policy};
    return entry_once(hints, &entry, out_result, error);
}

dray_status dray_hints_set_read_mostly(dray_hints *hints, const dray_hint_range *range, bool on,
                                       dray_hint_result *out_result, dray_error *error)
{
    return advice_once(hints, range, on ? DRAY_HINT_SET_READ_MOSTLY : DRAY_HINT_UNSET_READ_MOSTLY,
                       (dray_hint_location){0}, out_result, error);
}

dray_status dray_hints_set_preferred(dray_hints *hints, const dray_hint_range *range,
                                     dray_hint_location location, dray_hint_result *out_result,
                                     dray_error *error)
{
    bool on = location.place != DRAY_HINT_NOWHERE;
    return advice_once(hints, range, on ? DRAY_HINT_SET_PREFERRED : DRAY_HINT_UNSET_PREFERRED,
                       location, out_result, error);
}

dray_status dray_hints_set_accessed_by(dray_hints *hints, const dray_hint_range *range,
                                       dray_hint_location processor, bool on,
                                       dray_hint_result *out_result, dray_error *error)
{
    return advice_once(hints, range, on ? DRAY_HINT_SET_ACCESSED_BY : DRAY_HINT_UNSET_ACCESSED_BY,
                       processor, out_result, error);
}

dray_status dray_hints_prefetch(dray_hints *hints, const dray_hint_range *range,
                                dray_hint_location location, dray_hint_result *out_result,
                                dray_error *error)
{
    dray_hint_entry entry = {.kind = DRAY_HINT_PREFETCH, .range = *range, .location = location};
    return entry_once(hints, &entry, out_result, error);
}

dray_status dray_hints_prefetch_part(dray_hints *hints, const dray_hint_range *range,
                                     uint64_t offset, uint64_t bytes, dray_hint_location location,
                                     dray_hint_result *out_result, dray_error *error)
{
    dray_hint_range part;
    DRAY_TRY(dray_hint_range_part(range, offset, bytes, &part, error));
    return dray_hints_prefetch(hints, &part, location, out_result, error);
}
