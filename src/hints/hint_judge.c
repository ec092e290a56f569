/// What became of a call, and of the entries it was made for. Success of a driver is not believed where
/// there is a way to look: settings are read back; the host's calls measure themselves.
#include "base/checked.h"
#include "hints/hint_run.h"
#include "hints/hint_words.h"

#include <sys/mman.h>

static bool is_cuda_advice(const dray_hint_call *call)
{
    return call->function == DRAY_HINT_CU_ADVISE || call->function == DRAY_HINT_CU_ADVISE_V2;
}

static bool is_cuda_prefetch(const dray_hint_call *call)
{
    return call->function == DRAY_HINT_CU_PREFETCH || call->function == DRAY_HINT_CU_PREFETCH_V2 ||
           call->function == DRAY_HINT_CU_PREFETCH_BATCH;
}

bool drayi_call_sets(const dray_hint_call *call)
{
    switch (call->function) {
    case DRAY_HINT_CU_ADVISE:
    case DRAY_HINT_CU_ADVISE_V2:
    case DRAY_HINT_MLOCK:
    case DRAY_HINT_MUNLOCK:
    case DRAY_HINT_MBIND:
        return true;
    case DRAY_HINT_MADVISE:
        return call->advice == MADV_NORMAL || call->advice == MADV_HUGEPAGE;
    default:
        return false;
    }
}

bool drayi_call_moves(const dray_hint_call *call)
{
    return is_cuda_prefetch(call) || call->function == DRAY_HINT_CU_DISCARD_BATCH ||
           call->function == DRAY_HINT_CL_SVM_MIGRATE || call->function == DRAY_HINT_CL_USM_MIGRATE;
}

// --- entries -------------------------------------------------------------------------------------------------

static void entry_worsen(drayi_entry_track *entry, dray_hint_outcome outcome, const char *note)
{
    if (outcome < entry->worst || (outcome == entry->worst && entry->note))
        return;
    entry->worst = outcome;
    entry->note = note;
}

/// What a caller sees: nothing final before all of its calls have ended.
static void entry_show(drayi_entry_track *entry)
{
    bool is_open = entry->ended < entry->calls;
    entry->result.enqueued = entry->accepted == entry->calls;
    entry->result.outcome = entry->failed ? DRAY_HINT_FAILED
                            : is_open     ? DRAY_HINT_PENDING
                                          : entry->worst;
    entry->result.note = entry->failed ? entry->failed_at : is_open ? NULL : entry->note;
    entry->result.bytes_done = is_open ? DRAY_UNKNOWN : entry->bytes_done;
}

/// The entries of `range`, by turns.
static void each_entry(dray_hint_run *run, const dray_hint_call_range *range,
                       void (*visit)(drayi_entry_track *entry, const void *self), const void *self)
{
    for (uint64_t i = 0; i < range->entry_count; i++) {
        drayi_entry_track *entry = &run->entries[range->entry + i];
        visit(entry, self);
        entry_show(entry);
    }
}

static void count_call(drayi_entry_track *entry, const void *self)
{
    (void)self;
    entry->calls++;
}

/// Skipped is what got no call at all; where only a part of the wish got none, it is degraded.
static void apply_remark(dray_hint_run *run, const dray_hint_remark *remark)
{
    for (uint64_t i = 0; i < remark->entry_count; i++) {
        drayi_entry_track *entry = &run->entries[remark->entry + i];
        bool is_whole = remark->is_skip && entry->calls == 0;
        entry_worsen(entry,
                     is_whole               ? DRAY_HINT_SKIPPED
                     : remark->is_no_effect ? DRAY_HINT_NO_EFFECT
                                            : DRAY_HINT_DEGRADED,
                     remark->text);
    }
}

/// An entry without calls is done: it asked for nothing, or was skipped.
static void entry_settle(drayi_entry_track *entry)
{
    if (entry->worst == DRAY_HINT_PENDING && entry->calls == 0)
        entry_worsen(entry, DRAY_HINT_VERIFIED, "nothing to do");
    entry_show(entry);
}

void drayi_judge_begin(dray_hint_run *run)
{
    const dray_hint_lowering *lowering = run->lowering;
    for (uint64_t i = 0; i < run->entry_count; i++)
        run->entries[i].bytes_done = DRAY_UNKNOWN;
    for (uint64_t i = 0; i < lowering->range_count; i++)
        each_entry(run, &lowering->ranges[i], count_call, NULL);
    for (uint64_t i = 0; i < lowering->remark_count; i++)
        apply_remark(run, &lowering->remarks[i]);
    for (uint64_t i = 0; i < run->entry_count; i++)
        entry_settle(&run->entries[i]);
}

void drayi_judge_again(dray_hint_run *run)
{
    for (uint64_t i = 0; i < run->entry_count; i++) {
        drayi_entry_track *entry = &run->entries[i];
        if (!entry->failed ||
            entry->accepted == entry->calls) // what was accepted is not tried again
            continue;
        entry->failed = false;
        entry->result.status = DRAY_OK;
        entry->result.code = 0;
        entry->result.code_name = NULL;
        entry_show(entry);
    }
}

// --- accepted, failed ------------------------------------------------------------------------------------------

static void entry_accepted(drayi_entry_track *entry, const void *self)
{
    (void)self;
    entry->accepted++;
}

static void each_range(dray_hint_run *run, uint64_t call,
                       void (*visit)(drayi_entry_track *entry, const void *self), const void *self)
{
    const dray_hint_call_range *ranges = drayi_call_ranges(run, call);
    for (uint64_t i = 0; i < run->lowering->calls[call].range_count; i++)
        each_entry(run, &ranges[i], visit, self);
}

void drayi_judge_accepted(dray_hint_run *run, uint64_t call)
{
    each_range(run, call, entry_accepted, NULL);
}

typedef struct failure {
    dray_status status;
    int32_t code;
    const char *code_name, *origin;
} failure;

static void entry_failed(drayi_entry_track *entry, const void *self)
{
    const failure *what = self;
    entry->failed = true;
    entry->failed_at = what->origin;
    entry->result.status = what->status;
    entry->result.code = what->code;
    entry->result.code_name = what->code_name;
}

void drayi_judge_failed(dray_hint_run *run, uint64_t call, const dray_error *error)
{
    const dray_device_hints_ops *ops = run->hints->ops;
    failure what = {
        .status = error->status,
        .code = error->native_code,
        .code_name =
            ops->code_name && error->native_code ? ops->code_name(error->native_code) : NULL,
        .origin = error->origin,
    };
    each_range(run, call, entry_failed, &what);
}

// --- looking ---------------------------------------------------------------------------------------------------

static bool is_accessed_by(const dray_hint_state *state, dray_hint_location who)
{
    return who.place == DRAY_HINT_HOST ? state->accessed_by.host != 0
                                       : (state->accessed_by.devices >> who.index & 1) != 0;
}

/// Drivers name the node they chose for "the current one", and old attributes know no nodes at all.
static bool same_place(dray_hint_location wanted, dray_hint_location seen)
{
    if (wanted.place == DRAY_HINT_CURRENT_NUMA)
        return seen.place == DRAY_HINT_HOST_NUMA || seen.place == DRAY_HINT_CURRENT_NUMA ||
               seen.place == DRAY_HINT_HOST;
    if (wanted.place == DRAY_HINT_HOST_NUMA && seen.place == DRAY_HINT_HOST)
        return true;
    return drayi_hint_location_equal(wanted, seen);
}

bool drayi_state_shows(const dray_hint_call *call, const dray_hint_state *state, bool *out_known)
{
    switch (call->advice) {
    case DRAY_HINT_SET_READ_MOSTLY:
    case DRAY_HINT_UNSET_READ_MOSTLY:
        *out_known = (state->known & DRAY_HINT_KNOWS_READ_MOSTLY) != 0;
        return (state->read_mostly != 0) == (call->advice == DRAY_HINT_SET_READ_MOSTLY);
    case DRAY_HINT_SET_PREFERRED:
        *out_known = (state->known & DRAY_HINT_KNOWS_PREFERRED) != 0;
        return same_place(call->location, state->preferred);
    case DRAY_HINT_UNSET_PREFERRED:
        *out_known = (state->known & DRAY_HINT_KNOWS_PREFERRED) != 0;
        return state->preferred.place == DRAY_HINT_NOWHERE;
    case DRAY_HINT_SET_ACCESSED_BY:
    case DRAY_HINT_UNSET_ACCESSED_BY:
        *out_known = (state->known & DRAY_HINT_KNOWS_ACCESSED_BY) != 0;
        return is_accessed_by(state, call->location) == (call->advice == DRAY_HINT_SET_ACCESSED_BY);
    default:
        *out_known = false;
        return false;
    }
}

static dray_hint_answer look_at_advice(const dray_hint_call *call, const dray_hint_state *state)
{
    bool known;
    bool is_so = drayi_state_shows(call, state, &known);
    dray_hint_answer answer = {.bytes_done = DRAY_UNKNOWN};
    if (!known) {
        answer.outcome = DRAY_HINT_ACCEPTED;
        answer.note = "the driver does not tell what is set";
    } else if (is_so) {
        answer.outcome = DRAY_HINT_VERIFIED;
        answer.note = "read back";
    } else {
        answer.outcome = DRAY_HINT_NO_EFFECT;
        answer.note = "the driver said success, and it does not read back";
    }
    return answer;
}

static dray_hint_answer look_at_prefetch(const dray_hint_call_range *range,
                                         const dray_hint_state *state)
{
    dray_hint_answer answer = {.outcome = DRAY_HINT_ACCEPTED, .bytes_done = DRAY_UNKNOWN};
    answer.note = "the driver tells what was asked for, not where the bytes are";
    if (state->known & DRAY_HINT_KNOWS_LAST_PREFETCH &&
        !same_place(range->location, state->last_prefetch)) {
        answer.outcome = DRAY_HINT_NO_EFFECT;
        answer.note = "the driver said success, and does not remember the prefetch";
    }
    return answer;
}

/// The answer for one range of a call that did not answer by itself.
static dray_hint_answer look(dray_hint_run *run, const dray_hint_call *call,
                             const dray_hint_call_range *range)
{
    const dray_device_hints_ops *ops = run->hints->ops;
    dray_hint_answer answer = {.outcome = DRAY_HINT_ACCEPTED, .bytes_done = DRAY_UNKNOWN};
    dray_hint_state state;
    bool readable = is_cuda_advice(call) || is_cuda_prefetch(call);
    if (!ops->state || !readable || run->options.no_verify)
        return answer;
    if (ops->state(run->hints->self, &range->range, &state, NULL) != DRAY_OK) {
        answer.note = "reading back failed";
        return answer;
    }
    return is_cuda_advice(call) ? look_at_advice(call, &state) : look_at_prefetch(range, &state);
}

// --- the end of a call -------------------------------------------------------------------------------------------

static void entry_ended(drayi_entry_track *entry, const void *self)
{
    const dray_hint_answer *answer = self;
    entry->ended++;
    entry_worsen(entry, answer->outcome, answer->note);
    if (answer->bytes_done != DRAY_UNKNOWN)
        entry->bytes_done = drayi_min(entry->bytes_done, answer->bytes_done);
}

void drayi_judge_ended(dray_hint_run *run, uint64_t index)
{
    const dray_hint_call *call = &run->lowering->calls[index];
    const dray_hint_call_range *ranges = drayi_call_ranges(run, index);
    run->calls[index].progress = DRAYI_CALL_ENDED;
    for (uint64_t i = 0; i < call->range_count; i++) {
        dray_hint_answer answer = run->calls[index].answer;
        if (answer.outcome == DRAY_HINT_PENDING)
            answer = look(run, call, &ranges[i]);
        if (answer.outcome == DRAY_HINT_VERIFIED && run->options.no_verify)
            answer.outcome = DRAY_HINT_ACCEPTED;
        bool shared = ranges[i].entry_count > 1 || call->range_count > 1;
        if (shared) // measured for all of them together
            answer.bytes_done = DRAY_UNKNOWN;
        each_entry(run, &ranges[i], entry_ended, &answer);
    }
}
