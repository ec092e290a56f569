/// A run: looking at the memory, lowering, making the calls in their order, and waiting for their end.
#include "hints/hint_run.h"

#include "base/checked.h"
#include "hints/hint_plan.h"

#include <inttypes.h>
#include <string.h>

// --- looking first ---------------------------------------------------------------------------------------------

/// What was looked up before lowering.
typedef struct survey {
    dray_hint_memory *memories;
    dray_hint_state *states; // of entries that reset
    const dray_hint_state **set_now;
    uint64_t count, state_count;
} survey;

static bool says_nothing(const dray_hint_entry *entry)
{
    return entry->kind == DRAY_HINT_POLICY && dray_hint_policy_is_default(&entry->policy);
}

static bool resets(const dray_hint_entry *entry)
{
    return entry->kind == DRAY_HINT_POLICY && entry->policy.reset;
}

static void survey_free(drayi_env *env, survey *seen)
{
    drayi_free(env, seen->memories, (size_t)seen->count * sizeof(seen->memories[0]));
    drayi_free(env, seen->states, (size_t)seen->state_count * sizeof(seen->states[0]));
    drayi_free(env, seen->set_now, (size_t)seen->count * sizeof(void *));
}

/// Memory of one region is of one kind: it is looked at once for entries in a row.
static dray_status look_at_all(dray_hint_run *run, const dray_hint_plan *plan, survey *seen,
                               dray_error *error)
{
    const dray_hints *hints = run->hints;
    for (uint64_t i = 0; i < plan->count; i++) {
        const dray_hint_entry *entry = drayi_hint_entry(plan, i);
        const dray_hint_entry *last = i > 0 ? drayi_hint_entry(plan, i - 1) : NULL;
        if (says_nothing(entry))
            continue;
        if (last && !says_nothing(last) && last->range.region &&
            last->range.region == entry->range.region) {
            seen->memories[i] = seen->memories[i - 1];
            continue;
        }
        dray_status status = hints->ops->look(hints->self, &entry->range, &seen->memories[i], error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "hint %" PRIu64, i);
    }
    return DRAY_OK;
}

static void state_merge(dray_hint_state *all, const dray_hint_state *part)
{
    all->read_mostly |= part->read_mostly;
    if (all->preferred.place == DRAY_HINT_NOWHERE)
        all->preferred = part->preferred;
    all->accessed_by.devices |= part->accessed_by.devices;
    all->accessed_by.host |= part->accessed_by.host;
}

/// "Not set" may mean "not on all of it": then its parts are asked, too.
static dray_status state_of_parts(dray_hint_run *run, const dray_hint_range *range,
                                  dray_hint_state *out, dray_error *error)
{
    const dray_hints *hints = run->hints;
    uint64_t pieces = run->options.journal_pieces_max, page = hints->abilities.page_bytes;
    uint64_t step = drayi_max(page, drayi_round_down(range->bytes / pieces, page));
    DRAY_TRY(hints->ops->state(hints->self, range, out, error));
    for (uint64_t at = 0; out->may_be_mixed && pieces > 1 && at < range->bytes; at += step) {
        dray_hint_range part;
        dray_hint_state state;
        DRAY_TRY(dray_hint_range_part(range, at, drayi_min(step, range->bytes - at), &part, error));
        DRAY_TRY(hints->ops->state(hints->self, &part, &state, error));
        state_merge(out, &state);
    }
    return DRAY_OK;
}

static dray_status read_states(dray_hint_run *run, const dray_hint_plan *plan, survey *seen,
                               dray_error *error)
{
    uint64_t next = 0;
    for (uint64_t i = 0; i < plan->count; i++) {
        if (!resets(drayi_hint_entry(plan, i)))
            continue;
        dray_status status =
            state_of_parts(run, &drayi_hint_entry(plan, i)->range, &seen->states[next], error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "hint %" PRIu64 ": what reset has to unset", i);
        seen->set_now[i] = &seen->states[next++];
    }
    return DRAY_OK;
}

static dray_status survey_make(dray_hint_run *run, const dray_hint_plan *plan, survey *seen,
                               dray_error *error)
{
    drayi_env *env = run->env;
    seen->count = plan->count;
    for (uint64_t i = 0; run->hints->ops->state && i < plan->count; i++)
        seen->state_count += resets(drayi_hint_entry(plan, i));
    seen->memories = drayi_alloc_array(env, seen->count, sizeof(seen->memories[0]), error);
    seen->set_now = drayi_alloc_array(env, seen->count, sizeof(void *), error);
    seen->states = drayi_alloc_array(env, seen->state_count, sizeof(seen->states[0]), error);
    if (!seen->memories || !seen->set_now || !seen->states)
        return DRAY_E_NOMEM;
    DRAY_TRY(look_at_all(run, plan, seen, error));
    return seen->state_count ? read_states(run, plan, seen, error) : DRAY_OK;
}

// --- made ------------------------------------------------------------------------------------------------------

static dray_status options_take(dray_hint_run *run, const dray_hint_run_options *given,
                                uint64_t entry_count, dray_error *error)
{
    if (given)
        DRAY_TRY(drayi_options(&run->options, sizeof(run->options), given, "dray_hint_run_options",
                               error));
    if (run->options.journal_pieces_max == 0)
        run->options.journal_pieces_max = entry_count > 256 ? 1 : 16;
    run->options.lower.struct_bytes = sizeof(run->options.lower);
    return DRAY_OK;
}

static dray_status lower_seen(dray_hint_run *run, const dray_hint_plan *plan, dray_error *error)
{
    survey seen = {0};
    dray_status status = survey_make(run, plan, &seen, error);
    if (status == DRAY_OK) {
        drayi_hint_facts facts = {.memories = seen.memories, .states = seen.set_now};
        status = drayi_hint_lower(plan, &run->hints->abilities, &run->options.lower, &facts,
                                  &run->lowering, error);
    }
    survey_free(run->env, &seen);
    return status;
}

static uint64_t covered_bytes(const dray_hint_range *range, uint64_t page_bytes)
{
    uint64_t first = drayi_hint_spot_of(range).first;
    uint64_t head = first & (page_bytes - 1), sum;
    return drayi_round_up(range->bytes + head, page_bytes, &sum) ? sum : range->bytes;
}

static dray_status run_build(dray_hint_run *run, const dray_hint_plan *plan,
                             const dray_hint_run_options *options, dray_error *error)
{
    drayi_env *env = run->env;
    DRAY_TRY(options_take(run, options, plan->count, error));
    DRAY_TRY(dray_hint_plan_check(plan, error));
    DRAY_TRY(run->hints->ops->queue_open(run->hints->self, &run->queue, error));
    DRAY_TRY(lower_seen(run, plan, error));
    run->entry_count = plan->count;
    run->entries = drayi_alloc_array(env, plan->count, sizeof(run->entries[0]), error);
    run->calls = drayi_alloc_array(env, run->lowering->call_count, sizeof(run->calls[0]), error);
    if (!run->entries || !run->calls)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < plan->count; i++)
        run->entries[i].result.bytes_covered =
            covered_bytes(&drayi_hint_entry(plan, i)->range, run->hints->abilities.page_bytes);
    drayi_judge_begin(run);
    return DRAY_OK;
}

dray_status dray_hint_run_create(dray_hints *hints, const dray_hint_plan *plan,
                                 const dray_hint_run_options *options, dray_hint_run **out_run,
                                 dray_error *error)
{
    dray_hint_run *run = drayi_new(hints->env, dray_hint_run, error);
    if (!run)
        return DRAY_E_NOMEM;
    run->env = hints->env;
    run->hints = hints;
    dray_status status = run_build(run, plan, options, error);
    if (status != DRAY_OK)
        dray_hint_run_destroy(run);
    else
        *out_run = run;
    return status;
}

void dray_hint_run_destroy(dray_hint_run *run)
{
    if (!run)
        return;
    drayi_env *env = run->env;
    uint64_t call_count = run->lowering ? run->lowering->call_count : 0;
    if (run->queue)
        run->hints->ops->queue_close(run->queue); // waits
    drayi_free(env, run->journal, (size_t)run->journal_capacity * sizeof(run->journal[0]));
    drayi_free(env, run->entries, (size_t)run->entry_count * sizeof(run->entries[0]));
    drayi_free(env, run->calls, (size_t)call_count * sizeof(run->calls[0]));
    dray_hint_lowering_destroy(run->lowering);
    drayi_free(env, run, sizeof(*run));
}

const dray_hint_lowering *dray_hint_run_lowering(const dray_hint_run *run)
{
    return run->lowering;
}

// --- started ---------------------------------------------------------------------------------------------------

static uint64_t first_entry(const dray_hint_run *run, uint64_t call)
{
    return drayi_call_ranges(run, call)->entry;
}

static dray_status make_call(dray_hint_run *run, uint64_t index, dray_error *error)
{
    const dray_hint_call *call = &run->lowering->calls[index];
    drayi_call_track *track = &run->calls[index];
    track->answer = (dray_hint_answer){.bytes_done = DRAY_UNKNOWN};
    dray_error cause = {.index = DRAY_UNKNOWN};
    dray_status status = run->hints->ops->call(run->queue, call, drayi_call_ranges(run, index),
                                               &track->answer, &cause);
    if (status != DRAY_OK) {
        dray_fail_within(&cause, status, "hint %" PRIu64, first_entry(run, index));
        cause.index = first_entry(run, index);
        drayi_judge_failed(run, index, &cause);
        if (error)
            *error = cause;
        return status;
    }
    track->progress = DRAYI_CALL_UNDER_WAY;
    drayi_judge_accepted(run, index);
    if (drayi_call_moves(call) && run->hints->ops->wait) {
        run->under_way = true;
        run->marked = false;
    } else {
        drayi_judge_ended(run, index);
    }
    return DRAY_OK;
}

/// Has an entry of this call failed in this pass? Then the rest of it would be half a hint.
static bool is_pointless(const dray_hint_run *run, uint64_t call)
{
    const dray_hint_call_range *ranges = drayi_call_ranges(run, call);
    for (uint64_t i = 0; i < run->lowering->calls[call].range_count; i++) {
        for (uint64_t k = 0; k < ranges[i].entry_count; k++) {
            if (run->entries[ranges[i].entry + k].failed)
                return true;
        }
    }
    return false;
}

static dray_status make_calls(dray_hint_run *run, dray_error *error)
{
    dray_status first = DRAY_OK;
    for (uint64_t i = 0; i < run->lowering->call_count; i++) {
        if (run->calls[i].progress != DRAYI_CALL_WAITING || is_pointless(run, i))
            continue;
        dray_status status = make_call(run, i, first == DRAY_OK ? error : NULL);
        if (status != DRAY_OK && first == DRAY_OK)
            first = status;
        if (status != DRAY_OK && !run->options.go_on)
            break;
    }
    return first;
}

/// What has been accepted gets a mark behind it, also when something failed.
static dray_status mark(dray_hint_run *run, dray_error *error)
{
    if (!run->under_way || run->marked || !run->hints->ops->mark)
        return DRAY_OK;
    DRAY_TRY(run->hints->ops->mark(run->queue, error));
    run->marked = true;
    return DRAY_OK;
}

dray_status dray_hint_run_start(dray_hint_run *run, dray_error *error)
{
    drayi_judge_again(run);
    if (!run->options.no_journal)
        DRAY_TRY(drayi_journal_write(run, error));
    dray_status status = make_calls(run, error);
    dray_status marked = mark(run, status == DRAY_OK ? error : NULL);
    return status == DRAY_OK ? marked : status;
}

// --- awaited ---------------------------------------------------------------------------------------------------

/// The end of everything that was under way: well, or with one error for all of it.
static void settle(dray_hint_run *run, dray_status status, const dray_error *cause)
{
    for (uint64_t i = 0; i < run->lowering->call_count; i++) {
        if (run->calls[i].progress != DRAYI_CALL_UNDER_WAY)
            continue;
        if (status == DRAY_OK) {
            drayi_judge_ended(run, i);
        } else {
            run->calls[i].progress = DRAYI_CALL_ENDED;
            drayi_judge_failed(run, i, cause);
        }
    }
    run->under_way = run->marked = false;
}

static dray_status ended(dray_hint_run *run, dray_status status, dray_error *cause,
                         dray_error *error)
{
    settle(run, status, cause);
    if (status != DRAY_OK && error)
        *error = *cause;
    return status;
}

dray_status dray_hint_run_query(dray_hint_run *run, bool *out_done, dray_error *error)
{
    dray_error cause = {.index = DRAY_UNKNOWN};
    *out_done = !run->under_way;
    if (!run->under_way)
        return DRAY_OK;
    DRAY_TRY(mark(run, error));
    dray_status status = run->hints->ops->query(run->queue, out_done, &cause);
    if (status == DRAY_OK && !*out_done)
        return DRAY_OK;
    *out_done = true;
    return ended(run, status, &cause, error);
}

dray_status dray_hint_run_wait(dray_hint_run *run, dray_error *error)
{
    dray_error cause = {.index = DRAY_UNKNOWN};
    if (!run->under_way)
        return DRAY_OK;
    DRAY_TRY(mark(run, error));
    dray_status status = run->hints->ops->wait(run->queue, &cause);
    return ended(run, status, &cause, error);
}

// --- results ---------------------------------------------------------------------------------------------------

uint64_t dray_hint_run_length(const dray_hint_run *run)
{
    return run->entry_count;
}

const dray_hint_result *dray_hint_run_result(const dray_hint_run *run, uint64_t index)
{
    return index < run->entry_count ? &run->entries[index].result : NULL;
}

dray_hint_outcome dray_hint_run_worst(const dray_hint_run *run)
{
    dray_hint_outcome worst = DRAY_HINT_VERIFIED;
    bool pending = false;
    for (uint64_t i = 0; i < run->entry_count; i++) {
        dray_hint_outcome outcome = run->entries[i].result.outcome;
        pending |= outcome == DRAY_HINT_PENDING;
        worst = outcome > worst ? outcome : worst;
    }
    return pending && worst != DRAY_HINT_FAILED ? DRAY_HINT_PENDING : worst;
}

const char *dray_hint_run_undo_note(const dray_hint_run *run, uint64_t index)
{
    return index < run->entry_count ? run->entries[index].undo_note : NULL;
}
