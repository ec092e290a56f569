/// The form for people, written: one value a line, so that two of them can be compared.
#include "layout/geometry.h"
#include "layout/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/// Counts what does not fit.
typedef struct text_writer {
    char *out;
    uint64_t capacity, used;
} text_writer;

static void put(text_writer *writer, const char *bytes, uint64_t count)
{
    if (writer->used <= writer->capacity && count <= writer->capacity - writer->used)
        memcpy(writer->out + writer->used, bytes, count);
    writer->used += count;
}

static void DRAY_PRINTF(2, 3) say(text_writer *writer, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    assert(length >= 0 && (size_t)length < sizeof(line)); // numbers and words of ours
    put(writer, line, (uint64_t)length);
}

/// Names are UTF-8 without control characters, so two signs need an escape.
static void say_text(text_writer *writer, dray_text text)
{
    put(writer, "\"", 1);
    for (uint64_t i = 0; i < text.length; i++) {
        if (text.bytes[i] == '"' || text.bytes[i] == '\\')
            put(writer, "\\", 1);
        put(writer, &text.bytes[i], 1);
    }
    put(writer, "\"", 1);
}

static void say_config(text_writer *writer, const dray_layout_config *config)
{
    say(writer, "  \"config\": {\n    \"kind\": \"%s\",\n    \"format\": \"%s\",\n",
        dray_layout_kind_name(config->kind), dray_block_format_name(config->format));
    if (config->format == DRAY_BLOCK_CUSTOM)
        say(writer, "    \"order\": [\"%s\", \"%s\", \"%s\", \"%s\"],\n",
            drayi_layout_dim_name(config->order[0]), drayi_layout_dim_name(config->order[1]),
            drayi_layout_dim_name(config->order[2]), drayi_layout_dim_name(config->order[3]));
    say(writer,
        "    \"num_blocks\": %" PRIu64 ",\n    \"num_layers\": %u,\n    \"outer_dim\": %u,\n"
        "    \"page_size\": %" PRIu64 ",\n    \"inner_dim\": %" PRIu64 ",\n    \"num_heads\": %u,\n"
        "    \"dtype_width_bytes\": %u,\n    \"alignment\": %" PRIu64 "\n  },\n",
        config->num_blocks, config->num_layers, config->outer_dim, config->page_size,
        config->inner_dim, config->num_heads, config->dtype_width_bytes, config->alignment);
}

static void say_region(text_writer *writer, const dray_descriptor *region, bool last)
{
    say(writer,
        "    {\"handle\": %" PRIu64 ", \"address\": %" PRIu64 ", \"bytes\": %" PRIu64
        ", \"memory\": \"%s\", \"device_id\": %" PRIu64 ", \"writable\": %s}%s\n",
        region->handle, region->address, region->bytes, dray_memory_type_name(region->memory),
        region->device_id, region->writable ? "true" : "false", last ? "" : ",");
}

uint64_t drayi_layout_wire_write_json(const drayi_layout_wire *wire, uint64_t sum, void *out,
                                      uint64_t capacity)
{
    text_writer writer = {.out = out, .capacity = capacity};
    say(&writer, "{\n  \"dray_layout\": %u,\n  \"agent\": ", DRAYI_LAYOUT_WIRE_VERSION);
    say_text(&writer, wire->agent);
    say(&writer, ",\n  \"epoch\": %" PRIu64 ",\n  \"location\": {\"storage\": \"%s\", \"device\": ",
        wire->epoch, dray_storage_name(wire->storage));
    if (wire->device.length)
        say_text(&writer, wire->device);
    else
        say(&writer, "null");
    say(&writer, "},\n");
    say_config(&writer, &wire->config);
    say(&writer, "  \"regions\": [\n");
    for (uint32_t i = 0; i < wire->region_count; i++)
        say_region(&writer, &wire->regions[i], i + 1 == wire->region_count);
    say(&writer, "  ],\n  \"checksum\": \"%016" PRIx64 "\"\n}\n", sum);
    return writer.used;
}
