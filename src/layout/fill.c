/// Contents that tell their own place: a block at the wrong id, a swapped K and V, a token moved by one,
/// all of them show.
///
/// Splitmix64's last step maps 64 bits one to one, so two tokens whose numbers differ differ in their first eight
/// bytes.
#include "base/checked.h"
#include "layout/visit.h"

#include <inttypes.h>
#include <string.h>

static uint64_t splitmix64(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);

typedef struct filler {
    const dray_layout_geometry *geometry;
    dray_layout_pattern pattern;
    uint64_t base;
} filler;

/// Bytes [from, from + count) of token `number`.
static void numbers_write(const filler *f, uint64_t number, uint64_t from, uint8_t *out,
                          uint64_t count)
{
    uint64_t begin = f->base + number;
    for (uint64_t i = 0; i < count;) {
        uint64_t at = from + i, inside = at % 8;
        uint64_t word = splitmix64(begin + at / 8 * golden);
        uint64_t bytes = drayi_min(8 - inside, count - i);
        uint8_t little[8];
        for (int k = 0; k < 8; k++)
            little[k] = (uint8_t)(word >> 8 * k);
        memcpy(out + i, little + inside, bytes);
        i += bytes;
    }
}

static void slice_fill(const filler *f, uint8_t *slice, uint64_t number)
{
    const dray_layout_geometry *geometry = f->geometry;
    uint64_t head_bytes = geometry->head_dim * geometry->config.dtype_width_bytes;
    for (uint64_t token = 0; token < geometry->config.page_size; token++) {
        for (uint64_t head = 0; head < geometry->head_count; head++) {
            uint8_t *at = slice + token * geometry->token_stride + head * geometry->head_stride;
            if (f->pattern.constant)
                memset(at, (int)f->pattern.value, head_bytes);
            else
                numbers_write(f, number + token, head * head_bytes, at, head_bytes);
        }
    }
}

static dray_status block_fill(void *self, const drayi_block_view *view, dray_error *error)
{
    (void)error;
    const filler *f = self;
    const dray_layout_config *config = &f->geometry->config;
    uint64_t slices = view->block * config->num_layers * config->outer_dim;
    for (uint64_t layer = 0; layer < config->num_layers; layer++) {
        for (uint64_t outer = 0; outer < config->outer_dim; outer++)
            slice_fill(f, drayi_block_at(view, layer, outer), slices++ * config->page_size);
    }
    return DRAY_OK;
}

dray_status dray_layout_fill(dray_agent *agent, dray_layout *layout,
                             const dray_layout_pattern *given, dray_error *error)
{
    filler f = {.geometry = &layout->geometry};
    DRAY_TRY(drayi_options(&f.pattern, sizeof(f.pattern), given, "dray_layout_pattern", error));
    if (f.pattern.constant ? f.pattern.value > UINT8_MAX : f.pattern.value != 0)
        return dray_fail(error, DRAY_E_INVALID,
                         "fill: value %u: with constant it is a byte, otherwise 0", f.pattern.value);
    if (f.pattern.block_count && !f.pattern.blocks)
        return dray_fail(error, DRAY_E_INVALID, "fill: %" PRIu64 " blocks, but the list is NULL",
                         f.pattern.block_count);
    f.base = splitmix64(f.pattern.seed + golden);
    uint64_t count = f.pattern.blocks ? f.pattern.block_count : layout->geometry.config.num_blocks;
    dray_status status = drayi_blocks_visit(agent, layout, f.pattern.blocks, count,
                                            DRAYI_VISIT_WRITE, block_fill, &f, error);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "fill");
}
