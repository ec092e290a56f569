/// The rules of a layout's configuration, each with its own sentence, checked before anything else happens.
#include "base/checked.h"
#include "base/env.h"
#include "layout/geometry.h"

#include <inttypes.h>
#include <string.h>

enum { dtype_width_default = 2, dtype_width_max = 8, outer_max = 2 };

static dray_status counts_check(const dray_layout_config *config, dray_error *error)
{
    if (config->num_blocks == 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.num_blocks", DRAY_UNKNOWN,
                              "num_blocks must be at least 1, it is 0");
    if (config->num_layers == 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.num_layers", DRAY_UNKNOWN,
                              "num_layers must be at least 1, it is 0");
    if (config->outer_dim == 0 || config->outer_dim > outer_max)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.outer_dim", DRAY_UNKNOWN,
                              "outer_dim must be 1 (MLA) or 2 (K and V), it is %u",
                              config->outer_dim);
    if (!drayi_is_power_of_two(config->page_size))
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.page_size", DRAY_UNKNOWN,
                              "page_size must be a positive power of 2, it is %" PRIu64,
                              config->page_size);
    if (config->inner_dim == 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.inner_dim", DRAY_UNKNOWN,
                              "inner_dim must be at least 1, it is 0");
    return DRAY_OK;
}

static dray_status widths_check(const dray_layout_config *config, dray_error *error)
{
    if (!drayi_is_power_of_two(config->alignment))
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.alignment", DRAY_UNKNOWN,
                              "alignment must be a power of 2, it is %" PRIu64, config->alignment);
    if (!drayi_is_power_of_two(config->dtype_width_bytes) ||
        config->dtype_width_bytes > dtype_width_max)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.dtype_width_bytes", DRAY_UNKNOWN,
                              "dtype_width_bytes must be a power of two and at most 8 "
                              "bytes, it is %u",
                              config->dtype_width_bytes);
    return DRAY_OK;
}

static dray_status heads_check(const dray_layout_config *config, dray_error *error)
{
    if (config->num_heads == 0 && config->format != DRAY_BLOCK_NHD)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.num_heads", DRAY_UNKNOWN,
                              "num_heads is required for the block format %s; only NHD can do "
                              "without",
                              dray_block_format_name(config->format));
    if (config->num_heads && config->inner_dim % config->num_heads)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.num_heads", DRAY_UNKNOWN,
                              "inner_dim must be divisible by num_heads, %" PRIu64 " is not by %u",
                              config->inner_dim, config->num_heads);
    return DRAY_OK;
}

/// A custom order names each dimension once; the other formats bring their own.
static dray_status order_check(const dray_layout_config *config, dray_error *error)
{
    uint32_t seen = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t dim = (uint32_t)config->order[i];
        if (config->format != DRAY_BLOCK_CUSTOM && dim != 0)
            return dray_fail_rule(error, DRAY_E_INVALID, "layout.order", DRAY_UNKNOWN,
                                  "an order of dimensions is given, but the block format is "
                                  "%s and not custom",
                                  dray_block_format_name(config->format));
        if (dim <= DRAY_DIM_HEAD)
            seen |= 1u << dim;
    }
    if (config->format == DRAY_BLOCK_CUSTOM && seen != 0x1e)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.order", DRAY_UNKNOWN,
                              "a custom order needs layer, outer, token and head once each, "
                              "it is %u, %u, %u, %u",
                              (unsigned)config->order[0], (unsigned)config->order[1],
                              (unsigned)config->order[2], (unsigned)config->order[3]);
    return DRAY_OK;
}

static dray_status kind_check(const dray_layout_config *config, dray_error *error)
{
    uint32_t kind = (uint32_t)config->kind, format = (uint32_t)config->format;
    if (kind == 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.kind", DRAY_UNKNOWN,
                              "the kind is missing: contiguous, layer-separate:block-first "
                              "or layer-separate:block-second");
    if (kind > DRAY_LAYOUT_LAYER_SEPARATE_SECOND)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.kind", DRAY_UNKNOWN,
                              "there is no kind %u", kind);
    if (format > DRAY_BLOCK_CUSTOM)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.format", DRAY_UNKNOWN,
                              "there is no block format %u", format);
    if (kind != DRAY_LAYOUT_CONTIGUOUS && format > DRAY_BLOCK_HND)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.format", DRAY_UNKNOWN,
                              "a %s layout has the block format NHD or HND, not %s: its "
                              "layers stand apart",
                              dray_layout_kind_name(config->kind),
                              dray_block_format_name(config->format));
    return order_check(config, error);
}

dray_status drayi_layout_config_check(const dray_layout_config *given, dray_layout_config *out,
                                      dray_error *error)
{
    if (!given)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.config", DRAY_UNKNOWN,
                              "the configuration is missing");
    DRAY_TRY(drayi_options(out, sizeof(*out), given, "dray_layout_config", error));
    if (out->alignment == 0)
        out->alignment = 1;
    if (out->dtype_width_bytes == 0)
        out->dtype_width_bytes = dtype_width_default;
    DRAY_TRY(kind_check(out, error));
    DRAY_TRY(counts_check(out, error));
    DRAY_TRY(widths_check(out, error));
    return heads_check(out, error);
}
