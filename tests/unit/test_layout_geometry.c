/// Layouts without memory: rules, sizes, strides and addresses.
#include "dray/layout.h"
#include "testing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/// The shape of the field's own two tests: 256 bytes per layer and block, 64 per slice.
static dray_layout_config small(dray_layout_kind kind)
{
    return (dray_layout_config){
        .struct_bytes = sizeof(dray_layout_config),
        .kind = kind,
        .num_blocks = 2,
        .num_layers = 3,
        .outer_dim = 2,
        .page_size = 4,
        .inner_dim = 8,
        .dtype_width_bytes = 2,
    };
}

static dray_layout_geometry measured(const dray_layout_config *config, dray_storage storage)
{
    dray_layout_geometry geometry;
    dray_error error = {0};
    if (dray_layout_measure(config, storage, &geometry, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return geometry;
}

static void refused(const dray_layout_config *config, const char *rule, const char *message)
{
    dray_layout_geometry geometry = {.region_count = 77};
    dray_error error = {0};
    assert_int_equal(dray_layout_measure(config, DRAY_STORAGE_SYSTEM, &geometry, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.rule, rule);
    assert_string_equal(error.message, message);
    assert_int_equal(geometry.region_count, 77); // untouched
}

// --- rules ---------------------------------------------------------------------------------------------------------

static void counts_of_zero_are_refused(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.num_blocks = 0;
    refused(&config, "layout.num_blocks", "num_blocks must be at least 1, it is 0");
    config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.num_layers = 0;
    refused(&config, "layout.num_layers", "num_layers must be at least 1, it is 0");
    config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.inner_dim = 0;
    refused(&config, "layout.inner_dim", "inner_dim must be at least 1, it is 0");
}

static void outer_dim_is_one_or_two(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.outer_dim = 0;
    refused(&config, "layout.outer_dim", "outer_dim must be 1 (MLA) or 2 (K and V), it is 0");
    config.outer_dim = 3;
    refused(&config, "layout.outer_dim", "outer_dim must be 1 (MLA) or 2 (K and V), it is 3");
}

static void page_size_is_a_power_of_two(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.page_size = 0;
    refused(&config, "layout.page_size", "page_size must be a positive power of 2, it is 0");
    config.page_size = 12;
    refused(&config, "layout.page_size", "page_size must be a positive power of 2, it is 12");
}

static void alignment_is_a_power_of_two(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.alignment = 24;
    refused(&config, "layout.alignment", "alignment must be a power of 2, it is 24");
}

static void dtype_width_is_1_2_4_or_8(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.dtype_width_bytes = 3;
    refused(&config, "layout.dtype_width_bytes",
            "dtype_width_bytes must be a power of two and at most 8 bytes, it is 3");
    config.dtype_width_bytes = 16;
    refused(&config, "layout.dtype_width_bytes",
            "dtype_width_bytes must be a power of two and at most 8 bytes, it is 16");
}

static void heads_are_needed_by_all_formats_but_nhd_and_divide_inner_dim(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.format = DRAY_BLOCK_HND;
    refused(&config, "layout.num_heads",
            "num_heads is required for the block format HND; only NHD can do without");
    config.num_heads = 3;
    refused(&config, "layout.num_heads", "inner_dim must be divisible by num_heads, 8 is not by 3");
}

static void a_kind_is_always_said(void **state)
{
    (void)state;
    dray_layout_config config = small(0);
    refused(&config, "layout.kind",
            "the kind is missing: contiguous, layer-separate:block-first or "
            "layer-separate:block-second");
    config.kind = (dray_layout_kind)4;
    refused(&config, "layout.kind", "there is no kind 4");
    config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.format = (dray_block_format)9;
    refused(&config, "layout.format", "there is no block format 9");
    dray_layout_geometry geometry;
    dray_error error = {0};
    assert_int_equal(dray_layout_measure(NULL, 0, &geometry, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "the configuration is missing");
}

static void layer_separate_layouts_keep_to_operational_formats(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    config.num_heads = 2;
    config.format = DRAY_BLOCK_UNIVERSAL_TP;
    refused(&config, "layout.format",
            "a layer-separate:block-first layout has the block format NHD or HND, not "
            "universal-tp: its layers stand apart");
}

static void a_custom_order_names_each_dimension_once(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.num_heads = 2;
    config.format = DRAY_BLOCK_CUSTOM;
    refused(&config, "layout.order",
            "a custom order needs layer, outer, token and head once each, it is 0, 0, 0, 0");
    config.order[0] = DRAY_DIM_HEAD, config.order[1] = DRAY_DIM_LAYER;
    config.order[2] = DRAY_DIM_HEAD, config.order[3] = DRAY_DIM_TOKEN;
    refused(&config, "layout.order",
            "a custom order needs layer, outer, token and head once each, it is 4, 1, 4, 3");
    config.order[2] = DRAY_DIM_OUTER;
    measured(&config, DRAY_STORAGE_SYSTEM);
    config.format = DRAY_BLOCK_NHD;
    refused(&config, "layout.order",
            "an order of dimensions is given, but the block format is NHD and not custom");
}

static void products_that_do_not_fit_are_refused_wherever_they_overflow(void **state)
{
    (void)state;
    const uint64_t huge = UINT64_C(1) << 62;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.inner_dim = huge;
    refused(&config, "layout.overflow",
            "allocation size overflow: a slice of 2 blocks x 3 layers x 2 outer x 4 tokens x "
            "4611686018427387904 elements x 2 bytes, alignment 1, does not fit into 64 bits");
    dray_layout_geometry geometry;
    dray_error error;
    static const dray_layout_kind kinds[] = {DRAY_LAYOUT_CONTIGUOUS,
                                             DRAY_LAYOUT_LAYER_SEPARATE_FIRST,
                                             DRAY_LAYOUT_LAYER_SEPARATE_SECOND};
    for (size_t i = 0; i < 3; i++) {
        config = small(kinds[i]);
        config.num_blocks = huge; // contents
        assert_int_equal(dray_layout_measure(&config, 0, &geometry, &error), DRAY_E_INVALID);
        assert_string_equal(error.rule, "layout.overflow");
        config = small(kinds[i]);
        config.alignment = UINT64_C(1) << 63; // only the padding overflows
        assert_int_equal(dray_layout_measure(&config, 0, &geometry, &error), DRAY_E_INVALID);
        assert_string_equal(error.rule, "layout.overflow");
    }
}

// --- sizes and strides ---------------------------------------------------------------------------------------------

static void contiguous_strides(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_geometry g = measured(&config, DRAY_STORAGE_SYSTEM);
    assert_int_equal(g.region_count, 1);
    assert_int_equal(g.bytes_per_slice, 64);
    assert_int_equal(g.outer_stride, 64);
    assert_int_equal(g.layer_stride, 128);
    assert_int_equal(g.block_stride, 384);
    assert_int_equal(g.bytes_per_block, 384);
    assert_int_equal(g.region_bytes, 768);
    assert_int_equal(g.base_bytes, 768);
    assert_int_equal(g.padding_bytes, 0);
    assert_int_equal(g.token_stride, 16);
    dray_layout_place place;
    assert_int_equal(dray_layout_locate(&g, 1, 2, 1, &place, NULL), DRAY_OK);
    assert_int_equal(place.region, 0);
    assert_int_equal(place.offset, 384 + 256 + 64);
    assert_int_equal(place.bytes, 64);
    assert_int_equal(dray_layout_locate_block(&g, 1, &place, NULL), DRAY_OK);
    assert_int_equal(place.offset, 384);
    assert_int_equal(place.bytes, 384);
}

static void block_first_strides(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_layout_geometry g = measured(&config, DRAY_STORAGE_SYSTEM);
    assert_int_equal(g.region_count, 3);
    assert_int_equal(g.region_bytes, 256);
    assert_int_equal(g.block_stride, 128);
    assert_int_equal(g.outer_stride, 64);
    assert_int_equal(g.layer_stride, 0);
    assert_int_equal(g.base_bytes, 768);
    dray_layout_place place;
    assert_int_equal(dray_layout_locate(&g, 1, 2, 1, &place, NULL), DRAY_OK);
    assert_int_equal(place.region, 2);
    assert_int_equal(place.offset, 128 + 64);
    dray_error error = {0};
    assert_int_equal(dray_layout_locate_block(&g, 1, &place, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "a layer-separate:block-first layout has no block in one piece: "
                        "it has a region per layer");
}

static void block_second_strides(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_SECOND);
    dray_layout_geometry g = measured(&config, DRAY_STORAGE_SYSTEM);
    assert_int_equal(g.block_stride, 64);
    assert_int_equal(g.outer_stride, 128);
    dray_layout_place place;
    assert_int_equal(dray_layout_locate(&g, 1, 2, 1, &place, NULL), DRAY_OK);
    assert_int_equal(place.region, 2);
    assert_int_equal(place.offset, 64 + 128);
}

static void alignment_holds_for_regions_and_for_blocks(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_SECOND);
    config.alignment = 512;
    dray_layout_geometry g = measured(&config, DRAY_STORAGE_SYSTEM);
    assert_int_equal(g.block_stride, 512);
    assert_int_equal(g.outer_stride, 1024);
    assert_int_equal(g.region_bytes, 2048);
    assert_int_equal(dray_layout_region_offset(&g, 2), 4096);
    assert_int_equal(g.padding_bytes, 3 * 2048 - 768);
    config.kind = DRAY_LAYOUT_CONTIGUOUS;
    g = measured(&config, DRAY_STORAGE_SYSTEM);
    assert_int_equal(g.block_stride, 512);
    assert_int_equal(g.layer_stride, 128); // inside a block nothing is padded
    assert_int_equal(g.padding_bytes, 1024 - 768);
}

static void regions_of_a_file_start_where_direct_io_can(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_layout_geometry g = measured(&config, DRAY_STORAGE_DISK);
    assert_int_equal(g.region_alignment, 4096);
    assert_int_equal(dray_layout_region_offset(&g, 2), 8192);
    assert_int_equal(g.base_bytes, 12288); // the last region is padded, too
    assert_int_equal(g.region_bytes, 256);
    config.alignment = 16384;
    g = measured(&config, DRAY_STORAGE_DISK);
    assert_int_equal(g.region_alignment, 16384);
}

static void formats_order_the_dimensions_of_a_block(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.num_heads = 2; // head_dim 4: 8 bytes
    dray_layout_geometry g = measured(&config, 0);
    assert_int_equal(g.head_dim, 4);
    assert_int_equal(g.token_stride, 16);
    assert_int_equal(g.head_stride, 8);
    config.format = DRAY_BLOCK_HND;
    g = measured(&config, 0);
    assert_int_equal(g.token_stride, 8);
    assert_int_equal(g.head_stride, 32);
    assert_int_equal(g.slices_whole, 1);
    config.format = DRAY_BLOCK_UNIVERSAL_TP;
    g = measured(&config, 0);
    assert_int_equal(g.token_stride, 8);
    assert_int_equal(g.outer_stride, 32);
    assert_int_equal(g.layer_stride, 64);
    assert_int_equal(g.head_stride, 192);
    assert_int_equal(g.slices_whole, 0);
    config.format = DRAY_BLOCK_UNIVERSAL_PP;
    g = measured(&config, 0);
    assert_int_equal(g.outer_stride, 32);
    assert_int_equal(g.head_stride, 64);
    assert_int_equal(g.layer_stride, 128);
    dray_layout_place place;
    dray_error error = {0};
    assert_int_equal(dray_layout_locate(&g, 0, 0, 0, &place, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "the block format universal-pp scatters a (block, layer, outer): "
                        "its 64 bytes do not stand together");
    assert_int_equal(dray_layout_locate_block(&g, 1, &place, NULL), DRAY_OK);
}

static void ids_out_of_range_are_named(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_geometry g = measured(&config, 0);
    dray_layout_place place;
    dray_error error = {0};
    assert_int_equal(dray_layout_locate(&g, 2, 0, 0, &place, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "block ID 2 out of range (max: 1)");
    assert_int_equal(dray_layout_locate(&g, 0, 3, 0, &place, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "layer ID 3 out of range (max: 2)");
    assert_int_equal(dray_layout_locate(&g, 0, 0, 2, &place, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "outer ID 2 out of range (max: 1)");
    assert_int_equal(dray_layout_locate_block(&g, UINT64_MAX, &place, &error), DRAY_E_INVALID);
}

static void only_another_order_of_bytes_needs_a_transform(void **state)
{
    (void)state;
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_geometry nhd = measured(&config, 0);
    config.num_heads = 2;
    dray_layout_geometry nhd_heads = measured(&config, 0);
    config.format = DRAY_BLOCK_HND;
    dray_layout_geometry hnd = measured(&config, 0);
    config.kind = DRAY_LAYOUT_LAYER_SEPARATE_SECOND;
    dray_layout_geometry hnd_apart = measured(&config, 0);
    config.kind = DRAY_LAYOUT_CONTIGUOUS;
    config.format = DRAY_BLOCK_UNIVERSAL_TP;
    dray_layout_geometry universal = measured(&config, 0);
    assert_int_equal(dray_layout_needs_transform(&nhd, &nhd_heads), 0);
    assert_int_equal(dray_layout_needs_transform(&hnd, &hnd_apart), 0);
    assert_int_equal(dray_layout_needs_transform(&universal, &universal), 0);
    assert_int_equal(dray_layout_needs_transform(&nhd, &hnd), 1);
    assert_int_equal(dray_layout_needs_transform(&hnd, &universal), 1);
    config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.num_heads = 1; // one head: every order is the same
    config.format = DRAY_BLOCK_HND;
    dray_layout_geometry one_head = measured(&config, 0);
    assert_int_equal(dray_layout_needs_transform(&nhd, &one_head), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_zero_are_refused),
        cmocka_unit_test(outer_dim_is_one_or_two),
        cmocka_unit_test(page_size_is_a_power_of_two),
        cmocka_unit_test(alignment_is_a_power_of_two),
        cmocka_unit_test(dtype_width_is_1_2_4_or_8),
        cmocka_unit_test(heads_are_needed_by_all_formats_but_nhd_and_divide_inner_dim),
        cmocka_unit_test(a_kind_is_always_said),
        cmocka_unit_test(layer_separate_layouts_keep_to_operational_formats),
        cmocka_unit_test(a_custom_order_names_each_dimension_once),
        cmocka_unit_test(products_that_do_not_fit_are_refused_wherever_they_overflow),
        cmocka_unit_test(contiguous_strides),
        cmocka_unit_test(block_first_strides),
        cmocka_unit_test(block_second_strides),
        cmocka_unit_test(alignment_holds_for_regions_and_for_blocks),
        cmocka_unit_test(regions_of_a_file_start_where_direct_io_can),
        cmocka_unit_test(formats_order_the_dimensions_of_a_block),
        cmocka_unit_test(ids_out_of_range_are_named),
        cmocka_unit_test(only_another_order_of_bytes_needs_a_transform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
