/// What ggml calls its tensor types: ids of today, ids that were removed, ids of forks.
#ifndef DRAY_FORMAT_GGUF_TYPES_H
#define DRAY_FORMAT_GGUF_TYPES_H

#include "dray/dtype.h"

/// DRAY_DTYPE_UNKNOWN: no live type has this id.
dray_dtype drayi_gguf_dtype(uint32_t id);
/// Writes why an id without a live type is refused ("type 4 (Q4_2) was removed from ggml") and returns
/// DRAY_E_FORMAT.
dray_status drayi_gguf_refuse_type(uint32_t id, uint64_t offset, dray_error *error);

#endif
