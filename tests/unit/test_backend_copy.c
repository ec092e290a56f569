/// The copy backend: shapes against a plain reading of their definition, then the table itself.
#include "backend/copy_plane.h"
#include "backend/copy_shape.h"
#include "backend/copy_stream.h"
#include "backend_rig.h"
#include "counting_allocator.h"
#include "os/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const dray_backend_ops drayi_backend_copy;

#define MIB ((uint64_t)1 << 20)

// --- streaming stores ----------------------------------------------------------------------------

static void streaming_stores_copy_every_alignment_and_touch_nothing_else(void **unused)
{
    (void)unused;
    static const char *const names[] = {"AVX2", "SSE2", "none"};
    static uint8_t source[2048], target[2048];
    backend_rig_fill(source, sizeof(source), 0);
    for (size_t n = 0; n < 3; n++) {
        drayi_stream stream = drayi_stream_named(names[n]);
        if (!stream.copy)
            continue;
        for (size_t to = 0; to < 65; to += 13) {
            for (size_t from = 0; from < 65; from += 9) {
                for (size_t bytes = 0; bytes < 600; bytes += 37) {
                    memset(target, 0xEE, sizeof(target));
                    stream.copy(target + 64 + to, source + from, bytes);
                    assert_memory_equal(target + 64 + to, source + from, bytes);
                    assert_int_equal(target[64 + to - 1], 0xEE);
                    assert_int_equal(target[64 + to + bytes], 0xEE);
                }
            }
        }
    }
}

// --- shapes --------------------------------------------------------------------------------------

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/// The definition of a segment, read aloud.
static void copy_plainly(const dray_segment *segment, uint32_t depth, const uint8_t *source,
                         uint8_t *target)
{
    if (depth == segment->loop_count) {
        memcpy(target, source, segment->run_bytes);
        return;
    }
    const dray_loop *loop = &segment->loops[depth];
    for (uint64_t i = 0; i < loop->count; i++)
        copy_plainly(segment, depth + 1, source + i * loop->source_stride,
                     target + i * loop->target_stride);
}

#define ARENA_BYTES (1u << 20)

/// Loops whose targets do not overlap: a permuted nesting of strides on each side.
static dray_segment random_segment(uint64_t *state, dray_loop *loops)
{
    static const uint64_t runs[] = {1, 2, 3, 4, 8, 16, 24, 32, 64, 100, 2048, 5000};
    dray_segment segment = {.run_bytes = runs[random_next(state) % 12], .loops = loops};
    segment.loop_count = (uint32_t)(random_next(state) % (DRAY_LOOPS_MAX + 1));
    uint64_t source_stride = segment.run_bytes, target_stride = segment.run_bytes;
    for (uint32_t i = segment.loop_count; i-- > 0;) {
        uint64_t count = 1 + random_next(state) % 5;
        uint64_t gap = random_next(state) % 2 * 7; // half of them touch and can be merged
        loops[i] = (dray_loop){.count = count,
                               .source_stride = source_stride + gap,
                               .target_stride = target_stride + random_next(state) % 2 * 5};
        source_stride = loops[i].source_stride * count;
        target_stride = loops[i].target_stride * count;
    }
    if (segment.loop_count > 1 && random_next(state) % 2) { // a transpose: the source in other order
        uint64_t last = segment.loop_count - 1, swap = loops[0].source_stride;
        if (loops[0].count == loops[last].count) {
            loops[0].source_stride = loops[last].source_stride;
            loops[last].source_stride = swap;
        }
    }
    return segment;
}

static void shapes_copy_what_the_loops_say_however_they_are_cut(void **unused)
{
    (void)unused;
    uint8_t *source = malloc(8 * ARENA_BYTES), *wanted = malloc(8 * ARENA_BYTES),
            *got = malloc(8 * ARENA_BYTES);
    assert_true(source && wanted && got);
    backend_rig_fill(source, 8 * ARENA_BYTES, 0);
    uint64_t state = 42;
    drayi_stream stream = drayi_stream_choose();
    for (int round = 0; round < 1500; round++) {
        dray_loop loops[DRAY_LOOPS_MAX];
        dray_segment segment = random_segment(&state, loops);
        drayi_copy_shape shape =
            drayi_copy_shape_of(&segment, source, got, round % 2 ? &stream : NULL);
        assert_int_equal(shape.bytes, drayi_segment_bytes(&segment));
        uint64_t room =
            8 * ARENA_BYTES < 64 + 8 * shape.bytes ? 8 * ARENA_BYTES : 64 + 8 * shape.bytes;
        memset(wanted, 0x55, room);
        memset(got, 0x55, room);
        copy_plainly(&segment, 0, source, wanted);
        for (uint64_t at = 0; at < shape.bytes;) {
            uint64_t part = 1 + random_next(&state) % (shape.bytes - at);
            drayi_copy_shape_range(&shape, at, part);
            at += part;
        }
        assert_memory_equal(got, wanted, room);
    }
    free(source);
    free(wanted);
    free(got);
}

static void small_elements_are_transposed_as_one_by_one(void **unused)
{
    (void)unused;
    static uint8_t source[1 << 18], got[1 << 18], wanted[1 << 18];
    backend_rig_fill(source, sizeof(source), 0);
    uint64_t state = 7;
    for (int round = 0; round < 600; round++) {
        drayi_plane plane = {.rows = 1 + random_next(&state) % 70,
                             .columns = 1 + random_next(&state) % 70,
                             .element_bytes = (size_t)1 << random_next(&state) % 6};
        size_t bytes = plane.element_bytes;
        plane.source_pitch = plane.columns * bytes + random_next(&state) % 19;
        plane.target_pitch = plane.rows * bytes + random_next(&state) % 19;
        assert_true(drayi_plane_serves(bytes));
        memset(wanted, 0x55, sizeof(wanted));
        for (uint64_t row = 0; row < plane.rows; row++) {
            for (uint64_t column = 0; column < plane.columns; column++)
                memcpy(wanted + column * plane.target_pitch + row * bytes,
                       source + row * plane.source_pitch + column * bytes, bytes);
        }
        memset(got, 0x55, sizeof(got));
        drayi_plane_copy(&plane, got, source);
        assert_memory_equal(got, wanted, sizeof(got));
        memset(got, 0x55, sizeof(got));
        drayi_plane_copy_plainly(&plane, got, source);
        assert_memory_equal(got, wanted, sizeof(got));
    }
    assert_false(drayi_plane_serves(3));
    assert_false(drayi_plane_serves(64));
}

/// NHD to HND: tokens by heads become heads by tokens, two times.
static drayi_copy_shape permuted(uint64_t run_bytes, uint8_t *source, uint8_t *target,
                                 uint64_t target_gap, const drayi_stream *stream)
{
    enum { tokens = 24, heads = 20 };
    const dray_loop loops[3] = {
        {2, tokens * heads * run_bytes, (tokens * heads + 1) * run_bytes + target_gap},
        {heads, run_bytes, tokens * run_bytes},
        {tokens, heads * run_bytes, run_bytes}};
    dray_segment segment = {.run_bytes = run_bytes, .loops = loops, .loop_count = 3};
    return drayi_copy_shape_of(&segment, source, target, stream);
}

static void the_way_is_chosen_by_every_pair_and_not_by_the_first(void **unused)
{
    (void)unused;
    _Alignas(64) static uint8_t source[1 << 18], target[1 << 18];
    drayi_stream stream = drayi_stream_choose();
    if (!stream.scatter)
        return;
    assert_int_equal(permuted(128, source, target, 0, &stream).way, DRAYI_COPY_SCATTER);
    assert_int_equal(permuted(128, source + 1, target, 0, &stream).way, DRAYI_COPY_SCATTER);
    // the first run of the target stands on a line, those of the second turn do not
    assert_int_equal(permuted(128, source, target, 32, &stream).way, DRAYI_COPY_STORES);
    assert_int_equal(permuted(128, source, target + 8, 0, &stream).way, DRAYI_COPY_STORES);
    assert_int_equal(permuted(96, source, target, 0, &stream).way, DRAYI_COPY_STORES);
    assert_int_equal(permuted(128, source, target, 0, NULL).way, DRAYI_COPY_STORES);
    assert_int_equal(permuted(2, source, target, 0, NULL).way, DRAYI_COPY_PLANE);
    assert_int_equal(permuted(3, source, target, 0, NULL).way, DRAYI_COPY_STORES);
    assert_int_equal(permuted(4096, source, target, 0, &stream).way, DRAYI_COPY_STREAM);
}

static void permutes_are_right_however_they_are_cut(void **unused)
{
    (void)unused;
    enum { room = 4 << 20 };
    static const uint64_t runs[] = {1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 320, 2048};
    _Alignas(64) static uint8_t source[room], got[room], wanted[room];
    backend_rig_fill(source, room, 0);
    uint64_t state = 11;
    drayi_stream streams[2] = {drayi_stream_named("AVX2"), drayi_stream_named("SSE2")};
    for (int round = 0; round < 400; round++) {
        uint64_t run = runs[random_next(&state) % 12], gap = random_next(&state) % 2 * 64;
        const drayi_stream *stream = &streams[random_next(&state) % 2];
        if (!stream->copy || round % 3 == 0)
            stream = NULL;
        uint8_t *from = source + random_next(&state) % 65;
        drayi_copy_shape shape = permuted(run, from, got, gap, stream);
        const uint64_t used = 2 * 24 * 20 * run + run + gap;
        memset(got, 0x55, used + 64);
        memset(wanted, 0x55, used + 64);
        for (uint64_t i = 0; i < (uint64_t)2 * 24 * 20; i++) {
            uint64_t twice = i / 480, token = i / 20 % 24, head = i % 20;
            memcpy(wanted + twice * (481 * run + gap) + (head * 24 + token) * run, from + i * run,
                   run);
        }
        for (uint64_t at = 0; at < shape.bytes;) {
            uint64_t part = 1 + random_next(&state) % (shape.bytes - at);
            drayi_copy_shape_range(&shape, at, part);
            at += part;
        }
        assert_memory_equal(got, wanted, used + 64);
    }
}

static void loops_that_touch_become_one_run(void **unused)
{
    (void)unused;
    uint8_t memory[1] = {0};
    const dray_loop loops[3] = {{.count = 4, .source_stride = 600, .target_stride = 600},
                                {.count = 1, .source_stride = 9, .target_stride = 5},
                                {.count = 6, .source_stride = 100, .target_stride = 100}};
    dray_segment segment = {.run_bytes = 100, .loops = loops, .loop_count = 3};
    drayi_copy_shape shape = drayi_copy_shape_of(&segment, memory, memory, NULL);
    assert_int_equal(shape.loop_count, 0);
    assert_int_equal(shape.run_bytes, 2400);
    assert_int_equal(shape.bytes, 2400);
}

static void a_loop_of_zero_moves_nothing(void **unused)
{
    (void)unused;
    uint8_t from[8] = {1}, to[8] = {0};
    const dray_loop loop = {.count = 0, .source_stride = 8, .target_stride = 8};
    dray_segment segment = {.run_bytes = 8, .loops = &loop, .loop_count = 1};
    drayi_copy_shape shape = drayi_copy_shape_of(&segment, from, to, NULL);
    assert_int_equal(shape.bytes, 0);
    drayi_copy_shape_range(&shape, 0, 0);
    assert_int_equal(to[0], 0);
}

// --- the backend ---------------------------------------------------------------------------------

static void open_rig(backend_rig *rig, uint32_t threads)
{
    dray_error error;
    if (backend_rig_open(rig, &drayi_backend_copy, &drayi_os_linux, NULL, threads, &error) !=
        DRAY_OK)
        fail_msg("%s", error.message);
}

static dray_region *make(backend_rig *rig, dray_storage storage, uint64_t bytes)
{
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = storage, .bytes = bytes};
    dray_region *region = NULL;
    dray_error error;
    if (dray_region_create(rig->context, &options, &region, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return region;
}

/// Wrapped memory counts as PINNED without needing the right to lock.
static dray_region *wrap_pinned(backend_rig *rig, void *memory, uint64_t bytes)
{
    dray_region *region = NULL;
    dray_error error;
    if (dray_region_wrap(rig->context, DRAY_STORAGE_PINNED, memory, bytes, NULL, NULL, &region,
                         &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return region;
}

static void edges_are_all_pairs_of_host_memory_and_the_drop(void **unused)
{
    (void)unused;
    backend_rig rig;
    open_rig(&rig, 0);
    dray_edge edges[16];
    assert_int_equal(rig.ops->edges(rig.backend, edges, 16), 6);
    assert_int_equal(rig.ops->edges(rig.backend, edges, 2), 6);
    for (int from = DRAY_STORAGE_SYSTEM; from <= DRAY_STORAGE_PINNED; from++) {
        backend_rig_edge(&rig, (dray_storage)from, DRAY_STORAGE_SYSTEM, 0);
        backend_rig_edge(&rig, (dray_storage)from, DRAY_STORAGE_PINNED, 0);
        dray_edge drop = backend_rig_edge(&rig, (dray_storage)from, DRAY_STORAGE_NULL, 0);
        assert_int_equal(drop.max_loops, DRAY_LOOPS_MAX);
    }
    backend_rig_close(&rig);
}

/// Small, middle, and large enough for streaming stores and all threads; odd offsets.
static void copies_of_every_size_arrive_with_and_without_threads(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {0, 1, 63, 4096, 65537, 3 * MIB + 5, 40 * MIB + 11};
    for (uint32_t threads = 0; threads <= 3; threads += 3) {
        backend_rig rig;
        open_rig(&rig, threads);
        dray_region *source = make(&rig, DRAY_STORAGE_SYSTEM, 41 * MIB);
        dray_region *target = make(&rig, DRAY_STORAGE_SYSTEM, 41 * MIB);
        uint8_t *from = dray_region_pointer(source), *to = dray_region_pointer(target);
        backend_rig_fill(from, 41 * MIB, 0);
        dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM, 0);
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            memset(to, 0, 41 * MIB);
            dray_segment segment = {.source = source,
                                    .target = target,
                                    .source_offset = 3,
                                    .target_offset = 77,
                                    .run_bytes = sizes[s]};
            dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
            backend_rig_run(&rig, &op, 1);
            assert_int_equal(op.status, DRAY_OK);
            assert_int_equal(op.bytes_done, sizes[s]);
            assert_memory_equal(to + 77, from + 3, sizes[s]);
            assert_int_equal(to[76], 0);
            assert_int_equal(to[77 + sizes[s]], 0);
        }
        dray_region_release(source);
        dray_region_release(target);
        backend_rig_close(&rig);
    }
}

/// NHD to HND: [token][head][dim] to [head][token][dim], cut into chunks among threads.
static void a_reshape_is_a_copy_with_loops(void **unused)
{
    (void)unused;
    enum { TOKENS = 1000, HEADS = 32, DIM_BYTES = 96, BYTES = TOKENS * HEADS * DIM_BYTES };
    static uint8_t from[BYTES], to[BYTES];
    backend_rig_fill(from, BYTES, 0);
    for (uint32_t threads = 0; threads <= 2; threads += 2) {
        memset(to, 0, BYTES);
        backend_rig rig;
        open_rig(&rig, threads);
        dray_region *source = wrap_pinned(&rig, from, BYTES), *target = wrap_pinned(&rig, to, BYTES);
        const dray_loop loops[2] = {{HEADS, DIM_BYTES, TOKENS * DIM_BYTES},
                                    {TOKENS, HEADS * DIM_BYTES, DIM_BYTES}};
        dray_segment segment = {.source = source,
                                .target = target,
                                .run_bytes = DIM_BYTES,
                                .loops = loops,
                                .loop_count = 2};
        dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_PINNED, DRAY_STORAGE_PINNED, 0);
        dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
        backend_rig_run(&rig, &op, 1);
        assert_int_equal(op.status, DRAY_OK);
        assert_int_equal(op.bytes_done, BYTES);
        for (uint32_t h = 0; h < HEADS; h++) {
            for (uint32_t t = 0; t < TOKENS; t++)
                assert_memory_equal(to + (h * TOKENS + t) * DIM_BYTES,
                                    from + (t * HEADS + h) * DIM_BYTES, DIM_BYTES);
        }
        dray_region_release(source);
        dray_region_release(target);
        backend_rig_close(&rig);
    }
}

static void many_segments_are_one_operation(void **unused)
{
    (void)unused;
    enum { COUNT = 1000, EACH = 5000 };
    static dray_segment segments[COUNT];
    for (uint32_t threads = 0; threads <= 2; threads += 2) {
        backend_rig rig;
        open_rig(&rig, threads);
        dray_region *source = make(&rig, DRAY_STORAGE_SYSTEM, COUNT * EACH);
        dray_region *target = make(&rig, DRAY_STORAGE_SYSTEM, COUNT * EACH);
        uint8_t *from = dray_region_pointer(source), *to = dray_region_pointer(target);
        backend_rig_fill(from, COUNT * EACH, 0);
        for (uint32_t i = 0; i < COUNT; i++)
            segments[i] = (dray_segment){.source = source,
                                         .target = target,
                                         .source_offset = i * EACH,
                                         .target_offset = (COUNT - 1 - i) * EACH,
                                         .run_bytes = EACH};
        dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM, 0);
        dray_op op = {.segments = segments, .segment_count = COUNT, .edge = edge.id};
        backend_rig_run(&rig, &op, 1);
        assert_int_equal(op.status, DRAY_OK);
        assert_int_equal(op.bytes_done, COUNT * EACH);
        for (uint32_t i = 0; i < COUNT; i++)
            assert_memory_equal(to + (COUNT - 1 - i) * EACH, from + i * EACH, EACH);
        dray_region_release(source);
        dray_region_release(target);
        backend_rig_close(&rig);
    }
}

static void dropped_bytes_are_counted(void **unused)
{
    (void)unused;
    backend_rig rig;
    open_rig(&rig, 2);
    dray_region *source = make(&rig, DRAY_STORAGE_SYSTEM, MIB);
    dray_region *target = make(&rig, DRAY_STORAGE_NULL, 100 * MIB);
    const dray_loop loop = {.count = 10, .source_stride = 1000, .target_stride = 10 * MIB};
    dray_segment segment = {
        .source = source, .target = target, .run_bytes = 500, .loops = &loop, .loop_count = 1};
    dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_NULL, 0);
    dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
    backend_rig_run(&rig, &op, 1);
    assert_int_equal(op.status, DRAY_OK);
    assert_int_equal(op.bytes_done, 5000);
    dray_region_release(source);
    dray_region_release(target);
    backend_rig_close(&rig);
}

static void a_target_without_an_address_is_refused(void **unused)
{
    (void)unused;
    backend_rig rig;
    open_rig(&rig, 0);
    dray_region *source = make(&rig, DRAY_STORAGE_SYSTEM, 4096);
    dray_region *target = make(&rig, DRAY_STORAGE_NULL, 4096);
    dray_segment segment = {.source = source, .target = target, .run_bytes = 4096};
    dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM, 0);
    dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
    backend_rig_run(&rig, &op, 1);
    assert_int_equal(op.status, DRAY_E_INVALID);
    assert_string_equal(op.error.message, "copy: from system to null is not between host memories");
    assert_int_equal(op.bytes_done, 0);
    dray_region_release(source);
    dray_region_release(target);
    backend_rig_close(&rig);
}

/// Without threads a poll does a bounded slice, so a cancellation between two polls is heard.
static void cancel_is_heard_between_two_polls(void **unused)
{
    (void)unused;
    backend_rig rig;
    open_rig(&rig, 0);
    dray_region *source = make(&rig, DRAY_STORAGE_SYSTEM, 32 * MIB);
    dray_region *target = make(&rig, DRAY_STORAGE_SYSTEM, 32 * MIB);
    dray_segment segment = {.source = source, .target = target, .run_bytes = 32 * MIB};
    dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM, 0);
    dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
    dray_op *given = &op, *back = NULL;
    int fd;
    assert_int_equal(rig.ops->submit(rig.backend, &given, 1), 1);
    assert_int_equal(rig.ops->poll(rig.backend, &back, 1), 0);
    assert_int_equal(rig.ops->arm(rig.backend, &fd, NULL), DRAY_E_BUSY);
    rig.ops->cancel(rig.backend, &op);
    assert_int_equal(rig.ops->poll(rig.backend, &back, 1), 1);
    assert_ptr_equal(back, &op);
    assert_int_equal(op.status, DRAY_E_CANCELLED);
    assert_int_equal(op.bytes_done, 4 * MIB);
    assert_string_equal(op.error.message, "copy: cancelled with 4194304 of 33554432 bytes done");
    assert_int_equal(rig.ops->poll(rig.backend, &back, 1), 0);
    dray_region_release(source);
    dray_region_release(target);
    backend_rig_close(&rig);
}

static void more_operations_than_slots_all_come_back_and_nothing_allocates(void **unused)
{
    (void)unused;
    enum { COUNT = 100 };
    static dray_op ops[COUNT];
    static dray_segment segments[COUNT];
    for (uint32_t threads = 0; threads <= 2; threads += 2) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        backend_rig rig;
        dray_error error;
        assert_int_equal(backend_rig_open(&rig, &drayi_backend_copy, &drayi_os_linux, &allocator,
                                          threads, &error),
                         DRAY_OK);
        dray_region *source = make(&rig, DRAY_STORAGE_SYSTEM, COUNT * 100000);
        dray_region *target = make(&rig, DRAY_STORAGE_SYSTEM, COUNT * 100000);
        backend_rig_fill(dray_region_pointer(source), COUNT * 100000, 0);
        dray_edge edge = backend_rig_edge(&rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM, 0);
        for (uint32_t i = 0; i < COUNT; i++) {
            segments[i] = (dray_segment){.source = source,
                                         .target = target,
                                         .source_offset = i * 100000,
                                         .target_offset = i * 100000,
                                         .run_bytes = 100000};
            ops[i] = (dray_op){.segments = &segments[i], .segment_count = 1, .edge = edge.id};
        }
        uint64_t before = counting_allocator_calls(&counter);
        backend_rig_run(&rig, ops, COUNT);
        assert_int_equal(counting_allocator_calls(&counter), before);
        for (uint32_t i = 0; i < COUNT; i++)
            assert_int_equal(ops[i].bytes_done, 100000);
        assert_int_equal(backend_rig_first_wrong(dray_region_pointer(target), COUNT * 100000, 0),
                         DRAY_UNKNOWN);
        dray_region_release(source);
        dray_region_release(target);
        backend_rig_close(&rig);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
    }
}

static void describe_says_how_many_threads(void **unused)
{
    (void)unused;
    backend_rig rig;
    char text[128];
    open_rig(&rig, 2);
    rig.ops->describe(rig.backend, text, sizeof(text));
    assert_memory_equal(text, "memcpy, 2 threads", 17);
    backend_rig_close(&rig);
    open_rig(&rig, 0);
    rig.ops->describe(rig.backend, text, sizeof(text));
    assert_memory_equal(text, "memcpy, in the caller", 21);
    backend_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streaming_stores_copy_every_alignment_and_touch_nothing_else),
        cmocka_unit_test(shapes_copy_what_the_loops_say_however_they_are_cut),
        cmocka_unit_test(small_elements_are_transposed_as_one_by_one),
        cmocka_unit_test(the_way_is_chosen_by_every_pair_and_not_by_the_first),
        cmocka_unit_test(permutes_are_right_however_they_are_cut),
        cmocka_unit_test(loops_that_touch_become_one_run),
        cmocka_unit_test(a_loop_of_zero_moves_nothing),
        cmocka_unit_test(edges_are_all_pairs_of_host_memory_and_the_drop),
        cmocka_unit_test(copies_of_every_size_arrive_with_and_without_threads),
        cmocka_unit_test(a_reshape_is_a_copy_with_loops),
        cmocka_unit_test(many_segments_are_one_operation),
        cmocka_unit_test(dropped_bytes_are_counted),
        cmocka_unit_test(a_target_without_an_address_is_refused),
        cmocka_unit_test(cancel_is_heard_between_two_polls),
        cmocka_unit_test(more_operations_than_slots_all_come_back_and_nothing_allocates),
        cmocka_unit_test(describe_says_how_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
