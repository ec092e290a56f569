/// Digests of what a layout holds, whatever its order of bytes: always over
/// [.., outer, token, head, element].
#include "base/hash.h"
#include "layout/visit.h"

#include <string.h>

_Static_assert(sizeof(dray_layout_digest) == sizeof(drayi_hash), "one is copied to the other");

static dray_layout_digest digest_end(const drayi_hash_state *state)
{
    drayi_hash hash = drayi_hash_end(state);
    dray_layout_digest digest;
    memcpy(digest.bytes, hash.bytes, sizeof(digest.bytes));
    return digest;
}

static void slice_add(const dray_layout_geometry *geometry, drayi_hash_state *state,
                      const uint8_t *slice)
{
    uint64_t head_bytes = geometry->head_dim * geometry->config.dtype_width_bytes;
    bool in_order =
        geometry->slices_whole &&
        (geometry->config.page_size == 1 || geometry->token_stride >= geometry->head_stride) &&
        (geometry->head_count == 1 || geometry->head_stride == head_bytes);
    if (in_order) {
        drayi_hash_add(state, slice, geometry->bytes_per_slice);
        return;
    }
    for (uint64_t token = 0; token < geometry->config.page_size; token++) {
        for (uint64_t head = 0; head < geometry->head_count; head++)
            drayi_hash_add(state,
                           slice + token * geometry->token_stride + head * geometry->head_stride,
                           head_bytes);
    }
}

static void layer_add(const drayi_block_view *view, uint64_t layer, drayi_hash_state *state)
{
    const dray_layout_geometry *geometry = &view->layout->geometry;
    for (uint64_t outer = 0; outer < geometry->config.outer_dim; outer++)
        slice_add(geometry, state, drayi_block_at(view, layer, outer));
}

// --- per block -----------------------------------------------------------------------------------------------------

static dray_status block_digest(void *self, const drayi_block_view *view, dray_error *error)
{
    (void)error;
    dray_layout_digest **next = self;
    drayi_hash_state state;
    drayi_hash_start(&state);
    for (uint64_t layer = 0; layer < view->layout->geometry.config.num_layers; layer++)
        layer_add(view, layer, &state);
    *(*next)++ = digest_end(&state);
    return DRAY_OK;
}

dray_status dray_layout_digest_blocks(dray_agent *agent, dray_layout *layout,
                                      const uint64_t *blocks, uint64_t count,
                                      dray_layout_digest *out_digests, dray_error *error)
{
    dray_status status = drayi_blocks_visit(agent, layout, blocks, count, DRAYI_VISIT_READ,
                                            block_digest, &out_digests, error);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "digest of blocks");
}

// --- per layer -----------------------------------------------------------------------------------------------------

/// A state wants an alignment that no allocator promises, so there is room to move the first one up.
typedef struct layer_states {
    drayi_hash_state *states; // aligned, inside `memory`
    void *memory;
    size_t bytes;
} layer_states;

static dray_status layer_digest(void *self, const drayi_block_view *view, dray_error *error)
{
    (void)error;
    layer_states *layers = self;
    for (uint64_t layer = 0; layer < view->layout->geometry.config.num_layers; layer++)
        layer_add(view, layer, &layers->states[layer]);
    return DRAY_OK;
}

dray_status dray_layout_digest_layers(dray_agent *agent, dray_layout *layout,
                                      const uint64_t *blocks, uint64_t count,
                                      dray_layout_digest *out_digests, dray_error *error)
{
    const uint64_t layer_count = layout->geometry.config.num_layers;
    const size_t alignment = _Alignof(drayi_hash_state);
    layer_states layers = {.bytes = layer_count * sizeof(drayi_hash_state) + alignment};
    layers.memory = drayi_alloc(layout->env, layers.bytes, error);
    if (!layers.memory)
        return DRAY_E_NOMEM;
    uintptr_t at = ((uintptr_t)layers.memory + alignment - 1) & ~(uintptr_t)(alignment - 1);
    layers.states = (drayi_hash_state *)at;
    for (uint64_t layer = 0; layer < layer_count; layer++)
        drayi_hash_start(&layers.states[layer]);
    dray_status status = drayi_blocks_visit(agent, layout, blocks, count, DRAYI_VISIT_READ,
                                            layer_digest, &layers, error);
    for (uint64_t layer = 0; layer < layer_count && status == DRAY_OK; layer++)
        out_digests[layer] = digest_end(&layers.states[layer]);
    drayi_free(layout->env, layers.memory, layers.bytes);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "digest of layers");
}
