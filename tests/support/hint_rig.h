/// A made-up driver of hints, in place of CUDA: three settings per page, calls that fail or lie when the
/// script says so, prefetches that end when they are waited for. It keeps a log of what it was handed.
///
/// It stands behind the table of dray/spi/hints.h, so it tests runs, outcomes, resuming and undo; what a
/// real driver is handed is the business of the stand-in library and its tests.
#ifndef DRAY_TESTS_HINT_RIG_H
#define DRAY_TESTS_HINT_RIG_H

#include "core/context.h"
#include "dray/device.h"
#include "dray/spi/hints.h"

enum { HINT_RIG_PAGES = 64, HINT_RIG_LOG = 256, HINT_RIG_NEVER = -1 };

typedef struct hint_rig_page {
    bool read_mostly, read_mostly_forbidden;
    dray_hint_location preferred, last_prefetch;
    dray_hint_processors accessed_by;
} hint_rig_page;

typedef struct hint_rig {
    // the script
    uint32_t features, device_count;
    bool concurrent[4], pageable[4];
    uint64_t free_bytes[4];
    int fail_at, fail_count; // calls fail_at, ... (from 0, those of undo included) are refused
    int32_t fail_code;
    int lie_at;        // this call says success and does nothing; HINT_RIG_NEVER
    int32_t wait_code; // of the end of what is under way; 0: well
    bool no_state;     // nothing can be read back
    bool slow;         // query says "not yet" once
    const char *no_effect;
    // what there is
    dray_context *context;
    dray_hints *hints;
    uint8_t *memory; // HINT_RIG_PAGES pages
    uint64_t page_bytes;
    hint_rig_page pages[HINT_RIG_PAGES];
    // the log
    dray_hint_call log[HINT_RIG_LOG];
    dray_hint_call_range first_ranges[HINT_RIG_LOG]; // of each call
    int calls, marks, waits, queues;
} hint_rig;

/// All features, two full devices, no faults. Then change the script, then open.
void hint_rig_reset(hint_rig *rig);
/// allocator may be NULL. False: no memory for it (of that allocator).
bool hint_rig_open(hint_rig *rig, const dray_allocator *allocator, dray_error *error);
void hint_rig_close(hint_rig *rig);
/// [first, first + count) of the rig's pages.
dray_hint_range hint_rig_range(hint_rig *rig, unsigned first, unsigned count);
dray_hint_plan *hint_rig_plan(hint_rig *rig);
dray_hint_run *hint_rig_run(hint_rig *rig, dray_hint_plan *plan,
                            const dray_hint_run_options *options);
/// Fails unless the calls since open are these, one name and advice a line (see dray_hint_lowering_print).
void hint_rig_logged(const hint_rig *rig, int count, ...);

#endif
