/// Tensors at their destination, and who keeps it alive.
#ifndef DRAY_WEIGHTS_LOADED_H
#define DRAY_WEIGHTS_LOADED_H

#include "weights/opened.h"
#include "weights/span_read.h"

typedef struct drayi_loaded_tensor {
    uint64_t index;       // in the weights
    drayi_keeper *keeper; // borrowed from loaded.keepers
    uint64_t offset;      // in the keeper's region
} drayi_loaded_tensor;

struct dray_loaded {
    drayi_env *env;
    dray_context *context;
    const dray_weights *weights;
    drayi_loaded_tensor *tensors; // ascending by index
    uint64_t count;
    drayi_keeper **keepers; // one for a copy, one per file for views; entries may be NULL
    uint64_t keeper_count;
    dray_load_report report;
    char method[32];
    char backend[96];
};

/// Room for so many tensors and keepers. Freed with dray_loaded_free, also half-filled.
dray_status drayi_loaded_create(const dray_weights *weights, uint64_t tensor_count,
                                uint64_t keeper_count, dray_loaded **out, dray_error *error);

/// Reads [offset, offset + bytes) of a tensor as it is at its destination, in pieces that are given to
/// `take`: see drayi_span_read(). A mapping is read through a buffer, so that a file cut short is an
/// error and no signal.
dray_status drayi_loaded_read(const dray_loaded *loaded, const drayi_loaded_tensor *tensor,
                              uint64_t offset, uint64_t bytes, drayi_take take, void *self,
                              dray_error *error);

#endif
