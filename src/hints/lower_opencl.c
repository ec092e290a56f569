/// Lowering for OpenCL, which has one hint: move this now. It keeps no policy, knows no NUMA nodes, and its
/// extension for unified shared memory has a call for advice and no advice to give. So a preferred location
/// becomes one move, and says so; the other axes are skipped.
///
/// Memory of an opened OpenCL device lives in that device's own context: only this device and the host
/// can be moved to.
#include "hints/lower.h"

enum { TO_HOST = 1, CONTENT_UNDEFINED = 2 }; // CL_MIGRATE_MEM_OBJECT_...

static dray_status memory_check(const drayi_hint_piece *piece, dray_error *error)
{
    if (piece->memory->kind == DRAY_HINT_MEMORY_MANAGED)
        return DRAY_OK;
    return drayi_lower_fail(piece, error,
                            "%p is no shared virtual memory of this device; make a region of kind "
                            "managed on it",
                            piece->range.pointer);
}

static dray_status skip(drayi_hint_lowerer *lower, const drayi_hint_piece *piece, const char *why,
                        dray_error *error)
{
    return drayi_lower_remark(lower, piece, DRAYI_REMARK_SKIP, why, error);
}

static dray_status migrate(drayi_hint_lowerer *lower, const drayi_hint_piece *piece, uint32_t flags,
                           dray_hint_location location, dray_error *error)
{
    const dray_hint_abilities *abilities = lower->abilities;
    bool usm = piece->memory->usm != 0;
    if (!(abilities->features & (usm ? DRAY_HINT_HAS_USM : DRAY_HINT_HAS_SVM_MIGRATE)))
        return skip(lower, piece, "the driver has no clEnqueueSVMMigrateMem (OpenCL 2.1)", error);
    if (usm)
        DRAY_TRY(
            drayi_lower_call(lower, piece, DRAY_HINT_CL_USM_MIGRATE, flags, location, NULL, error));
    else
        DRAY_TRY(drayi_lower_batch(lower, piece, DRAY_HINT_CL_SVM_MIGRATE, flags, location, true,
                                   error));
    const dray_hint_device *device = &abilities->devices[abilities->ordinal];
    if (device->no_effect[0])
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_NO_EFFECT, device->no_effect, error);
    if (usm && flags & TO_HOST)
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_NO_EFFECT,
                                  "clEnqueueMigrateMemINTEL is known to ignore the way to the host",
                                  error);
    return DRAY_OK;
}

/// One move to `location`.
static dray_status move(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                        dray_hint_location location, dray_error *error)
{
    switch (location.place) {
    case DRAY_HINT_DEVICE:
        if (location.index != lower->abilities->ordinal)
            return skip(lower, piece,
                        "the memory lives in another OpenCL device's context and cannot go there",
                        error);
        return migrate(lower, piece, 0, location, error);
    case DRAY_HINT_HOST_NUMA:
    case DRAY_HINT_CURRENT_NUMA:
        DRAY_TRY(migrate(lower, piece, TO_HOST, dray_hint_at_host(), error));
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_DEGRADED,
                                  "OpenCL knows no NUMA nodes: the host, whichever node", error);
    case DRAY_HINT_HOST:
        return migrate(lower, piece, TO_HOST, location, error);
    case DRAY_HINT_NOWHERE:
        break;
    }
    return DRAY_OK;
}

/// Moved without its contents; nobody else's bytes are in the pages.
static dray_status discard(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                           dray_error *error)
{
    drayi_hint_piece inside = *piece;
    if (!drayi_lower_inwards(&piece->range, lower->abilities->page_bytes, &inside.range))
        return skip(lower, piece, "no whole page lies inside", error);
    return migrate(lower, &inside, TO_HOST | CONTENT_UNDEFINED, dray_hint_at_host(), error);
}

static dray_status lower_advice(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                const dray_hint_advice *advice, dray_error *error)
{
    switch (advice->kind) {
    case DRAY_HINT_SET_READ_MOSTLY:
        return skip(lower, piece, "OpenCL has no advice about reading", error);
    case DRAY_HINT_SET_ACCESSED_BY:
        return skip(lower, piece, "OpenCL has no advice about who accesses memory", error);
    case DRAY_HINT_SET_PREFERRED:
        DRAY_TRY(move(lower, piece, advice->location, error));
        return drayi_lower_remark(lower, piece, DRAYI_REMARK_DEGRADED,
                                  "moved once: OpenCL keeps no preferred location", error);
    case DRAY_HINT_UNSET_READ_MOSTLY:
    case DRAY_HINT_UNSET_PREFERRED:
    case DRAY_HINT_UNSET_ACCESSED_BY:
        break;
    }
    return skip(lower, piece, "OpenCL keeps no advice: there is nothing to unset", error);
}

static dray_status lower_policy(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                dray_error *error)
{
    dray_hint_advice advice[DRAY_HINT_ADVICE_MAX];
    uint32_t count = dray_hint_policy_advice(&piece->entry->policy, advice);
    if (piece->entry->policy.reset)
        DRAY_TRY(skip(lower, piece, "OpenCL keeps no advice: there is nothing to unset", error));
    for (uint32_t i = 0; i < count; i++)
        DRAY_TRY(lower_advice(lower, piece, &advice[i], error));
    return DRAY_OK;
}

dray_status drayi_lower_opencl(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                               dray_error *error)
{
    DRAY_TRY(memory_check(piece, error));
    switch (piece->entry->kind) {
    case DRAY_HINT_POLICY:
        return lower_policy(lower, piece, error);
    case DRAY_HINT_ADVICE:
        return lower_advice(lower, piece, &piece->entry->advice, error);
    case DRAY_HINT_PREFETCH:
        return move(lower, piece, piece->entry->location, error);
    case DRAY_HINT_RELEASE:
        if (piece->entry->release != DRAY_HINT_DISCARD)
            return skip(lower, piece, "OpenCL lets nothing go that keeps its contents", error);
        return discard(lower, piece, error);
    case DRAY_HINT_HUGE_PAGES:
        return skip(lower, piece, "OpenCL says nothing about the size of pages", error);
    }
    return DRAY_OK;
}
