/// Moves of blocks: how few copies they become, and every request that is refused, with its message.
#include "support/counting_allocator.h"
#include "support/testing.h"
#include <dray/context.h>
#include <dray/layout.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rig {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_error error;
    dray_copy *copies;
    uint64_t count;
} rig;

static int rig_open(void **state)
{
    rig *made = calloc(1, sizeof(*made));
    assert_non_null(made);
    counting_allocator_init(&made->counter, 0);
    const dray_context_options options = {
        .struct_bytes = sizeof(options), .allocator = counting_allocator_interface(&made->counter)};
    assert_int_equal(dray_context_create(&options, &made->context, NULL), DRAY_OK);
    assert_int_equal(dray_agent_create(made->context, NULL, &made->agent, NULL), DRAY_OK);
    *state = made;
    return 0;
}

static int rig_close(void **state)
{
    rig *made = *state;
    dray_agent_destroy(made->agent);
    dray_context_destroy(made->context);
    assert_int_equal(counting_allocator_live_bytes(&made->counter), 0);
    free(made);
    return 0;
}

/// From a line as the command line takes it, in memory.
static dray_layout *built(rig *with, const char *text)
{
    char line[256];
    dray_layout_config config = {.struct_bytes = sizeof(config),
                                 .kind = DRAY_LAYOUT_CONTIGUOUS,
                                 .num_blocks = 16,
                                 .num_layers = 3,
                                 .outer_dim = 2,
                                 .page_size = 4,
                                 .inner_dim = 8,
                                 .num_heads = 2,
                                 .dtype_width_bytes = 2};
    snprintf(line, sizeof(line), "%s", text);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        unsigned value = 0;
        if (sscanf(word, "blocks=%u", &value) == 1)
            config.num_blocks = value;
        else if (sscanf(word, "layers=%u", &value) == 1)
            config.num_layers = value;
        else if (sscanf(word, "outer=%u", &value) == 1)
            config.outer_dim = value;
        else if (sscanf(word, "page=%u", &value) == 1)
            config.page_size = value;
        else if (sscanf(word, "inner=%u", &value) == 1)
            config.inner_dim = value;
        else if (sscanf(word, "heads=%u", &value) == 1)
            config.num_heads = value;
        else if (sscanf(word, "dtype=%u", &value) == 1)
            config.dtype_width_bytes = value;
        else if (strcmp(word, "first") == 0)
            config.kind = DRAY_LAYOUT_LAYER_SEPARATE_FIRST;
        else if (strcmp(word, "second") == 0)
            config.kind = DRAY_LAYOUT_LAYER_SEPARATE_SECOND;
        else if (strcmp(word, "HND") == 0)
            config.format = DRAY_BLOCK_HND;
        else if (strcmp(word, "TP") == 0)
            config.format = DRAY_BLOCK_UNIVERSAL_TP;
        else
            assert_string_equal(word, "contiguous");
    }
    const dray_layout_allocation system = {.struct_bytes = sizeof(system),
                                           .storage = DRAY_STORAGE_SYSTEM};
    const dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &system, .unregistered = 1};
    dray_layout *layout = NULL;
    if (dray_layout_build(with->agent, &options, &layout, &with->error) != DRAY_OK)
        fail_msg("%s", with->error.message);
    return layout;
}

static const uint64_t ascending[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static dray_layout_move move_of(dray_layout *const *from, dray_layout *const *to, uint64_t count)
{
    return (dray_layout_move){.struct_bytes = sizeof(dray_layout_move),
                              .sources = from,
                              .targets = to,
                              .source_count = 1,
                              .target_count = 1,
                              .source_blocks = ascending,
                              .target_blocks = ascending,
                              .source_block_count = count,
                              .target_block_count = count};
}

static void copies_free(rig *with)
{
    dray_layout_copies_free(with->agent, with->copies, with->count);
}

static dray_status copies_of(rig *with, const dray_layout_move *move)
{
    return dray_layout_move_copies(with->agent, move, &with->copies, &with->count, &with->error);
}

// --- as few copies as loops allow ----------------------------------------------------------------------

/// The copies of a move between two layouts that are described by words.
static void work_out(rig *with, const char *from, const char *to, const uint64_t *source_blocks,
                     const uint64_t *target_blocks, uint64_t count)
{
    dray_layout *layouts[2] = {built(with, from), built(with, to)};
    dray_layout_move move = move_of(&layouts[0], &layouts[1], count);
    if (source_blocks)
        move.source_blocks = source_blocks;
    if (target_blocks)
        move.target_blocks = target_blocks;
    if (copies_of(with, &move) != DRAY_OK)
        fail_msg("%s", with->error.message);
    dray_layout_destroy(layouts[0]);
    dray_layout_destroy(layouts[1]);
}

static void neighbouring_whole_blocks_are_one_run(void **state)
{
    rig *with = *state;
    work_out(with, "contiguous", "contiguous", NULL, NULL, 16);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].loop_count, 0);
    assert_int_equal(with->copies[0].run_bytes, 16 * 3 * 2 * 4 * 8 * 2);
    copies_free(with);
}

static void blocks_at_equal_distances_are_one_loop(void **state)
{
    static const uint64_t even[5] = {2, 4, 6, 8, 10}, third[5] = {0, 3, 6, 9, 12};
    rig *with = *state;
    work_out(with, "contiguous", "contiguous", even, third, 5);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].run_bytes, 384);
    assert_int_equal(with->copies[0].loop_count, 1);
    assert_int_equal(with->copies[0].loops[0].count, 5);
    assert_int_equal(with->copies[0].loops[0].source_stride, 2 * 384);
    assert_int_equal(with->copies[0].loops[0].target_stride, 3 * 384);
    copies_free(with);
}

static void the_order_of_the_lists_does_not_cost_copies(void **state)
{
    static const uint64_t down[4] = {9, 8, 7, 6}, mixed[6] = {3, 0, 5, 1, 4, 2};
    rig *with = *state;
    work_out(with, "contiguous", "contiguous", down, down, 4);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].run_bytes, 4 * 384);
    assert_int_equal(with->copies[0].source_offset, 6 * 384);
    copies_free(with);
    work_out(with, "contiguous", "first", mixed, mixed, 6);
    assert_int_equal(with->count, 1);
    copies_free(with);
}

static void layers_in_one_allocation_are_a_loop(void **state)
{
    rig *with = *state;
    work_out(with, "first", "contiguous", NULL, NULL, 16);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].loop_count, 2); // blocks, layers; both outers are one run
    assert_int_equal(with->copies[0].run_bytes, 2 * 64);
    copies_free(with);
    work_out(with, "contiguous", "second", NULL, NULL, 16);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].loop_count, 2); // blocks; layers and outers are one loop
    assert_int_equal(with->copies[0].run_bytes, 64);
    copies_free(with);
}

static void a_permute_of_all_blocks_is_one_copy(void **state)
{
    rig *with = *state;
    work_out(with, "contiguous", "TP", NULL, NULL, 16);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].run_bytes, 4 * 2); // a head
    assert_int_equal(with->copies[0].loop_count, 3); // blocks, heads; layers to tokens are one loop
    copies_free(with);
    work_out(with, "TP", "TP", NULL, NULL, 16);
    assert_int_equal(with->copies[0].loop_count, 0);
    copies_free(with);
}

static void pages_split_and_merge_by_tokens(void **state)
{
    rig *with = *state;
    dray_layout *large = built(with, "page=16"), *small = built(with, "page=4");
    dray_layout_move split = move_of(&large, &small, 4), merge = move_of(&small, &large, 4);
    split.target_block_count = 16;
    merge.source_block_count = 16;
    assert_int_equal(copies_of(with, &split), DRAY_OK);
    assert_int_equal(with->count, 1);
    assert_int_equal(with->copies[0].run_bytes, 4 * 8 * 2); // four tokens of one layer and outer
    copies_free(with);
    assert_int_equal(copies_of(with, &merge), DRAY_OK);
    assert_int_equal(with->count, 1);
    copies_free(with);
    dray_layout_destroy(large);
    dray_layout_destroy(small);
}

/// 64 heads of 16 bytes for every token: run by run they would be 1024 operations a block.
static void short_runs_are_put_together_on_their_way_to_a_file(void **state)
{
    rig *with = *state;
    const char *shape = "contiguous page=16 inner=512 heads=64", *folder = getenv("TMPDIR");
    dray_layout *memory = built(with, shape), *file = NULL;
    dray_layout_config config = dray_layout_get_geometry(memory)->config;
    config.format = DRAY_BLOCK_UNIVERSAL_TP;
    const dray_layout_allocation disk = {.struct_bytes = sizeof(disk),
                                         .storage = DRAY_STORAGE_DISK,
                                         .folder = folder ? folder : "/tmp"};
    const dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &disk, .unregistered = 1};
    assert_int_equal(dray_layout_build(with->agent, &options, &file, &with->error), DRAY_OK);
    dray_layout *const sides[2] = {memory, file};
    for (int back = 0; back < 2; back++) {
        dray_layout_move move = move_of(&sides[back], &sides[!back], 16);
        dray_plan *plan;
        dray_plan_summary summary;
        assert_int_equal(dray_layout_plan_move(with->agent, &move, NULL, &plan, &with->error),
                         DRAY_OK);
        dray_plan_summarize(plan, &summary);
        assert_int_equal(summary.hops, 2);
        assert_in_range(summary.segments, 2, 256); // of 98304 runs
        dray_plan_destroy(plan);
        // too little memory for the detour: run by run, as ever
        const dray_plan_options poor = {.struct_bytes = sizeof(poor), .staging_bytes = 4096};
        assert_int_equal(dray_layout_plan_move(with->agent, &move, &poor, &plan, &with->error),
                         DRAY_OK);
        dray_plan_summarize(plan, &summary);
        assert_int_equal(summary.hops, 1);
        assert_true(summary.segments > 90000);
        dray_plan_destroy(plan);
    }
    dray_layout_destroy(memory);
    dray_layout_destroy(file);
}

static void posting_again_allocates_nothing(void **state)
{
    rig *with = *state;
    dray_layout *layouts[2] = {built(with, "contiguous"), built(with, "TP")};
    dray_layout_move move = move_of(&layouts[0], &layouts[1], 16);
    dray_plan *plan;
    dray_transfer *transfer;
    assert_int_equal(dray_layout_plan_move(with->agent, &move, NULL, &plan, &with->error), DRAY_OK);
    assert_int_equal(dray_transfer_create(with->agent, plan, NULL, &transfer, &with->error),
                     DRAY_OK);
    uint64_t before = counting_allocator_calls(&with->counter);
    for (int run = 0; run < 3; run++) {
        assert_int_equal(dray_transfer_submit(transfer, &with->error), DRAY_OK);
        assert_int_equal(dray_transfer_wait(transfer, -1, &with->error), DRAY_OK);
    }
    assert_int_equal(counting_allocator_calls(&with->counter), before);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    dray_layout_destroy(layouts[0]);
    dray_layout_destroy(layouts[1]);
}

static void nothing_to_move_is_a_plan_of_nothing(void **state)
{
    rig *with = *state;
    work_out(with, "contiguous", "first", NULL, NULL, 0);
    assert_int_equal(with->count, 0);
    copies_free(with);
}

// --- what is refused -----------------------------------------------------------------------------------

static void expect_refused(rig *with, const dray_layout_move *move, const char *message)
{
    dray_plan *plan;
    assert_int_equal(copies_of(with, move), DRAY_E_INVALID);
    assert_string_equal(with->error.message, message);
    assert_int_equal(dray_layout_plan_move(with->agent, move, NULL, &plan, &with->error),
                     DRAY_E_INVALID);
    assert_string_equal(with->error.message, message);
}

static void expect_unfit(rig *with, const char *from, const char *to, const char *message)
{
    dray_layout *layouts[2] = {built(with, from), built(with, to)};
    dray_layout_move move = move_of(&layouts[0], &layouts[1], 4);
    expect_refused(with, &move, message);
    dray_layout_destroy(layouts[0]);
    dray_layout_destroy(layouts[1]);
}

static void sides_that_do_not_fit_are_refused_with_both_numbers(void **state)
{
    rig *with = *state;
    expect_unfit(
        with, "outer=2", "outer=1",
        "layout move: layouts have incompatible outer dimensions: 2 in the source, 1 in the target");
    expect_unfit(
        with, "dtype=2", "dtype=4",
        "layout move: layouts have incompatible elements: of 2 bytes in the source, of 4 in the target");
    expect_unfit(
        with, "layers=3", "layers=5",
        "layout move: layouts have incompatible layer counts: 3 in the source, 5 in the target; "
        "give a range of layers");
    expect_unfit(with, "inner=8 heads=2", "inner=8 heads=4",
                 "layout move: target layout 0 has heads of 2 elements, a layout before it of 4");
    expect_unfit(
        with, "inner=8 heads=2", "inner=16 heads=4",
        "layout move: layouts have incompatible inner dimensions: 8 elements per token in the "
        "source, 16 in the target");
    expect_unfit(
        with, "inner=8 heads=0", "inner=12 heads=4",
        "layout move: inner_dim 8 of source layout 0 is not a multiple of the others' head_dim 3");
    expect_unfit(
        with, "page=4", "page=8",
        "layout move: block lists have incompatible lengths: 4 source blocks of 4 tokens, 4 target "
        "blocks of 8");
}

static void ids_are_checked_in_every_build(void **state)
{
    static const uint64_t outside[3] = {0, 16, 1}, twice[3] = {7, 2, 7}, shifted[3] = {1, 2, 3};
    rig *with = *state;
    dray_layout *a = built(with, "contiguous"), *b = built(with, "second");
    dray_layout_move move = move_of(&a, &b, 3);
    move.source_blocks = outside;
    expect_refused(with, &move,
                   "layout move: source block 16 at position 1 is out of range (max: 15)");
    assert_int_equal(with->error.index, 1);
    move = move_of(&a, &b, 3);
    move.target_blocks = outside;
    expect_refused(with, &move,
                   "layout move: target block 16 at position 1 is out of range (max: 15)");
    move.target_blocks = twice;
    expect_refused(with, &move,
                   "layout move: duplicate destination: target block 7 at positions 0 and 2");
    assert_int_equal(with->error.index, 2);
    move = move_of(&a, &a, 3);
    move.target_blocks = shifted;
    expect_refused(
        with, &move,
        "layout move: overlapping blocks: block 1 of one layout is a source, at position 1, and a "
        "target, at position 0");
    move.source_blocks = NULL;
    expect_refused(with, &move, "layout move: 3 source blocks at a NULL pointer");
    dray_layout_destroy(a);
    dray_layout_destroy(b);
}

static void layers_outside_are_named(void **state)
{
    rig *with = *state;
    dray_layout *a = built(with, "layers=3"), *b = built(with, "layers=5");
    dray_layout_move move = move_of(&a, &b, 2);
    move.layer_count = 2;
    move.source_layer = 2;
    expect_refused(with, &move, "layout move: layers 2 to 3 of the source are wanted, it has 3");
    move.source_layer = 1;
    move.target_layer = 4;
    expect_refused(with, &move, "layout move: layers 4 to 5 of the target are wanted, it has 5");
    move.target_layer = 3;
    assert_int_equal(copies_of(with, &move), DRAY_OK);
    copies_free(with);
    dray_layout_destroy(a);
    dray_layout_destroy(b);
}

static void other_layers_of_the_same_blocks_do_not_overlap(void **state)
{
    rig *with = *state;
    dray_layout *a = built(with, "layers=4");
    dray_layout_move move = move_of(&a, &a, 16);
    move.layer_count = 2;
    move.target_layer = 2;
    assert_int_equal(copies_of(with, &move), DRAY_OK);
    copies_free(with);
    move.target_layer = 1;
    assert_int_equal(copies_of(with, &move), DRAY_E_INVALID);
    dray_layout_destroy(a);
}

static void shards_must_differ_in_heads_only(void **state)
{
    rig *with = *state;
    dray_layout *whole = built(with, "inner=16 heads=4"), *half = built(with, "contiguous"),
                *other = built(with, "page=8"), *deep = built(with, "layers=4");
    dray_layout *const pages[2] = {half, other}, *const layers[2] = {half, deep},
                       *const same[2] = {half, half};
    dray_layout_move move = move_of(&whole, pages, 2);
    move.target_count = 2;
    expect_refused(
        with, &move,
        "layout move: target layout 1 has page_size 8, layout 0 has 4; shards differ in their "
        "heads only");
    move.targets = layers;
    expect_refused(
        with, &move,
        "layout move: target layout 1 has num_layers 4, layout 0 has 3; shards differ in their "
        "heads only");
    move.targets = same;
    expect_refused(with, &move, "layout move: target layouts 0 and 1 are one and the same");
    move.target_count = 0;
    expect_refused(with, &move, "layout move: no target layout");
    dray_layout_destroy(whole);
    dray_layout_destroy(half);
    dray_layout_destroy(other);
    dray_layout_destroy(deep);
}

/// Two layouts over one memory: the ids say nothing, the addresses do.
static void the_same_regions_under_two_layouts_are_seen(void **state)
{
    rig *with = *state;
    dray_layout *a = built(with, "contiguous");
    dray_region *region = dray_layout_region(a, 0);
    dray_layout_config config = dray_layout_get_geometry(a)->config;
    config.format = DRAY_BLOCK_UNIVERSAL_TP;
    const dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = &region, .region_count = 1};
    const dray_layout_options options = {.struct_bytes = sizeof(options),
                                         .config = &config,
                                         .provided = &provided,
                                         .unregistered = 1};
    dray_layout *b;
    assert_int_equal(dray_layout_build(with->agent, &options, &b, &with->error), DRAY_OK);
    static const uint64_t low[4] = {0, 1, 2, 3}, high[4] = {3, 4, 5, 6}, above[4] = {4, 5, 6, 7};
    dray_layout_move move = move_of(&a, &b, 4);
    move.source_blocks = low;
    move.target_blocks = high;
    assert_int_equal(copies_of(with, &move), DRAY_E_INVALID);
    assert_non_null(strstr(with->error.message, "overlaps the source"));
    move.target_blocks = above;
    assert_int_equal(copies_of(with, &move), DRAY_OK);
    copies_free(with);
    dray_layout_destroy(b);
    dray_layout_destroy(a);
}

static void a_failed_allocation_leaves_nothing_behind(void **state)
{
    rig *with = *state;
    static const uint64_t mixed[6] = {3, 0, 9, 1, 14, 2};
    dray_layout *a = built(with, "contiguous"), *b = built(with, "TP");
    dray_layout_move move = move_of(&a, &b, 6);
    move.target_blocks = mixed;
    uint64_t live = counting_allocator_live_bytes(&with->counter);
    dray_status status = DRAY_E_NOMEM;
    for (uint64_t at = 1; status != DRAY_OK; at++) {
        dray_plan *plan = NULL;
        with->counter.fail_at = counting_allocator_calls(&with->counter) + at;
        status = dray_layout_plan_move(with->agent, &move, NULL, &plan, &with->error);
        with->counter.fail_at = 0;
        if (status != DRAY_OK) {
            assert_int_equal(status, DRAY_E_NOMEM);
            assert_true(with->error.message[0] != '\0');
        }
        dray_plan_destroy(plan);
        assert_int_equal(counting_allocator_live_bytes(&with->counter), live);
    }
    dray_layout_destroy(a);
    dray_layout_destroy(b);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        CASE(neighbouring_whole_blocks_are_one_run),
        CASE(blocks_at_equal_distances_are_one_loop),
        CASE(the_order_of_the_lists_does_not_cost_copies),
        CASE(layers_in_one_allocation_are_a_loop),
        CASE(a_permute_of_all_blocks_is_one_copy),
        CASE(pages_split_and_merge_by_tokens),
        CASE(short_runs_are_put_together_on_their_way_to_a_file),
        CASE(posting_again_allocates_nothing),
        CASE(nothing_to_move_is_a_plan_of_nothing),
        CASE(sides_that_do_not_fit_are_refused_with_both_numbers),
        CASE(ids_are_checked_in_every_build),
        CASE(layers_outside_are_named),
        CASE(other_layers_of_the_same_blocks_do_not_overlap),
        CASE(shards_must_differ_in_heads_only),
        CASE(the_same_regions_under_two_layouts_are_seen),
        CASE(a_failed_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
