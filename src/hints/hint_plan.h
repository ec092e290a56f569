/// A plan's inside, and where its ranges lie beside each other.
#ifndef DRAY_HINTS_HINT_PLAN_H
#define DRAY_HINTS_HINT_PLAN_H

#include "base/env.h"
#include "dray/hints.h"

struct dray_hint_plan {
    drayi_env *env;
    dray_hint_entry *entries;
    uint64_t count, capacity;
    bool has_advice; // an entry of kind ADVICE
    bool wrong;      // `mistake` says what the first wrong add was
    dray_error mistake;
};

/// Where a range begins: in memory, or in a file that is not mapped. Places of one space are in order.
typedef struct drayi_hint_spot {
    uint64_t space; // 0: addresses; otherwise a file
    uint64_t first;
} drayi_hint_spot;

drayi_hint_spot drayi_hint_spot_of(const dray_hint_range *range);

#endif
