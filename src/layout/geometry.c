/// Numbers of a layout without memory: sizes first, then strides, then how regions share one allocation.
///
/// Every product is checked where it is made, so that whoever has a geometry may multiply ids inside its
/// ranges without looking again.
#include "layout/geometry.h"

#include "base/checked.h"
#include "base/env.h"

#include <inttypes.h>

enum { file_alignment = 4096 }; // direct I/O works at it on every disk but zoned ones

static dray_status too_large(const dray_layout_config *config, const char *what, dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_INVALID, "layout.overflow", DRAY_UNKNOWN,
                          "allocation size overflow: %s of %" PRIu64 " blocks x %u layers x %u "
                          "outer x %" PRIu64 " tokens x %" PRIu64 " elements x %u bytes, alignment "
                          "%" PRIu64 ", does not fit into 64 bits",
                          what, config->num_blocks, config->num_layers, config->outer_dim,
                          config->page_size, config->inner_dim, config->dtype_width_bytes,
                          config->alignment);
}

/// A slice, a block, and the contents of all blocks.
static dray_status contents_measure(dray_layout_geometry *geometry, uint64_t *out_contents,
                                    dray_error *error)
{
    const dray_layout_config *config = &geometry->config;
    uint64_t token, slice, block;
    if (!drayi_mul(config->inner_dim, config->dtype_width_bytes, &token) ||
        !drayi_mul(token, config->page_size, &slice))
        return too_large(config, "a slice", error);
    if (!drayi_mul(slice, config->outer_dim, &block) ||
        !drayi_mul(block, config->num_layers, &block))
        return too_large(config, "a block", error);
    if (!drayi_mul(block, config->num_blocks, out_contents))
        return too_large(config, "the contents", error);
    geometry->head_count = config->num_heads ? config->num_heads : 1;
    geometry->head_dim = config->inner_dim / geometry->head_count;
    geometry->bytes_per_slice = slice;
    geometry->bytes_per_block = block;
    return DRAY_OK;
}

/// Does the slice end where its bytes would end if they stood together?
static bool slices_whole(const dray_layout_geometry *geometry)
{
    uint64_t last = (geometry->config.page_size - 1) * geometry->token_stride +
                    (geometry->head_count - 1) * geometry->head_stride;
    return last + geometry->head_dim * geometry->config.dtype_width_bytes ==
           geometry->bytes_per_slice;
}

static dray_status base_measure(dray_layout_geometry *geometry, dray_storage storage,
                                uint64_t contents, dray_error *error)
{
    const dray_layout_config *config = &geometry->config;
    bool file = storage == DRAY_STORAGE_DISK;
    geometry->region_alignment =
        file ? drayi_max(config->alignment, file_alignment) : config->alignment;
    if (!drayi_round_up(geometry->region_bytes, geometry->region_alignment,
                        &geometry->region_pitch) ||
        !drayi_mul(geometry->region_pitch, geometry->region_count, &geometry->base_bytes))
        return too_large(config, "one allocation", error);
    geometry->padding_bytes = geometry->base_bytes - contents;
    return DRAY_OK;
}

dray_status dray_layout_measure(const dray_layout_config *config, dray_storage storage,
                                dray_layout_geometry *out_geometry, dray_error *error)
{
    dray_layout_geometry geometry = {0};
    uint64_t contents = 0;
    DRAY_TRY(drayi_layout_config_check(config, &geometry.config, error));
    DRAY_TRY(contents_measure(&geometry, &contents, error));
    bool fits = geometry.config.kind == DRAY_LAYOUT_CONTIGUOUS
                    ? drayi_layout_contiguous(&geometry)
                    : drayi_layout_layer_separate(&geometry);
    if (!fits)
        return too_large(&geometry.config, "a region", error);
    geometry.slices_whole = slices_whole(&geometry);
    DRAY_TRY(base_measure(&geometry, storage, contents, error));
    *out_geometry = geometry;
    return DRAY_OK;
}

uint64_t dray_layout_region_offset(const dray_layout_geometry *geometry, uint64_t region)
{
    return region * geometry->region_pitch;
}

// --- addresses -----------------------------------------------------------------------------------------------------

static dray_status id_check(const char *what, uint64_t id, uint64_t count, dray_error *error)
{
    if (id < count)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID, "%s ID %" PRIu64 " out of range (max: %" PRIu64 ")",
                     what, id, count - 1);
}

dray_status dray_layout_locate(const dray_layout_geometry *geometry, uint64_t block, uint64_t layer,
                               uint64_t outer, dray_layout_place *out_place, dray_error *error)
{
    const dray_layout_config *config = &geometry->config;
    DRAY_TRY(id_check("block", block, config->num_blocks, error));
    DRAY_TRY(id_check("layer", layer, config->num_layers, error));
    DRAY_TRY(id_check("outer", outer, config->outer_dim, error));
    if (!geometry->slices_whole)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the block format %s scatters a (block, layer, outer): its %" PRIu64
                         " bytes do not stand together",
                         dray_block_format_name(config->format), geometry->bytes_per_slice);
    *out_place = (dray_layout_place){
        .region = geometry->region_count > 1 ? layer : 0,
        .offset = block * geometry->block_stride + layer * geometry->layer_stride +
                  outer * geometry->outer_stride,
        .bytes = geometry->bytes_per_slice,
    };
    return DRAY_OK;
}

dray_status dray_layout_locate_block(const dray_layout_geometry *geometry, uint64_t block,
                                     dray_layout_place *out_place, dray_error *error)
{
    DRAY_TRY(id_check("block", block, geometry->config.num_blocks, error));
    if (!geometry->blocks_whole)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "a %s layout has no block in one piece: it has a region per layer",
                         dray_layout_kind_name(geometry->config.kind));
    *out_place = (dray_layout_place){
        .region = 0, .offset = block * geometry->block_stride, .bytes = geometry->bytes_per_block};
    return DRAY_OK;
}

// --- formats that mean the same bytes ------------------------------------------------------------------------------

static bool same_dimensions(const dray_layout_config *a, const dray_layout_config *b)
{
    return a->num_layers == b->num_layers && a->outer_dim == b->outer_dim &&
           a->page_size == b->page_size && a->inner_dim == b->inner_dim &&
           a->dtype_width_bytes == b->dtype_width_bytes &&
           (a->num_heads == b->num_heads || a->num_heads == 0 || b->num_heads == 0);
}

/// Of `heads` heads; without heads of its own a layout is NHD, where they follow each other.
static uint64_t head_stride(const dray_layout_geometry *geometry, uint64_t heads)
{
    return geometry->config.num_heads ? geometry->head_stride : geometry->token_stride / heads;
}

uint32_t dray_layout_needs_transform(const dray_layout_geometry *a, const dray_layout_geometry *b)
{
    if (!same_dimensions(&a->config, &b->config) || a->slices_whole != b->slices_whole)
        return 1;
    uint64_t heads = drayi_max(a->head_count, b->head_count);
    if (a->config.page_size > 1 && a->token_stride != b->token_stride)
        return 1;
    if (heads > 1 && head_stride(a, heads) != head_stride(b, heads))
        return 1;
    if (a->slices_whole)
        return 0;
    return (a->config.num_layers > 1 && a->layer_stride != b->layer_stride) ||
           (a->config.outer_dim > 1 && a->outer_stride != b->outer_stride);
}
