/// Is a plan sound? Its entries are walked in the order of their addresses, and each is compared with the
/// last one that claimed the same thing: what is sorted and apart can only meet its neighbour.
///
/// A thing that can be claimed is a slot: "a policy", "a prefetch", "a release", "huge pages", and each
/// axis of advice. Two claims of a slot over the same *bytes* are one too many; two over the same *page*
/// must be the same claim, because drivers widen hints to pages. (Releases are narrowed, so they only
/// care for bytes.)
#include "base/checked.h"
#include "base/sort.h"
#include "hints/hint_plan.h"
#include "hints/hint_words.h"
#include "os/os.h"

#include <inttypes.h>
#include <string.h>

typedef struct placed {
    drayi_hint_spot spot;
    uint64_t end, index;
    uint32_t kind; // of the entry, which may be far away in memory; 0: it asks for nothing
} placed;

enum {
    SLOT_POLICY,
    SLOT_PREFETCH,
    SLOT_RELEASE,
    SLOT_HUGE_PAGES,
    SLOT_READ_MOSTLY,
    SLOT_PREFERRED,
    SLOT_HOST, // accessed by it
    SLOT_DEVICE,
    SLOT_COUNT = SLOT_DEVICE + DRAY_HINT_DEVICES_MAX
};

typedef struct claim {
    bool is_made;
    placed by;
    uint64_t value; // of an axis
} claim;

typedef struct checker {
    const dray_hint_plan *plan;
    uint64_t page_bytes;
    claim slots[SLOT_COUNT];
    dray_error *error;
} checker;

static const dray_hint_entry *entry_of(const checker *check, const placed *at)
{
    return drayi_hint_entry(check->plan, at->index);
}

// --- messages ----------------------------------------------------------------------------------------

static const char *wish_print(const dray_hint_entry *entry, char out[DRAY_HINT_TEXT_BYTES])
{
    static const char *const advice[] = {"?",
                                         "set read-mostly",
                                         "unset read-mostly",
                                         "set the preferred location",
                                         "unset the preferred location",
                                         "set accessed-by",
                                         "unset accessed-by"};
    switch (entry->kind) {
    case DRAY_HINT_POLICY:
        return dray_hint_policy_print(&entry->policy, out);
    case DRAY_HINT_PREFETCH:
        return dray_hint_location_print(entry->location, out);
    case DRAY_HINT_ADVICE:
        return advice[entry->advice.kind];
    default:
        return "the same";
    }
}

static dray_status said_twice(const checker *check, const placed *first, const placed *second)
{
    static const char *const kinds[] = {"?",          "a policy",  "advice on one axis",
                                        "a prefetch", "a release", "huge pages"};
    uint64_t end = drayi_min(first->end, second->end);
    dray_fail(check->error, DRAY_E_INVALID,
              "hints %" PRIu64 " and %" PRIu64 ": both are %s for the same %" PRIu64
              " bytes at 0x%" PRIx64 "; say it once for them",
              drayi_min(first->index, second->index), drayi_max(first->index, second->index),
              kinds[entry_of(check, second)->kind], end - second->spot.first, second->spot.first);
    if (check->error)
        check->error->index = drayi_max(first->index, second->index);
    return DRAY_E_INVALID;
}

static dray_status contradicts(const checker *check, const placed *first, const placed *second)
{
    char one[DRAY_HINT_TEXT_BYTES], other[DRAY_HINT_TEXT_BYTES];
    dray_fail(
        check->error, DRAY_E_INVALID,
        "hints %" PRIu64 " and %" PRIu64 " want different things of the page at 0x%" PRIx64
        ": %.56s, %.56s. A hint holds for whole pages: give both the same, align them to %" PRIu64
        " bytes, or leave out the page they share",
        first->index, second->index, drayi_round_down(second->spot.first, check->page_bytes),
        wish_print(entry_of(check, first), one), wish_print(entry_of(check, second), other),
        check->page_bytes);
    if (check->error)
        check->error->index = drayi_max(first->index, second->index);
    return DRAY_E_INVALID;
}

// --- claims ------------------------------------------------------------------------------------------

static bool share_bytes(const placed *first, const placed *second)
{
    return first->spot.space == second->spot.space && first->end > second->spot.first;
}

static bool share_page(const checker *check, const placed *first, const placed *second)
{
    return first->spot.space == second->spot.space &&
           drayi_round_down(first->end - 1, check->page_bytes) >=
               drayi_round_down(second->spot.first, check->page_bytes);
}

static void claim_keep(claim *slot, const placed *by, uint64_t value)
{
    if (!slot->is_made || slot->by.spot.space != by->spot.space || slot->by.end < by->end)
        *slot = (claim){.is_made = true, .by = *by, .value = value};
}

static dray_status claim_axis(checker *check, unsigned slot_index, const placed *by, uint64_t value)
{
    claim *slot = &check->slots[slot_index];
    if (slot->is_made && share_page(check, &slot->by, by)) {
        if (slot->value != value)
            return contradicts(check, &slot->by, by);
        bool both_advice = entry_of(check, &slot->by)->kind == DRAY_HINT_ADVICE &&
                           entry_of(check, by)->kind == DRAY_HINT_ADVICE;
        if (both_advice && share_bytes(&slot->by, by))
            return said_twice(check, &slot->by, by);
    }
    claim_keep(slot, by, value);
    return DRAY_OK;
}

static uint64_t location_value(dray_hint_location location)
{
    return (uint64_t)location.place << 32 | location.index;
}

static dray_status claim_advice(checker *check, const placed *by)
{
    const dray_hint_advice *advice = &entry_of(check, by)->advice;
    switch (advice->kind) {
    case DRAY_HINT_SET_READ_MOSTLY:
    case DRAY_HINT_UNSET_READ_MOSTLY:
        return claim_axis(check, SLOT_READ_MOSTLY, by, advice->kind == DRAY_HINT_SET_READ_MOSTLY);
    case DRAY_HINT_SET_PREFERRED:
        return claim_axis(check, SLOT_PREFERRED, by, location_value(advice->location));
    case DRAY_HINT_UNSET_PREFERRED:
        return claim_axis(check, SLOT_PREFERRED, by, 0);
    case DRAY_HINT_SET_ACCESSED_BY:
    case DRAY_HINT_UNSET_ACCESSED_BY:
        break;
    }
    unsigned slot = advice->location.place == DRAY_HINT_HOST ? (unsigned)SLOT_HOST
                                                             : SLOT_DEVICE + advice->location.index;
    return claim_axis(check, slot, by, advice->kind == DRAY_HINT_SET_ACCESSED_BY);
}

/// What a policy says of each axis, for comparison with advice on single axes.
static dray_status claim_policy_axes(checker *check, const placed *by)
{
    const dray_hint_policy *policy = &entry_of(check, by)->policy;
    if (policy->read_mostly || policy->reset)
        DRAY_TRY(claim_axis(check, SLOT_READ_MOSTLY, by, policy->read_mostly != 0));
    if (policy->preferred.place != DRAY_HINT_NOWHERE || policy->reset)
        DRAY_TRY(claim_axis(check, SLOT_PREFERRED, by, location_value(policy->preferred)));
    if (policy->accessed_by.host || policy->reset)
        DRAY_TRY(claim_axis(check, SLOT_HOST, by, policy->accessed_by.host != 0));
    for (unsigned device = 0; device < DRAY_HINT_DEVICES_MAX; device++) {
        uint64_t named = policy->accessed_by.devices >> device & 1;
        if (named || policy->reset)
            DRAY_TRY(claim_axis(check, SLOT_DEVICE + device, by, named));
    }
    return DRAY_OK;
}

static bool same_wish(const dray_hint_entry *left, const dray_hint_entry *right)
{
    if (left->kind == DRAY_HINT_POLICY)
        return dray_hint_policy_equal(&left->policy, &right->policy);
    if (left->kind == DRAY_HINT_PREFETCH)
        return drayi_hint_location_equal(left->location, right->location);
    return true;
}

static dray_status claim_kind(checker *check, unsigned slot_index, const placed *by)
{
    claim *slot = &check->slots[slot_index];
    if (slot->is_made && share_bytes(&slot->by, by))
        return said_twice(check, &slot->by, by);
    if (slot->is_made && share_page(check, &slot->by, by) &&
        !same_wish(entry_of(check, &slot->by), entry_of(check, by)))
        return contradicts(check, &slot->by, by);
    claim_keep(slot, by, 0);
    return DRAY_OK;
}

static dray_status claim_entry(checker *check, const placed *by)
{
    switch (by->kind) {
    case DRAY_HINT_POLICY:
        DRAY_TRY(claim_kind(check, SLOT_POLICY, by));
        return check->plan->has_advice ? claim_policy_axes(check, by) : DRAY_OK;
    case DRAY_HINT_ADVICE:
        return claim_advice(check, by);
    case DRAY_HINT_PREFETCH:
        return claim_kind(check, SLOT_PREFETCH, by);
    case DRAY_HINT_RELEASE:
        return claim_kind(check, SLOT_RELEASE, by);
    case DRAY_HINT_HUGE_PAGES:
        return claim_kind(check, SLOT_HUGE_PAGES, by);
    default:
        return DRAY_OK;
    }
}

// --- the walk ----------------------------------------------------------------------------------------

static int by_place(const void *left, const void *right, const void *self)
{
    const placed *a = left, *b = right;
    (void)self;
    if (a->spot.space != b->spot.space)
        return a->spot.space < b->spot.space ? -1 : 1;
    return a->spot.first < b->spot.first ? -1 : a->spot.first > b->spot.first;
}

static placed place_of(const dray_hint_plan *plan, uint64_t index)
{
    const dray_hint_entry *entry = drayi_hint_entry(plan, index);
    drayi_hint_spot spot = drayi_hint_spot_of(&entry->range);
    bool says_nothing =
        entry->kind == DRAY_HINT_POLICY && dray_hint_policy_is_default(&entry->policy);
    return (placed){.spot = spot,
                    .end = spot.first + entry->range.bytes,
                    .index = index,
                    .kind = says_nothing ? 0 : (uint32_t)entry->kind};
}

static checker checker_of(const dray_hint_plan *plan, dray_error *error)
{
    return (checker){.plan = plan, .page_bytes = plan->env->os->page_bytes(), .error = error};
}

/// Entries that were added in the order of their addresses need no list of their own.
static dray_status walk_sorted(const dray_hint_plan *plan, dray_error *error)
{
    checker check = checker_of(plan, error);
    for (uint64_t i = 0; i < plan->count; i++) {
        placed at = place_of(plan, i);
        DRAY_TRY(claim_entry(&check, &at));
    }
    return DRAY_OK;
}

static void places_fill(const dray_hint_plan *plan, placed *places)
{
    for (uint64_t i = 0; i < plan->count; i++)
        places[i] = place_of(plan, i);
}

/// `places` has room for all entries twice.
static dray_status walk_unsorted(const dray_hint_plan *plan, placed *places, dray_error *error)
{
    checker check = checker_of(plan, error);
    places_fill(plan, places);
    drayi_sort(places, places + plan->count, plan->count, sizeof(*places), by_place, NULL);
    for (uint64_t i = 0; i < plan->count; i++)
        DRAY_TRY(claim_entry(&check, &places[i]));
    return DRAY_OK;
}

dray_status dray_hint_plan_check(const dray_hint_plan *plan, dray_error *error)
{
    if (plan->wrong) {
        if (error)
            *error = plan->mistake;
        return plan->mistake.status;
    }
    if (plan->is_sorted)
        return walk_sorted(plan, error);
    placed *places = drayi_alloc_array_raw(plan->env, plan->count, 2 * sizeof(*places), error);
    if (!places)
        return DRAY_E_NOMEM;
    dray_status status = walk_unsorted(plan, places, error);
    drayi_free(plan->env, places, (size_t)plan->count * 2 * sizeof(*places));
    return status;
}
