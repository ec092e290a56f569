/// The migration model, against scenarios that were worked out on paper: every number below is one of them.
#include "core/context.h"
#include "memory/migration.h"
#include "support/counting_allocator.h"
#include "support/testing.h"

#define MIB (UINT64_C(1) << 20)
#define US UINT64_C(1000)
#define BLOCK DRAYI_MIGRATION_BLOCK_BYTES
#define PIECE DRAYI_MIGRATION_PIECE_BYTES

enum { HOST = DRAYI_MIGRATION_HOST, GPU = 1, PEER = 2 };

static dray_context *context;

static drayi_migration *model_of(uint64_t blocks, uint64_t capacity_blocks, uint32_t devices,
                                 bool host_reaches, bool peers)
{
    drayi_migration_options options = {.bytes = blocks * BLOCK,
                                       .capacity_bytes = capacity_blocks * BLOCK,
                                       .devices = devices,
                                       .host_reaches_devices = host_reaches,
                                       .devices_reach_each_other = peers};
    drayi_migration *model;
    assert_int_equal(drayi_migration_create(drayi_env_of(context), &options, &model, NULL), DRAY_OK);
    return model;
}

static void set_all(drayi_migration *model, uint64_t blocks, drayi_migration_policy policy)
{
    drayi_migration_set_policy(model, 0, blocks * BLOCK, policy);
}

static void a_device_of_one_block_swaps_two(void **state)
{
    (void)state;
    drayi_migration *model = model_of(2, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_access(model, 0, HOST, 0, BLOCK, true);
    drayi_migration_access(model, 1000 * US, HOST, BLOCK, BLOCK, true);
    assert_int_equal(counts->faults[HOST], 2);
    assert_int_equal(counts->populated_bytes, 4 * MIB);
    assert_int_equal(counts->to_devices_bytes + counts->to_host_bytes, 0);

    drayi_migration_access(model, 2000 * US, GPU, 0, BLOCK, false);     // 0 comes
    drayi_migration_access(model, 3000 * US, GPU, BLOCK, BLOCK, false); // 0 goes, 1 comes
    drayi_migration_access(model, 4000 * US, GPU, 0, BLOCK, false);     // 1 goes, 0 comes
    drayi_migration_access(model, 5000 * US, GPU, 0, BLOCK, false);     // there
    assert_int_equal(counts->faults[HOST], 2);
    assert_int_equal(counts->faults[GPU], 3);
    assert_int_equal(counts->write_faults, 2);
    assert_int_equal(counts->to_devices_bytes, 6 * MIB);
    assert_int_equal(counts->evictions, 2);
    assert_int_equal(counts->evicted_bytes, 4 * MIB);
    assert_int_equal(counts->to_host_bytes, 4 * MIB);
    assert_int_equal(counts->thrash_events, 0); // eviction is not thrashing
    assert_int_equal(counts->peak_device_bytes, BLOCK);
    assert_int_equal(drayi_migration_resident(model, GPU, 0, BLOCK), BLOCK);
    assert_int_equal(drayi_migration_resident(model, HOST, BLOCK, BLOCK), BLOCK);
    drayi_migration_destroy(model);
}

static void a_touch_that_hits_does_not_save_a_block_from_eviction(void **state)
{
    (void)state;
    drayi_migration *model = model_of(3, 2, 1, false, false);
    drayi_migration_access(model, 0, GPU, 0, 1, true);
    drayi_migration_access(model, 1, GPU, BLOCK, 1, true);
    drayi_migration_access(model, 2, GPU, 0, 1, false); // a hit: the driver does not see it
    drayi_migration_access(model, 3, GPU, 2 * BLOCK, 1, true);
    assert_int_equal(drayi_migration_resident(model, GPU, 0, BLOCK), 0);
    assert_int_equal(drayi_migration_resident(model, GPU, BLOCK, BLOCK), PIECE);
    drayi_migration_access(model, 4, GPU, BLOCK + PIECE, 1,
                           true); // a fault: 1 is served, 2 is older
    drayi_migration_access(model, 5, GPU, 0, 1, true);
    assert_int_equal(drayi_migration_resident(model, GPU, 2 * BLOCK, BLOCK), 0);
    assert_int_equal(drayi_migration_resident(model, GPU, BLOCK, BLOCK), 2 * PIECE);
    drayi_migration_destroy(model);
}

static void a_scan_of_a_block_faults_six_times_for_its_density(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_access(model, 0, HOST, 0, BLOCK, true);
    static const uint64_t faults[] = {1, 2, 3, 3, 4,
                                      4, 4, 4, 5}; // 0, 1, 2 (+3), 4 (+5-7), 8 (+9-15)
    static const uint64_t pieces[] = {1, 2, 4, 4, 8, 8, 8, 8, 16};
    for (uint64_t i = 0; i < 32; i++) {
        drayi_migration_access(model, i, GPU, i * PIECE + 17, 1, false);
        if (i < 9) {
            assert_int_equal(counts->faults[GPU], faults[i]);
            assert_int_equal(drayi_migration_resident(model, GPU, 0, BLOCK), pieces[i] * PIECE);
        }
    }
    assert_int_equal(counts->faults[GPU], 6); // and piece 16, with the rest
    assert_int_equal(counts->to_devices_bytes, BLOCK);
    drayi_migration_destroy(model);
}

static void read_mostly_copies_and_a_write_ends_the_copies(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
    policy.read_mostly = 1;
    set_all(model, 1, policy);
    drayi_migration_access(model, 0, HOST, 0, BLOCK, true);
    drayi_migration_access(model, 1, GPU, 0, BLOCK, false);
    assert_int_equal(counts->duplicated_bytes, BLOCK);
    drayi_migration_access(model, 2, HOST, 0, BLOCK, false); // has its own still
    assert_int_equal(counts->faults[HOST], 1);
    assert_int_equal(drayi_migration_resident(model, HOST, 0, BLOCK), BLOCK);
    assert_int_equal(drayi_migration_resident(model, GPU, 0, BLOCK), BLOCK);

    drayi_migration_access(model, 3, GPU, PIECE, 8, true); // one piece, whose copy on the host ends
    assert_int_equal(counts->faults[GPU], 2);
    assert_int_equal(counts->dropped_bytes, PIECE);
    assert_int_equal(counts->to_devices_bytes, BLOCK); // it was there already
    assert_int_equal(drayi_migration_resident(model, HOST, 0, BLOCK), BLOCK - PIECE);
    drayi_migration_access(model, 4, HOST, PIECE, 8, false);
    assert_int_equal(counts->to_host_bytes, PIECE);
    assert_int_equal(counts->duplicated_bytes, BLOCK + PIECE);
    assert_int_equal(counts->thrash_events, 0);
    drayi_migration_destroy(model);
}

static void what_is_preferred_on_the_host_stays_there(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
    policy.preferred = HOST;
    set_all(model, 1, policy);
    drayi_migration_access(model, 0, GPU, 0, 100, true); // even when the device touches it first
    drayi_migration_access(model, 1, GPU, 0, 100, false);
    assert_int_equal(counts->faults[GPU], 1);
    assert_int_equal(counts->to_devices_bytes, 0);
    assert_int_equal(counts->remote_accesses, 2);
    assert_int_equal(counts->remote_bytes, 200);
    assert_int_equal(drayi_migration_resident(model, HOST, 0, BLOCK), PIECE);
    drayi_migration_destroy(model);
}

/// The host has no way to a device's memory over PCIe, and has one over NVLink-C2C.
static void what_is_preferred_on_a_device_moves_only_where_it_cannot_be_reached(void **state)
{
    (void)state;
    for (int reaches = 0; reaches < 2; reaches++) {
        drayi_migration *model = model_of(1, 1, 1, reaches != 0, false);
        const drayi_migration_counts *counts = drayi_migration_counts_of(model);
        drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
        policy.preferred = GPU;
        set_all(model, 1, policy);
        drayi_migration_access(model, 0, GPU, 0, BLOCK, true);
        drayi_migration_access(model, 1, HOST, 0, BLOCK, false);
        assert_int_equal(counts->faults[HOST], 1);
        assert_int_equal(counts->to_host_bytes, reaches ? 0 : BLOCK);
        assert_int_equal(counts->remote_bytes, reaches ? BLOCK : 0);
        drayi_migration_destroy(model);
    }
}

static void accessed_by_maps_without_a_fault_or_a_move(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 2, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
    policy.accessed_by = 1u << GPU;
    set_all(model, 1, policy);
    drayi_migration_access(model, 0, HOST, 0, BLOCK, true);
    drayi_migration_access(model, 1, GPU, 0, BLOCK, true);
    assert_int_equal(counts->faults[GPU], 0);
    assert_int_equal(counts->remote_bytes, BLOCK);
    drayi_migration_access(model, 2, PEER, 0, BLOCK, false); // not of the set: it moves there
    assert_int_equal(counts->faults[PEER], 1);
    assert_int_equal(counts->to_devices_bytes, BLOCK);
    drayi_migration_access(model, 3, GPU, 0, BLOCK, false); // no peer access: it has to come
    assert_int_equal(counts->faults[GPU], 1);
    assert_int_equal(counts->between_devices_bytes, BLOCK);
    drayi_migration_destroy(model);
}

/// Host and device write in turn, every 100 us: moves at 100, 200 and 300 follow each other.
static uint64_t play_in_turn(drayi_migration *model, uint64_t begin, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        drayi_migration_access(model, begin + i * 100 * US, i % 2 ? GPU : HOST, 0, BLOCK, true);
    return begin + (uint64_t)times * 100 * US;
}

static void a_block_that_goes_back_and_forth_is_throttled_and_pinned(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    uint64_t now = play_in_turn(model, 0, 4); // populates; three moves
    assert_int_equal(counts->thrashing_blocks, 1);
    assert_int_equal(counts->thrash_events, 1);
    assert_int_equal(counts->throttles, 0);
    now = play_in_turn(model, now, 10); // 400 to 1300 us: each of them naps first
    assert_int_equal(counts->throttles, 10);
    assert_int_equal(counts->throttled_ns, 10 * 500 * US);
    assert_int_equal(counts->pins, 0);
    now = play_in_turn(model, now, 2); // 1400 us: pinned to the host; 1500 us: mapped
    assert_int_equal(counts->pins, 1);
    assert_int_equal(counts->faults[HOST], 8);
    assert_int_equal(counts->faults[GPU], 8);
    assert_int_equal(counts->to_devices_bytes, 7 * BLOCK);
    assert_int_equal(counts->to_host_bytes, 7 * BLOCK);
    assert_int_equal(counts->thrash_events, 12);
    assert_int_equal(counts->remote_accesses, 1);
    play_in_turn(model, now, 100); // nobody faults any more
    assert_int_equal(counts->faults[HOST] + counts->faults[GPU], 16);
    assert_int_equal(counts->remote_accesses, 51);
    // 150 ms after 1400 us the pin ends, and the device faults as before
    drayi_migration_access(model, 151400 * US - 1, GPU, 0, BLOCK, true);
    assert_int_equal(counts->faults[GPU], 8);
    drayi_migration_access(model, 151400 * US, GPU, 0, BLOCK, true);
    assert_int_equal(counts->faults[GPU], 9);
    assert_int_equal(counts->throttles, 11);
    drayi_migration_destroy(model);
}

static void moves_half_a_millisecond_apart_are_no_thrashing(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    for (unsigned i = 0; i < 100; i++)
        drayi_migration_access(model, i * 500 * US, i % 2 ? GPU : HOST, 0, BLOCK, true);
    assert_int_equal(drayi_migration_counts_of(model)->thrash_events, 0);
    assert_int_equal(drayi_migration_counts_of(model)->to_devices_bytes, 50 * BLOCK);
    drayi_migration_destroy(model);
}

/// The device scans, the host does nothing: many faults in one block, and all of them wanted.
static void a_scan_is_no_thrashing(void **state)
{
    (void)state;
    drayi_migration *model = model_of(2, 1, 1, false, false);
    drayi_migration_access(model, 0, HOST, 0, 2 * BLOCK, true);
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t i = 0; i < 64; i++)
            drayi_migration_access(model, (round * 64 + i) * US, GPU, i * PIECE, PIECE, false);
    }
    assert_int_equal(drayi_migration_counts_of(model)->evictions, 19);
    assert_int_equal(drayi_migration_counts_of(model)->faults[GPU], 20 * 6);
    assert_int_equal(drayi_migration_counts_of(model)->thrash_events, 0);
    drayi_migration_destroy(model);
}

static void a_second_of_peace_ends_thrashing_four_times(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_access(model, 0, HOST, 0, BLOCK, true);
    uint64_t now = 100 * US;
    for (uint64_t round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 3; i++, now += 100 * US) // three moves
            drayi_migration_access(model, now, i % 2 == round % 2 ? GPU : HOST, 0, BLOCK, true);
        now += 1000000 * US; // the first move of the next round finds it ended
        assert_int_equal(counts->resets, round < 4 ? round : 4);
        // not reset any more, it naps at every fault of round 5
        assert_int_equal(counts->throttles, round < 5 ? 0 : 3);
    }
    assert_int_equal(counts->thrashing_blocks, 1);
    drayi_migration_destroy(model);
}

static void a_preferred_location_switches_the_protection_off(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
    policy.preferred = GPU;
    set_all(model, 1, policy);
    play_in_turn(model, 0, 1000);
    assert_int_equal(counts->throttles + counts->pins, 0);
    // made on the host, which cannot reach the device; then 999 moves, the third of which makes it thrashing
    assert_int_equal(counts->to_devices_bytes, 500 * BLOCK);
    assert_int_equal(counts->thrash_events, 997);
    drayi_migration_destroy(model);
}

static void a_prefetch_brings_without_faults_and_a_discard_forgets(void **state)
{
    (void)state;
    drayi_migration *model = model_of(2, 2, 1, false, false);
    const drayi_migration_counts *counts = drayi_migration_counts_of(model);
    drayi_migration_access(model, 0, HOST, 0, 2 * BLOCK, true);
    drayi_migration_prefetch(model, GPU, 0, 2 * BLOCK);
    drayi_migration_access(model, 1, GPU, 0, 2 * BLOCK, false);
    assert_int_equal(counts->faults[GPU], 0);
    assert_int_equal(counts->prefetched_bytes, 2 * BLOCK);
    assert_int_equal(drayi_migration_used(model, 0), 2 * BLOCK);

    drayi_migration_discard(model, 1, BLOCK - 1); // piece 0 is not in it as a whole
    assert_int_equal(drayi_migration_resident(model, GPU, 0, 2 * BLOCK), BLOCK + PIECE);
    drayi_migration_discard(model, 0, BLOCK);
    assert_int_equal(drayi_migration_used(model, 0), BLOCK);
    drayi_migration_access(model, 2, GPU, 0, 1, true);
    assert_int_equal(counts->to_devices_bytes, 2 * BLOCK); // nothing to bring
    drayi_migration_destroy(model);
}

static void copies_end_with_read_mostly(void **state)
{
    (void)state;
    drayi_migration *model = model_of(1, 1, 1, false, false);
    drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
    policy.read_mostly = 1;
    set_all(model, 1, policy);
    drayi_migration_access(model, 0, HOST, 0, BLOCK, true);
    drayi_migration_access(model, 1, GPU, 0, BLOCK, false);
    policy.read_mostly = 0;
    policy.preferred = GPU;
    set_all(model, 1, policy);
    assert_int_equal(drayi_migration_resident(model, HOST, 0, BLOCK), 0);
    assert_int_equal(drayi_migration_resident(model, GPU, 0, BLOCK), BLOCK);
    drayi_migration_destroy(model);
}

/// 2 MiB and one byte: the last block has one piece.
static void the_last_block_may_be_a_part(void **state)
{
    (void)state;
    drayi_migration_options options = {
        .bytes = BLOCK + 1, .capacity_bytes = 2 * BLOCK, .devices = 1};
    drayi_migration *model;
    assert_int_equal(drayi_migration_create(drayi_env_of(context), &options, &model, NULL), DRAY_OK);
    drayi_migration_access(model, 0, GPU, 0, BLOCK + 1, true);
    assert_int_equal(drayi_migration_counts_of(model)->populated_bytes, BLOCK + PIECE);
    drayi_migration_discard(model, BLOCK, 1);
    assert_int_equal(drayi_migration_used(model, 0), BLOCK);
    drayi_migration_destroy(model);
}

static void sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    const drayi_migration_options wrong[] = {
        {.bytes = 0, .capacity_bytes = BLOCK, .devices = 1},
        {.bytes = DRAYI_MIGRATION_BYTES_MAX + 1, .capacity_bytes = BLOCK, .devices = 1},
        {.bytes = 1, .capacity_bytes = BLOCK, .devices = 0},
        {.bytes = 1, .capacity_bytes = BLOCK, .devices = 9},
        {.bytes = 1, .capacity_bytes = BLOCK - 1, .devices = 1},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        drayi_migration *model = NULL;
        dray_error error;
        assert_int_equal(drayi_migration_create(drayi_env_of(context), &wrong[i], &model, &error),
                         DRAY_E_INVALID);
        assert_true(error.message[0] != '\0');
        assert_null(model);
    }
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context *own;
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        assert_int_equal(dray_context_create(&options, &own, NULL), DRAY_OK);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        drayi_migration_options wanted = {.bytes = 4 * BLOCK, .capacity_bytes = BLOCK, .devices = 2};
        drayi_migration *model = NULL;
        dray_error error;
        dray_status status = drayi_migration_create(drayi_env_of(own), &wanted, &model, &error);
        bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        drayi_migration_destroy(model);
        dray_context_destroy(own);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed)
            break;
    }
}

static int setup(void **state)
{
    (void)state;
    return dray_context_create(NULL, &context, NULL) != DRAY_OK;
}

static int teardown(void **state)
{
    (void)state;
    dray_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_of_one_block_swaps_two),
        cmocka_unit_test(a_touch_that_hits_does_not_save_a_block_from_eviction),
        cmocka_unit_test(a_scan_of_a_block_faults_six_times_for_its_density),
        cmocka_unit_test(read_mostly_copies_and_a_write_ends_the_copies),
        cmocka_unit_test(what_is_preferred_on_the_host_stays_there),
        cmocka_unit_test(what_is_preferred_on_a_device_moves_only_where_it_cannot_be_reached),
        cmocka_unit_test(accessed_by_maps_without_a_fault_or_a_move),
        cmocka_unit_test(a_block_that_goes_back_and_forth_is_throttled_and_pinned),
        cmocka_unit_test(moves_half_a_millisecond_apart_are_no_thrashing),
        cmocka_unit_test(a_scan_is_no_thrashing),
        cmocka_unit_test(a_second_of_peace_ends_thrashing_four_times),
        cmocka_unit_test(a_preferred_location_switches_the_protection_off),
        cmocka_unit_test(a_prefetch_brings_without_faults_and_a_discard_forgets),
        cmocka_unit_test(copies_end_with_read_mostly),
        cmocka_unit_test(the_last_block_may_be_a_part),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
