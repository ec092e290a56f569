/// One region, [block, ...]: the dimensions inside a block in the order of its format, blocks padded to the
/// alignment.
#include "base/checked.h"
#include "layout/geometry.h"

bool drayi_layout_contiguous(dray_layout_geometry *geometry)
{
    const dray_layout_config *config = &geometry->config;
    dray_block_dim order[4];
    drayi_layout_order(config, order);
    uint64_t bytes = geometry->head_dim * config->dtype_width_bytes; // below a slice, which fits
    for (int i = 3; i >= 0; i--) {
        *drayi_layout_stride(geometry, order[i]) = bytes;
        if (!drayi_mul(bytes, drayi_layout_extent(config, order[i]), &bytes))
            return false;
    }
    geometry->region_count = 1;
    geometry->blocks_whole = 1;
    return drayi_round_up(bytes, config->alignment, &geometry->block_stride) &&
           drayi_mul(geometry->block_stride, config->num_blocks, &geometry->region_bytes);
}
