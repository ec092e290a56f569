/// The steps between a configuration and its geometry, one per file.
#ifndef DRAY_LAYOUT_GEOMETRY_H
#define DRAY_LAYOUT_GEOMETRY_H

#include "dray/layout.h"

#include <stdbool.h>

/// config.c: every rule of the fields; fills defaults in. The products are the geometry's.
dray_status drayi_layout_config_check(const dray_layout_config *given, dray_layout_config *out,
                                      dray_error *error);

/// formats.c: "layer", "outer", "token", "head".
const char *drayi_layout_dim_name(dray_block_dim dim);
/// The order of the four dimensions, slowest first.
void drayi_layout_order(const dray_layout_config *config, dray_block_dim out[4]);
/// How many layers, outers, tokens or heads there are. The config has been checked.
uint64_t drayi_layout_extent(const dray_layout_config *config, dray_block_dim dim);
/// Where the geometry keeps the stride of a dimension.
uint64_t *drayi_layout_stride(dray_layout_geometry *geometry, dray_block_dim dim);

// contiguous.c, layer_separate.c: strides, region_count and region_bytes. False: a product overflows.
bool drayi_layout_contiguous(dray_layout_geometry *geometry);
bool drayi_layout_layer_separate(dray_layout_geometry *geometry);

#endif
