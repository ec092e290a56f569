/// Where ranges go, stated outright for small cases and as promises over random ones; and which way a
/// load takes, from facts alone.
#include "core/context.h"
#include "support/sequence.h"
#include "support/testing.h"
#include "weights/load.h"
#include "weights/place.h"

#include <stdlib.h>
#include <string.h>

static drayi_env *env;

static int make_context(void **state)
{
    dray_context *context;
    if (dray_context_create(NULL, &context, NULL) != DRAY_OK)
        return 1;
    env = drayi_env_of(context);
    *state = context;
    return 0;
}

static int drop_context(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static const drayi_place_options small = {.alignment = 16, .gap_most = 16, .piece_bytes = 64};

static void one_range_keeps_its_phase(void **state)
{
    (void)state;
    drayi_placement placement;
    drayi_range range = {.file = 0, .offset = 37, .bytes = 10};
    assert_int_equal(drayi_place(env, &range, 1, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.phase, 5); // 37 mod 16
    assert_int_equal(placement.bytes, 10);
    assert_int_equal(placement.read_bytes, 10);
    assert_int_equal(placement.piece_count, 1);
    assert_int_equal(placement.placed[0].target_offset, 0);
    drayi_placement_free(&placement);
}

static void neighbours_are_one_run_with_their_gap(void **state)
{
    (void)state;
    drayi_placement placement;
    drayi_range ranges[] = {{0, 32, 10}, {0, 48, 4}}; // six bytes between them
    assert_int_equal(drayi_place(env, ranges, 2, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.piece_count, 1);
    assert_int_equal(placement.pieces[0].bytes, 20);
    assert_int_equal(placement.pieces[0].range_count, 2);
    assert_int_equal(placement.placed[1].target_offset, 16);
    assert_int_equal(placement.wanted_bytes, 14);
    assert_int_equal(placement.read_bytes, 20);
    drayi_placement_free(&placement);
}

static void a_wide_gap_is_not_read(void **state)
{
    (void)state;
    drayi_placement placement;
    drayi_range ranges[] = {{0, 32, 8}, {0, 1003, 8}};
    assert_int_equal(drayi_place(env, ranges, 2, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.piece_count, 2);
    assert_int_equal(placement.read_bytes, 16);
    assert_int_equal(placement.placed[1].target_offset, 11); // 1003 mod 16, behind 8
    assert_int_equal(placement.bytes, 19);
    drayi_placement_free(&placement);
}

static void a_long_range_is_cut_where_the_file_is_aligned(void **state)
{
    (void)state;
    drayi_placement placement;
    drayi_range range = {.file = 0, .offset = 60, .bytes = 140}; // to 200
    assert_int_equal(drayi_place(env, &range, 1, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.piece_count, 4);
    assert_int_equal(placement.pieces[0].bytes, 4); // 60..64
    assert_int_equal(placement.pieces[1].file_offset, 64);
    assert_int_equal(placement.pieces[1].bytes, 64);
    assert_int_equal(placement.pieces[3].bytes, 8); // 192..200
    assert_int_equal(placement.placed[0].piece_count, 4);
    drayi_placement_free(&placement);
}

static void files_never_share_a_piece(void **state)
{
    (void)state;
    drayi_placement placement;
    drayi_range ranges[] = {{0, 0, 16}, {1, 16, 16}};
    assert_int_equal(drayi_place(env, ranges, 2, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.piece_count, 2);
    assert_int_equal(placement.pieces[1].file, 1);
    drayi_placement_free(&placement);
}

static void empty_ranges_have_a_place_and_no_piece(void **state)
{
    (void)state;
    drayi_placement placement;
    drayi_range ranges[] = {{0, 32, 0}, {0, 32, 8}, {0, 40, 0}};
    assert_int_equal(drayi_place(env, ranges, 3, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.piece_count, 1);
    assert_int_equal(placement.placed[0].piece_count, 0);
    assert_int_equal(placement.placed[1].piece_count, 1);
    assert_int_equal(placement.placed[2].piece_count, 0);
    assert_int_equal(placement.placed[2].target_offset, 8);
    drayi_placement_free(&placement);
    assert_int_equal(drayi_place(env, ranges, 1, &small, &placement, NULL), DRAY_OK);
    assert_int_equal(placement.bytes, 0);
    drayi_placement_free(&placement);
}

static void a_size_that_overflows_is_refused(void **state)
{
    (void)state;
    drayi_placement placement;
    dray_error error;
    drayi_range ranges[] = {{0, 0, 100}, {1, UINT64_MAX - 15, 8}, {2, 0, 0}};
    ranges[0].bytes = 100;
    ranges[1] = (drayi_range){.file = 1, .offset = 0, .bytes = 100};
    assert_int_equal(drayi_place(env, ranges, 2, &small, &placement, &error), DRAY_OK);
    drayi_placement_free(&placement);
    drayi_place_options huge = {.alignment = 16, .gap_most = 16, .piece_bytes = UINT64_C(1) << 63};
    ranges[0] = (drayi_range){.file = 0, .offset = 0, .bytes = UINT64_MAX - 10};
    ranges[1] = (drayi_range){.file = 1, .offset = 0, .bytes = 100};
    assert_int_equal(drayi_place(env, ranges, 2, &huge, &placement, &error), DRAY_E_NOSPACE);
    assert_true(strlen(error.message) > 10);
    assert_null(placement.pieces);
}

// --- promises ------------------------------------------------------------------------------------

/// Every byte of every range is brought to its place by exactly one piece, at the file's phase.
static void check_promises(const drayi_range *ranges, uint64_t count,
                           const drayi_place_options *options, const drayi_placement *placement)
{
    uint64_t read = 0;
    for (uint64_t p = 0; p < placement->piece_count; p++) {
        const drayi_piece *piece = &placement->pieces[p];
        read += piece->bytes;
        assert_true(piece->bytes > 0);
        assert_int_equal(
            (piece->target_offset + placement->phase - piece->file_offset) % options->alignment, 0);
        assert_true(piece->target_offset + piece->bytes <= placement->bytes);
        if (p > 0) {
            assert_true(piece[-1].target_offset + piece[-1].bytes <= piece->target_offset);
            if (piece[-1].file == piece->file)
                assert_true(piece[-1].file_offset + piece[-1].bytes <= piece->file_offset);
        }
        uint64_t end = piece->file_offset + piece->bytes;
        assert_true(piece->file_offset / options->piece_bytes == (end - 1) / options->piece_bytes);
    }
    assert_int_equal(read, placement->read_bytes);
    for (uint64_t i = 0; i < count; i++) {
        const drayi_placed *placed = &placement->placed[i];
        uint64_t found = 0;
        for (uint64_t p = placed->first_piece; p < placed->first_piece + placed->piece_count; p++) {
            const drayi_piece *piece = &placement->pieces[p];
            assert_int_equal(piece->file, ranges[i].file);
            assert_true(piece->first_range <= i && i < piece->first_range + piece->range_count);
            assert_int_equal(piece->target_offset - piece->file_offset,
                             placed->target_offset - ranges[i].offset);
            uint64_t begin =
                piece->file_offset > ranges[i].offset ? piece->file_offset : ranges[i].offset;
            uint64_t end = piece->file_offset + piece->bytes;
            uint64_t range_end = ranges[i].offset + ranges[i].bytes;
            end = end < range_end ? end : range_end;
            assert_true(begin < end);
            found += end - begin;
        }
        assert_int_equal(found, ranges[i].bytes);
    }
}

static void random_ranges_keep_every_promise(void **state)
{
    (void)state;
    enum { most = 40 };
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        random_sequence numbers = {.state = seed};
        drayi_range ranges[most];
        uint64_t count = 1 + sequence_below(&numbers, most), at = sequence_below(&numbers, 500);
        uint32_t file = 0;
        for (uint64_t i = 0; i < count; i++) {
            if (sequence_below(&numbers, 8) == 0) {
                file++;
                at = sequence_below(&numbers, 500);
            }
            uint64_t bytes = sequence_below(&numbers, 4) == 0 ? 0 : sequence_below(&numbers, 300);
            ranges[i] = (drayi_range){.file = file, .offset = at, .bytes = bytes};
            at += bytes + (sequence_below(&numbers, 2) ? 0 : sequence_below(&numbers, 60));
        }
        drayi_place_options options = {.alignment = UINT64_C(1) << sequence_below(&numbers, 6),
                                       .gap_most = sequence_below(&numbers, 40)};
        options.piece_bytes = options.alignment << sequence_below(&numbers, 4);
        drayi_placement placement;
        assert_int_equal(drayi_place(env, ranges, count, &options, &placement, NULL), DRAY_OK);
        check_promises(ranges, count, &options, &placement);
        drayi_placement_free(&placement);
    }
}

// --- the choice of a way --------------------------------------------------------------------------

enum { gigabyte = 1 << 30 };

static drayi_survey cold_disk(void)
{
    return (drayi_survey){
        .storage = DRAY_STORAGE_PINNED,
        .tensor_bytes = gigabyte,
        .destination_bytes = gigabyte,
        .looked_bytes = gigabyte,
        .available_bytes = UINT64_C(8) << 30,
        .file_system = "ext4",
        .direct_possible = true,
    };
}

static drayi_choice chosen(const drayi_survey *survey)
{
    drayi_choice choice;
    dray_error error;
    assert_int_equal(drayi_choose(survey, DRAY_LOAD_AUTO, &choice, &error), DRAY_OK);
    assert_true(strlen(choice.reason) > 5);
    return choice;
}

static void cold_files_are_read_past_the_cache(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    drayi_choice choice = chosen(&survey);
    assert_int_equal(choice.way, DRAYI_WAY_COPY);
    assert_int_equal(choice.direct, DRAY_DIRECT_AUTO);
    assert_string_equal(choice.reason, "direct: only 0% are in the page cache");
    survey.cached_bytes = DRAY_UNKNOWN;
    assert_int_equal(chosen(&survey).direct, DRAY_DIRECT_AUTO);
}

static void cached_files_are_not_read_from_the_disk_again(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    survey.cached_bytes = gigabyte / 2;
    drayi_choice choice = chosen(&survey);
    assert_int_equal(choice.way, DRAYI_WAY_COPY);
    assert_int_equal(choice.direct, DRAY_DIRECT_NEVER);
    assert_string_equal(choice.reason, "buffered: 50% are in the page cache");
}

static void a_cached_file_to_system_is_mapped_unless_its_cache_is_to_go(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    survey.storage = DRAY_STORAGE_SYSTEM;
    survey.cached_bytes = gigabyte;
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_MAPPED);
    survey.release_source = true;
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_COPY);
    survey.release_source = false;
    survey.network_file_system = true;
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_COPY);
}

static void what_does_not_fit_into_memory_is_mapped(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    survey.storage = DRAY_STORAGE_SYSTEM;
    survey.memory_limit = gigabyte - 1;
    drayi_choice choice = chosen(&survey);
    assert_int_equal(choice.way, DRAYI_WAY_MAPPED);
    assert_string_equal(choice.reason, "a copy needs 1073741824 bytes, the limit is 1073741823; "
                                       "a mapping needs none");
    survey.memory_limit = 0;
    survey.available_bytes = gigabyte / 2;
    survey.limited_by_cgroup = true;
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_MAPPED);
    survey.storage =
        DRAY_STORAGE_PINNED; // cannot be a mapping: the copy itself says that it does not fit
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_COPY);
}

static void writes_that_would_crowd_the_memory_go_past_it(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    survey.storage = DRAY_STORAGE_DISK;
    survey.cached_bytes = survey.looked_bytes;
    survey.available_bytes = 2ull * gigabyte;
    assert_int_equal(chosen(&survey).direct, DRAY_DIRECT_NEVER);
    survey.available_bytes = 2ull * gigabyte - 1;
    survey.limited_by_cgroup = true;
    assert_int_equal(chosen(&survey).direct, DRAY_DIRECT_AUTO);
    assert_string_equal(chosen(&survey).reason,
                        "direct: 1073741824 bytes that wait to be written would crowd the "
                        "2147483647 available in this cgroup");
    survey.storage = DRAY_STORAGE_PINNED;
    assert_int_equal(chosen(&survey).direct, DRAY_DIRECT_NEVER);
}

static void odd_file_systems_are_read_through_the_cache(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    survey.direct_possible = false;
    assert_int_equal(chosen(&survey).direct, DRAY_DIRECT_NEVER);
    survey = cold_disk();
    survey.network_file_system = true;
    survey.file_system = "nfs";
    assert_string_equal(chosen(&survey).reason, "buffered: large reads suit nfs best");
    survey = cold_disk();
    survey.memory_file_system = true;
    survey.file_system = "tmpfs";
    assert_string_equal(chosen(&survey).reason, "buffered: tmpfs keeps its files in memory");
    survey = cold_disk();
    survey.looked_bytes = 5000;
    assert_string_equal(chosen(&survey).reason, "buffered: only 5000 bytes");
}

static void bytes_in_memory_are_viewed_or_copied_and_never_read(void **state)
{
    (void)state;
    dray_error error;
    drayi_choice choice;
    drayi_survey survey = {.in_memory = true, .storage = DRAY_STORAGE_SYSTEM};
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_VIEW);
    survey.storage = DRAY_STORAGE_PINNED;
    assert_int_equal(chosen(&survey).way, DRAYI_WAY_COPY);
    assert_int_equal(drayi_choose(&survey, DRAY_LOAD_DIRECT, &choice, &error), DRAY_E_INVALID);
    assert_string_equal(error.message,
                        "method direct reads files, but the model's bytes are in memory "
                        "already: leave the method to auto");
}

static void what_was_asked_for_is_done(void **state)
{
    (void)state;
    drayi_survey survey = cold_disk();
    drayi_choice choice;
    assert_int_equal(drayi_choose(&survey, DRAY_LOAD_BUFFERED, &choice, NULL), DRAY_OK);
    assert_int_equal(choice.direct, DRAY_DIRECT_NEVER);
    assert_int_equal(drayi_choose(&survey, DRAY_LOAD_DIRECT, &choice, NULL), DRAY_OK);
    assert_int_equal(choice.direct, DRAY_DIRECT_ONLY);
    assert_int_equal(drayi_choose(&survey, DRAY_LOAD_MAPPED, &choice, NULL), DRAY_OK);
    assert_int_equal(choice.way, DRAYI_WAY_MAPPED);
    assert_int_equal(drayi_choose(&survey, (dray_load_method)9, &choice, NULL), DRAY_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_range_keeps_its_phase),
        cmocka_unit_test(neighbours_are_one_run_with_their_gap),
        cmocka_unit_test(a_wide_gap_is_not_read),
        cmocka_unit_test(a_long_range_is_cut_where_the_file_is_aligned),
        cmocka_unit_test(files_never_share_a_piece),
        cmocka_unit_test(empty_ranges_have_a_place_and_no_piece),
        cmocka_unit_test(a_size_that_overflows_is_refused),
        cmocka_unit_test(random_ranges_keep_every_promise),
        cmocka_unit_test(cold_files_are_read_past_the_cache),
        cmocka_unit_test(cached_files_are_not_read_from_the_disk_again),
        cmocka_unit_test(a_cached_file_to_system_is_mapped_unless_its_cache_is_to_go),
        cmocka_unit_test(what_does_not_fit_into_memory_is_mapped),
        cmocka_unit_test(writes_that_would_crowd_the_memory_go_past_it),
        cmocka_unit_test(odd_file_systems_are_read_through_the_cache),
        cmocka_unit_test(bytes_in_memory_are_viewed_or_copied_and_never_read),
        cmocka_unit_test(what_was_asked_for_is_done),
    };
    return cmocka_run_group_tests(tests, make_context, drop_context);
}
