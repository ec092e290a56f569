/// Lowering for CUDA. What stands behind the choices:
///
/// - The newest form of a call is used where the driver has it: `_v2` (12.2) takes any location, the
///   oldest form a device number, with -1 for the host.
/// - The location is always valid, also where the call ignores it: with an invalid one, drivers have
///   answered success to read-mostly and done nothing.
/// - A device without concurrent access to managed memory (WSL, Windows, Tegra) refuses hints with "invalid
///   device ordinal": its hints are skipped. Batches need *every* device of the system to have it.
/// - Inside a batch there is no order, so only plans in which everything fits are batched.
/// - Unsets come before sets.
#include "hints/hint_words.h"
#include "hints/lower.h"

#include <inttypes.h>

static const char no_concurrent[] =
    "the device has no concurrent access to managed memory (WSL, Windows, Tegra)";
static const char no_concurrent_any[] =
    "no device here has concurrent access to managed memory (WSL, Windows, Tegra)";

static bool is_capable(const drayi_hint_lowerer *lower, uint32_t device)
{
    return device < lower->abilities->device_count &&
           lower->abilities->devices[device].concurrent_managed;
}

/// A device that the driver accepts where it ignores which; DRAY_HINT_DEVICES_MAX: there is none.
static uint32_t any_capable(const drayi_hint_lowerer *lower)
{
    if (is_capable(lower, lower->abilities->ordinal))
        return lower->abilities->ordinal;
    for (uint32_t device = 0; device < lower->abilities->device_count; device++) {
        if (is_capable(lower, device))
            return device;
    }
    return DRAY_HINT_DEVICES_MAX;
}

static bool all_capable(const drayi_hint_lowerer *lower)
{
    for (uint32_t device = 0; device < lower->abilities->device_count; device++) {
        if (!is_capable(lower, device))
            return false;
    }
    return true;
}

// --- memory ----------------------------------------------------------------------------------------------

/// Does `device` (or, where that is none, any device) read ordinary host memory by itself?
static bool reads_pageable(const drayi_hint_lowerer *lower, dray_hint_location location)
{
    const dray_hint_abilities *abilities = lower->abilities;
    if (location.place == DRAY_HINT_DEVICE)
        return abilities->devices[location.index].pageable != 0;
    for (uint32_t device = 0; device < abilities->device_count; device++) {
        if (abilities->devices[device].pageable)
            return true;
    }
    return false;
}

static dray_status memory_check(const drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                dray_hint_location location, dray_error *error)
{
    switch (piece->memory->kind) {
    case DRAY_HINT_MEMORY_MANAGED:
        return DRAY_OK;
    case DRAY_HINT_MEMORY_DEVICE:
        return drayi_lower_fail(piece, error,
                                "%p is device %u's own memory; hints are about managed memory",
                                piece->range.pointer, piece->memory->ordinal);
    case DRAY_HINT_MEMORY_PINNED:
        return drayi_lower_fail(piece, error,
                                "%p is locked host memory; hints are about managed memory",
                                piece->range.pointer);
    case DRAY_HINT_MEMORY_FILE:
    case DRAY_HINT_MEMORY_UNKNOWN:
        break;
    }
    if (piece->range.pointer && reads_pageable(lower, location))
        return DRAY_OK;
    return drayi_lower_fail(piece, error,
                            "%p is no managed memory, and the device does not reach ordinary host "
                            "memory by itself; make a region of kind managed on it",
                            piece->range.pointer);
}

// --- one axis --------------------------------------------------------------------------------------------

typedef struct target {
    dray_hint_location location;
    dray_hint_function function;
    const char *degraded; // NULL: as asked for
    const char *skip;     // NULL: there is a call
} target;

/// Host nodes where the driver takes them, else the host.
static void target_host(const drayi_hint_lowerer *lower, bool takes_nodes, target *out)
{
    if (any_capable(lower) == DRAY_HINT_DEVICES_MAX)
        out->skip = no_concurrent_any;
    if (takes_nodes || out->location.place == DRAY_HINT_HOST)
        return;
    out->location = dray_hint_at_host();
    out->degraded = "the driver takes no NUMA node (CUDA 12.2 does): the host, whichever node";
}

static target target_of(const drayi_hint_lowerer *lower, const dray_hint_advice *advice)
{
    const uint32_t features = lower->abilities->features;
    target out = {.location = advice->location,
                  .function = features & DRAY_HINT_HAS_ADVISE_V2 ? DRAY_HINT_CU_ADVISE_V2
                                                                 : DRAY_HINT_CU_ADVISE};
    if (!(features & (DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_ADVISE))) {
        out.skip = "the driver has no cuMemAdvise";
        return out;
    }
    bool ignored = advice->kind == DRAY_HINT_SET_READ_MOSTLY ||
                   advice->kind == DRAY_HINT_UNSET_READ_MOSTLY ||
                   advice->kind == DRAY_HINT_UNSET_PREFERRED;
    if (ignored) {
        uint32_t device = any_capable(lower);
        out.location = dray_hint_at_device(device);
        out.skip = device == DRAY_HINT_DEVICES_MAX ? no_concurrent_any : NULL;
    } else if (advice->location.place == DRAY_HINT_DEVICE) {
        out.skip = is_capable(lower, advice->location.index) ? NULL : no_concurrent;
    } else {
        target_host(lower, out.function == DRAY_HINT_CU_ADVISE_V2, &out);
    }
    return out;
}

static dray_status lower_advice(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                const dray_hint_advice *advice, dray_error *error)
{
    DRAY_TRY(memory_check(lower, piece, advice->location, error));
    target to = target_of(lower, advice);
    if (to.skip)
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_SKIP, to.skip, error);
    DRAY_TRY(drayi_lower_call(lower, piece, to.function, (uint32_t)advice->kind, to.location, NULL,
                              error));
    bool pointless = advice->kind == DRAY_HINT_SET_ACCESSED_BY &&
                     to.location.place == DRAY_HINT_DEVICE &&
                     piece->memory->kind != DRAY_HINT_MEMORY_MANAGED &&
                     lower->abilities->devices[to.location.index].host_page_tables;
    if (pointless)
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_NO_EFFECT,
                                  "the device walks the host's page tables: it has access already",
                                  error);
    return to.degraded ? drayi_lower_remark(lower, piece, DRAYI_REMARK_DEGRADED, to.degraded, error)
                       : DRAY_OK;
}

// --- policies --------------------------------------------------------------------------------------------

static dray_status unset(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                         dray_hint_advice_kind kind, dray_hint_location location, dray_error *error)
{
    dray_hint_advice advice = {.kind = kind, .location = location};
    return lower_advice(lower, piece, &advice, error);
}

/// What is set, or what could be where nobody has looked.
static dray_hint_state set_now(const drayi_hint_lowerer *lower, const drayi_hint_piece *piece)
{
    const uint32_t all =
        DRAY_HINT_KNOWS_READ_MOSTLY | DRAY_HINT_KNOWS_PREFERRED | DRAY_HINT_KNOWS_ACCESSED_BY;
    if (piece->state && (piece->state->known & all) == all)
        return *piece->state;
    dray_hint_state state = {
        .read_mostly = 1, .preferred = dray_hint_at_host(), .accessed_by.host = 1};
    for (uint32_t device = 0; device < lower->abilities->device_count; device++)
        state.accessed_by.devices |= (uint64_t)is_capable(lower, device) << device;
    return state;
}

static dray_status lower_reset(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                               dray_error *error)
{
    const dray_hint_policy *wanted = &piece->entry->policy;
    dray_hint_state now = set_now(lower, piece);
    const dray_hint_location ignored = {0};
    if (any_capable(lower) == DRAY_HINT_DEVICES_MAX)
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_SKIP, no_concurrent_any, error);
    if (now.read_mostly && !wanted->read_mostly)
        DRAY_TRY(unset(lower, piece, DRAY_HINT_UNSET_READ_MOSTLY, ignored, error));
    if (now.preferred.place != DRAY_HINT_NOWHERE && wanted->preferred.place == DRAY_HINT_NOWHERE)
        DRAY_TRY(unset(lower, piece, DRAY_HINT_UNSET_PREFERRED, ignored, error));
    for (uint32_t device = 0; device < DRAY_HINT_DEVICES_MAX; device++) {
        if ((now.accessed_by.devices & ~wanted->accessed_by.devices) >> device & 1)
            DRAY_TRY(unset(lower, piece, DRAY_HINT_UNSET_ACCESSED_BY, dray_hint_at_device(device),
                           error));
    }
    if (now.accessed_by.host && !wanted->accessed_by.host)
        DRAY_TRY(unset(lower, piece, DRAY_HINT_UNSET_ACCESSED_BY, dray_hint_at_host(), error));
    return DRAY_OK;
}

static dray_status lower_policy(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                dray_error *error)
{
    if (piece->entry->policy.reset)
        DRAY_TRY(lower_reset(lower, piece, error));
    dray_hint_advice advice[DRAY_HINT_ADVICE_MAX];
    uint32_t count = dray_hint_policy_advice(&piece->entry->policy, advice);
    for (uint32_t i = 0; i < count; i++)
        DRAY_TRY(lower_advice(lower, piece, &advice[i], error));
    return DRAY_OK;
}

// --- moving and letting go ---------------------------------------------------------------------------------

static dray_status lower_prefetch(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                  dray_error *error)
{
    const uint32_t features = lower->abilities->features;
    target to = {.location = piece->entry->location};
    bool on_device = to.location.place == DRAY_HINT_DEVICE;
    DRAY_TRY(memory_check(lower, piece, to.location, error));
    bool v2 = (features & DRAY_HINT_HAS_PREFETCH_V2) != 0;
    if (!(features & (DRAY_HINT_HAS_PREFETCH | DRAY_HINT_HAS_PREFETCH_V2)))
        to.skip = "the driver has no cuMemPrefetchAsync";
    else if (on_device && !is_capable(lower, to.location.index))
        to.skip = no_concurrent;
    else if (!is_capable(lower, lower->abilities->ordinal))
        to.skip = "the device of the stream has no concurrent access to managed memory (WSL, "
                  "Windows, Tegra)";
    else if (!on_device)
        target_host(lower, v2, &to);
    if (to.skip)
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_SKIP, to.skip, error);
    bool batch = features & DRAY_HINT_HAS_PREFETCH_BATCH && v2 && lower->admitted &&
                 all_capable(lower) && lower->plan_many;
    if (batch)
        return drayi_lower_batch(lower, piece, DRAY_HINT_CU_PREFETCH_BATCH, 0, to.location, false,
                                 error);
    DRAY_TRY(drayi_lower_call(lower, piece, v2 ? DRAY_HINT_CU_PREFETCH_V2 : DRAY_HINT_CU_PREFETCH,
                              0, to.location, NULL, error));
    return to.degraded ? drayi_lower_remark(lower, piece, DRAYI_REMARK_DEGRADED, to.degraded, error)
                       : DRAY_OK;
}

static dray_status lower_release(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                 dray_error *error)
{
    DRAY_TRY(memory_check(lower, piece, (dray_hint_location){0}, error));
    const char *skip = NULL;
    drayi_hint_piece inside = *piece;
    if (piece->entry->release != DRAY_HINT_DISCARD)
        skip = "CUDA lets nothing go that keeps its contents; a prefetch to the host moves it away";
    else if (!(lower->abilities->features & DRAY_HINT_HAS_DISCARD_BATCH))
        skip = "the driver has no cuMemDiscardBatchAsync (CUDA 13.0)";
    else if (!all_capable(lower))
        skip = "not every device here has concurrent access to managed memory";
    else if (!drayi_lower_inwards(&piece->range, lower->abilities->page_bytes, &inside.range))
        skip = "no whole page lies inside";
    if (skip)
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_SKIP, skip, error);
    return drayi_lower_batch(lower, &inside, DRAY_HINT_CU_DISCARD_BATCH, 0, (dray_hint_location){0},
                             true, error);
}

dray_status drayi_lower_cuda(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                             dray_error *error)
{
    switch (piece->entry->kind) {
    case DRAY_HINT_POLICY:
        return lower_policy(lower, piece, error);
    case DRAY_HINT_ADVICE:
        return lower_advice(lower, piece, &piece->entry->advice, error);
    case DRAY_HINT_PREFETCH:
        return lower_prefetch(lower, piece, error);
    case DRAY_HINT_RELEASE:
        return lower_release(lower, piece, error);
    case DRAY_HINT_HUGE_PAGES:
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_SKIP,
                                  "CUDA chooses the size of pages by itself", error);
    }
    return DRAY_OK;
}

// --- restoring -------------------------------------------------------------------------------------------

static void restore_add(drayi_hint_restore *out, const dray_hint_call *made,
                        dray_hint_advice_kind kind, dray_hint_location location)
{
    dray_hint_call *call = &out->calls[out->count++];
    *call = *made;
    call->advice = (uint32_t)kind;
    call->location = location;
    call->is_restore = 1;
}

static void restore_preferred(const dray_hint_call *made, const dray_hint_state *before,
                              drayi_hint_restore *out)
{
    if (before->preferred.place == DRAY_HINT_NOWHERE)
        restore_add(out, made, DRAY_HINT_UNSET_PREFERRED,
                    made->location); // ignored, but has to be valid
    else
        restore_add(out, made, DRAY_HINT_SET_PREFERRED, before->preferred);
}

static bool was_accessed_by(const dray_hint_state *before, dray_hint_location who)
{
    return who.place == DRAY_HINT_HOST ? before->accessed_by.host != 0
                                       : (before->accessed_by.devices >> who.index & 1) != 0;
}

void drayi_restore_cuda(const dray_hint_call *call, const dray_hint_state *before,
                        const dray_hint_abilities *abilities, drayi_hint_restore *out)
{
    (void)abilities;
    *out = (drayi_hint_restore){0};
    switch (call->advice) {
    case DRAY_HINT_SET_READ_MOSTLY:
        if (!before->read_mostly) {
            restore_add(out, call, DRAY_HINT_UNSET_READ_MOSTLY, call->location);
            out->inexact =
                "unsetting read-mostly also forbids the driver to make copies of its own "
                "accord; nothing takes that back";
        }
        return;
    case DRAY_HINT_UNSET_READ_MOSTLY:
        if (before->read_mostly)
            restore_add(out, call, DRAY_HINT_SET_READ_MOSTLY, call->location);
        return;
    case DRAY_HINT_SET_PREFERRED:
    case DRAY_HINT_UNSET_PREFERRED:
        restore_preferred(call, before, out);
        return;
    case DRAY_HINT_SET_ACCESSED_BY:
        if (!was_accessed_by(before, call->location))
            restore_add(out, call, DRAY_HINT_UNSET_ACCESSED_BY, call->location);
        return;
    case DRAY_HINT_UNSET_ACCESSED_BY:
        if (was_accessed_by(before, call->location))
            restore_add(out, call, DRAY_HINT_SET_ACCESSED_BY, call->location);
        return;
    default:
        return;
    }
}
