/// Random copies through random backends, compared byte for byte with plain loops.
///
/// Every case is drawn from one number; a failure prints it, and `prop_transfer NUMBER` runs that case
/// alone. `prop_transfer NUMBER COUNT` runs COUNT cases from there on.
#include "support/testing.h"
#include "support/transfer_rig.h"
#include "transfer/plan.h"
#include "transfer/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { arena_bytes = 96 << 10, page = 4096, copies_max = 24, places = 4 };

#ifdef __SANITIZE_THREAD__ // twenty times slower, and nothing here has a second thread
static uint64_t first_seed = 1, seed_count = 100;
#else
static uint64_t first_seed = 1, seed_count = 2000;
#endif

/// A place that bytes come from or go to: memory or a file, with what it should hold at the end.
typedef struct place_case {
    uint8_t *bytes, *before, *expected;
    dray_region *region;
    uint64_t used; // targets are dealt from here on, so that they are disjoint
} place_case;

typedef struct world_case {
    random_sequence random;
    transfer_rig rig;
    place_case sources[places], targets[places]; // 0, 1: memory; 2, 3: files
    dray_copy copies[copies_max];
    uint64_t copy_count, bytes;
    dray_plan_options options;
    dray_plan *plan;
    uint32_t done[copies_max];
    uint64_t progress_bytes;
} world_case;

static uint64_t below(world_case *world, uint64_t limit)
{
    return sequence_below(&world->random, limit);
}

// --- a world from a seed ------------------------------------------------------------------------------------------

static void random_edge(world_case *world, backend_sim *sim, dray_storage from, dray_storage to,
                        uint32_t flags)
{
    static const uint64_t sizes[] = {0, 60, 300, page, 3 * page, 10000, 65536};
    bool file = from == DRAY_STORAGE_DISK || to == DRAY_STORAGE_DISK;
    dray_edge *edge = backend_sim_edge(sim, from, to);
    edge->flags = flags | (file && below(world, 2) ? DRAY_EDGE_SCATTER : 0u);
    edge->max_bytes = sizes[below(world, 7)];
    if (edge->max_bytes && edge->max_bytes < page && (flags & DRAY_EDGE_DIRECT))
        edge->max_bytes = page;
    edge->max_segments = 1 + (uint32_t)below(world, 9);
    edge->max_loops = edge->flags & DRAY_EDGE_SCATTER ? 0 : (uint32_t)below(world, 5);
    edge->best_bytes = sizes[below(world, 7)];
    edge->best_depth = (uint32_t)below(world, 6);
    edge->most_depth = (uint32_t)below(world, 12);
    edge->cost = (uint32_t)below(world, 3);
    if (flags & DRAY_EDGE_DIRECT)
        edge->max_loops = 0;
}

static void random_backend(world_case *world, backend_sim *sim)
{
    sim->refuse_percent = (uint32_t)below(world, 4) * 20;
    sim->delay_polls = (uint32_t)below(world, 5);
    sim->reorders = below(world, 2);
    sim->capacity = below(world, 2) ? 1 + (uint32_t)below(world, 5) : 0;
    sim->cannot_arm = below(world, 4) == 0;
    sim->at_once_percent = (uint32_t)below(world, 3) * 50;
    random_edge(world, sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM, 0);
    random_edge(world, sim, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM, 0);
    random_edge(world, sim, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM, DRAY_EDGE_DIRECT);
    random_edge(world, sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK, 0);
    random_edge(world, sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK, DRAY_EDGE_DIRECT);
    if (below(world, 4) == 0) // mostly file to file takes two hops
        random_edge(world, sim, DRAY_STORAGE_DISK, DRAY_STORAGE_DISK, 0);
}

static uint8_t *random_bytes(world_case *world)
{
    uint8_t *bytes = aligned_alloc(page, arena_bytes);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < arena_bytes; i += 8) {
        uint64_t eight = sequence_next(&world->random);
        memcpy(bytes + i, &eight, 8);
    }
    return bytes;
}

static void place_open(world_case *world, place_case *place, uint32_t index, bool target)
{
    static const uint32_t alignments[] = {0, 1, 512, page, 8192};
    place->bytes = random_bytes(world);
    place->before = malloc(arena_bytes);
    place->expected = malloc(arena_bytes);
    memcpy(place->before, place->bytes, arena_bytes);
    uint64_t skip = below(world, 2) ? below(world, 2 * page) : 0; // regions need not start aligned
    if (index < 2) {
        place->region = transfer_rig_wrap(&world->rig, place->bytes, arena_bytes);
    } else {
        uint32_t file = index - 2 + (target ? 2 : 0);
        place->region = transfer_rig_file(&world->rig, file, place->bytes, arena_bytes,
                                          alignments[below(world, 5)]);
    }
    if (skip) {
        dray_region *view;
        assert_int_equal(
            dray_region_view(place->region, skip, arena_bytes - skip, &view, &world->rig.error),
            DRAY_OK);
        dray_region_release(place->region);
        place->region = view;
    }
    place->used = below(world, 5000);
}

/// Loops around a run; the target side nests, so that it never meets itself. Returns the target's extent.
static uint64_t random_shape(world_case *world, dray_copy *copy)
{
    static const uint64_t runs[] = {1, 3, 16, 100, page, 5000, 9000};
    copy->run_bytes = 1 + below(world, runs[below(world, 7)]);
    copy->loop_count =
        (uint32_t)below(world, 4) == 0 ? 0 : (uint32_t)below(world, DRAY_LOOPS_MAX + 1);
    uint64_t target_extent = copy->run_bytes, source_extent = copy->run_bytes;
    for (uint32_t i = copy->loop_count; i-- > 0;) {
        dray_loop *loop = &copy->loops[i];
        uint64_t most = 12000 / target_extent;
        loop->count = most < 2 ? 1 : 1 + below(world, most > 6 ? 6 : most);
        loop->target_stride = target_extent + (below(world, 3) ? below(world, 40) : 0);
        loop->source_stride = below(world, 2) ? source_extent : below(world, 300);
        target_extent += (loop->count - 1) * loop->target_stride;
        source_extent += (loop->count - 1) * loop->source_stride;
    }
    if (below(world, 40) == 0)
        copy->run_bytes = 0;
    copy->source_offset = source_extent; // for the caller, who moves it
    return target_extent;
}

static bool random_copy(world_case *world, dray_copy *copy)
{
    memset(copy, 0, sizeof(*copy));
    const place_case *from = &world->sources[below(world, places)];
    place_case *to = &world->targets[below(world, places)];
    uint64_t target_extent = random_shape(world, copy), source_extent = copy->source_offset;
    copy->source = from->region;
    copy->target = to->region;
    uint64_t from_room = dray_region_bytes(from->region), to_room = dray_region_bytes(to->region);
    copy->target_offset = to->used + (below(world, 2) ? below(world, 200) : 0);
    if (source_extent > from_room || copy->target_offset + target_extent > to_room)
        return false;
    copy->source_offset = below(world, from_room - source_extent + 1);
    if (below(world, 2)) { // often the same phase, so that direct I/O happens
        copy->source_offset = copy->source_offset / page * page + copy->target_offset % page;
        if (copy->source_offset + source_extent > from_room)
            copy->source_offset = from_room - source_extent;
    }
    to->used = copy->target_offset + target_extent;
    return true;
}

static uint8_t *region_start(const dray_region *region)
{
    for (uint32_t i = 0; !region->native.pointer && i < FAKE_FILES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fake:%u", i);
        if (strcmp(name, region->native.name) == 0)
            return fake_files[i].bytes + region->native.file_offset;
    }
    return region->native.pointer;
}

static uint8_t *expected_start(world_case *world, const dray_region *region)
{
    for (uint32_t i = 0; i < places; i++) {
        const place_case *place = &world->targets[i];
        if (place->region == region)
            return place->expected + (region_start(region) - place->bytes);
    }
    return NULL;
}

static void world_open(world_case *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->random.state = seed;
    for (uint32_t i = 0; i < 2; i++) {
        backend_sim_reset(&backend_sims[i], seed + i);
        random_backend(world, &backend_sims[i]);
    }
    transfer_rig_open(&world->rig, true, below(world, 2));
    for (uint32_t i = 0; i < places; i++) {
        place_open(world, &world->sources[i], i, false);
        place_open(world, &world->targets[i], i, true);
    }
    uint64_t wanted = below(world, copies_max + 1);
    while (world->copy_count < wanted && random_copy(world, &world->copies[world->copy_count]))
        world->copy_count++;
    world->options =
        (dray_plan_options){.struct_bytes = sizeof(world->options),
                            .direct = below(world, 3) ? DRAY_DIRECT_AUTO : DRAY_DIRECT_NEVER,
                            .lanes = (uint32_t)below(world, 9),
                            .step_bytes = below(world, 2) ? 50 + below(world, 20000) : 0,
                            .staging_bytes = below(world, 2) ? (4 + below(world, 40)) * page : 0};
}

static void world_close(world_case *world)
{
    dray_plan_destroy(world->plan);
    for (uint32_t i = 0; i < 2 * places; i++) {
        place_case *place = i < places ? &world->sources[i] : &world->targets[i - places];
        dray_region_release(place->region);
        free(place->bytes);
        free(place->before);
        free(place->expected);
    }
    transfer_rig_close(&world->rig);
}

// --- what must hold -------------------------------------------------------------------------------------------------

static void targets_restore(world_case *world)
{
    for (uint32_t i = 0; i < places; i++)
        memcpy(world->targets[i].bytes, world->targets[i].before, arena_bytes);
}

static void expect_all(world_case *world)
{
    for (uint32_t i = 0; i < places; i++)
        memcpy(world->targets[i].expected, world->targets[i].before, arena_bytes);
    world->bytes = 0;
    for (uint64_t i = 0; i < world->copy_count; i++) {
        const dray_copy *copy = &world->copies[i];
        transfer_rig_expect(copy, region_start(copy->source), expected_start(world, copy->target));
        uint64_t bytes = copy->run_bytes;
        for (uint32_t k = 0; k < copy->loop_count; k++)
            bytes *= copy->loops[k].count;
        world->bytes += bytes;
    }
}

/// Bytes of targets are the expected ones; with `partly`, each may also still be the old one.
static void check_bytes(const world_case *world, bool partly)
{
    for (uint32_t i = 0; i < places; i++) {
        const place_case *to = &world->targets[i], *from = &world->sources[i];
        assert_int_equal(memcmp(from->bytes, from->before, arena_bytes), 0);
        if (memcmp(to->bytes, to->expected, arena_bytes) == 0)
            continue;
        for (uint32_t at = 0; at < arena_bytes; at++) {
            bool right =
                to->bytes[at] == to->expected[at] || (partly && to->bytes[at] == to->before[at]);
            if (!right)
                fail_msg("target %u: byte %u is %u, wanted %u", i, at, to->bytes[at],
                         to->expected[at]);
        }
    }
}

static void on_copy(void *self, uint64_t copy_index)
{
    world_case *world = self;
    assert_true(copy_index < world->copy_count);
    world->done[copy_index]++;
    const dray_copy *copy = &world->copies[copy_index]; // its bytes are there now
    if (copy->run_bytes == 0)
        return;
    uint8_t *target = region_start(copy->target) + copy->target_offset;
    uint8_t *expected = expected_start(world, copy->target) + copy->target_offset;
    assert_int_equal(memcmp(target, expected, copy->run_bytes), 0);
}

static void on_progress(void *self, const dray_transfer_progress *progress)
{
    world_case *world = self;
    assert_true(progress->bytes_done >= world->progress_bytes &&
                progress->bytes_done <= progress->bytes_total);
    world->progress_bytes = progress->bytes_done;
}

/// Direct steps hold whole pages of their file: no page is ever touched both ways.
static void check_pages(const world_case *world)
{
    for (uint64_t i = 0; i < world->plan->step_count; i++) {
        const drayi_step *step = &world->plan->steps[i];
        bool direct = world->plan->edges[step->edge].edge.flags & DRAY_EDGE_DIRECT;
        for (uint32_t k = 0; direct && k < step->segment_count; k++) {
            const dray_segment *segment = &world->plan->segments[step->first_segment + k];
            bool writes = segment->target && segment->target->native.storage == DRAY_STORAGE_DISK;
            const dray_region *file = writes ? segment->target : segment->source;
            uint64_t at = file->native.file_offset +
                          (writes ? segment->target_offset : segment->source_offset);
            assert_int_equal(at % page, 0);
            assert_int_equal(segment->run_bytes % page, 0);
        }
    }
}

static dray_transfer *world_transfer(world_case *world)
{
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .self = world,
                                     .copy_done = on_copy,
                                     .progress = on_progress};
    dray_transfer *transfer;
    assert_int_equal(
        dray_transfer_create(world->rig.agent, world->plan, &options, &transfer, &world->rig.error),
        DRAY_OK);
    return transfer;
}

static dray_status world_run(world_case *world, dray_transfer *transfer)
{
    memset(world->done, 0, sizeof(world->done));
    world->progress_bytes = 0;
    targets_restore(world);
    uint64_t calls = counting_allocator_calls(&world->rig.counter);
    assert_int_equal(dray_transfer_submit(transfer, &world->rig.error), DRAY_OK);
    dray_status status = DRAY_OK;
    if (below(world, 2)) {
        status = dray_transfer_wait(transfer, -1, &world->rig.error);
    } else {
        for (bool done = false; !done && status == DRAY_OK;)
            status = dray_transfer_poll(transfer, &done, &world->rig.error);
    }
    assert_int_equal(counting_allocator_calls(&world->rig.counter), calls); // nothing allocates
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(backend_sims[i].pending_count, 0);
        assert_int_equal(backend_sims[i].submitted, backend_sims[i].completed);
    }
    return status;
}

static void check_whole_run(world_case *world, dray_transfer *transfer)
{
    dray_status status = world_run(world, transfer);
    if (status != DRAY_OK)
        fail_msg("%s", world->rig.error.message);
    check_bytes(world, false);
    for (uint64_t i = 0; i < world->copy_count; i++)
        assert_int_equal(world->done[i], 1);
    dray_transfer_progress progress;
    dray_transfer_get_progress(transfer, &progress);
    assert_true(progress.bytes_done == world->bytes && progress.bytes_total == world->bytes);
    assert_int_equal(progress.copies_done, world->copy_count);
}

/// One backend fails at some operation: the status is its, the bytes are old or right, and the next run is whole.
static void check_failing_run(world_case *world, dray_transfer *transfer)
{
    static const dray_status statuses[] = {DRAY_E_IO, DRAY_E_NOSPACE, DRAY_E_DEVICE, DRAY_E_CORRUPT};
    if (world->plan->step_count == 0)
        return;
    backend_sim *sim = &backend_sims[below(world, 2)];
    dray_status wanted = statuses[below(world, 4)];
    sim->fail_at = 1 + below(world, world->plan->step_count);
    sim->fail_status = wanted;
    dray_status status = world_run(world, transfer);
    if (sim->fail_at == 0) {
        assert_int_equal(status, wanted);
        assert_int_equal(world->rig.error.status, wanted);
        assert_true(world->rig.error.index < world->copy_count);
        assert_non_null(strstr(world->rig.error.message, "simulated: it broke after"));
        check_bytes(world, true);
    } else {
        assert_int_equal(status, DRAY_OK); // the other backend did it all
        check_bytes(world, false);
    }
    sim->fail_at = 0;
}

static void check_cancelled_run(world_case *world, dray_transfer *transfer)
{
    targets_restore(world);
    memset(world->done, 0, sizeof(world->done));
    world->progress_bytes = 0;
    assert_int_equal(dray_transfer_submit(transfer, &world->rig.error), DRAY_OK);
    bool done = false;
    dray_status status = DRAY_OK;
    for (uint64_t polls = below(world, 4); polls > 0 && status == DRAY_OK; polls--)
        status = dray_transfer_poll(transfer, &done, &world->rig.error);
    dray_transfer_cancel(transfer);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(backend_sims[i].pending_count, 0);
    status = dray_transfer_wait(transfer, -1, &world->rig.error);
    assert_true(status == DRAY_OK || status == DRAY_E_CANCELLED);
    check_bytes(world, status != DRAY_OK);
}

/// Both transfers of one plan would write the same bytes; two at once must still end well.
static void check_two_at_once(world_case *world, dray_transfer *first)
{
    dray_transfer *second;
    dray_error error;
    assert_int_equal(dray_transfer_create(world->rig.agent, world->plan, NULL, &second, &error),
                     DRAY_OK);
    targets_restore(world);
    memset(world->done, 0, sizeof(world->done));
    world->progress_bytes = 0;
    assert_int_equal(dray_transfer_submit(first, &error), DRAY_OK);
    assert_int_equal(dray_transfer_submit(second, &error), DRAY_OK);
    while (true) {
        dray_transfer_progress one, two;
        dray_agent_poll(world->rig.agent);
        dray_transfer_get_progress(first, &one);
        dray_transfer_get_progress(second, &two);
        if (one.bytes_done == world->bytes && two.bytes_done == world->bytes)
            break;
    }
    assert_int_equal(dray_transfer_wait(second, -1, &error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(first, -1, &error), DRAY_OK);
    check_bytes(world, false);
    dray_transfer_destroy(second);
}

static void one_world(uint64_t seed)
{
    static world_case world;
    world_open(&world, seed);
    dray_status status = dray_plan_create(world.rig.agent, world.copies, world.copy_count,
                                          &world.options, &world.plan, &world.rig.error);
    // Everything drawn here is plannable, but for direct I/O blocks larger than the smallest staging.
    if (status != DRAY_E_NOSPACE) {
        if (status != DRAY_OK)
            fail_msg("plan: %s", world.rig.error.message);
        expect_all(&world);
        check_pages(&world);
        dray_transfer *transfer = world_transfer(&world);
        check_whole_run(&world, transfer);
        check_failing_run(&world, transfer);
        check_cancelled_run(&world, transfer);
        check_two_at_once(&world, transfer);
        check_whole_run(&world, transfer);
        dray_transfer_destroy(transfer);
    }
    world_close(&world);
}

static uint64_t current_seed;

static void any_plan_moves_exactly_its_bytes_and_survives_faults(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < seed_count; i++) {
        current_seed = first_seed + i;
        one_world(current_seed);
    }
    current_seed = 0;
}

static int print_seed(void **state)
{
    (void)state;
    if (current_seed)
        print_error("the case that failed: prop_transfer %" PRIu64 "\n", current_seed);
    return 0;
}

int main(int count, char **arguments)
{
    if (count > 1) {
        first_seed = strtoull(arguments[1], NULL, 0);
        seed_count = count > 2 ? strtoull(arguments[2], NULL, 0) : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(any_plan_moves_exactly_its_bytes_and_survives_faults, print_seed),
    };
    return cmocka_run_group_tests_name("transfers drawn from a seed", tests, NULL, NULL);
}
