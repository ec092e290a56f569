/// Random layouts against the plainest way to say where an element is: a row-major array of its dimensions.
#include "dray/layout.h"
#include "sequence.h"
#include "testing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t failing_seed;

static uint64_t round_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

/// Block, layer, outer, token, head.
typedef struct element {
    uint64_t at[5];
} element;

/// The byte of an element in one allocation, by nested arrays; blocks (of second: slices) padded by hand.
static uint64_t naive_offset(const dray_layout_config *c, dray_storage storage, element e)
{
    static const int orders[4][4] = {{1, 2, 3, 4}, {1, 2, 4, 3}, {4, 1, 2, 3}, {1, 4, 2, 3}};
    const uint64_t heads = c->num_heads ? c->num_heads : 1;
    const uint64_t head_bytes = c->inner_dim / heads * c->dtype_width_bytes;
    const uint64_t extent[5] = {c->num_blocks, c->num_layers, c->outer_dim, c->page_size, heads};
    uint64_t within = 0, bytes = head_bytes, align = c->alignment;
    bool separate = c->kind != DRAY_LAYOUT_CONTIGUOUS;
    bool second = c->kind == DRAY_LAYOUT_LAYER_SEPARATE_SECOND;
    int first = second     ? 2
                : separate ? 1
                           : 0; // the dimensions in front of it are not inside what is padded
    for (int i = 0; i < 4; i++)
        bytes *=
            i < first
                ? 1
                : extent[c->format == DRAY_BLOCK_CUSTOM ? (int)c->order[i] : orders[c->format][i]];
    for (int i = first; i < 4; i++) {
        int dim = c->format == DRAY_BLOCK_CUSTOM ? (int)c->order[i] : orders[c->format][i];
        within = within * extent[dim] + e.at[dim];
    }
    within *= head_bytes;
    uint64_t padded = round_up(bytes, align), region;
    if (second)
        region = (e.at[2] * extent[0] + e.at[0]) * padded + within;
    else
        region = e.at[0] * padded + within;
    uint64_t region_bytes = padded * extent[0] * (second ? extent[2] : 1);
    uint64_t region_align = storage == DRAY_STORAGE_DISK && align < 4096 ? 4096 : align;
    return separate ? e.at[1] * round_up(region_bytes, region_align) + region : region;
}

static uint64_t offset_of(const dray_layout_geometry *g, element e)
{
    uint64_t region = g->region_count > 1 ? e.at[1] : 0;
    return dray_layout_region_offset(g, region) + e.at[0] * g->block_stride +
           e.at[1] * g->layer_stride + e.at[2] * g->outer_stride + e.at[3] * g->token_stride +
           e.at[4] * g->head_stride;
}

static dray_layout_config random_config(random_sequence *random)
{
    static const dray_block_dim dims[] = {DRAY_DIM_LAYER, DRAY_DIM_OUTER, DRAY_DIM_TOKEN,
                                          DRAY_DIM_HEAD};
    dray_layout_config c = {
        .struct_bytes = sizeof(c),
        .kind = (dray_layout_kind)(1 + sequence_below(random, 3)),
        .num_blocks = 1 + sequence_below(random, 6),
        .num_layers = (uint32_t)(1 + sequence_below(random, 4)),
        .outer_dim = (uint32_t)(1 + sequence_below(random, 2)),
        .page_size = UINT64_C(1) << sequence_below(random, 4),
        .alignment = UINT64_C(1) << sequence_below(random, 9),
        .dtype_width_bytes = 1u << sequence_below(random, 4),
        .num_heads = (uint32_t)(1 + sequence_below(random, 4)),
    };
    c.inner_dim = c.num_heads * (1 + sequence_below(random, 5));
    c.format = (dray_block_format)sequence_below(random, c.kind == DRAY_LAYOUT_CONTIGUOUS ? 5 : 2);
    if (c.format == DRAY_BLOCK_CUSTOM) {
        memcpy(c.order, dims, sizeof(dims));
        for (uint64_t i = 3; i > 0; i--) {
            uint64_t other = sequence_below(random, i + 1);
            dray_block_dim kept = c.order[i];
            c.order[i] = c.order[other];
            c.order[other] = kept;
        }
    }
    if (c.format == DRAY_BLOCK_NHD && sequence_below(random, 2))
        c.num_heads = 0;
    return c;
}

/// Every byte of contents is one element's, at the place where the oracle has it; all others are padding.
static void one_layout(const dray_layout_config *given, dray_storage storage)
{
    dray_layout_geometry g;
    const dray_layout_config *config = &g.config; // with defaults filled in
    dray_error error = {0};
    if (dray_layout_measure(given, storage, &g, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    uint64_t head_bytes = g.head_dim * config->dtype_width_bytes, bytes = 0;
    uint8_t *taken = calloc(1, g.base_bytes);
    assert_non_null(taken);
    element e = {{0}};
    const uint64_t extent[5] = {config->num_blocks, config->num_layers, config->outer_dim,
                                config->page_size, g.head_count};
    for (bool more = true; more;) {
        uint64_t at = offset_of(&g, e);
        assert_int_equal(at, naive_offset(config, storage, e));
        assert_true(at + head_bytes <= g.base_bytes);
        for (uint64_t i = 0; i < head_bytes; i++, bytes++)
            assert_int_equal(taken[at + i]++, 0);
        dray_layout_place place;
        if (g.slices_whole && e.at[3] == 0 && e.at[4] == 0) {
            assert_int_equal(dray_layout_locate(&g, e.at[0], e.at[1], e.at[2], &place, &error),
                             DRAY_OK);
            assert_int_equal(dray_layout_region_offset(&g, place.region) + place.offset, at);
        }
        more = false;
        for (int d = 4; d >= 0 && !more; d--) {
            more = ++e.at[d] < extent[d];
            e.at[d] = more ? e.at[d] : 0;
        }
    }
    assert_int_equal(bytes, config->num_blocks * g.bytes_per_block);
    assert_int_equal(g.base_bytes - bytes, g.padding_bytes);
    free(taken);
}

static uint64_t first_seed = 1, seed_count = 2000;

static void every_element_is_where_nested_arrays_have_it(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++) {
        random_sequence random = {.state = seed};
        dray_layout_config config = random_config(&random), again;
        char line[DRAY_LAYOUT_TEXT_BYTES];
        dray_layout_print(&config, line);
        assert_int_equal(dray_layout_parse(line, &again, NULL, NULL), DRAY_OK);
        if (seed_count == 1)
            print_message("%s\n", line);
        failing_seed = seed;
        one_layout(&again, sequence_below(&random, 4) ? DRAY_STORAGE_SYSTEM : DRAY_STORAGE_DISK);
    }
}

/// prop_layout_geometry [FIRST-SEED [COUNT]]
int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_where_nested_arrays_have_it),
    };
    if (count > 1) {
        first_seed = strtoull(arguments[1], NULL, 0);
        seed_count = count > 2 ? strtoull(arguments[2], NULL, 0) : 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed)
        print_message("seed %" PRIu64 "\n", failing_seed);
    return failed;
}
