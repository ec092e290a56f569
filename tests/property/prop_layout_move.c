/// Random moves between random layouts, compared byte for byte with a naive loop over elements.
///
/// Kinds, formats, shards, page sizes, layers, widths, alignments, the lists of blocks and where the bytes
/// lie (memory in one piece or in a piece per region, files) are drawn from one number; a failure prints it,
/// and `prop_layout_move NUMBER` runs that case alone, `prop_layout_move NUMBER COUNT` that many from there on.
#include "support/sequence.h"
#include "support/test_file.h"
#include "support/testing.h"
#include <dray/context.h>
#include <dray/layout.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { shards_max = 4, regions_max = 6, blocks_max = 14, list_max = 64 };

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
static uint64_t first_seed = 1, seed_count = 300;
#else
static uint64_t first_seed = 1, seed_count = 2000;
#endif

/// A layout with its bytes: `bytes` is what its memory or file holds, `wanted` what it should hold.
typedef struct shard {
    dray_layout_config config;
    dray_layout_geometry geometry;
    dray_layout *layout;
    uint64_t heads;
    uint8_t *bytes[regions_max], *wanted[regions_max];
    uint64_t region_bytes;
    uint32_t pieces; // region_count, or 1: all regions in one piece
    dray_region *regions[regions_max];
    const char *path; // NULL: memory
} shard;

typedef struct side {
    shard shards[shards_max];
    dray_layout *layouts[shards_max];
    uint32_t count, page, layers, first_layer;
    uint64_t blocks[list_max], block_count;
} side;

typedef struct world {
    random_sequence random;
    dray_context *context;
    dray_agent *agent;
    dray_error error;
    uint32_t heads, head_dim, outer, width, layers; // layers that move
    side from, to;
    bool one_layout;
} world;

static uint64_t below(world *all, uint64_t limit)
{
    return sequence_below(&all->random, limit);
}

// --- the oracle: where an element is, from the definition ----------------------------------------------

/// Position of (layer, outer, token, head) in an order of these four, in heads.
static uint64_t ordered(const dray_block_dim order[4], const uint64_t sizes[5],
                        const uint64_t index[5])
{
    uint64_t at = 0;
    for (int i = 0; i < 4; i++)
        at = at * sizes[order[i]] + index[order[i]];
    return at;
}

static uint64_t rounded(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

/// The region, and the byte in it, of a head's first element.
static uint64_t head_place(const shard *owner, uint64_t block, uint64_t layer, uint64_t outer,
                           uint64_t token, uint64_t head, uint64_t *out_region)
{
    static const dray_block_dim nhd[4] = {DRAY_DIM_LAYER, DRAY_DIM_OUTER, DRAY_DIM_TOKEN,
                                          DRAY_DIM_HEAD},
                                hnd[4] = {DRAY_DIM_LAYER, DRAY_DIM_OUTER, DRAY_DIM_HEAD,
                                          DRAY_DIM_TOKEN},
                                tp[4] = {DRAY_DIM_HEAD, DRAY_DIM_LAYER, DRAY_DIM_OUTER,
                                         DRAY_DIM_TOKEN},
                                pp[4] = {DRAY_DIM_LAYER, DRAY_DIM_HEAD, DRAY_DIM_OUTER,
                                         DRAY_DIM_TOKEN};
    const dray_layout_config *config = &owner->config;
    const dray_block_dim *order = config->format == DRAY_BLOCK_NHD            ? nhd
                                  : config->format == DRAY_BLOCK_HND          ? hnd
                                  : config->format == DRAY_BLOCK_UNIVERSAL_TP ? tp
                                  : config->format == DRAY_BLOCK_UNIVERSAL_PP ? pp
                                                                              : config->order;
    uint64_t head_bytes = config->inner_dim / owner->heads * config->dtype_width_bytes;
    uint64_t alignment = config->alignment ? config->alignment : 1;
    uint64_t slice = config->page_size * config->inner_dim * config->dtype_width_bytes;
    uint64_t sizes[5] = {0, config->num_layers, config->outer_dim, config->page_size, owner->heads};
    uint64_t index[5] = {0, layer, outer, token, head};
    if (config->kind == DRAY_LAYOUT_CONTIGUOUS) {
        *out_region = 0;
        return block * rounded(slice * config->outer_dim * config->num_layers, alignment) +
               ordered(order, sizes, index) * head_bytes;
    }
    *out_region = layer;
    sizes[DRAY_DIM_LAYER] = sizes[DRAY_DIM_OUTER] = 1;
    index[DRAY_DIM_LAYER] = index[DRAY_DIM_OUTER] = 0;
    uint64_t inside = ordered(order, sizes, index) * head_bytes;
    if (config->kind == DRAY_LAYOUT_LAYER_SEPARATE_FIRST)
        return block * rounded(slice * config->outer_dim, alignment) + outer * slice + inside;
    return (outer * config->num_blocks + block) * rounded(slice, alignment) + inside;
}

static uint8_t *element_of(shard *owner, bool wanted, uint64_t block, uint64_t layer,
                           uint64_t outer, uint64_t token, uint64_t head)
{
    uint64_t region, at = head_place(owner, block, layer, outer, token, head, &region);
    uint64_t piece = owner->pieces == 1 ? 0 : region;
    if (owner->pieces == 1)
        at += dray_layout_region_offset(&owner->geometry, region);
    assert_in_range(at, 0, owner->region_bytes - 1);
    return (wanted ? owner->wanted[piece] : owner->bytes[piece]) + at;
}

/// The shard that has head `head` of the whole, and which of its heads it is.
static shard *shard_of(side *given, uint64_t head, uint64_t *out_head)
{
    uint32_t i = 0;
    for (; head >= given->shards[i].heads; i++)
        head -= given->shards[i].heads;
    *out_head = head;
    return &given->shards[i];
}

static void expect_token(world *all, uint64_t number)
{
    side *from = &all->from, *to = &all->to;
    uint64_t source = from->blocks[number / from->page], target = to->blocks[number / to->page];
    for (uint64_t layer = 0; layer < all->layers; layer++) {
        for (uint64_t outer = 0; outer < all->outer; outer++) {
            for (uint64_t head = 0; head < all->heads; head++) {
                uint64_t source_head, target_head;
                shard *one = shard_of(from, head, &source_head),
                      *other = shard_of(to, head, &target_head);
                memcpy(element_of(other, true, target, to->first_layer + layer, outer,
                                  number % to->page, target_head),
                       element_of(one, false, source, from->first_layer + layer, outer,
                                  number % from->page, source_head),
                       (size_t)all->head_dim * all->width);
            }
        }
    }
}

// --- a world from a seed -------------------------------------------------------------------------------

static void random_order(world *all, dray_block_dim order[4])
{
    for (int i = 0; i < 4; i++)
        order[i] = (dray_block_dim)(i + 1);
    for (uint64_t i = 3; i > 0; i--) {
        uint64_t k = below(all, i + 1);
        dray_block_dim swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
}

static void random_config(world *all, const side *given, shard *made)
{
    static const uint64_t alignments[] = {0, 1, 1, 2, 16, 64, 256};
    dray_layout_config *config = &made->config;
    *config = (dray_layout_config){.struct_bytes = sizeof(*config),
                                   .kind = (dray_layout_kind)(1 + below(all, 3)),
                                   .num_blocks = blocks_max,
                                   .page_size = given->page,
                                   .inner_dim = made->heads * all->head_dim,
                                   .alignment = alignments[below(all, 7)],
                                   .num_layers = given->layers,
                                   .outer_dim = all->outer,
                                   .num_heads = (uint32_t)made->heads,
                                   .dtype_width_bytes = all->width};
    bool contiguous = config->kind == DRAY_LAYOUT_CONTIGUOUS;
    config->format = (dray_block_format)below(all, contiguous ? 5 : 2);
    if (config->format == DRAY_BLOCK_CUSTOM)
        random_order(all, config->order);
    if (config->format == DRAY_BLOCK_NHD && below(all, 4) == 0)
        config->num_heads = 0; // the same bytes, but nobody said so
}

static void shard_fill(world *all, shard *made)
{
    for (uint32_t i = 0; i < made->pieces; i++) {
        made->bytes[i] = aligned_alloc(4096, rounded(made->region_bytes, 4096));
        made->wanted[i] = malloc(made->region_bytes);
        assert_true(made->bytes[i] && made->wanted[i]);
        for (uint64_t k = 0; k < made->region_bytes; k++)
            made->bytes[i][k] = (uint8_t)sequence_next(&all->random);
        memcpy(made->wanted[i], made->bytes[i], made->region_bytes);
    }
}

static void shard_wrap(world *all, shard *made)
{
    if (made->path) {
        const dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
        assert_int_equal(
            dray_region_open(all->context, made->path, &writable, &made->regions[0], &all->error),
            DRAY_OK);
        return;
    }
    for (uint32_t i = 0; i < made->pieces; i++)
        assert_int_equal(dray_region_wrap(all->context, DRAY_STORAGE_SYSTEM, made->bytes[i],
                                          made->region_bytes, NULL, NULL, &made->regions[i],
                                          &all->error),
                         DRAY_OK);
}

static void shard_build(world *all, const side *given, shard *made, uint32_t number)
{
    random_config(all, given, made);
    bool file = below(all, 5) == 0;
    dray_status status =
        dray_layout_measure(&made->config, file ? DRAY_STORAGE_DISK : DRAY_STORAGE_SYSTEM,
                            &made->geometry, &all->error);
    if (status != DRAY_OK)
        fail_msg("measure: %s", all->error.message);
    bool base = file || below(all, 2);
    made->pieces = base ? 1 : (uint32_t)made->geometry.region_count;
    made->region_bytes = base ? made->geometry.base_bytes : made->geometry.region_bytes;
    shard_fill(all, made);
    if (file) {
        char name[32];
        snprintf(name, sizeof(name), "shard%u", number);
        made->path = test_file_path(name);
        test_file_write(name, made->bytes[0], made->region_bytes);
    }
    shard_wrap(all, made);
    const dray_layout_provided provided = {.struct_bytes = sizeof(provided),
                                           .regions = made->regions,
                                           .region_count = made->pieces,
                                           .is_base = base};
    const dray_layout_options options = {.struct_bytes = sizeof(options),
                                         .config = &made->config,
                                         .provided = &provided,
                                         .unregistered = 1};
    status = dray_layout_build(all->agent, &options, &made->layout, &all->error);
    if (status != DRAY_OK)
        fail_msg("build: %s", all->error.message);
}

static void side_build(world *all, side *made, uint32_t number)
{
    made->count = 1;
    if (below(all, 3) == 0)
        made->count = 1 + (uint32_t)below(all, all->heads < shards_max ? all->heads : shards_max);
    uint64_t left = all->heads;
    for (uint32_t i = 0; i < made->count; i++) {
        uint64_t others = made->count - i - 1;
        made->shards[i].heads = others ? 1 + below(all, left - others) : left;
        left -= made->shards[i].heads;
        shard_build(all, made, &made->shards[i], number + i);
        made->layouts[i] = made->shards[i].layout;
    }
}

/// `count` blocks, all different when `distinct`, in stretches, at equal distances, or anyhow.
static void list_draw(world *all, side *given, bool distinct, const bool taken[blocks_max])
{
    bool used[blocks_max];
    for (int i = 0; i < blocks_max; i++)
        used[i] = taken && taken[i];
    uint64_t style = below(all, 4), at = below(all, blocks_max), step = 1 + below(all, 3);
    for (uint64_t i = 0; i < given->block_count; i++) {
        if (style == 0)
            at = below(all, blocks_max);
        while (distinct && used[at % blocks_max])
            at++;
        given->blocks[i] = at % blocks_max;
        used[at % blocks_max] = true;
        at += style == 3 ? blocks_max - step : step;
    }
}

static void lists_build(world *all)
{
    uint64_t larger = all->from.page > all->to.page ? all->from.page : all->to.page;
    uint64_t most = (uint64_t)(all->one_layout ? blocks_max / 2 : blocks_max) * all->to.page;
    uint64_t rooms = most / larger, tokens = larger * below(all, rooms + 1);
    all->from.block_count = tokens / all->from.page;
    all->to.block_count = tokens / all->to.page;
    while (all->from.block_count > list_max) { // small pages feed large ones
        tokens -= larger;
        all->from.block_count = tokens / all->from.page;
        all->to.block_count = tokens / all->to.page;
    }
    bool taken[blocks_max] = {false};
    list_draw(all, &all->to, true, NULL);
    for (uint64_t i = 0; all->one_layout && i < all->to.block_count; i++)
        taken[all->to.blocks[i]] = true;
    list_draw(all, &all->from, all->one_layout, taken);
}

static void world_open(world *all, uint64_t seed)
{
    static const uint32_t heads[] = {1, 2, 3, 4, 8}, widths[] = {1, 2, 4, 8},
                          dims[] = {1, 2, 3, 8, 16, 32};
    *all = (world){.random.state = seed};
    const dray_context_options options = {.struct_bytes = sizeof(options),
                                          .thread_count = (uint32_t)below(all, 2)};
    assert_int_equal(dray_context_create(&options, &all->context, NULL), DRAY_OK);
    assert_int_equal(dray_agent_create(all->context, NULL, &all->agent, NULL), DRAY_OK);
    all->heads = heads[below(all, 5)];
    all->head_dim = dims[below(all, 6)];
    all->width = widths[below(all, 4)];
    all->outer = 1 + (uint32_t)below(all, 2);
    all->layers = 1 + (uint32_t)below(all, 3);
    bool all_layers = below(all, 2);
    side *sides[2] = {&all->from, &all->to};
    for (uint32_t i = 0; i < 2; i++) {
        sides[i]->page = (uint32_t)1 << below(all, 5);
        sides[i]->first_layer = all_layers ? 0 : (uint32_t)below(all, 3);
        sides[i]->layers =
            sides[i]->first_layer + all->layers + (all_layers ? 0 : (uint32_t)below(all, 2));
    }
    side_build(all, &all->from, 0);
    all->one_layout = below(all, 6) == 0 && all->from.count == 1;
    if (all->one_layout) {
        all->to.page = all->from.page;
        all->to.first_layer = all->from.first_layer;
        all->to.layers = all->from.layers;
        all->to.count = 1;
        all->to.shards[0] = all->from.shards[0];
        all->to.layouts[0] = all->from.layouts[0];
    } else {
        side_build(all, &all->to, shards_max);
    }
    lists_build(all);
}

static void side_close(side *given)
{
    for (uint32_t i = 0; i < given->count; i++) {
        shard *made = &given->shards[i];
        dray_layout_destroy(made->layout);
        for (uint32_t k = 0; k < made->pieces; k++) {
            dray_region_release(made->regions[k]);
            free(made->bytes[k]);
            free(made->wanted[k]);
        }
        if (made->path)
            unlink(made->path);
    }
}

static void world_close(world *all)
{
    side_close(&all->from);
    if (!all->one_layout)
        side_close(&all->to);
    dray_agent_destroy(all->agent);
    dray_context_destroy(all->context);
}

// --- one case ------------------------------------------------------------------------------------------

static void side_compare(side *given, const char *what)
{
    for (uint32_t i = 0; i < given->count; i++) {
        shard *made = &given->shards[i];
        if (made->path) {
            FILE *file = fopen(made->path, "rb");
            assert_non_null(file);
            assert_int_equal(fread(made->bytes[0], 1, made->region_bytes, file), made->region_bytes);
            fclose(file);
        }
        for (uint32_t k = 0; k < made->pieces; k++) {
            if (memcmp(made->bytes[k], made->wanted[k], made->region_bytes) != 0)
                fail_msg("%s shard %u, piece %u differs from the naive loop", what, i, k);
        }
    }
}

static dray_layout_move move_of(const world *all)
{
    return (dray_layout_move){.struct_bytes = sizeof(dray_layout_move),
                              .sources = all->from.layouts,
                              .targets = all->to.layouts,
                              .source_count = all->from.count,
                              .target_count = all->to.count,
                              .source_blocks = all->from.blocks,
                              .target_blocks = all->to.blocks,
                              .source_block_count = all->from.block_count,
                              .target_block_count = all->to.block_count,
                              .source_layer = all->from.first_layer,
                              .target_layer = all->to.first_layer,
                              .layer_count = all->layers};
}

static void run_twice(world *all, dray_plan *plan)
{
    dray_transfer *transfer;
    dray_status status = dray_transfer_create(all->agent, plan, NULL, &transfer, &all->error);
    for (int run = 0; run < 2 && status == DRAY_OK; run++) {
        status = dray_transfer_submit(transfer, &all->error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(transfer, -1, &all->error);
    }
    if (status != DRAY_OK)
        fail_msg("transfer: %s", all->error.message);
    dray_transfer_destroy(transfer);
}

static void one_world(uint64_t seed)
{
    static world all;
    world_open(&all, seed);
    dray_layout_move move = move_of(&all);
    dray_plan *plan;
    if (dray_layout_plan_move(all.agent, &move, NULL, &plan, &all.error) != DRAY_OK)
        fail_msg("plan: %s", all.error.message);
    dray_plan_summary summary;
    dray_plan_summarize(plan, &summary);
    uint64_t token = (uint64_t)all.heads * all.head_dim * all.width * all.outer * all.layers;
    assert_int_equal(summary.bytes, token * all.from.block_count * all.from.page);
    for (uint64_t i = 0; i < all.from.block_count * all.from.page; i++)
        expect_token(&all, i);
    run_twice(&all, plan);
    side_compare(&all.from, "source");
    side_compare(&all.to, "target");
    dray_plan_destroy(plan);
    world_close(&all);
}

static uint64_t current_seed;

static void every_move_is_the_naive_loop_over_elements(void **state)
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
        print_error("the case that failed: prop_layout_move %" PRIu64 "\n", current_seed);
    return 0;
}

int main(int count, char **arguments)
{
    if (count > 1) {
        first_seed = strtoull(arguments[1], NULL, 0);
        seed_count = count > 2 ? strtoull(arguments[2], NULL, 0) : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_move_is_the_naive_loop_over_elements, print_seed),
    };
    return cmocka_run_group_tests_name("moves drawn from a seed", tests, NULL, NULL);
}
