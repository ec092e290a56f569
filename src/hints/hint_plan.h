/// A plan's inside, and where its ranges lie beside each other.
#ifndef DRAY_HINTS_HINT_PLAN_H
#define DRAY_HINTS_HINT_PLAN_H

#include "base/env.h"
#include "dray/hints.h"

/// Where a range begins: in memory, or in a file that is not mapped. Places of one space are in order.
typedef struct drayi_hint_spot {
    uint64_t space; // 0: addresses; otherwise a file
    uint64_t first;
} drayi_hint_spot;

enum { DRAYI_HINT_BLOCK = 1024 }; // entries

/// Entries stand in blocks: adding one never moves the others.
struct dray_hint_plan {
    drayi_env *env;
    dray_hint_entry **blocks;
    uint64_t count, block_count, block_capacity;
    drayi_hint_spot last; // of the entry added last
    bool is_sorted;       // each lies behind the one before it
    bool has_advice;      // an entry of kind ADVICE
    uint64_t prefetches;  // entries of that kind
    bool wrong;           // `mistake` says what the first wrong add was
    dray_error mistake;
};

static inline const dray_hint_entry *drayi_hint_entry(const dray_hint_plan *plan, uint64_t index)
{
    return &plan->blocks[index / DRAYI_HINT_BLOCK][index % DRAYI_HINT_BLOCK];
}

drayi_hint_spot drayi_hint_spot_of(const dray_hint_range *range);

#endif
