/// From two lists of blocks to copies with loops: pure arithmetic, no byte is touched.
///
/// (block, layer, outer, token, head) has a stride for every dimension on either side, so a block is one run
/// with at most four loops around it, whatever the formats are; loops that only continue another one or
/// the run disappear. Blocks at equal distances become one more loop, and where no loop is left, a copy each.
#ifndef DRAY_LAYOUT_REMAP_H
#define DRAY_LAYOUT_REMAP_H

#include "base/env.h"
#include "dray/layout.h"

/// A move whose every rule was checked (remap_check.c).
typedef struct drayi_remap {
    drayi_env *env;
    const dray_layout_move *move;
    uint64_t head_dim; // elements of what counts as a head here; 1 where no layout knows its heads
    uint64_t head_bytes;   // of one token
    uint64_t chunk_tokens; // the smaller page of both sides
    uint32_t layer_count, outer_dim;
    uint64_t *target_order; // positions in target_blocks by rising block; target_block_count of them
    bool one_layout; // source and target are one and the same, and share no bytes in this move
} drayi_remap;

/// Heads of a layout, counted in heads of the move.
uint64_t drayi_remap_heads(const drayi_remap *remap, const dray_layout *layout);

/// Fills all of `out`. DRAY_E_INVALID as dray_layout_move_copies() says. Free with drayi_remap_free(), also
/// after a failure.
dray_status drayi_remap_check(drayi_env *env, const dray_layout_move *move, drayi_remap *out,
                              dray_error *error);
void drayi_remap_free(drayi_remap *remap);

/// Grows by drayi_grow().
typedef struct drayi_copy_list {
    dray_copy *copies;
    uint64_t count, capacity;
} drayi_copy_list;

/// Cannot find anything wrong but a lack of memory; then there is nothing to free.
dray_status drayi_remap_copies(const drayi_remap *remap, drayi_copy_list *out, dray_error *error);
void drayi_copy_list_free(drayi_env *env, drayi_copy_list *list);

#endif
