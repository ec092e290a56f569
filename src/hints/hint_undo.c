/// The journal and undo.
///
/// Before the first call, the settings of every range that a call may change are read: whole, and where "not
/// set" may mean "not on all of it", in pieces too. Undo goes backwards through what was accepted, lowers
/// each state that was to the calls that make it so again, and reads back. Bytes that moved stay where they
/// are: no call says where they were.
#include "base/checked.h"
#include "hints/hint_run.h"
#include "hints/hint_words.h"

#include <string.h>

// --- the journal -----------------------------------------------------------------------------------------------

static dray_status record_add(dray_hint_run *run, const drayi_journal_record *record,
                              dray_error *error)
{
    if (run->journal_count == run->journal_capacity)
        DRAY_TRY(drayi_grow(run->env, (void **)&run->journal, &run->journal_capacity,
                            run->journal_count + 1, sizeof(*record), error));
    run->journal[run->journal_count++] = *record;
    return DRAY_OK;
}

static bool same_state(const dray_hint_state *left, const dray_hint_state *right)
{
    return left->read_mostly == right->read_mostly &&
           drayi_hint_location_equal(left->preferred, right->preferred) &&
           left->accessed_by.devices == right->accessed_by.devices &&
           left->accessed_by.host == right->accessed_by.host &&
           memcmp(left->own, right->own, sizeof(left->own)) == 0;
}

/// One piece after another; neighbours that read the same are one record.
static dray_status record_pieces(dray_hint_run *run, drayi_journal_record *record, uint64_t pieces,
                                 dray_error *error)
{
    const dray_hints *hints = run->hints;
    const dray_hint_range whole = record->part;
    uint64_t page = hints->abilities.page_bytes;
    uint64_t step = drayi_max(page, drayi_round_down(whole.bytes / pieces, page));
    record->part.bytes = 0;
    for (uint64_t at = 0; at < whole.bytes; at += step) {
        dray_hint_range part;
        dray_hint_state state;
        DRAY_TRY(dray_hint_range_part(&whole, at, drayi_min(step, whole.bytes - at), &part, error));
        DRAY_TRY(hints->ops->state(hints->self, &part, &state, error));
        if (record->part.bytes > 0 && same_state(&record->before, &state)) {
            record->part.bytes += part.bytes;
            continue;
        }
        if (record->part.bytes > 0)
            DRAY_TRY(record_add(run, record, error));
        record->part = part;
        record->before = state;
    }
    return record_add(run, record, error);
}

static dray_status record_range(dray_hint_run *run, uint64_t call, uint64_t index, dray_error *error)
{
    const dray_hints *hints = run->hints;
    drayi_journal_record record = {
        .call = call, .range = index, .part = drayi_call_ranges(run, call)[index].range};
    DRAY_TRY(hints->ops->state(hints->self, &record.part, &record.before, error));
    uint64_t pieces = run->options.journal_pieces_max;
    bool in_pieces =
        record.before.may_be_mixed && pieces > 1 && record.part.bytes > hints->abilities.page_bytes;
    return in_pieces ? record_pieces(run, &record, pieces, error) : record_add(run, &record, error);
}

/// Once, before the first call: what a resumed run finds is its own doing.
dray_status drayi_journal_write(dray_hint_run *run, dray_error *error)
{
    if (run->journal_written || !run->hints->ops->state)
        return DRAY_OK;
    run->journal_count = 0;
    for (uint64_t call = 0; call < run->lowering->call_count; call++) {
        if (!drayi_call_sets(&run->lowering->calls[call]))
            continue;
        for (uint64_t i = 0; i < run->lowering->calls[call].range_count; i++) {
            dray_status status = record_range(run, call, i, error);
            if (status != DRAY_OK)
                return dray_fail_within(error, status, "reading what is set, for undo");
        }
    }
    run->journal_written = true;
    return DRAY_OK;
}

// --- undo ------------------------------------------------------------------------------------------------------

/// The worst of an entry's calls, in this order.
typedef enum undone {
    UNDONE_NOTHING = 0, // it had done nothing
    UNDONE_RESTORED = 1,
    UNDONE_ACCEPTED = 2,
    UNDONE_INEXACT = 3,
    UNDONE_IMPOSSIBLE = 4,
    UNDONE_FAILED = 5
} undone;

typedef struct undoing {
    dray_hint_run *run;
    uint8_t *entries; // undone, of each entry
    dray_status status;
    dray_error *error;
} undoing;

static void note_range(undoing *undo, const dray_hint_call_range *range, undone what,
                       const char *why)
{
    for (uint64_t i = 0; i < range->entry_count; i++) {
        uint64_t entry = range->entry + i;
        if (what < undo->entries[entry])
            continue;
        if (why && (what > undo->entries[entry] || !undo->run->entries[entry].undo_note))
            undo->run->entries[entry].undo_note = why;
        undo->entries[entry] = (uint8_t)what;
    }
}

static void failed(undoing *undo, const dray_hint_call_range *range, dray_status status,
                   const dray_error *cause)
{
    note_range(undo, range, UNDONE_FAILED, "the call that should put it back failed");
    if (undo->status == DRAY_OK) {
        undo->status = status;
        if (undo->error)
            *undo->error = *cause;
        dray_fail_within(undo->error, status, "undo of hint %llu", (unsigned long long)range->entry);
    }
}

static void restore_of(const dray_hint_run *run, const drayi_journal_record *record,
                       drayi_hint_restore *out)
{
    const dray_hint_call *call = &run->lowering->calls[record->call];
    if (run->hints->device)
        drayi_restore_cuda(call, &record->before, &run->hints->abilities, out);
    else
        drayi_restore_host(call, &record->before, out);
}

/// True: every call was accepted.
static bool restore_make(undoing *undo, const drayi_journal_record *record,
                         drayi_hint_restore *restore)
{
    const dray_hints *hints = undo->run->hints;
    const dray_hint_call_range *made = &drayi_call_ranges(undo->run, record->call)[record->range];
    dray_hint_call_range range = *made;
    range.range = record->part;
    for (uint32_t i = 0; i < restore->count; i++) {
        dray_hint_call *call = &restore->calls[i];
        dray_hint_answer answer = {.bytes_done = DRAY_UNKNOWN};
        dray_error cause = {.index = DRAY_UNKNOWN};
        call->bytes = record->part.bytes;
        call->range_count = 1;
        range.location = call->location;
        dray_status status = hints->ops->call(undo->run->queue, call, &range, &answer, &cause);
        if (status != DRAY_OK) {
            failed(undo, made, status, &cause);
            return false;
        }
    }
    return true;
}

static void restore_record(undoing *undo, const drayi_journal_record *record)
{
    const dray_hint_call_range *made = &drayi_call_ranges(undo->run, record->call)[record->range];
    drayi_hint_restore restore;
    if (undo->run->calls[record->call].progress == DRAYI_CALL_WAITING)
        return;
    restore_of(undo->run, record, &restore);
    if (!restore_make(undo, record, &restore))
        return;
    note_range(undo, made, restore.inexact ? UNDONE_INEXACT : UNDONE_RESTORED, restore.inexact);
}

/// What a call changes, does it read as it did before?
static bool reads_as_before(const dray_hint_run *run, const drayi_journal_record *record,
                            const dray_hint_state *now)
{
    const dray_hint_state *before = &record->before;
    const uint64_t *had = before->own, *has = now->own;
    switch (run->lowering->calls[record->call].function) {
    case DRAY_HINT_CU_ADVISE:
    case DRAY_HINT_CU_ADVISE_V2:
        return same_state(before, now);
    case DRAY_HINT_MBIND:
        return had[DRAYI_HOST_POLICY] == has[DRAYI_HOST_POLICY] &&
               had[DRAYI_HOST_NODES] == has[DRAYI_HOST_NODES];
    default:
        return had[DRAYI_HOST_ALL] == has[DRAYI_HOST_ALL] &&
               had[DRAYI_HOST_ANY] == has[DRAYI_HOST_ANY];
    }
}

static void check_record(undoing *undo, const drayi_journal_record *record)
{
    const dray_hints *hints = undo->run->hints;
    const dray_hint_call_range *made = &drayi_call_ranges(undo->run, record->call)[record->range];
    dray_hint_state now;
    if (undo->run->calls[record->call].progress == DRAYI_CALL_WAITING)
        return;
    if (hints->ops->state(hints->self, &record->part, &now, NULL) != DRAY_OK)
        note_range(undo, made, UNDONE_ACCEPTED, "put back, but reading back failed");
    else if (!reads_as_before(undo->run, record, &now))
        note_range(undo, made, UNDONE_INEXACT, "put back, but it does not read as before");
}

/// Calls that left nothing to put back: bytes that moved, or settings that nobody can read.
static void note_moves(undoing *undo)
{
    const dray_hint_run *run = undo->run;
    for (uint64_t i = 0; i < run->lowering->call_count; i++) {
        const dray_hint_call *call = &run->lowering->calls[i];
        if (run->calls[i].progress == DRAYI_CALL_WAITING)
            continue;
        const char *why = NULL;
        if (!drayi_call_sets(call))
            why = "bytes that moved stay where they are: undo restores settings";
        else if (!run->hints->ops->state)
            why = "this backend does not tell what was set before";
        for (uint64_t k = 0; why && k < call->range_count; k++)
            note_range(undo, &drayi_call_ranges(run, i)[k], UNDONE_IMPOSSIBLE, why);
    }
}

static void report_fill(const undoing *undo, dray_hint_undo_report *out)
{
    *out = (dray_hint_undo_report){0};
    for (uint64_t i = 0; i < undo->run->entry_count; i++) {
        undone what = (undone)undo->entries[i];
        out->entries += what != UNDONE_NOTHING;
        out->restored += what == UNDONE_RESTORED;
        out->accepted += what == UNDONE_ACCEPTED;
        out->inexact += what == UNDONE_INEXACT;
        out->impossible += what == UNDONE_IMPOSSIBLE;
        out->failed += what == UNDONE_FAILED;
        if (!out->why && what >= UNDONE_INEXACT)
            out->why = undo->run->entries[i].undo_note;
    }
}

dray_status dray_hint_run_undo(dray_hint_run *run, dray_hint_undo_report *out_report,
                               dray_error *error)
{
    if (run->options.no_journal)
        return dray_fail(error, DRAY_E_INVALID,
                         "undo: this run kept no journal (no_journal in its options)");
    dray_hint_run_wait(run, NULL); // a failed end is in the results
    undoing undo = {.run = run, .error = error};
    undo.entries = drayi_alloc_array(run->env, run->entry_count, 1, error);
    if (!undo.entries)
        return DRAY_E_NOMEM;
    note_moves(&undo);
    for (uint64_t i = run->journal_count; i-- > 0;)
        restore_record(&undo, &run->journal[i]);
    for (uint64_t i = 0; i < run->journal_count; i++)
        check_record(&undo, &run->journal[i]);
    if (out_report)
        report_fill(&undo, out_report);
    drayi_free(run->env, undo.entries, (size_t)run->entry_count);
    return undo.status;
}
