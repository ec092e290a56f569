/// An image of a block is its bytes without padding, its layers one after the other. Its dimensions have the
/// order that they have in the layout, so an image is a copy of few runs, and only a visit looks at single tokens.
#include "layout/visit.h"

#include "base/checked.h"
#include "dray/spi/region.h"

#include <inttypes.h>

enum { images_bytes = 16 << 20 }; // of one transfer

typedef struct visitor {
    dray_agent *agent;
    dray_layout *layout;
    const uint64_t *blocks;
    drayi_visit_kind kind;
    dray_status (*visit)(void *self, const drayi_block_view *view, dray_error *error);
    void *self;
    dray_region *images; // NULL: in place
    dray_copy *copies;
    uint64_t batch, copies_per_block;
} visitor;

uint8_t *drayi_block_at(const drayi_block_view *view, uint64_t layer, uint64_t outer)
{
    const dray_layout_geometry *geometry = &view->layout->geometry;
    if (view->image)
        return view->image + layer * view->layer_stride + outer * view->outer_stride;
    dray_region *region = view->layout->regions[geometry->region_count > 1 ? layer : 0];
    return (uint8_t *)dray_region_pointer(region) + view->block * geometry->block_stride +
           layer * geometry->layer_stride + outer * geometry->outer_stride;
}

static uint64_t block_id(const visitor *v, uint64_t index)
{
    return v->blocks ? v->blocks[index] : index;
}

static drayi_block_view view_of(const visitor *v, uint64_t index, uint64_t slot)
{
    const dray_layout_geometry *geometry = &v->layout->geometry;
    drayi_block_view view = {.layout = v->layout, .block = block_id(v, index)};
    if (!v->images)
        return view;
    view.image = (uint8_t *)dray_region_pointer(v->images) + slot * geometry->bytes_per_block;
    bool whole = geometry->blocks_whole;
    view.layer_stride =
        whole ? geometry->layer_stride : geometry->bytes_per_slice * geometry->config.outer_dim;
    view.outer_stride = whole ? geometry->outer_stride : geometry->bytes_per_slice;
    return view;
}

// --- through the agent ---------------------------------------------------------------------------------------------

/// The copies of one block between the layout and its image.
static void copies_of_block(const visitor *v, uint64_t block, uint64_t image, dray_copy *out)
{
    const dray_layout_geometry *geometry = &v->layout->geometry;
    bool write = v->kind == DRAYI_VISIT_WRITE;
    uint64_t bytes = geometry->bytes_per_block / v->copies_per_block;
    for (uint64_t i = 0; i < v->copies_per_block; i++) {
        dray_region *region = v->layout->regions[i];
        uint64_t at = block * geometry->block_stride, in_image = image + i * bytes;
        out[i] = (dray_copy){
            .source = write ? v->images : region,
            .target = write ? region : v->images,
            .source_offset = write ? in_image : at,
            .target_offset = write ? at : in_image,
            .run_bytes = bytes,
        };
        if (geometry->config.kind != DRAY_LAYOUT_LAYER_SEPARATE_SECOND)
            continue;
        uint64_t slice = geometry->bytes_per_slice, outer = geometry->outer_stride;
        out[i].run_bytes = slice;
        out[i].loop_count = 1;
        out[i].loops[0] = (dray_loop){.count = geometry->config.outer_dim,
                                      .source_stride = write ? slice : outer,
                                      .target_stride = write ? outer : slice};
    }
}

static dray_status batch_move(const visitor *v, uint64_t first, uint64_t count, dray_error *error)
{
    const uint64_t bytes = v->layout->geometry.bytes_per_block;
    for (uint64_t i = 0; i < count; i++)
        copies_of_block(v, block_id(v, first + i), i * bytes, v->copies + i * v->copies_per_block);
    dray_plan *plan;
    dray_transfer *transfer = NULL;
    DRAY_TRY(dray_plan_create(v->agent, v->copies, count * v->copies_per_block, NULL, &plan, error));
    dray_status status = dray_transfer_create(v->agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

static dray_status batch_visit(const visitor *v, uint64_t first, uint64_t count, dray_error *error)
{
    if (v->images && v->kind == DRAYI_VISIT_READ)
        DRAY_TRY(batch_move(v, first, count, error));
    for (uint64_t i = 0; i < count; i++) {
        drayi_block_view view = view_of(v, first + i, i);
        DRAY_TRY(v->visit(v->self, &view, error));
    }
    if (v->images && v->kind == DRAYI_VISIT_WRITE)
        DRAY_TRY(batch_move(v, first, count, error));
    return DRAY_OK;
}

// --- all blocks ----------------------------------------------------------------------------------------------------

/// Can the host touch every region by itself?
static bool in_place(const dray_layout *layout)
{
    for (uint64_t i = 0; i < layout->geometry.region_count; i++) {
        dray_storage storage = dray_region_storage(layout->regions[i]);
        bool host = storage == DRAY_STORAGE_SYSTEM || storage == DRAY_STORAGE_PINNED ||
                    storage == DRAY_STORAGE_MANAGED;
        if (!host || !dray_region_pointer(layout->regions[i]))
            return false;
    }
    return true;
}

static dray_status writable_check(const dray_layout *layout, dray_error *error)
{
    for (uint64_t i = 0; i < layout->geometry.region_count; i++) {
        dray_region_native native;
        dray_region_get_native(layout->regions[i], &native);
        if (!native.writable)
            return dray_fail(error, DRAY_E_INVALID, "memory region %" PRIu64 " (%s) is read only",
                             i, native.name);
    }
    return DRAY_OK;
}

static dray_status images_make(visitor *v, uint64_t count, dray_error *error)
{
    const dray_layout_geometry *geometry = &v->layout->geometry;
    v->batch = drayi_max(1, drayi_min(count, images_bytes / geometry->bytes_per_block));
    v->copies_per_block = geometry->region_count;
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .bytes = v->batch * geometry->bytes_per_block};
    DRAY_TRY(dray_region_create(dray_agent_context(v->agent), &options, &v->images, error));
    uint64_t copies = v->batch * v->copies_per_block;
    v->copies = drayi_alloc_array(v->layout->env, copies, sizeof(*v->copies), error);
    return v->copies ? DRAY_OK : DRAY_E_NOMEM;
}

static dray_status ids_check(const visitor *v, uint64_t count, dray_error *error)
{
    uint64_t blocks = v->layout->geometry.config.num_blocks;
    for (uint64_t i = 0; i < count; i++) {
        if (block_id(v, i) < blocks)
            continue;
        dray_status status =
            dray_fail(error, DRAY_E_INVALID, "block ID %" PRIu64 " out of range (max: %" PRIu64 ")",
                      block_id(v, i), blocks - 1);
        if (error)
            error->index = i;
        return status;
    }
    return DRAY_OK;
}

dray_status drayi_blocks_visit(dray_agent *agent, dray_layout *layout, const uint64_t *blocks,
                               uint64_t count, drayi_visit_kind kind,
                               dray_status (*visit)(void *self, const drayi_block_view *view,
                                                    dray_error *error),
                               void *self, dray_error *error)
{
    visitor v = {.agent = agent,
                 .layout = layout,
                 .blocks = blocks,
                 .kind = kind,
                 .visit = visit,
                 .self = self,
                 .batch = count};
    DRAY_TRY(ids_check(&v, count, error));
    if (kind == DRAYI_VISIT_WRITE)
        DRAY_TRY(writable_check(layout, error));
    dray_status status = count && !in_place(layout) ? images_make(&v, count, error) : DRAY_OK;
    for (uint64_t done = 0; done < count && status == DRAY_OK; done += v.batch)
        status = batch_visit(&v, done, drayi_min(v.batch, count - done), error);
    if (v.images)
        drayi_free(layout->env, v.copies, v.batch * v.copies_per_block * sizeof(*v.copies));
    dray_region_release(v.images);
    return status;
}
