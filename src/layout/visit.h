/// Blocks of any layout in host memory, one at a time: where their bytes are looked at or made.
///
/// Bytes that the host can reach are visited where they are; all others come and go through the agent, several
/// blocks at a time. Strides of tokens and heads are those of the layout's geometry in both cases.
#ifndef DRAY_LAYOUT_VISIT_H
#define DRAY_LAYOUT_VISIT_H

#include "layout/physical.h"

/// A block, in place or as an image of it.
typedef struct drayi_block_view {
    const dray_layout *layout;
    uint64_t block;
    uint8_t *image;        // NULL: the block is in place
    uint64_t layer_stride; // of the image
    uint64_t outer_stride;
} drayi_block_view;

/// Where token 0, head 0 of (layer, outer) stands.
uint8_t *drayi_block_at(const drayi_block_view *view, uint64_t layer, uint64_t outer);

typedef enum drayi_visit_kind { DRAYI_VISIT_READ = 0, DRAYI_VISIT_WRITE = 1 } drayi_visit_kind;

/// Calls `visit` for every block of the list in its order (blocks NULL: 0 to count - 1). READ: its bytes are
/// there. WRITE: `visit` writes every byte of its contents, which then go to the layout.
dray_status drayi_blocks_visit(dray_agent *agent, dray_layout *layout, const uint64_t *blocks,
                               uint64_t count, drayi_visit_kind kind,
                               dray_status (*visit)(void *self, const drayi_block_view *view,
                                                    dray_error *error),
                               void *self, dray_error *error);

#endif
