/// Two rows of boxes show the two slowest dimensions of a block; a line for each other one says the rest.
/// See layout_drawing.h.
#include "layout_drawing.h"

#include "table.h"
#include "text.h"

#include <inttypes.h>
#include <string.h>

/// One dimension, slowest first. Blocks are one, too: a block-second layout has them inside.
typedef struct dimension {
    const char *name, *names;
    uint64_t count, stride;
} dimension;

enum { dimensions_max = 5, box_width = 9, boxes_shown = 3 };

/// What the picture shows: a block, or of a block-second layout a region, in which blocks have no place of
/// their own. Returns how many dimensions there are.
static unsigned dimensions_of(const dray_layout_geometry *geometry, dimension out[dimensions_max])
{
    const dray_layout_config *config = &geometry->config;
    const dimension layer = {"layer", "layers", config->num_layers, geometry->layer_stride};
    const dimension outer = {"outer", "outers", config->outer_dim, geometry->outer_stride};
    const dimension block = {"block", "blocks", config->num_blocks, geometry->block_stride};
    dimension inside[4] = {
        layer,
        outer,
        {"token", "tokens", config->page_size, geometry->token_stride},
        {"head", "heads", geometry->head_count, geometry->head_stride},
    };
    unsigned count = 0;
    if (config->kind != DRAY_LAYOUT_CONTIGUOUS)
        inside[0].count = 0;
    for (int round = 0; round < 4; round++) { // the largest stride that is left
        dimension *largest = NULL;
        for (int i = 0; i < 4; i++) {
            bool larger = !largest || inside[i].stride > largest->stride;
            if (inside[i].count && larger)
                largest = &inside[i];
        }
        if (!largest)
            break;
        out[count++] = *largest;
        largest->count = 0;
        if (config->kind == DRAY_LAYOUT_LAYER_SEPARATE_SECOND && count == 1)
            out[count++] = block;
    }
    return count;
}

// --- boxes ---------------------------------------------------------------------------------------

static void box_name(const dimension *of, uint64_t index, char out[32])
{
    if (strcmp(of->name, "outer") == 0)
        snprintf(out, 32, "%s", of->count == 1 ? "latent" : index == 0 ? "K" : "V");
    else
        snprintf(out, 32, "%s %" PRIu64, of->name, index);
}

/// Which items are shown: all of few, otherwise the first two and the last. UINT64_MAX: dots.
static unsigned items_shown(uint64_t count, uint64_t out[boxes_shown + 1])
{
    if (count <= boxes_shown) {
        for (uint64_t i = 0; i < count; i++)
            out[i] = i;
        return (unsigned)count;
    }
    out[0] = 0, out[1] = 1, out[2] = UINT64_MAX, out[3] = count - 1;
    return boxes_shown + 1;
}

/// Columns of the second row's boxes under one of the first, and the lines between them.
static int row_width(const dimension *of)
{
    uint64_t items[boxes_shown + 1];
    unsigned count = items_shown(of->count, items);
    int width = (int)count - 1;
    for (unsigned i = 0; i < count; i++)
        width += items[i] == UINT64_MAX ? 5 : box_width;
    return width;
}

static void box_print(FILE *stream, const dimension *of, uint64_t item, int width)
{
    char name[32];
    if (item == UINT64_MAX) {
        fputs(" ... |", stream);
        return;
    }
    box_name(of, item, name);
    fprintf(stream, "%-*.*s|", width, width, name);
}

static void boxes_print(FILE *stream, const dimension *first, const dimension *second)
{
    uint64_t items[boxes_shown + 1], inner[boxes_shown + 1];
    unsigned count = items_shown(first->count, items),
             inner_count = items_shown(second->count, inner);
    fputs("  |", stream);
    for (unsigned i = 0; i < count; i++)
        box_print(stream, first, items[i], row_width(second));
    fputs("\n  |", stream);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < inner_count && items[i] != UINT64_MAX; j++)
            box_print(stream, second, inner[j], box_width);
        if (items[i] == UINT64_MAX)
            fputs(" ... |", stream);
    }
    fputc('\n', stream);
}

// --- numbers -------------------------------------------------------------------------------------

static void row(table *rows, const char *name, const char *text)
{
    table_cell(rows, "%s", name);
    table_cell(rows, "%s", text);
}

static const char *exact(char out[64], uint64_t bytes)
{
    char rounded[TEXT_NUMBER_BYTES];
    if (bytes < 1024)
        snprintf(out, 64, "%" PRIu64 " bytes", bytes);
    else
        snprintf(out, 64, "%" PRIu64 " bytes (%s)", bytes, text_bytes(rounded, bytes));
    return out;
}

static void numbers_print(const dray_layout_geometry *geometry, FILE *stream)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, 0}};
    char number[64], text[160];
    table *rows = table_create(columns, 2);
    snprintf(text, sizeof(text), "%" PRIu64 " of %s", geometry->config.num_blocks,
             exact(number, geometry->bytes_per_block));
    row(rows, "blocks", text);
    snprintf(text, sizeof(text), "%" PRIu64 " of %s%s", geometry->region_count,
             exact(number, geometry->region_bytes),
             geometry->region_count > 1 ? ", one for each layer" : "");
    row(rows, "regions", text);
    row(rows, "in all", exact(number, geometry->base_bytes));
    row(rows, "padding", exact(number, geometry->padding_bytes));
    table_print(rows, stream, 2);
    table_destroy(rows);
}

void layout_draw(const dray_layout_geometry *geometry, FILE *stream)
{
    const dray_layout_config *config = &geometry->config;
    char line[DRAY_LAYOUT_TEXT_BYTES];
    dimension dimensions[dimensions_max];
    unsigned count = dimensions_of(geometry, dimensions);
    dray_layout_print(config, line);
    fprintf(stream, "%s\n", line);
    numbers_print(geometry, stream);
    if (config->kind == DRAY_LAYOUT_LAYER_SEPARATE_SECOND)
        fputs("\neach region:\n", stream);
    else
        fprintf(stream, "\nblock b%s, at b x %" PRIu64 ":\n",
                config->kind == DRAY_LAYOUT_CONTIGUOUS ? "" : " in the region of a layer",
                geometry->block_stride);
    boxes_print(stream, &dimensions[0], &dimensions[1]);
    for (unsigned i = 0; i < count; i++)
        fprintf(stream, "  %*s%" PRIu64 " %s, %" PRIu64 " bytes apart\n", (int)i * 2, "",
                dimensions[i].count,
                dimensions[i].count == 1 ? dimensions[i].name : dimensions[i].names,
                dimensions[i].stride);
    fprintf(stream, "  %*s%" PRIu64 " elements of %u bytes\n", (int)count * 2, "",
            geometry->head_dim, config->dtype_width_bytes);
}
