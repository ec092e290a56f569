/// A copy with loops, simplified and cut anywhere: the bytes of a segment are numbered in copying order,
/// and any range of these numbers can be carried out on its own, by any thread.
#ifndef DRAY_BACKEND_COPY_SHAPE_H
#define DRAY_BACKEND_COPY_SHAPE_H

#include "backend/copy_stream.h"
#include "dray/spi/backend.h"

/// What the innermost loop is carried out with; chosen once for a shape, so that all ranges agree.
typedef enum drayi_copy_way {
    DRAYI_COPY_STORES,  // ordinary stores
    DRAYI_COPY_STREAM,  // long runs past the caches
    DRAYI_COPY_SCATTER, // short runs of whole lines past the caches
    DRAYI_COPY_PLANE    // the two innermost loops are a transpose of small elements
} drayi_copy_way;

typedef struct drayi_copy_shape {
    const uint8_t *source;
    uint8_t *target;
    uint64_t run_bytes;
    uint64_t bytes; // of all runs together
    drayi_copy_way way;
    const drayi_stream *stream;
    uint32_t loop_count;
    dray_loop loops[DRAY_LOOPS_MAX]; // outermost first; each count is at least 2
} drayi_copy_shape;

/// Bytes that a segment moves. The planner has checked that the product does not overflow.
uint64_t drayi_segment_bytes(const dray_segment *segment);

/// The same copy with as few loops and as long runs as possible, in the order that memory likes best.
/// `source` and `target` are the addresses of the first bytes. `stream`: copies past the caches are
/// wanted; NULL: they are not.
drayi_copy_shape drayi_copy_shape_of(const dray_segment *segment, const uint8_t *source,
                                     uint8_t *target, const drayi_stream *stream);

/// Copies bytes [first, first + bytes), which lie inside the shape.
void drayi_copy_shape_range(const drayi_copy_shape *shape, uint64_t first, uint64_t bytes);

#endif
