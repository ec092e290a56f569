/// The release ladder over an extent of a mapped file: drop mappings, mark cold, really free.
#ifndef DRAY_MEMORY_RELEASE_H
#define DRAY_MEMORY_RELEASE_H

#include "base/env.h"
#include "dray/model_data.h"
#include "memory/extent.h"

/// Rounds inwards and reports what was measured before and after. Also for locked pages: they are
/// unlocked. Bytes read again afterwards are the file's bytes. DRAY_E_INVALID: unknown level.
dray_status drayi_release(drayi_env *env, const drayi_extent *extent, dray_release level,
                          dray_release_report *out_report, dray_error *error);

#endif
