/// Lowering: what the files lower_<family>.c share. They are pure: from an entry, the abilities of the
/// backend, and what is known of the memory, to calls and remarks.
#ifndef DRAY_HINTS_LOWER_H
#define DRAY_HINTS_LOWER_H

#include "base/env.h"
#include "dray/spi/hints.h"
#include "hints/host_settings.h"

struct dray_hint_lowering {
    drayi_env *env;
    const dray_hint_abilities *abilities; // borrowed
    dray_hint_call *calls;
    dray_hint_call_range *ranges;
    dray_hint_remark *remarks;
    uint64_t call_count, call_capacity;
    uint64_t range_count, range_capacity;
    uint64_t remark_count, remark_capacity;
};

/// What a run has looked up before; NULL where nothing is known.
typedef struct drayi_hint_facts {
    const dray_hint_memory *memories;     // of each entry
    const dray_hint_state *const *states; // of each entry: what is set now; NULL members: not read
} drayi_hint_facts;

/// Entries that lie side by side, as one.
typedef struct drayi_hint_piece {
    const dray_hint_entry *entry; // the first of them; all want the same
    uint64_t index, count;
    dray_hint_range range;
    const dray_hint_memory *memory;
    const dray_hint_state *state; // NULL: not read
} drayi_hint_piece;

typedef struct drayi_hint_lowerer {
    dray_hint_lowering *out;
    const dray_hint_plan *plan;
    const dray_hint_abilities *abilities;
    drayi_hint_facts facts;
    dray_hint_memory guess;  // of the piece, where nobody has looked
    bool on_host;            // the family
    bool admitted;           // everything fits: order does not matter, batches may be used
    uint64_t lockable_bytes; // left
    bool plan_many;          // more than one prefetch: worth a batch
    uint64_t batch_entry;    // an entry with this index may join the last call; UINT64_MAX: none
} drayi_hint_lowerer;

/// The first of the two public steps with facts: dray_hint_plan_lower() passes none.
dray_status drayi_hint_lower(const dray_hint_plan *plan, const dray_hint_abilities *abilities,
                             const dray_hint_lower_options *options, const drayi_hint_facts *facts,
                             dray_hint_lowering **out_lowering, dray_error *error);

// lower_admit.c: DRAY_E_INVALID: an unknown device or node.
dray_status drayi_lower_locations_exist(const drayi_hint_lowerer *lower,
                                        const drayi_hint_piece *piece, dray_error *error);
/// DRAY_E_NOSPACE: more is wanted in a place than it has free, less the headroom.
dray_status drayi_lower_admit(const dray_hint_plan *plan, const dray_hint_abilities *abilities,
                              const dray_hint_lower_options *options, dray_error *error);

// For lower_<family>.c:

/// Adds a call for the whole piece; *out_call (may be NULL) until the next one.
dray_status drayi_lower_call(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                             dray_hint_function function, uint32_t advice,
                             dray_hint_location location, dray_hint_call **out_call,
                             dray_error *error);
/// The same, joining the call before where that is of the same function and advice, and nothing stands between.
/// `one_location`: only when it has the same location, too.
dray_status drayi_lower_batch(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                              dray_hint_function function, uint32_t advice,
                              dray_hint_location location, bool one_location, dray_error *error);
enum { DRAYI_REMARK_DEGRADED = 0, DRAYI_REMARK_SKIP = 1, DRAYI_REMARK_NO_EFFECT = 2 };
dray_status drayi_lower_remark(drayi_hint_lowerer *lower, const drayi_hint_piece *piece, int kind,
                               const char *text, dray_error *error);
/// "hint 3: ..." before a message.
dray_status drayi_lower_fail(const drayi_hint_piece *piece, dray_error *error, const char *format,
                             ...) DRAY_PRINTF(3, 4);

dray_status drayi_lower_cuda(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                             dray_error *error);
dray_status drayi_lower_opencl(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                               dray_error *error);
dray_status drayi_lower_host(drayi_hint_lowerer *lower, const drayi_hint_piece *piece,
                             dray_error *error);

/// The whole pages inside a range; false: there is none.
bool drayi_lower_inwards(const dray_hint_range *range, uint64_t page_bytes, dray_hint_range *out);

// lower_host.c and lower_cuda.c: the calls that put `before` back, after `call` was made.
typedef struct drayi_hint_restore {
    dray_hint_call calls[2 + DRAY_HINT_DEVICES_MAX];
    uint32_t count;
    const char *inexact; // why it is not quite as before; NULL: it is
} drayi_hint_restore;
void drayi_restore_cuda(const dray_hint_call *call, const dray_hint_state *before,
                        const dray_hint_abilities *abilities, drayi_hint_restore *out);
void drayi_restore_host(const dray_hint_call *call, const dray_hint_state *before,
                        drayi_hint_restore *out);

#endif
