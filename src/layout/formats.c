/// Names of kinds and block formats, and the order of dimensions that a format means.
#include "layout/geometry.h"

#include <string.h>

const char *dray_layout_kind_name(dray_layout_kind kind)
{
    static const char *const names[] = {
        [DRAY_LAYOUT_CONTIGUOUS] = "contiguous",
        [DRAY_LAYOUT_LAYER_SEPARATE_FIRST] = "layer-separate:block-first",
        [DRAY_LAYOUT_LAYER_SEPARATE_SECOND] = "layer-separate:block-second",
    };
    size_t index = (size_t)kind;
    return index < sizeof(names) / sizeof(names[0]) && names[index] ? names[index] : "unknown";
}

const char *dray_block_format_name(dray_block_format format)
{
    static const char *const names[] = {
        [DRAY_BLOCK_NHD] = "NHD",
        [DRAY_BLOCK_HND] = "HND",
        [DRAY_BLOCK_UNIVERSAL_TP] = "universal-tp",
        [DRAY_BLOCK_UNIVERSAL_PP] = "universal-pp",
        [DRAY_BLOCK_CUSTOM] = "custom",
    };
    size_t index = (size_t)format;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "unknown";
}

const char *drayi_layout_dim_name(dray_block_dim dim)
{
    static const char *const names[] = {"unknown", "layer", "outer", "token", "head"};
    size_t index = (size_t)dim;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : names[0];
}

void drayi_layout_order(const dray_layout_config *config, dray_block_dim out[4])
{
    static const dray_block_dim orders[][4] = {
        [DRAY_BLOCK_NHD] = {DRAY_DIM_LAYER, DRAY_DIM_OUTER, DRAY_DIM_TOKEN, DRAY_DIM_HEAD},
        [DRAY_BLOCK_HND] = {DRAY_DIM_LAYER, DRAY_DIM_OUTER, DRAY_DIM_HEAD, DRAY_DIM_TOKEN},
        [DRAY_BLOCK_UNIVERSAL_TP] = {DRAY_DIM_HEAD, DRAY_DIM_LAYER, DRAY_DIM_OUTER, DRAY_DIM_TOKEN},
        [DRAY_BLOCK_UNIVERSAL_PP] = {DRAY_DIM_LAYER, DRAY_DIM_HEAD, DRAY_DIM_OUTER, DRAY_DIM_TOKEN},
    };
    memcpy(out, config->format == DRAY_BLOCK_CUSTOM ? config->order : orders[config->format],
           sizeof(orders[0]));
}

uint64_t drayi_layout_extent(const dray_layout_config *config, dray_block_dim dim)
{
    switch (dim) {
    case DRAY_DIM_LAYER:
        return config->num_layers;
    case DRAY_DIM_OUTER:
        return config->outer_dim;
    case DRAY_DIM_TOKEN:
        return config->page_size;
    default:
        return config->num_heads ? config->num_heads : 1;
    }
}

uint64_t *drayi_layout_stride(dray_layout_geometry *geometry, dray_block_dim dim)
{
    switch (dim) {
    case DRAY_DIM_LAYER:
        return &geometry->layer_stride;
    case DRAY_DIM_OUTER:
        return &geometry->outer_stride;
    case DRAY_DIM_TOKEN:
        return &geometry->token_stride;
    default:
        return &geometry->head_stride;
    }
}
