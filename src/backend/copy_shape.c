/// The outer loops are an odometer; the innermost one, or two, are a tight loop made for the run length.
///
/// In which order the loops are nested says nothing about the result and everything about the speed. Past the
/// caches the source is read in order, because only reads wait for memory; through them the loop with the
/// largest steps on both sides is outermost, so that what the inner ones touch stays in the cache.
#include "backend/copy_shape.h"

#include "backend/copy_plane.h"
#include "base/checked.h"

#include <assert.h>
#include <string.h>

#define STREAM_RUN_BYTES 2048 // shorter runs lose by its heads and tails: docs/design/backends.md

uint64_t drayi_segment_bytes(const dray_segment *segment)
{
    uint64_t bytes = segment->run_bytes;
    for (uint32_t i = 0; i < segment->loop_count; i++)
        bytes *= segment->loops[i].count;
    return bytes;
}

// --- simplifying ---------------------------------------------------------------------------------

static void loop_remove(drayi_copy_shape *shape, uint32_t index)
{
    shape->loop_count--;
    for (uint32_t i = index; i < shape->loop_count; i++)
        shape->loops[i] = shape->loops[i + 1];
}

/// Can the outer loop continue where the inner one ends?
static bool continues(const dray_loop *outer, const dray_loop *inner)
{
    return outer->source_stride == inner->count * inner->source_stride &&
           outer->target_stride == inner->count * inner->target_stride;
}

/// Does some other loop take this one over?
static bool loop_joins(drayi_copy_shape *shape, uint32_t index)
{
    const dray_loop *loop = &shape->loops[index];
    for (uint32_t i = 0; i < shape->loop_count; i++) {
        if (i == index || !continues(loop, &shape->loops[i]))
            continue;
        shape->loops[i].count *= loop->count;
        return true;
    }
    return false;
}

/// Takes one loop away that says nothing of its own; false: there is none.
static bool simplify_once(drayi_copy_shape *shape)
{
    for (uint32_t i = 0; i < shape->loop_count; i++) {
        const dray_loop *loop = &shape->loops[i];
        bool touches =
            loop->source_stride == shape->run_bytes && loop->target_stride == shape->run_bytes;
        if (touches)
            shape->run_bytes *= loop->count;
        if (touches || loop->count == 1 || loop_joins(shape, i)) {
            loop_remove(shape, i);
            return true;
        }
    }
    return false;
}

// --- which way, in which order -------------------------------------------------------------------

/// Is every run of the target made of whole lines? Looked at through all strides, not at the first run only.
static bool whole_lines(const drayi_copy_shape *shape)
{
    uint64_t all = (uintptr_t)shape->target | shape->run_bytes;
    for (uint32_t i = 0; i < shape->loop_count; i++)
        all |= shape->loops[i].target_stride;
    return all % DRAYI_LINE_BYTES == 0;
}

/// The loop along which one side has its elements next to each other; loop_count: there is none.
static uint32_t dense_loop(const drayi_copy_shape *shape, bool target)
{
    uint32_t i = 0;
    while (i < shape->loop_count && shape->run_bytes != (target ? shape->loops[i].target_stride
                                                                : shape->loops[i].source_stride))
        i++;
    return i;
}

static drayi_copy_way choose_way(const drayi_copy_shape *shape)
{
    if (shape->stream && shape->run_bytes >= STREAM_RUN_BYTES)
        return DRAYI_COPY_STREAM;
    if (shape->stream && shape->stream->scatter && whole_lines(shape))
        return DRAYI_COPY_SCATTER;
    bool transposes =
        dense_loop(shape, false) < shape->loop_count && dense_loop(shape, true) < shape->loop_count;
    return transposes && drayi_plane_serves(shape->run_bytes) ? DRAYI_COPY_PLANE : DRAYI_COPY_STORES;
}

/// Does `a` belong outside of `b`?
static bool goes_outside(const dray_loop *a, const dray_loop *b, drayi_copy_way way)
{
    if (way == DRAYI_COPY_STREAM || way == DRAYI_COPY_SCATTER)
        return a->source_stride > b->source_stride;
    uint64_t a_near = drayi_min(a->source_stride, a->target_stride),
             b_near = drayi_min(b->source_stride, b->target_stride);
    if (a_near != b_near)
        return a_near > b_near;
    return drayi_max(a->source_stride, a->target_stride) <
           drayi_max(b->source_stride, b->target_stride);
}

static void loops_order(drayi_copy_shape *shape)
{
    for (uint32_t i = 1; i < shape->loop_count; i++) {
        dray_loop loop = shape->loops[i];
        uint32_t at = i;
        for (; at > 0 && goes_outside(&loop, &shape->loops[at - 1], shape->way); at--)
            shape->loops[at] = shape->loops[at - 1];
        shape->loops[at] = loop;
    }
}

/// The target's dense loop becomes the last but one, the source's the last: rows and columns of a plane.
static void plane_order(drayi_copy_shape *shape)
{
    for (int target = 1; target >= 0; target--) {
        uint32_t index = dense_loop(shape, target);
        dray_loop loop = shape->loops[index];
        loop_remove(shape, index);
        shape->loops[shape->loop_count++] = loop;
    }
}

drayi_copy_shape drayi_copy_shape_of(const dray_segment *segment, const uint8_t *source,
                                     uint8_t *target, const drayi_stream *stream)
{
    assert(segment->loop_count <= DRAY_LOOPS_MAX);
    drayi_copy_shape shape = {.source = source,
                              .target = target,
                              .run_bytes = segment->run_bytes,
                              .bytes = drayi_segment_bytes(segment),
                              .stream = stream && stream->name ? stream : NULL};
    if (shape.bytes == 0)
        return shape;
    for (; shape.loop_count < segment->loop_count; shape.loop_count++)
        shape.loops[shape.loop_count] = segment->loops[shape.loop_count];
    while (simplify_once(&shape))
        continue;
    shape.way = choose_way(&shape);
    loops_order(&shape);
    if (shape.way == DRAYI_COPY_PLANE)
        plane_order(&shape);
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

/// Does `turns` turns of loop `level`, carrying into the outer ones. Without loops there is nowhere to go.
static void step(const drayi_copy_shape *shape, position *at, uint32_t level, uint64_t turns)
{
    for (uint32_t i = shape->loop_count ? level + 1 : 0; i-- > 0; turns = 1) {
        const dray_loop *loop = &shape->loops[i];
        at->index[i] += turns;
        at->source += turns * loop->source_stride;
        at->target += turns * loop->target_stride;
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

static void store_runs(uint8_t *target, const uint8_t *source, const dray_loop *loop, uint64_t runs,
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
    case 128:
        copy_runs(target, source, loop, runs, 128);
        break;
    case 256:
        copy_runs(target, source, loop, runs, 256);
        break;
    default:
        copy_runs(target, source, loop, runs, run_bytes);
    }
}

/// Whole runs of the innermost loop.
static void copy_inner(const drayi_copy_shape *shape, uint8_t *target, const uint8_t *source,
                       const dray_loop *loop, uint64_t runs)
{
    if (shape->way == DRAYI_COPY_STREAM)
        stream_runs(target, source, loop, runs, shape->run_bytes, shape->stream->copy);
    else if (shape->way == DRAYI_COPY_SCATTER)
        shape->stream->scatter(target, source, loop, runs, shape->run_bytes);
    else
        store_runs(target, source, loop, runs, shape->run_bytes);
}

/// As many whole rows of the plane as `bytes` have and the loop has left; returns how many.
static uint64_t copy_rows(const drayi_copy_shape *shape, const position *at, uint64_t bytes)
{
    const dray_loop *row = &shape->loops[shape->loop_count - 2],
                    *column = &shape->loops[shape->loop_count - 1];
    uint64_t left = row->count - at->index[shape->loop_count - 2],
             rows = drayi_min(left, bytes / (column->count * shape->run_bytes));
    const drayi_plane plane = {.rows = rows,
                               .columns = column->count,
                               .source_pitch = row->source_stride,
                               .target_pitch = column->target_stride,
                               .element_bytes = shape->run_bytes};
    if (rows > 0)
        drayi_plane_copy(&plane, shape->target + at->target, shape->source + at->source);
    return rows;
}

static void copy_part(const drayi_copy_shape *shape, const position *at, uint64_t within,
                      uint64_t bytes)
{
    uint8_t *target = shape->target + at->target + within;
    const uint8_t *source = shape->source + at->source + within;
    if (shape->way == DRAYI_COPY_STREAM)
        shape->stream->copy(target, source, bytes);
    else
        memcpy(target, source, bytes);
}

void drayi_copy_shape_range(const drayi_copy_shape *shape, uint64_t first, uint64_t bytes)
{
    if (bytes == 0)
        return;
    assert(drayi_inside(first, bytes, shape->bytes));
    static const dray_loop once = {.count = 1};
    const uint32_t last = shape->loop_count ? shape->loop_count - 1 : 0;
    const dray_loop *inner = shape->loop_count ? &shape->loops[last] : &once;
    position at = seek(shape, first / shape->run_bytes);

    uint64_t within = first % shape->run_bytes;
    if (within > 0) { // the rest of a run that somebody else began
        uint64_t rest = drayi_min(shape->run_bytes - within, bytes);
        copy_part(shape, &at, within, rest);
        bytes -= rest;
        step(shape, &at, last, 1);
    }
    while (bytes >= shape->run_bytes) {
        uint64_t rows = 0;
        if (shape->way == DRAYI_COPY_PLANE && at.index[last] == 0)
            rows = copy_rows(shape, &at, bytes);
        if (rows > 0) {
            bytes -= rows * inner->count * shape->run_bytes;
            step(shape, &at, last - 1, rows);
            continue;
        }
        uint64_t left = shape->loop_count ? inner->count - at.index[last] : 1;
        uint64_t runs = drayi_min(left, bytes / shape->run_bytes);
        copy_inner(shape, shape->target + at.target, shape->source + at.source, inner, runs);
        bytes -= runs * shape->run_bytes;
        step(shape, &at, last, runs);
    }
    if (bytes > 0)
        copy_part(shape, &at, 0, bytes);
    if (shape->way == DRAYI_COPY_SCATTER)
        shape->stream->settle();
}
