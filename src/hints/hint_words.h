/// What the files of src/hints share about policies, locations and their words.
#ifndef DRAY_HINTS_HINT_WORDS_H
#define DRAY_HINTS_HINT_WORDS_H

#include "base/env.h"
#include "dray/hints.h"

bool drayi_hint_location_equal(dray_hint_location left, dray_hint_location right);
bool drayi_hint_nobody(dray_hint_processors processors);

/// DRAY_E_INVALID: no place, or a number that the place does not take.
dray_status drayi_hint_location_check(dray_hint_location location, dray_error *error);
dray_status drayi_hint_advice_check(const dray_hint_advice *advice, dray_error *error);
/// No bytes, overflow, NULL without a region.
dray_status drayi_hint_range_check(const dray_hint_range *range, dray_error *error);

#endif
