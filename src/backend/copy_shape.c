/// The outer loops are an odometer, the innermost one is a tight loop made for its run length.
#include "backend/copy_shape.h"

#include "base/checked.h"

#include <assert.h>
#include <string.h>

#define STREAM_RUN_BYTES 2048 // shorter runs lose by it: docs/design/backends.md

uint64_t drayi_segment_bytes(const dray_segment *segment)
{
    uint64_t bytes = segment->run_bytes;
    for (uint32_t i = 0; i < segment->loop_count; i++)
        bytes *= segment->loops[i].count;
    return bytes;
}

// --- simplifying ---------------------------------------------------------------------------------

/// Can the outer loop continue where the inner one ends?
static bool continues(const dray_loop *outer, const dray_loop *inner)
{
    return outer->source_stride == inner->count * inner->source_stride &&
           outer->target_stride == inner->count * inner->target_stride;
}

static void loop_add(drayi_copy_shape *shape, const dray_loop *loop)
{
    dray_loop *outer = shape->loop_count ? &shape->loops[shape->loop_count - 1] : NULL;
    if (loop->count == 1)
        return;
    if (outer && continues(outer, loop))
        *outer = (dray_loop){.count = outer->count * loop->count,
                             .source_stride = loop->source_stride,
                             .target_stride = loop->target_stride};
    else
        shape->loops[shape->loop_count++] = *loop;
}

drayi_copy_shape drayi_copy_shape_of(const dray_segment *segment, const uint8_t *source,
                                     uint8_t *target)
{
    assert(segment->loop_count <= DRAY_LOOPS_MAX);
    drayi_copy_shape shape = {.source = source,
                              .target = target,
                              .run_bytes = segment->run_bytes,
                              .bytes = drayi_segment_bytes(segment)};
    if (shape.bytes == 0)
        return shape;
    for (uint32_t i = 0; i < segment->loop_count; i++)
        loop_add(&shape, &segment->loops[i]);
    if (shape.loop_count > 0) { // runs that touch on both sides are one run
        const dray_loop *inner = &shape.loops[shape.loop_count - 1];
        if (inner->source_stride == shape.run_bytes && inner->target_stride == shape.run_bytes) {
            shape.run_bytes *= inner->count;
            shape.loop_count--;
        }
    }
    return shape;
}

// --- copying -------------------------------------------------------------------------------------

/// Where a copy stands: at a run of the innermost loop. Offsets, because a loop's last step may point
/// far behind the memory.
typedef struct position {
    uint64_t source, target;
    uint64_t index[DRAY_LOOPS_MAX];
} position;

/// Goes to the run with this number.
static position seek(const drayi_copy_shape *shape, uint64_t run)
{
    position at = {0};
    for (uint32_t i = shape->loop_count; i-- > 0;) {
        const dray_loop *loop = &shape->loops[i];
        at.index[i] = run % loop->count;
        run /= loop->count;
        at.source += at.index[i] * loop->source_stride;
        at.target += at.index[i] * loop->target_stride;
    }
    return at;
}

/// Steps over `runs` runs of the innermost loop, carrying into the outer ones.
static void step(const drayi_copy_shape *shape, position *at, uint64_t runs)
{
    for (uint32_t i = shape->loop_count; i-- > 0; runs = 1) {
        const dray_loop *loop = &shape->loops[i];
        at->index[i] += runs;
        at->source += runs * loop->source_stride;
        at->target += runs * loop->target_stride;
        if (at->index[i] < loop->count)
            return;
        at->index[i] = 0;
        at->source -= loop->count * loop->source_stride;
        at->target -= loop->count * loop->target_stride;
    }
}

/// With a constant run length the compiler turns each memcpy into a few moves.
__attribute__((always_inline)) static inline void copy_runs(uint8_t *target, const uint8_t *source,
                                                            const dray_loop *loop, uint64_t runs,
                                                            size_t run_bytes)
{
    for (uint64_t i = 0; i < runs; i++)
        memcpy(target + i * loop->target_stride, source + i * loop->source_stride, run_bytes);
}

static void stream_runs(uint8_t *target, const uint8_t *source, const dray_loop *loop,
                        uint64_t runs, size_t run_bytes, drayi_copy_fn stream)
{
    for (uint64_t i = 0; i < runs; i++)
        stream(target + i * loop->target_stride, source + i * loop->source_stride, run_bytes);
}

/// Whole runs of the innermost loop.
static void copy_inner(uint8_t *target, const uint8_t *source, const dray_loop *loop, uint64_t runs,
                       size_t run_bytes)
{
    switch (run_bytes) {
    case 1:
        copy_runs(target, source, loop, runs, 1);
        break;
    case 2:
        copy_runs(target, source, loop, runs, 2);
        break;
    case 4:
        copy_runs(target, source, loop, runs, 4);
        break;
    case 8:
        copy_runs(target, source, loop, runs, 8);
        break;
    case 16:
        copy_runs(target, source, loop, runs, 16);
        break;
    case 32:
        copy_runs(target, source, loop, runs, 32);
        break;
    case 64:
        copy_runs(target, source, loop, runs, 64);
        break;
    default:
        copy_runs(target, source, loop, runs, run_bytes);
    }
}

static void copy_part(uint8_t *target, const uint8_t *source, uint64_t bytes, drayi_copy_fn stream)
{
    if (stream)
        stream(target, source, bytes);
    else
        memcpy(target, source, bytes);
}

void drayi_copy_shape_range(const drayi_copy_shape *shape, uint64_t first, uint64_t bytes,
                            drayi_copy_fn stream)
{
    if (bytes == 0)
        return;
    assert(drayi_inside(first, bytes, shape->bytes));
    static const dray_loop once = {.count = 1};
    const dray_loop *inner = shape->loop_count ? &shape->loops[shape->loop_count - 1] : &once;
    position at = seek(shape, first / shape->run_bytes);
    if (shape->run_bytes < STREAM_RUN_BYTES)
        stream = NULL;

    uint64_t within = first % shape->run_bytes;
    if (within > 0) { // the rest of a run that somebody else began
        uint64_t rest = drayi_min(shape->run_bytes - within, bytes);
        copy_part(shape->target + at.target + within, shape->source + at.source + within, rest,
                  stream);
        bytes -= rest;
        step(shape, &at, 1);
    }
    while (bytes >= shape->run_bytes) {
        uint64_t left = shape->loop_count ? inner->count - at.index[shape->loop_count - 1] : 1;
        uint64_t runs = drayi_min(left, bytes / shape->run_bytes);
        if (stream)
            stream_runs(shape->target + at.target, shape->source + at.source, inner, runs,
                        shape->run_bytes, stream);
        else
            copy_inner(shape->target + at.target, shape->source + at.source, inner, runs,
                       shape->run_bytes);
        bytes -= runs * shape->run_bytes;
        step(shape, &at, runs);
    }
    if (bytes > 0)
        copy_part(shape->target + at.target, shape->source + at.source, bytes, stream);
}
