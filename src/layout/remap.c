/// The unit is a chunk: the tokens of one page, of the side with the smaller pages. Chunks in the order of
/// the target's blocks make a list of two offsets each; equal distances in the list become loops, as often
/// as loops are left beside those of layers, outers, tokens and heads.
#include "layout/remap.h"

#include "base/checked.h"
#include "memory/region.h"

#include <string.h>

/// One side of a pair of shards.
typedef struct end {
    const dray_layout *layout;
    const dray_layout_geometry *geometry;
    uint64_t head_offset; // bytes from a token's first head to the first that this pair moves
    uint64_t head_stride;
    uint64_t chunk_stride; // from a chunk of a block to the next one
    uint64_t block_chunks; // chunks of a block
    uint32_t first_layer;
    bool even_layers; // all layers of the move stand at equal distances in `region`
    dray_region *region;
    uint64_t base, layer_stride;
} end;

/// A source shard, a target shard, and the heads that both have.
typedef struct pair {
    end from, to;
    uint64_t heads;
} pair;

// --- where layers stand -----------------------------------------------------------------------------

/// The region that others are views of, and where in it this one begins.
static dray_region *root_of(dray_region *region, uint64_t *out_offset)
{
    dray_region *root = region;
    while (root->parent)
        root = root->parent;
    *out_offset = region->native.file_offset - root->native.file_offset; // counted for every kind
    return root;
}

static void end_find_layers(end *side, uint32_t count)
{
    const dray_layout_geometry *geometry = side->geometry;
    side->even_layers = true;
    side->layer_stride = geometry->layer_stride;
    if (geometry->region_count == 1) {
        side->region = dray_layout_region(side->layout, 0);
        side->base = side->first_layer * geometry->layer_stride;
        return;
    }
    side->region = root_of(dray_layout_region(side->layout, side->first_layer), &side->base);
    uint64_t before = side->base;
    for (uint32_t i = 1; i < count; i++) {
        uint64_t at;
        dray_region *root = root_of(dray_layout_region(side->layout, side->first_layer + i), &at);
        if (i == 1)
            side->layer_stride = at - before;
        if (root != side->region || at <= before || at - before != side->layer_stride) {
            side->even_layers = false;
            return;
        }
        before = at;
    }
}

/// Where one layer stands, when it is copied alone.
static void end_at_layer(const end *side, uint32_t layer, dray_region **out_region,
                         uint64_t *out_base)
{
    if (side->even_layers) {
        *out_region = side->region;
        *out_base = side->base + layer * side->layer_stride;
        return;
    }
    *out_region = dray_layout_region(side->layout, side->first_layer + layer);
    *out_base = 0;
}

static end end_of(const drayi_remap *remap, const dray_layout *layout, uint64_t first_head,
                  uint32_t first_layer)
{
    const dray_layout_geometry *geometry = dray_layout_get_geometry(layout);
    end side = {.layout = layout, .geometry = geometry, .first_layer = first_layer};
    bool knows_heads = geometry->config.num_heads != 0;
    side.head_stride = knows_heads ? geometry->head_stride : remap->head_bytes;
    side.head_offset = first_head * side.head_stride;
    side.chunk_stride = remap->chunk_tokens * geometry->token_stride;
    side.block_chunks = geometry->config.page_size / remap->chunk_tokens;
    end_find_layers(&side, remap->layer_count);
    return side;
}

// --- loops --------------------------------------------------------------------------------------------

static void loop_remove(dray_copy *copy, uint32_t index)
{
    copy->loop_count--;
    memmove(&copy->loops[index], &copy->loops[index + 1],
            (copy->loop_count - index) * sizeof(dray_loop));
}

/// Takes away one loop that says nothing of its own; false: there is none.
static bool loops_simplify_once(dray_copy *copy)
{
    for (uint32_t i = 0; i < copy->loop_count; i++) {
        dray_loop *loop = &copy->loops[i];
        if (loop->count == 1) {
            loop_remove(copy, i);
            return true;
        }
        if (loop->source_stride == copy->run_bytes && loop->target_stride == copy->run_bytes) {
            copy->run_bytes *= loop->count;
            loop_remove(copy, i);
            return true;
        }
        for (uint32_t k = 0; k < copy->loop_count; k++) {
            const dray_loop *inner = &copy->loops[k];
            if (k != i && loop->source_stride == inner->count * inner->source_stride &&
                loop->target_stride == inner->count * inner->target_stride) {
                copy->loops[k].count *= loop->count;
                loop_remove(copy, i);
                return true;
            }
        }
    }
    return false;
}

/// The outermost loop takes the largest steps on the side that likes its bytes in order.
static void loops_order(dray_copy *copy, bool by_target)
{
    for (uint32_t i = 1; i < copy->loop_count; i++) {
        for (uint32_t k = i; k > 0; k--) {
            dray_loop *outer = &copy->loops[k - 1], *inner = &copy->loops[k], swap = *outer;
            bool right = by_target ? outer->target_stride >= inner->target_stride
                                   : outer->source_stride >= inner->source_stride;
            if (right)
                break;
            *outer = *inner;
            *inner = swap;
        }
    }
}

/// One chunk of a pair, all its layers or one.
static dray_copy chunk_of(const drayi_remap *remap, const pair *shards, bool all_layers)
{
    const end *from = &shards->from, *to = &shards->to;
    dray_copy copy = {
        .source_offset = from->head_offset,
        .target_offset = to->head_offset,
        .run_bytes = remap->head_bytes,
        .loop_count = 4,
        .loops = {{all_layers ? remap->layer_count : 1, from->layer_stride, to->layer_stride},
                  {remap->outer_dim, from->geometry->outer_stride, to->geometry->outer_stride},
                  {remap->chunk_tokens, from->geometry->token_stride, to->geometry->token_stride},
                  {shards->heads, from->head_stride, to->head_stride}}};
    while (loops_simplify_once(&copy))
        continue;
    return copy;
}

// --- chunks -------------------------------------------------------------------------------------------

/// Offset of chunk `number` of a side, counted through its list of blocks.
static uint64_t chunk_offset(const end *side, const uint64_t *blocks, uint64_t number)
{
    return blocks[number / side->block_chunks] * side->geometry->block_stride +
           number % side->block_chunks * side->chunk_stride;
}

/// Every chunk a copy, by rising target.
static void chunks_write(const drayi_remap *remap, const pair *shards, const dray_copy *chunk,
                         dray_copy *out)
{
    const dray_layout_move *move = remap->move;
    uint64_t per_block = shards->to.block_chunks;
    for (uint64_t i = 0; i < move->target_block_count; i++) {
        for (uint64_t k = 0; k < per_block; k++, out++) {
            uint64_t number = remap->target_order[i] * per_block + k;
            *out = *chunk;
            out->source_offset += chunk_offset(&shards->from, move->source_blocks, number);
            out->target_offset += chunk_offset(&shards->to, move->target_blocks, number);
        }
    }
}

/// How far apart two chunks may lie that make a loop by being two only.
typedef struct neighbours {
    uint64_t source, target;
} neighbours;

static bool same_loops(const dray_copy *a, const dray_copy *b)
{
    return a->run_bytes == b->run_bytes && a->loop_count == b->loop_count &&
           memcmp(a->loops, b->loops, a->loop_count * sizeof(dray_loop)) == 0;
}

/// How many copies from here on stand at equal distances on both sides.
static uint64_t progression(const dray_copy *copies, uint64_t left, const neighbours *near)
{
    if (left < 2 || copies[0].loop_count == DRAY_LOOPS_MAX ||
        copies[1].source_offset < copies[0].source_offset || !same_loops(&copies[0], &copies[1]))
        return 1;
    uint64_t source = copies[1].source_offset - copies[0].source_offset,
             target = copies[1].target_offset - copies[0].target_offset, length = 2;
    while (length < left && same_loops(&copies[0], &copies[length]) &&
           copies[length].source_offset == copies[length - 1].source_offset + source &&
           copies[length].target_offset == copies[length - 1].target_offset + target)
        length++;
    return length > 2 || (source <= near->source && target <= near->target) ? length : 1;
}

/// Copies at equal distances become one with a loop more; returns how many are left.
static uint64_t copies_join(dray_copy *copies, uint64_t count, const neighbours *near)
{
    uint64_t kept = 0;
    for (uint64_t first = 0, length; first < count; first += length) {
        length = progression(copies + first, count - first, near);
        dray_copy joined = copies[first];
        if (length > 1)
            joined.loops[joined.loop_count++] = (dray_loop){
                .count = length,
                .source_stride = copies[first + 1].source_offset - copies[first].source_offset,
                .target_stride = copies[first + 1].target_offset - copies[first].target_offset};
        copies[kept++] = joined;
    }
    return kept;
}

/// As few copies as the free loops allow. A joined loop may vanish again in the run or in another loop, so
/// simplifying first makes room for the next round.
static uint64_t copies_coalesce(const pair *shards, dray_copy *copies, uint64_t count)
{
    const neighbours near = {
        .source = shards->from.geometry->block_stride * shards->to.block_chunks,
        .target = shards->to.geometry->block_stride * shards->from.block_chunks};
    for (uint64_t before = count + 1; count < before;) {
        before = count;
        count = copies_join(copies, count, &near);
        for (uint64_t i = 0; count < before && i < count; i++) {
            while (loops_simplify_once(&copies[i]))
                continue;
        }
    }
    return count;
}

// --- pairs of shards -------------------------------------------------------------------------------------

static dray_status list_reserve(drayi_env *env, drayi_copy_list *list, uint64_t more,
                                dray_error *error)
{
    uint64_t wanted;
    if (!drayi_add(list->count, more, &wanted))
        return dray_fail(error, DRAY_E_NOMEM, "layout move: the number of copies overflows");
    return drayi_grow(env, (void **)&list->copies, &list->capacity, wanted, sizeof(dray_copy),
                      error);
}

static bool likes_target_order(const end *from, const end *to)
{
    dray_storage source = dray_region_storage(from->region),
                 target = dray_region_storage(to->region);
    bool far_source = source == DRAY_STORAGE_DISK || source == DRAY_STORAGE_REMOTE;
    bool far_target = target == DRAY_STORAGE_DISK || target == DRAY_STORAGE_REMOTE;
    return far_target && !far_source;
}

static void copy_place(dray_copy *copy, const pair *shards, uint32_t layer)
{
    uint64_t from, to;
    end_at_layer(&shards->from, layer, &copy->source, &from);
    end_at_layer(&shards->to, layer, &copy->target, &to);
    copy->source_offset += from;
    copy->target_offset += to;
}

/// The blocks are worked out once, for layer 0, and repeated for the layers that stand elsewhere.
static dray_status pair_copies(const drayi_remap *remap, const pair *shards, drayi_copy_list *list,
                               dray_error *error)
{
    bool all_layers = shards->from.even_layers && shards->to.even_layers;
    uint64_t chunks = remap->move->target_block_count * shards->to.block_chunks;
    DRAY_TRY(list_reserve(remap->env, list, chunks, error));
    dray_copy *first = list->copies + list->count;
    dray_copy chunk = chunk_of(remap, shards, all_layers);
    chunks_write(remap, shards, &chunk, first);
    uint64_t count = copies_coalesce(shards, first, chunks);
    bool by_target = likes_target_order(&shards->from, &shards->to);
    for (uint64_t i = 0; i < count; i++)
        loops_order(&first[i], by_target);
    uint32_t groups = all_layers ? 1 : remap->layer_count;
    uint64_t all;
    if (!drayi_mul(count, groups, &all))
        return dray_fail(error, DRAY_E_NOMEM, "layout move: the number of copies overflows");
    DRAY_TRY(list_reserve(remap->env, list, all, error));
    first = list->copies + list->count;
    for (uint32_t group = groups; group-- > 0;) { // layer 0 last: the others are made from it
        for (uint64_t i = 0; i < count; i++) {
            dray_copy *copy = &first[group * count + i];
            *copy = first[i];
            copy_place(copy, shards, group);
        }
    }
    list->count += all;
    return DRAY_OK;
}

/// Walks the heads of both sides; wherever two shards share some, they are a pair.
static dray_status pairs_walk(const drayi_remap *remap, drayi_copy_list *list, dray_error *error)
{
    const dray_layout_move *move = remap->move;
    uint64_t source_head = 0, target_head = 0;
    for (uint32_t s = 0, t = 0; s < move->source_count && t < move->target_count;) {
        uint64_t source_left = drayi_remap_heads(remap, move->sources[s]) - source_head,
                 target_left = drayi_remap_heads(remap, move->targets[t]) - target_head;
        pair shards = {
            .from = end_of(remap, move->sources[s], source_head, move->source_layer),
            .to = end_of(remap, move->targets[t], target_head, move->target_layer),
            .heads = drayi_min(source_left, target_left),
        };
        DRAY_TRY(pair_copies(remap, &shards, list, error));
        source_head += shards.heads;
        target_head += shards.heads;
        if (source_left == shards.heads) {
            s++;
            source_head = 0;
        }
        if (target_left == shards.heads) {
            t++;
            target_head = 0;
        }
    }
    return DRAY_OK;
}

dray_status drayi_remap_copies(const drayi_remap *remap, drayi_copy_list *out, dray_error *error)
{
    *out = (drayi_copy_list){0};
    if (remap->move->target_block_count == 0)
        return DRAY_OK;
    dray_status status = pairs_walk(remap, out, error);
    if (status != DRAY_OK)
        drayi_copy_list_free(remap->env, out);
    return status;
}

void drayi_copy_list_free(drayi_env *env, drayi_copy_list *list)
{
    drayi_free(env, list->copies, list->capacity * sizeof(dray_copy));
    *list = (drayi_copy_list){0};
}
