/// Which layer a tensor belongs to, told from its name alone.
#ifndef DRAY_WEIGHTS_LAYERS_H
#define DRAY_WEIGHTS_LAYERS_H

#include "dray/base.h"

/// The number behind the first component called blk, block(s), layer(s) or h ("blk.3.attn_q.weight",
/// "model.layers.12.mlp", "transformer.h.0.ln_1"); -1: none, or a number that does not fit.
int64_t drayi_layer_of(dray_text name);

#endif
