/// What a move must fulfil before any address is computed: sides that fit, ids in range, no target twice.
/// Every rule is checked in every build.
#include "base/checked.h"
#include "base/sort.h"
#include "layout/remap.h"

#include <inttypes.h>
#include <string.h>

/// One of the two sides of a move.
typedef struct side {
    const char *name;
    dray_layout *const *layouts;
    uint32_t layout_count;
    const uint64_t *blocks;
    uint64_t block_count;
    uint64_t first_layer;
    const dray_layout_config *config; // of the first layout: what they all must agree in
} side;

static const dray_layout_config *config_of(const dray_layout *layout)
{
    return &dray_layout_get_geometry(layout)->config;
}

// --- the layouts of one side -------------------------------------------------------------------------

static dray_status side_take(const dray_layout_move *move, bool target, side *out, dray_error *error)
{
    *out = (side){.name = target ? "target" : "source",
                  .layouts = target ? move->targets : move->sources,
                  .layout_count = target ? move->target_count : move->source_count,
                  .blocks = target ? move->target_blocks : move->source_blocks,
                  .block_count = target ? move->target_block_count : move->source_block_count,
                  .first_layer = target ? move->target_layer : move->source_layer};
    if (!out->layouts || out->layout_count == 0)
        return dray_fail(error, DRAY_E_INVALID, "layout move: no %s layout", out->name);
    for (uint32_t i = 0; i < out->layout_count; i++) {
        if (!out->layouts[i])
            return dray_fail(error, DRAY_E_INVALID, "layout move: %s layout %u of %u is NULL",
                             out->name, i, out->layout_count);
    }
    if (out->block_count && !out->blocks)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout move: %" PRIu64 " %s blocks at a NULL pointer", out->block_count,
                         out->name);
    out->config = config_of(out->layouts[0]);
    return DRAY_OK;
}

static dray_status shard_fail(const side *given, uint32_t shard, const char *what, uint64_t has,
                              uint64_t wanted, dray_error *error)
{
    return dray_fail(error, DRAY_E_INVALID,
                     "layout move: %s layout %u has %s %" PRIu64 ", layout 0 has %" PRIu64
                     "; shards differ in their heads only",
                     given->name, shard, what, has, wanted);
}

static dray_status shards_agree(const side *given, dray_error *error)
{
    const dray_layout_config *first = given->config;
    for (uint32_t i = 1; i < given->layout_count; i++) {
        const dray_layout_config *shard = config_of(given->layouts[i]);
        if (shard->num_layers != first->num_layers)
            return shard_fail(given, i, "num_layers", shard->num_layers, first->num_layers, error);
        if (shard->outer_dim != first->outer_dim)
            return shard_fail(given, i, "outer_dim", shard->outer_dim, first->outer_dim, error);
        if (shard->page_size != first->page_size)
            return shard_fail(given, i, "page_size", shard->page_size, first->page_size, error);
        if (shard->dtype_width_bytes != first->dtype_width_bytes)
            return shard_fail(given, i, "dtype_width_bytes", shard->dtype_width_bytes,
                              first->dtype_width_bytes, error);
        for (uint32_t k = 0; k < i; k++) {
            if (given->layouts[k] == given->layouts[i])
                return dray_fail(error, DRAY_E_INVALID,
                                 "layout move: %s layouts %u and %u are one and the same",
                                 given->name, k, i);
        }
    }
    return DRAY_OK;
}

// --- both sides --------------------------------------------------------------------------------------

static dray_status sides_agree(const side *from, const side *to, dray_error *error)
{
    const dray_layout_config *a = from->config, *b = to->config;
    if (a->outer_dim != b->outer_dim)
        return dray_fail(
            error, DRAY_E_INVALID,
            "layout move: layouts have incompatible outer dimensions: %u in the source, %u in "
            "the target",
            a->outer_dim, b->outer_dim);
    if (a->dtype_width_bytes != b->dtype_width_bytes)
        return dray_fail(
            error, DRAY_E_INVALID,
            "layout move: layouts have incompatible elements: of %u bytes in the source, of %u "
            "in the target",
            a->dtype_width_bytes, b->dtype_width_bytes);
    return DRAY_OK;
}

/// The head_dim that all layouts with heads have; 1 when none knows its heads.
static dray_status heads_agree(const side *given, uint64_t *head_dim, dray_error *error)
{
    for (uint32_t i = 0; i < given->layout_count; i++) {
        const dray_layout_geometry *geometry = dray_layout_get_geometry(given->layouts[i]);
        if (geometry->config.num_heads == 0)
            continue;
        if (*head_dim && geometry->head_dim != *head_dim)
            return dray_fail(error, DRAY_E_INVALID,
                             "layout move: %s layout %u has heads of %" PRIu64
                             " elements, a layout before it of %" PRIu64,
                             given->name, i, geometry->head_dim, *head_dim);
        *head_dim = geometry->head_dim;
    }
    return DRAY_OK;
}

static dray_status heads_sum(const side *given, uint64_t head_dim, uint64_t *out_sum,
                             dray_error *error)
{
    *out_sum = 0;
    for (uint32_t i = 0; i < given->layout_count; i++) {
        uint64_t inner = config_of(given->layouts[i])->inner_dim;
        if (inner % head_dim)
            return dray_fail(error, DRAY_E_INVALID,
                             "layout move: inner_dim %" PRIu64
                             " of %s layout %u is not a multiple of the "
                             "others' head_dim %" PRIu64,
                             inner, given->name, i, head_dim);
        if (!drayi_add(*out_sum, inner / head_dim, out_sum))
            return dray_fail(error, DRAY_E_INVALID,
                             "layout move: the sum of the %s's heads overflows", given->name);
    }
    return DRAY_OK;
}

static dray_status heads_check(const side *from, const side *to, drayi_remap *out, dray_error *error)
{
    uint64_t head_dim = 0, have, wanted;
    DRAY_TRY(heads_agree(from, &head_dim, error));
    DRAY_TRY(heads_agree(to, &head_dim, error));
    out->head_dim = head_dim ? head_dim : 1;
    out->head_bytes = out->head_dim * from->config->dtype_width_bytes;
    DRAY_TRY(heads_sum(from, out->head_dim, &have, error));
    DRAY_TRY(heads_sum(to, out->head_dim, &wanted, error));
    if (have == wanted)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID,
                     "layout move: layouts have incompatible inner dimensions: %" PRIu64
                     " elements per token in the source, %" PRIu64 " in the target",
                     have * out->head_dim, wanted * out->head_dim);
}

static dray_status layers_outside(const side *given, uint64_t count, dray_error *error)
{
    return dray_fail(
        error, DRAY_E_INVALID,
        "layout move: layers %" PRIu64 " to %" PRIu64 " of the %s are wanted, it has %u",
        given->first_layer, given->first_layer + count - 1, given->name, given->config->num_layers);
}

static dray_status layers_check(const side *from, const side *to, uint32_t wanted,
                                uint32_t *out_count, dray_error *error)
{
    uint64_t have = from->config->num_layers, room = to->config->num_layers, count = wanted;
    bool all = wanted == 0 && from->first_layer == 0 && to->first_layer == 0;
    if (all && have != room)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout move: layouts have incompatible layer counts: %" PRIu64
                         " in the source, %" PRIu64 " in the target; give a range of layers",
                         have, room);
    if (wanted == 0)
        count = from->first_layer < have ? have - from->first_layer : 1;
    if (!drayi_inside(from->first_layer, count, have))
        return layers_outside(from, count, error);
    if (!drayi_inside(to->first_layer, count, room))
        return layers_outside(to, count, error);
    *out_count = (uint32_t)count;
    return DRAY_OK;
}

// --- blocks --------------------------------------------------------------------------------------------

static dray_status at_position(dray_status status, uint64_t position, dray_error *error)
{
    if (error)
        error->index = position;
    return status;
}

static dray_status tokens_check(const side *from, const side *to, dray_error *error)
{
    uint64_t have, wanted;
    if (!drayi_mul(from->block_count, from->config->page_size, &have) ||
        !drayi_mul(to->block_count, to->config->page_size, &wanted))
        return dray_fail(error, DRAY_E_INVALID,
                         "layout move: the tokens of all blocks overflow 64 bits");
    if (have == wanted)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID,
                     "layout move: block lists have incompatible lengths: %" PRIu64
                     " source blocks of %" PRIu64 " tokens, %" PRIu64 " target blocks of %" PRIu64,
                     from->block_count, from->config->page_size, to->block_count,
                     to->config->page_size);
}

static dray_status range_check(const side *given, dray_error *error)
{
    uint64_t blocks = UINT64_MAX;
    for (uint32_t i = 0; i < given->layout_count; i++)
        blocks = drayi_min(blocks, config_of(given->layouts[i])->num_blocks);
    for (uint64_t i = 0; i < given->block_count; i++) {
        if (given->blocks[i] >= blocks)
            return at_position(dray_fail(error, DRAY_E_INVALID,
                                         "layout move: %s block %" PRIu64 " at position %" PRIu64
                                         " is out of range (max: %" PRIu64 ")",
                                         given->name, given->blocks[i], i, blocks - 1),
                               i, error);
    }
    return DRAY_OK;
}

static int order_compare(const void *left, const void *right, const void *self)
{
    const uint64_t *blocks = self, *a = left, *b = right;
    return blocks[*a] < blocks[*b] ? -1 : blocks[*a] > blocks[*b];
}

static dray_status order_build(drayi_env *env, const uint64_t *blocks, uint64_t count,
                               uint64_t **out_order, dray_error *error)
{
    uint64_t *order = drayi_alloc_array(env, count, sizeof(*order), error);
    if (!order)
        return DRAY_E_NOMEM;
    *out_order = order; // the caller frees it
    for (uint64_t i = 0; i < count; i++)
        order[i] = i;
    if (drayi_in_order(order, count, sizeof(*order), order_compare, blocks))
        return DRAY_OK;
    uint64_t *scratch = drayi_alloc_array(env, count, sizeof(*scratch), error);
    if (!scratch)
        return DRAY_E_NOMEM;
    drayi_sort(order, scratch, count, sizeof(*order), order_compare, blocks);
    drayi_free(env, scratch, count * sizeof(*scratch));
    return DRAY_OK;
}

static dray_status duplicates_check(const side *to, const uint64_t *order, dray_error *error)
{
    for (uint64_t i = 1; i < to->block_count; i++) {
        if (to->blocks[order[i]] == to->blocks[order[i - 1]])
            return at_position(dray_fail(error, DRAY_E_INVALID,
                                         "layout move: duplicate destination: target block %" PRIu64
                                         " at positions %" PRIu64 " and %" PRIu64,
                                         to->blocks[order[i]], order[i - 1], order[i]),
                               order[i], error);
    }
    return DRAY_OK;
}

static bool ranges_meet(uint64_t a, uint64_t b, uint64_t count)
{
    return a < b + count && b < a + count;
}

/// Source and target are one layout: then no block may be both, unless other layers of it move.
static dray_status meeting_check(const side *from, const side *to, drayi_remap *out,
                                 dray_error *error)
{
    out->one_layout =
        from->layout_count == 1 && to->layout_count == 1 && from->layouts[0] == to->layouts[0];
    if (!out->one_layout || !ranges_meet(from->first_layer, to->first_layer, out->layer_count))
        return DRAY_OK;
    for (uint64_t i = 0; i < from->block_count; i++) {
        uint64_t low = 0, high = to->block_count;
        while (low < high) {
            uint64_t middle = low + (high - low) / 2;
            if (to->blocks[out->target_order[middle]] < from->blocks[i])
                low = middle + 1;
            else
                high = middle;
        }
        if (low == to->block_count || to->blocks[out->target_order[low]] != from->blocks[i])
            continue;
        return at_position(dray_fail(error, DRAY_E_INVALID,
                                     "layout move: overlapping blocks: block %" PRIu64
                                     " of one layout is a source, at position %" PRIu64
                                     ", and a target, at position %" PRIu64,
                                     from->blocks[i], i, out->target_order[low]),
                           out->target_order[low], error);
    }
    return DRAY_OK;
}

static dray_status blocks_check(const side *from, const side *to, drayi_remap *out,
                                dray_error *error)
{
    DRAY_TRY(tokens_check(from, to, error));
    DRAY_TRY(range_check(from, error));
    DRAY_TRY(range_check(to, error));
    DRAY_TRY(order_build(out->env, to->blocks, to->block_count, &out->target_order, error));
    DRAY_TRY(duplicates_check(to, out->target_order, error));
    return meeting_check(from, to, out, error);
}

// --- all of it -----------------------------------------------------------------------------------------

uint64_t drayi_remap_heads(const drayi_remap *remap, const dray_layout *layout)
{
    return config_of(layout)->inner_dim / remap->head_dim;
}

dray_status drayi_remap_check(drayi_env *env, const dray_layout_move *move, drayi_remap *out,
                              dray_error *error)
{
    side from, to;
    *out = (drayi_remap){.env = env, .move = move};
    DRAY_TRY(side_take(move, false, &from, error));
    DRAY_TRY(side_take(move, true, &to, error));
    DRAY_TRY(shards_agree(&from, error));
    DRAY_TRY(shards_agree(&to, error));
    DRAY_TRY(sides_agree(&from, &to, error));
    DRAY_TRY(heads_check(&from, &to, out, error));
    DRAY_TRY(layers_check(&from, &to, move->layer_count, &out->layer_count, error));
    out->outer_dim = from.config->outer_dim;
    out->chunk_tokens = drayi_min(from.config->page_size, to.config->page_size);
    return blocks_check(&from, &to, out, error);
}

void drayi_remap_free(drayi_remap *remap)
{
    drayi_free(remap->env, remap->target_order,
               remap->move->target_block_count * sizeof(*remap->target_order));
}
