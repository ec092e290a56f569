/// The naive loop over elements. See layout_verify.h.
#include "layout_verify.h"

#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/// A block of one side in ordinary memory, as it lies there.
typedef struct image {
    dray_layout *layout;
    const dray_layout_geometry *geometry;
    dray_region *memory;
    uint64_t layer_stride, outer_stride; // of the image
    uint64_t first_layer;
    uint64_t block; // which one it is; UINT64_MAX: none yet
} image;

static dray_status image_make(image *out, dray_agent *agent, dray_layout *layout,
                              uint64_t first_layer, dray_error *error)
{
    const dray_layout_geometry *geometry = dray_layout_get_geometry(layout);
    *out = (image){.layout = layout,
                   .geometry = geometry,
                   .first_layer = first_layer,
                   .block = UINT64_MAX,
                   .layer_stride = geometry->layer_stride,
                   .outer_stride = geometry->outer_stride};
    if (!geometry->blocks_whole) {
        out->outer_stride = geometry->bytes_per_slice;
        out->layer_stride = geometry->config.outer_dim * geometry->bytes_per_slice;
    }
    const dray_region_options memory = {.struct_bytes = sizeof(memory),
                                        .bytes = geometry->bytes_per_block};
    return dray_region_create(dray_agent_context(agent), &memory, &out->memory, error);
}

static dray_status copies_run(dray_agent *agent, const dray_copy *copies, uint64_t count,
                              dray_error *error)
{
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_plan_create(agent, copies, count, NULL, &plan, error);
    if (status == DRAY_OK)
        status = dray_transfer_create(agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

/// Every slice of the block, where it stands, to where it stands in the image.
static dray_status image_read(image *into, dray_agent *agent, uint64_t block, dray_error *error)
{
    const dray_layout_config *config = &into->geometry->config;
    bool whole = into->geometry->blocks_whole;
    uint64_t count = whole ? 1 : (uint64_t)config->num_layers * config->outer_dim;
    dray_copy *copies = text_memory(NULL, count * sizeof(*copies));
    dray_status status = DRAY_OK;
    for (uint64_t i = 0; i < count && status == DRAY_OK; i++) {
        dray_span span;
        status = whole ? dray_layout_block(into->layout, block, &span, error)
                       : dray_layout_span(into->layout, block, i / config->outer_dim,
                                          i % config->outer_dim, &span, error);
        copies[i] = (dray_copy){.source = span.region,
                                .target = into->memory,
                                .source_offset = span.offset,
                                .target_offset = i * into->geometry->bytes_per_slice,
                                .run_bytes = span.bytes};
    }
    if (status == DRAY_OK)
        status = copies_run(agent, copies, count, error);
    into->block = status == DRAY_OK ? block : UINT64_MAX;
    free(copies);
    return status;
}

static const uint8_t *head_at(const image *of, uint64_t layer, uint64_t outer, uint64_t token,
                              uint64_t head, uint64_t head_bytes)
{
    const dray_layout_geometry *geometry = of->geometry;
    uint64_t stride = geometry->config.num_heads ? geometry->head_stride : head_bytes;
    return (const uint8_t *)dray_region_pointer(of->memory) +
           (of->first_layer + layer) * of->layer_stride + outer * of->outer_stride +
           token * geometry->token_stride + head * stride;
}

/// Token `token` of the lists, all layers that move.
static dray_status token_compare(const image *from, const image *to, const dray_layout_move *move,
                                 uint64_t token, uint64_t *bytes, dray_error *error)
{
    const dray_layout_config *a = &from->geometry->config, *b = &to->geometry->config;
    uint64_t heads = a->num_heads ? a->num_heads : b->num_heads ? b->num_heads : 1;
    uint64_t head_bytes = a->inner_dim / heads * a->dtype_width_bytes;
    uint64_t layers = move->layer_count ? move->layer_count : a->num_layers - move->source_layer;
    for (uint64_t layer = 0; layer < layers; layer++) {
        for (uint64_t outer = 0; outer < a->outer_dim; outer++) {
            for (uint64_t head = 0; head < heads; head++, *bytes += head_bytes) {
                if (memcmp(head_at(from, layer, outer, token % a->page_size, head, head_bytes),
                           head_at(to, layer, outer, token % b->page_size, head, head_bytes),
                           head_bytes) == 0)
                    continue;
                return dray_fail(error, DRAY_E_CORRUPT,
                                 "the target differs from the source: token %" PRIu64
                                 " of the lists (block %" PRIu64 " to block %" PRIu64
                                 "), layer %" PRIu64 ", outer %" PRIu64 ", head %" PRIu64,
                                 token, from->block, to->block, layer, outer, head);
            }
        }
    }
    return DRAY_OK;
}

static dray_status images_compare(dray_agent *agent, image *from, image *to,
                                  const dray_layout_move *move, uint64_t *bytes, dray_error *error)
{
    uint64_t from_page = from->geometry->config.page_size, to_page = to->geometry->config.page_size;
    dray_status status = DRAY_OK;
    for (uint64_t token = 0; token < move->source_block_count * from_page && status == DRAY_OK;
         token++) {
        if (token % from_page == 0)
            status = image_read(from, agent, move->source_blocks[token / from_page], error);
        if (token % to_page == 0 && status == DRAY_OK)
            status = image_read(to, agent, move->target_blocks[token / to_page], error);
        if (status == DRAY_OK)
            status = token_compare(from, to, move, token, bytes, error);
    }
    return status;
}

dray_status layout_verify(dray_agent *agent, const dray_layout_move *move, uint64_t *out_bytes,
                          dray_error *error)
{
    image from = {0}, to = {0};
    *out_bytes = 0;
    dray_status status = image_make(&from, agent, move->sources[0], move->source_layer, error);
    if (status == DRAY_OK)
        status = image_make(&to, agent, move->targets[0], move->target_layer, error);
    if (status == DRAY_OK)
        status = images_compare(agent, &from, &to, move, out_bytes, error);
    dray_region_release(from.memory);
    dray_region_release(to.memory);
    return status;
}
