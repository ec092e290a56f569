/// A run's inside: the entries' results, the calls' states, and the journal for undo.
///
///     hint_run.c     made, started, awaited
///     hint_judge.c   what became of a call, and of the entries it was made for
///     hint_undo.c    what was set before, and putting it back
#ifndef DRAY_HINTS_HINT_RUN_H
#define DRAY_HINTS_HINT_RUN_H

#include "base/env.h"
#include "dray/spi/hints.h"
#include "hints/lower.h"

struct dray_hints {
    drayi_env *env;
    dray_device *device; // NULL: the host
    const dray_device_hints_ops *ops;
    dray_device_self *self;
    dray_hint_abilities abilities;
};

typedef enum drayi_call_progress {
    DRAYI_CALL_WAITING = 0,   // not made, or refused
    DRAYI_CALL_UNDER_WAY = 1, // accepted, its end not seen
    DRAYI_CALL_ENDED = 2
} drayi_call_progress;

typedef struct drayi_call_track {
    drayi_call_progress progress;
    dray_hint_answer answer;
} drayi_call_track;

typedef struct drayi_entry_track {
    dray_hint_result result;
    dray_hint_outcome worst; // of what is known so far
    const char *note;        // of that
    uint64_t bytes_done;     // the least of its calls'
    uint32_t calls, accepted, ended;
    bool failed;           // the last time it was tried
    const char *failed_at; // name of the call
    const char *undo_note; // NULL: as it was before, or not undone
} drayi_entry_track;

/// What one part of one range of a call had before.
typedef struct drayi_journal_record {
    uint64_t call, range;
    dray_hint_range part;
    dray_hint_state before;
} drayi_journal_record;

struct dray_hint_run {
    drayi_env *env;
    dray_hints *hints;
    dray_hint_run_options options;
    dray_hint_lowering *lowering;
    dray_hint_queue *queue;
    drayi_call_track *calls; // as many as the lowering has
    drayi_entry_track *entries;
    uint64_t entry_count;
    bool under_way; // calls have been accepted whose end was not seen
    bool marked;    // the queue's end was marked behind them
    drayi_journal_record *journal;
    uint64_t journal_count, journal_capacity;
    bool journal_written;
};

/// One entry after another of those that a call was made for.
static inline const dray_hint_call_range *drayi_call_ranges(const dray_hint_run *run, uint64_t call)
{
    return &run->lowering->ranges[run->lowering->calls[call].first_range];
}

// hint_judge.c
bool drayi_call_sets(const dray_hint_call *call); ///< changes a setting that can be read and put back
bool drayi_call_moves(const dray_hint_call *call); ///< goes on after the call has returned
void drayi_judge_begin(dray_hint_run *run);        ///< results of what gets no call
void drayi_judge_again(dray_hint_run *run);        ///< failed entries may be tried again
void drayi_judge_accepted(dray_hint_run *run, uint64_t call);
void drayi_judge_failed(dray_hint_run *run, uint64_t call, const dray_error *error);
void drayi_judge_ended(dray_hint_run *run, uint64_t call);
/// Does `state` show what `call` asked for? *out_known false: it does not tell.
bool drayi_state_shows(const dray_hint_call *call, const dray_hint_state *state, bool *out_known);

// hint_undo.c
dray_status drayi_journal_write(dray_hint_run *run, dray_error *error);

#endif
