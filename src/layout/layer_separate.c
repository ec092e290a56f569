/// A region per layer, with blocks as its first or its second dimension. What is padded to the alignment is
/// what stands together: all outers of a block when blocks come first, a single one when they come second.
#include "base/checked.h"
#include "layout/geometry.h"

/// Tokens and heads inside a slice; returns its bytes.
static uint64_t slice_strides(dray_layout_geometry *geometry)
{
    dray_block_dim order[4];
    drayi_layout_order(&geometry->config, order);
    uint64_t bytes = geometry->head_dim * geometry->config.dtype_width_bytes;
    for (int i = 3; i >= 2; i--) { // NHD or HND: token and head are the last two
        *drayi_layout_stride(geometry, order[i]) = bytes;
        bytes *= drayi_layout_extent(&geometry->config, order[i]);
    }
    return bytes;
}

bool drayi_layout_layer_separate(dray_layout_geometry *geometry)
{
    const dray_layout_config *config = &geometry->config;
    uint64_t slice = slice_strides(geometry), outer = config->outer_dim, bytes;
    geometry->region_count = config->num_layers;
    geometry->layer_stride = 0;
    if (config->kind == DRAY_LAYOUT_LAYER_SEPARATE_FIRST) {
        geometry->outer_stride = slice;
        return drayi_mul(slice, outer, &bytes) &&
               drayi_round_up(bytes, config->alignment, &geometry->block_stride) &&
               drayi_mul(geometry->block_stride, config->num_blocks, &geometry->region_bytes);
    }
    return drayi_round_up(slice, config->alignment, &geometry->block_stride) &&
           drayi_mul(geometry->block_stride, config->num_blocks, &geometry->outer_stride) &&
           drayi_mul(geometry->outer_stride, outer, &geometry->region_bytes);
}
