/// Lowering for Linux. The kernel has no "preferred device" and no "read mostly"; it has residency
/// (populate, lock), nodes (mbind and move_pages), reclaim (cold, page-out, dropping the cache) and huge
/// pages. Each axis becomes the nearest of these, or is skipped with the reason.
///
/// Two things that look alike are not: mbind says where *new* pages go, move_pages moves those that are
/// there. A preferred node needs both. Pages of a file obey no policy of a mapping: they can only be moved.
#include "hints/hint_words.h"
#include "hints/lower.h"
#include "os/advice.h"

#include <fcntl.h>
#include <sys/mman.h>

enum { POLICY_DEFAULT = 0, POLICY_PREFERRED = 1, POLICY_LOCAL = 4 }; // MPOL_...

static const char no_populate[] =
    "this kernel cannot bring pages in on request (MADV_POPULATE_READ, Linux 5.14)";
static const char no_numa[] = "this kernel, or this container, refuses mbind and move_pages";
static const char no_mapping[] = "the file is not mapped: it has no pages of this process";

static const char stays_locked[] = "memory of kind pinned stays locked: that is its promise";

static bool has(const drayi_hint_lowerer *lower, uint32_t feature)
{
    return (lower->abilities->features & feature) != 0;
}

static bool is_file(const drayi_hint_piece *piece)
{
    return piece->memory->kind == DRAY_HINT_MEMORY_FILE;
}

static dray_status remark(drayi_hint_lowerer *lower, const drayi_hint_piece *piece, int kind,
                          const char *text, dray_error *error)
{
    return drayi_lower_remark(lower, piece, kind, text, error);
}

static dray_status call(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                        dray_hint_function function, uint32_t advice, dray_error *error)
{
    return drayi_lower_call(lower, piece, function, advice, dray_hint_at_host(), NULL, error);
}

// --- residency -------------------------------------------------------------------------------------------

/// Brings the bytes in. A file is read in steps of what its device reads ahead (found when it runs: 0 here
/// would mean "in one", so the step is named by the executor); memory is faulted in.
static dray_status populate(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                            dray_error *error)
{
    if (is_file(piece)) { // older kernels: WILLNEED, and reading what has to be waited for
        uint32_t advice = has(lower, DRAY_HINT_HAS_POPULATE) ? MADV_POPULATE_READ : MADV_WILLNEED;
        dray_hint_call *made;
        DRAY_TRY(drayi_lower_call(lower, piece, DRAY_HINT_MADVISE, advice, dray_hint_at_host(),
                                  &made, error));
        if (piece->range.bytes > piece->memory->step_bytes)
            made->step_bytes = piece->memory->step_bytes;
        return DRAY_OK;
    }
    if (!has(lower, DRAY_HINT_HAS_POPULATE))
        return remark(lower, piece, DRAYI_REMARK_SKIP, no_populate, error);
    return call(lower, piece, DRAY_HINT_MADVISE,
                piece->memory->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE, error);
}

/// Resident, and staying so: locked while the limit allows, else brought in.
static dray_status prefer_host(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                               dray_error *error)
{
    uint64_t bytes =
        piece->range.bytes + 2 * lower->abilities->page_bytes; // at most, with the edges
    if (piece->range.pointer && lower->lockable_bytes >= bytes) {
        if (lower->lockable_bytes != UINT64_MAX)
            lower->lockable_bytes -= bytes;
        return call(lower, piece, DRAY_HINT_MLOCK, 0, error);
    }
    DRAY_TRY(populate(lower, piece, error));
    return remark(lower, piece, DRAYI_REMARK_DEGRADED,
                  piece->range.pointer
                      ? "brought in, but not kept there: the limit of lockable memory is too small"
                      : "brought in, but not kept there: a file that is not mapped cannot be locked",
                  error);
}

// --- nodes -----------------------------------------------------------------------------------------------

static dray_status move_to(drayi_hint_lowerer *lower, const drayi_hint_piece *piece, uint32_t node,
                           dray_error *error)
{
    return drayi_lower_call(lower, piece, DRAY_HINT_MOVE_PAGES, 0, dray_hint_at_numa(node), NULL,
                            error);
}

static dray_status prefer_node(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                               uint32_t node, bool is_current, dray_error *error)
{
    if (!piece->range.pointer)
        return remark(lower, piece, DRAYI_REMARK_SKIP, no_mapping, error);
    if (!has(lower, DRAY_HINT_HAS_NUMA))
        return remark(lower, piece, DRAYI_REMARK_SKIP, no_numa, error);
    if (is_file(piece)) {
        DRAY_TRY(move_to(lower, piece, node, error));
        return remark(lower, piece, DRAYI_REMARK_DEGRADED,
                      "pages of a file that are here move now; later ones come where they are read",
                      error);
    }
    if (node >= 64)
        return remark(lower, piece, DRAYI_REMARK_SKIP, "dray binds to NUMA nodes 0 to 63", error);
    dray_hint_call *made;
    DRAY_TRY(drayi_lower_call(lower, piece, DRAY_HINT_MBIND,
                              is_current ? POLICY_LOCAL : POLICY_PREFERRED, dray_hint_at_numa(node),
                              &made, error));
    made->nodes = is_current ? 0 : UINT64_C(1) << node;
    return move_to(lower, piece, node, error);
}

static dray_status prefer_device(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                 uint32_t device, dray_error *error)
{
    int32_t node =
        device < lower->abilities->device_count ? lower->abilities->devices[device].numa_node : -1;
    if (node < 0 || (uint32_t)node >= lower->abilities->node_count)
        return remark(lower, piece, DRAYI_REMARK_SKIP,
                      "host memory cannot prefer a device of which no near NUMA node is known",
                      error);
    DRAY_TRY(prefer_node(lower, piece, (uint32_t)node, false, error));
    return remark(lower, piece, DRAYI_REMARK_DEGRADED, "the host's NUMA node near that device",
                  error);
}

static dray_status prefer(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                          dray_hint_location location, dray_error *error)
{
    switch (location.place) {
    case DRAY_HINT_DEVICE:
        return prefer_device(lower, piece, location.index, error);
    case DRAY_HINT_HOST:
        return prefer_host(lower, piece, error);
    case DRAY_HINT_HOST_NUMA:
        return prefer_node(lower, piece, location.index, false, error);
    case DRAY_HINT_CURRENT_NUMA:
        return prefer_node(lower, piece, lower->abilities->current_node, true, error);
    case DRAY_HINT_NOWHERE:
        break;
    }
    return DRAY_OK;
}

// --- policies --------------------------------------------------------------------------------------------

/// What nobody has looked at may be set.
static bool may_be_set(const drayi_hint_piece *piece, drayi_host_setting setting)
{
    return !piece->state || !(piece->state->known & DRAY_HINT_KNOWS_OWN) ||
           (piece->state->own[DRAYI_HOST_ANY] & setting) != 0;
}

static dray_status forget_preferred(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                    dray_error *error)
{
    if (!piece->range.pointer)
        return DRAY_OK;
    if (piece->memory->kind == DRAY_HINT_MEMORY_PINNED)
        DRAY_TRY(remark(lower, piece, DRAYI_REMARK_SKIP, stays_locked, error));
    else if (may_be_set(piece, DRAYI_HOST_LOCKED))
        DRAY_TRY(call(lower, piece, DRAY_HINT_MUNLOCK, 0, error));
    if (has(lower, DRAY_HINT_HAS_NUMA) && !is_file(piece) && may_be_set(piece, DRAYI_HOST_BOUND))
        DRAY_TRY(call(lower, piece, DRAY_HINT_MBIND, POLICY_DEFAULT, error));
    return DRAY_OK;
}

static dray_status lower_reset(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                               dray_error *error)
{
    if (piece->entry->policy.preferred.place == DRAY_HINT_NOWHERE)
        DRAY_TRY(forget_preferred(lower, piece, error));
    if (piece->range.pointer && may_be_set(piece, DRAYI_HOST_READ_AHEAD))
        DRAY_TRY(call(lower, piece, DRAY_HINT_MADVISE, MADV_NORMAL, error));
    return DRAY_OK;
}

static dray_status lower_advice(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                const dray_hint_advice *advice, dray_error *error)
{
    switch (advice->kind) {
    case DRAY_HINT_SET_READ_MOSTLY:
        return remark(lower, piece, DRAYI_REMARK_SKIP,
                      "Linux keeps one copy of a page and makes no copies for readers", error);
    case DRAY_HINT_SET_PREFERRED:
        return prefer(lower, piece, advice->location, error);
    case DRAY_HINT_SET_ACCESSED_BY:
        if (advice->location.place == DRAY_HINT_HOST)
            return populate(lower, piece, error);
        return remark(lower, piece, DRAYI_REMARK_SKIP,
                      "Linux maps host memory for this process, not for a device", error);
    case DRAY_HINT_UNSET_PREFERRED:
        return forget_preferred(lower, piece, error);
    case DRAY_HINT_UNSET_READ_MOSTLY:
    case DRAY_HINT_UNSET_ACCESSED_BY:
        break;
    }
    return remark(lower, piece, DRAYI_REMARK_SKIP,
                  "Linux keeps no such advice: there is nothing to unset", error);
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
    dray_hint_location to = piece->entry->location;
    if (to.place == DRAY_HINT_DEVICE)
        return remark(lower, piece, DRAYI_REMARK_SKIP,
                      "host memory does not migrate to a device; open that device's own hints",
                      error);
    DRAY_TRY(populate(lower, piece, error));
    if (to.place == DRAY_HINT_HOST)
        return DRAY_OK;
    if (!piece->range.pointer)
        return remark(lower, piece, DRAYI_REMARK_DEGRADED, "on whichever NUMA node", error);
    if (!has(lower, DRAY_HINT_HAS_NUMA))
        return remark(lower, piece, DRAYI_REMARK_DEGRADED, no_numa, error);
    uint32_t node = to.place == DRAY_HINT_HOST_NUMA ? to.index : lower->abilities->current_node;
    return move_to(lower, piece, node, error);
}

static dray_status lower_release(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                 dray_error *error)
{
    dray_hint_range inside;
    bool has_pages = is_file(piece) // its last page may be all its own
                     || drayi_lower_inwards(&piece->range, lower->abilities->page_bytes, &inside);
    if (!has_pages)
        return remark(lower, piece, DRAYI_REMARK_SKIP, "no whole page lies inside", error);
    if (piece->memory->kind == DRAY_HINT_MEMORY_PINNED)
        return remark(lower, piece, DRAYI_REMARK_SKIP, stays_locked, error);
    bool cold = piece->entry->release == DRAY_HINT_COLD;
    if (cold && !piece->range.pointer)
        return remark(lower, piece, DRAYI_REMARK_SKIP, no_mapping, error);
    if (is_file(piece) && !cold)
        return call(lower, piece, DRAY_HINT_FADVISE, POSIX_FADV_DONTNEED, error);
    if (piece->entry->release == DRAY_HINT_DISCARD)
        return call(lower, piece, DRAY_HINT_MADVISE, MADV_DONTNEED, error);
    if (!has(lower, DRAY_HINT_HAS_COLD))
        return remark(lower, piece, DRAYI_REMARK_SKIP,
                      "this kernel knows no MADV_COLD and MADV_PAGEOUT (Linux 5.4)", error);
    return call(lower, piece, DRAY_HINT_MADVISE, cold ? MADV_COLD : MADV_PAGEOUT, error);
}

static dray_status lower_huge_pages(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                    dray_error *error)
{
    dray_hint_range inside;
    const uint64_t huge = lower->abilities->huge_page_bytes;
    const char *skip = NULL;
    if (is_file(piece))
        skip = "pages of a file on a disk do not become huge";
    else if (huge == 0)
        skip = "transparent huge pages are off";
    else if (!drayi_lower_inwards(&piece->range, huge, &inside))
        skip = "no whole huge page lies inside";
    if (skip)
        return remark(lower, piece, DRAYI_REMARK_SKIP, skip, error);
    DRAY_TRY(call(lower, piece, DRAY_HINT_MADVISE, MADV_HUGEPAGE, error));
    if (has(lower, DRAY_HINT_HAS_COLLAPSE))
        return call(lower, piece, DRAY_HINT_MADVISE, MADV_COLLAPSE, error);
    return remark(lower, piece, DRAYI_REMARK_DEGRADED,
                  "asked for; this kernel collapses nothing on request (MADV_COLLAPSE, Linux 6.1)",
                  error);
}

dray_status drayi_lower_host(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                             dray_error *error)
{
    if (piece->memory->kind == DRAY_HINT_MEMORY_UNKNOWN)
        return drayi_lower_fail(piece, error, "%p: nothing is mapped there", piece->range.pointer);
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
        return lower_huge_pages(lower, piece, error);
    }
    return DRAY_OK;
}

// --- restoring -------------------------------------------------------------------------------------------

static dray_hint_call *restore_add(drayi_hint_restore *out, const dray_hint_call *made,
                                   dray_hint_function function, uint32_t advice)
{
    dray_hint_call *back = &out->calls[out->count++];
    *back = *made;
    back->function = function;
    back->advice = advice;
    back->nodes = 0;
    back->is_restore = 1;
    return back;
}

static void restore_policy(const dray_hint_call *made, const dray_hint_state *before,
                           drayi_hint_restore *out)
{
    dray_hint_call *back =
        restore_add(out, made, DRAY_HINT_MBIND, (uint32_t)before->own[DRAYI_HOST_POLICY]);
    back->nodes = before->own[DRAYI_HOST_NODES];
}

static void restore_madvise(const dray_hint_call *made, uint64_t before, drayi_hint_restore *out)
{
    switch (made->advice) {
    case MADV_NORMAL:
        if (before & DRAYI_HOST_RANDOM)
            restore_add(out, made, DRAY_HINT_MADVISE, MADV_RANDOM);
        else if (before & DRAYI_HOST_SEQUENTIAL)
            restore_add(out, made, DRAY_HINT_MADVISE, MADV_SEQUENTIAL);
        return;
    case MADV_HUGEPAGE:
        if (before & DRAYI_HOST_HUGE)
            return;
        restore_add(out, made, DRAY_HINT_MADVISE, MADV_NOHUGEPAGE);
        if (!(before & DRAYI_HOST_NO_HUGE))
            out->inexact = "huge pages are either asked for or forbidden: Linux has no way back to "
                           "neither";
        return;
    default:
        return;
    }
}

void drayi_restore_host(const dray_hint_call *call, const dray_hint_state *before,
                        drayi_hint_restore *out)
{
    *out = (drayi_hint_restore){0};
    if (!(before->known & DRAY_HINT_KNOWS_OWN))
        return;
    uint64_t settings = before->own[DRAYI_HOST_ALL];
    switch (call->function) {
    case DRAY_HINT_MLOCK:
        if (!(settings & DRAYI_HOST_LOCKED))
            restore_add(out, call, DRAY_HINT_MUNLOCK, 0);
        return;
    case DRAY_HINT_MUNLOCK:
        if (settings & DRAYI_HOST_LOCKED)
            restore_add(out, call, DRAY_HINT_MLOCK, 0);
        return;
    case DRAY_HINT_MBIND:
        restore_policy(call, before, out);
        return;
    case DRAY_HINT_MADVISE:
        restore_madvise(call, settings, out);
        return;
    default:
        return;
    }
}
