/// Policies: three axes, and the advice that each of them is.
#include "hints/hint_words.h"

dray_hint_policy dray_hint_default(void)
{
    return (dray_hint_policy){0};
}

dray_hint_policy dray_hint_read_mostly(void)
{
    return (dray_hint_policy){.read_mostly = 1};
}

dray_hint_policy dray_hint_prefer_device(uint32_t ordinal)
{
    return (dray_hint_policy){.preferred = dray_hint_at_device(ordinal)};
}

dray_hint_policy dray_hint_prefer_host(void)
{
    return (dray_hint_policy){.preferred = dray_hint_at_host()};
}

dray_hint_policy dray_hint_reset(void)
{
    return (dray_hint_policy){.reset = 1};
}

bool drayi_hint_location_equal(dray_hint_location left, dray_hint_location right)
{
    return left.place == right.place && left.index == right.index;
}

bool drayi_hint_nobody(dray_hint_processors processors)
{
    return processors.devices == 0 && processors.host == 0;
}

bool dray_hint_policy_is_default(const dray_hint_policy *policy)
{
    return !policy->reset && !policy->read_mostly && policy->preferred.place == DRAY_HINT_NOWHERE &&
           drayi_hint_nobody(policy->accessed_by);
}

bool dray_hint_policy_equal(const dray_hint_policy *left, const dray_hint_policy *right)
{
    return !left->reset == !right->reset && !left->read_mostly == !right->read_mostly &&
           drayi_hint_location_equal(left->preferred, right->preferred) &&
           left->accessed_by.devices == right->accessed_by.devices &&
           !left->accessed_by.host == !right->accessed_by.host;
}

// --- checks ----------------------------------------------------------------------------------------

dray_status drayi_hint_location_check(dray_hint_location location, dray_error *error)
{
    switch (location.place) {
    case DRAY_HINT_DEVICE:
        if (location.index >= DRAY_HINT_DEVICES_MAX)
            return dray_fail(error, DRAY_E_INVALID, "device %u: devices are numbered 0 to %u",
                             location.index, DRAY_HINT_DEVICES_MAX - 1);
        return DRAY_OK;
    case DRAY_HINT_HOST_NUMA:
        if (location.index >= DRAY_HINT_NODES_MAX)
            return dray_fail(error, DRAY_E_INVALID, "NUMA node %u: nodes are numbered 0 to %u",
                             location.index, DRAY_HINT_NODES_MAX - 1);
        return DRAY_OK;
    case DRAY_HINT_NOWHERE:
    case DRAY_HINT_HOST:
    case DRAY_HINT_CURRENT_NUMA:
        if (location.index != 0)
            return dray_fail(error, DRAY_E_INVALID,
                             "location of place %d takes no number, and has %u",
                             (int)location.place, location.index);
        return DRAY_OK;
    }
    return dray_fail(error, DRAY_E_INVALID,
                     "place %d is none of device (1), host (2), NUMA node (3), current node (4)",
                     (int)location.place);
}

dray_status dray_hint_policy_check(const dray_hint_policy *policy, dray_error *error)
{
    dray_status status = drayi_hint_location_check(policy->preferred, error);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "preferred location");
}

dray_status drayi_hint_advice_check(const dray_hint_advice *advice, dray_error *error)
{
    dray_hint_location location = advice->location;
    DRAY_TRY(drayi_hint_location_check(location, error));
    switch (advice->kind) {
    case DRAY_HINT_SET_READ_MOSTLY:
    case DRAY_HINT_UNSET_READ_MOSTLY:
    case DRAY_HINT_UNSET_PREFERRED:
        return DRAY_OK;
    case DRAY_HINT_SET_PREFERRED:
        if (location.place == DRAY_HINT_NOWHERE)
            return dray_fail(error, DRAY_E_INVALID,
                             "a preferred location is set without a location");
        return DRAY_OK;
    case DRAY_HINT_SET_ACCESSED_BY:
    case DRAY_HINT_UNSET_ACCESSED_BY:
        if (location.place != DRAY_HINT_DEVICE && location.place != DRAY_HINT_HOST)
            return dray_fail(error, DRAY_E_INVALID,
                             "accessed-by takes a device or the host, no place %d",
                             (int)location.place);
        return DRAY_OK;
    }
    return dray_fail(error, DRAY_E_INVALID, "advice %d: advice is numbered 1 to 6",
                     (int)advice->kind);
}

// --- advice ----------------------------------------------------------------------------------------

static void advice_put(dray_hint_advice *out, uint32_t *count, dray_hint_advice_kind kind,
                       dray_hint_location location)
{
    if (out)
        out[*count] = (dray_hint_advice){.kind = kind, .location = location};
    (*count)++;
}

uint32_t dray_hint_policy_advice(const dray_hint_policy *policy, dray_hint_advice *out)
{
    uint32_t count = 0;
    if (policy->read_mostly)
        advice_put(out, &count, DRAY_HINT_SET_READ_MOSTLY, (dray_hint_location){0});
    if (policy->preferred.place != DRAY_HINT_NOWHERE)
        advice_put(out, &count, DRAY_HINT_SET_PREFERRED, policy->preferred);
    for (uint64_t rest = policy->accessed_by.devices; rest; rest &= rest - 1)
        advice_put(out, &count, DRAY_HINT_SET_ACCESSED_BY,
                   dray_hint_at_device((uint32_t)__builtin_ctzll(rest)));
    if (policy->accessed_by.host)
        advice_put(out, &count, DRAY_HINT_SET_ACCESSED_BY, dray_hint_at_host());
    return count;
}
