/// From a plan to calls: what all backends have in common. Entries are taken in their order; neighbours in
/// that order that also touch in memory and want the same become one piece; a family's file turns each
/// piece into calls. Before that, the plan is checked, its devices and nodes exist, and it fits.
#include "hints/lower.h"

#include "base/checked.h"
#include "dray/spi/region.h"
#include "hints/hint_plan.h"
#include "hints/hint_words.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef dray_status (*lower_fn)(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                dray_error *error);

static lower_fn lower_of(const char *family)
{
    if (strcmp(family, "cuda") == 0 || strcmp(family, "sim") == 0) // simulated: CUDA's calls
        return drayi_lower_cuda;
    if (strcmp(family, "opencl") == 0)
        return drayi_lower_opencl;
    return strcmp(family, "host") == 0 ? drayi_lower_host : NULL;
}

// --- what the families' files call --------------------------------------------------------------------

static dray_status range_add(dray_hint_lowering *out, const drayi_hint_piece *piece,
                             dray_hint_location location, dray_error *error)
{
    if (out->range_count == out->range_capacity)
        DRAY_TRY(drayi_grow(out->env, (void **)&out->ranges, &out->range_capacity,
                            out->range_count + 1, sizeof(out->ranges[0]), error));
    out->ranges[out->range_count++] = (dray_hint_call_range){.range = piece->range,
                                                             .location = location,
                                                             .entry = piece->index,
                                                             .entry_count = piece->count};
    return DRAY_OK;
}

dray_status drayi_lower_call(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                             dray_hint_function function, uint32_t advice,
                             dray_hint_location location, dray_hint_call **out_call,
                             dray_error *error)
{
    dray_hint_lowering *out = lower->out;
    if (out->call_count == out->call_capacity)
        DRAY_TRY(drayi_grow(out->env, (void **)&out->calls, &out->call_capacity,
                            out->call_count + 1, sizeof(out->calls[0]), error));
    DRAY_TRY(range_add(out, piece, location, error));
    assert(out->calls); // grown above
    dray_hint_call *call = &out->calls[out->call_count++];
    *call = (dray_hint_call){.function = function,
                             .advice = advice,
                             .location = location,
                             .first_range = out->range_count - 1,
                             .range_count = 1,
                             .bytes = piece->range.bytes};
    if (out_call)
        *out_call = call;
    lower->batch_entry = UINT64_MAX;
    return DRAY_OK;
}

dray_status drayi_lower_batch(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                              dray_hint_function function, uint32_t advice,
                              dray_hint_location location, bool one_location, dray_error *error)
{
    dray_hint_lowering *out = lower->out;
    dray_hint_call *last = out->call_count > 0 ? &out->calls[out->call_count - 1] : NULL;
    bool joins = last && lower->batch_entry == piece->index && last->function == function &&
                 last->advice == advice &&
                 (!one_location || drayi_hint_location_equal(last->location, location));
    if (!joins) {
        DRAY_TRY(drayi_lower_call(lower, piece, function, advice, location, NULL, error));
    } else {
        DRAY_TRY(range_add(out, piece, location, error));
        last->range_count++;
        last->bytes += piece->range.bytes;
    }
    lower->batch_entry = piece->index + piece->count;
    return DRAY_OK;
}

dray_status drayi_lower_remark(drayi_hint_lowerer *lower, const drayi_hint_piece *piece, int kind,
                               const char *text, dray_error *error)
{
    dray_hint_lowering *out = lower->out;
    if (out->remark_count == out->remark_capacity)
        DRAY_TRY(drayi_grow(out->env, (void **)&out->remarks, &out->remark_capacity,
                            out->remark_count + 1, sizeof(out->remarks[0]), error));
    out->remarks[out->remark_count++] =
        (dray_hint_remark){.entry = piece->index,
                           .entry_count = piece->count,
                           .is_skip = kind == DRAYI_REMARK_SKIP,
                           .is_no_effect = kind == DRAYI_REMARK_NO_EFFECT,
                           .text = text};
    return DRAY_OK;
}

dray_status drayi_lower_fail(const drayi_hint_piece *piece, dray_error *error, const char *format,
                             ...)
{
    char sentence[320];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    dray_fail(error, DRAY_E_INVALID, "hint %" PRIu64 ": %s", piece->index, sentence);
    if (error)
        error->index = piece->index;
    return DRAY_E_INVALID;
}

bool drayi_lower_inwards(const dray_hint_range *range, uint64_t page_bytes, dray_hint_range *out)
{
    uint64_t first = drayi_hint_spot_of(range).first, skip = -first & (page_bytes - 1);
    if (skip >= range->bytes || range->bytes - skip < page_bytes)
        return false;
    *out = *range;
    out->offset += skip;
    out->bytes = drayi_round_down(range->bytes - skip, page_bytes);
    if (out->pointer)
        out->pointer = (char *)out->pointer + skip;
    return true;
}

// --- pieces ----------------------------------------------------------------------------------------------

/// What a range is when nobody has looked: by its region, and raw memory is taken at its word.
static dray_hint_memory memory_guess(const dray_hint_range *range, bool on_host)
{
    dray_hint_memory memory = {.kind = DRAY_HINT_MEMORY_MANAGED};
    dray_region_native native;
    dray_region_get_native(range->region, &native);
    if (on_host) {
        memory.kind = native.fd >= 0                          ? DRAY_HINT_MEMORY_FILE
                      : native.storage == DRAY_STORAGE_PINNED ? DRAY_HINT_MEMORY_PINNED
                                                              : DRAY_HINT_MEMORY_MANAGED;
        memory.read_only = !native.writable;
    } else if (native.storage == DRAY_STORAGE_PINNED) {
        memory.kind = DRAY_HINT_MEMORY_PINNED;
    } else if (native.storage != DRAY_STORAGE_MANAGED) {
        memory.kind = DRAY_HINT_MEMORY_UNKNOWN;
    }
    return memory;
}

/// Valid until the next piece.
static const dray_hint_memory *memory_of(drayi_hint_lowerer *lower, uint64_t index)
{
    static const dray_hint_memory raw = {.kind = DRAY_HINT_MEMORY_MANAGED};
    const dray_hint_range *range = &drayi_hint_entry(lower->plan, index)->range;
    if (lower->facts.memories)
        return &lower->facts.memories[index];
    if (!range->region)
        return &raw;
    lower->guess = memory_guess(range, lower->on_host);
    return &lower->guess;
}

static bool same_memory(const dray_hint_memory *left, const dray_hint_memory *right)
{
    return left->kind == right->kind && left->ordinal == right->ordinal &&
           left->first == right->first && left->read_only == right->read_only &&
           left->usm == right->usm;
}

static bool same_wish(const dray_hint_entry *left, const dray_hint_entry *right)
{
    if (left->kind != right->kind)
        return false;
    switch (left->kind) {
    case DRAY_HINT_POLICY: // what reset unsets is a matter of each entry
        return !left->policy.reset && dray_hint_policy_equal(&left->policy, &right->policy);
    case DRAY_HINT_ADVICE:
        return left->advice.kind == right->advice.kind &&
               drayi_hint_location_equal(left->advice.location, right->advice.location);
    case DRAY_HINT_PREFETCH:
        return drayi_hint_location_equal(left->location, right->location);
    case DRAY_HINT_RELEASE:
        return left->release == right->release;
    case DRAY_HINT_HUGE_PAGES:
        return true;
    }
    return false;
}

static bool touch(const dray_hint_range *left, const dray_hint_range *right)
{
    if (left->region != right->region)
        return false;
    if (left->pointer)
        return (uintptr_t)left->pointer + left->bytes == (uintptr_t)right->pointer;
    return left->offset + left->bytes == right->offset;
}

/// May entry `next` join the piece? What touches lies in one region, so a guess is the same for both.
static bool joins(const drayi_hint_lowerer *lower, const drayi_hint_piece *piece, uint64_t next)
{
    const dray_hint_entry *entry = drayi_hint_entry(lower->plan, next);
    return same_wish(piece->entry, entry) && touch(&piece->range, &entry->range) &&
           (!lower->facts.memories || same_memory(piece->memory, &lower->facts.memories[next]));
}

/// The piece that begins with entry `index`.
static void piece_at(drayi_hint_lowerer *lower, uint64_t index, drayi_hint_piece *out)
{
    out->entry = drayi_hint_entry(lower->plan, index);
    out->index = index;
    out->count = 1;
    out->range = out->entry->range;
    out->memory = memory_of(lower, index);
    out->state = lower->facts.states ? lower->facts.states[index] : NULL;
    for (uint64_t next = index + 1; next < lower->plan->count && joins(lower, out, next); next++) {
        out->range.bytes += drayi_hint_entry(lower->plan, next)->range.bytes;
        out->count++;
    }
}

// --- the whole -------------------------------------------------------------------------------------------

void dray_hint_lowering_destroy(dray_hint_lowering *lowering)
{
    if (!lowering)
        return;
    drayi_env *env = lowering->env;
    drayi_free(env, lowering->calls, (size_t)lowering->call_capacity * sizeof(lowering->calls[0]));
    drayi_free(env, lowering->ranges,
               (size_t)lowering->range_capacity * sizeof(lowering->ranges[0]));
    drayi_free(env, lowering->remarks,
               (size_t)lowering->remark_capacity * sizeof(lowering->remarks[0]));
    drayi_free(env, lowering, sizeof(*lowering));
}

/// A driver that is handed bytes beyond an allocation refuses them, or hints somebody else's. On the host
/// mappings lie side by side, and its own file looks at each.
static dray_status inside_allocation(const drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                                     dray_error *error)
{
    const dray_hint_memory *memory = piece->memory;
    const uintptr_t at = (uintptr_t)piece->range.pointer;
    if (lower->on_host || memory->bytes == 0 ||
        (at >= memory->first && drayi_inside(at - memory->first, piece->range.bytes, memory->bytes)))
        return DRAY_OK;
    return drayi_lower_fail(piece, error,
                            "%" PRIu64 " bytes at %p leave their allocation, %" PRIu64
                            " bytes at 0x%" PRIx64,
                            piece->range.bytes, piece->range.pointer, memory->bytes, memory->first);
}

static dray_status lower_all(drayi_hint_lowerer *lower, lower_fn family, dray_error *error)
{
    for (uint64_t i = 0; i < lower->plan->count;) {
        drayi_hint_piece piece;
        piece_at(lower, i, &piece);
        bool says_nothing = piece.entry->kind == DRAY_HINT_POLICY &&
                            dray_hint_policy_is_default(&piece.entry->policy);
        if (!says_nothing) {
            DRAY_TRY(drayi_lower_locations_exist(lower, &piece, error));
            DRAY_TRY(inside_allocation(lower, &piece, error));
            DRAY_TRY(family(lower, &piece, error));
        }
        i += piece.count;
    }
    return DRAY_OK;
}

/// Room for a call per entry; what is not written is never touched.
static dray_status lists_reserve(dray_hint_lowering *out, uint64_t count, dray_error *error)
{
    out->ranges = drayi_alloc_array_raw(out->env, count, sizeof(out->ranges[0]), error);
    if (!out->ranges)
        return DRAY_E_NOMEM;
    out->range_capacity = count;
    out->calls = drayi_alloc_array_raw(out->env, count, sizeof(out->calls[0]), error);
    if (!out->calls)
        return DRAY_E_NOMEM;
    out->call_capacity = count;
    return DRAY_OK;
}

static dray_status lowering_build(drayi_hint_lowerer *lower, const dray_hint_lower_options *options,
                                  dray_error *error)
{
    lower_fn family = lower_of(lower->abilities->family);
    if (!family)
        return dray_fail(
            error, DRAY_E_UNSUPPORTED,
            "hints: there is no lowering for devices of %.32s; there is: cuda, sim, opencl, host",
            lower->abilities->family);
    DRAY_TRY(dray_hint_plan_check(lower->plan, error));
    if (!options->oversubscribe)
        DRAY_TRY(drayi_lower_admit(lower->plan, lower->abilities, options, error));
    DRAY_TRY(lists_reserve(lower->out, lower->plan->count, error));
    lower->admitted = !options->oversubscribe;
    lower->plan_many = lower->plan->prefetches > 1;
    return lower_all(lower, family, error);
}

dray_status drayi_hint_lower(const dray_hint_plan *plan, const dray_hint_abilities *abilities,
                             const dray_hint_lower_options *given, const drayi_hint_facts *facts,
                             dray_hint_lowering **out_lowering, dray_error *error)
{
    dray_hint_lower_options options = {0};
    if (given)
        DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_hint_lower_options", error));
    dray_hint_lowering *lowering = drayi_new(plan->env, dray_hint_lowering, error);
    if (!lowering)
        return DRAY_E_NOMEM;
    lowering->env = plan->env;
    lowering->abilities = abilities;
    drayi_hint_lowerer lower = {
        .out = lowering,
        .plan = plan,
        .abilities = abilities,
        .on_host = strcmp(abilities->family, "host") == 0,
        .lockable_bytes = abilities->lockable_bytes,
        .batch_entry = UINT64_MAX,
    };
    if (facts)
        lower.facts = *facts;
    dray_status status = lowering_build(&lower, &options, error);
    if (status != DRAY_OK)
        dray_hint_lowering_destroy(lowering);
    else
        *out_lowering = lowering;
    return status;
}

dray_status dray_hint_plan_lower(const dray_hint_plan *plan, const dray_hint_abilities *abilities,
                                 const dray_hint_lower_options *options,
                                 dray_hint_lowering **out_lowering, dray_error *error)
{
    return drayi_hint_lower(plan, abilities, options, NULL, out_lowering, error);
}

uint64_t dray_hint_lowering_calls(const dray_hint_lowering *lowering,
                                  const dray_hint_call **out_calls)
{
    *out_calls = lowering->calls;
    return lowering->call_count;
}

uint64_t dray_hint_lowering_ranges(const dray_hint_lowering *lowering,
                                   const dray_hint_call_range **out_ranges)
{
    *out_ranges = lowering->ranges;
    return lowering->range_count;
}

uint64_t dray_hint_lowering_remarks(const dray_hint_lowering *lowering,
                                    const dray_hint_remark **out_remarks)
{
    *out_remarks = lowering->remarks;
    return lowering->remark_count;
}
