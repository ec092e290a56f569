/// The binary form: a head that is checked before a field means anything, fields that are checked although the
/// checksum was right.
#include "layout/wire.h"

#include "base/checked.h"
#include "base/env.h"
#include "base/quote.h"
#include "base/reader.h"
#include "base/writer.h"
#include "dray/spi/remote.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

static const char magic[8] = {'D', 'R', 'A', 'Y', 'K', 'V', 'L', 'T'};
enum { flag_writable = 1, head_bytes = 24, tail_bytes = 8, region_bytes = 40, device_max = 31 };

// --- writing -------------------------------------------------------------------------------------------------------

static void put_config(drayi_writer *writer, const dray_layout_config *config)
{
    drayi_write_number(writer, (uint64_t)config->kind, 4);
    drayi_write_number(writer, (uint64_t)config->format, 4);
    drayi_write_number(writer, config->num_blocks, 8);
    drayi_write_number(writer, config->page_size, 8);
    drayi_write_number(writer, config->inner_dim, 8);
    drayi_write_number(writer, config->alignment, 8);
    drayi_write_number(writer, config->num_layers, 4);
    drayi_write_number(writer, config->outer_dim, 4);
    drayi_write_number(writer, config->num_heads, 4);
    drayi_write_number(writer, config->dtype_width_bytes, 4);
    for (int i = 0; i < 4; i++)
        drayi_write_number(writer, (uint64_t)config->order[i], 4);
}

static void put_region(drayi_writer *writer, const dray_descriptor *region)
{
    drayi_write_number(writer, region->handle, 8);
    drayi_write_number(writer, region->address, 8);
    drayi_write_number(writer, region->bytes, 8);
    drayi_write_number(writer, region->device_id, 8);
    drayi_write_number(writer, (uint64_t)region->memory, 4);
    drayi_write_number(writer, region->writable ? flag_writable : 0, 4);
}

static void put_all(drayi_writer *writer, const drayi_layout_wire *wire, uint64_t total)
{
    drayi_write_bytes(writer, magic, sizeof(magic));
    drayi_write_number(writer, DRAYI_LAYOUT_WIRE_VERSION, 4);
    drayi_write_number(writer, 0, 4);
    drayi_write_number(writer, total, 8);
    drayi_write_number(writer, wire->epoch, 8);
    drayi_write_text(writer, wire->agent);
    drayi_write_number(writer, (uint64_t)wire->storage, 4);
    drayi_write_text(writer, wire->device);
    put_config(writer, &wire->config);
    drayi_write_number(writer, wire->region_count, 4);
    for (uint32_t i = 0; i < wire->region_count; i++)
        put_region(writer, &wire->regions[i]);
}

uint64_t drayi_layout_wire_write(const drayi_layout_wire *wire, void *out, uint64_t capacity)
{
    drayi_writer measure = {0};
    put_all(&measure, wire, 0);
    uint64_t total = measure.used + tail_bytes;
    if (total > capacity)
        return total;
    drayi_writer writer = {.out = out, .capacity = capacity};
    put_all(&writer, wire, total);
    drayi_write_number(&writer, XXH3_64bits(out, writer.used), tail_bytes);
    return total;
}

bool drayi_layout_wire_sum(const drayi_layout_wire *wire, drayi_arena *arena, uint64_t *out,
                           dray_error *error)
{
    uint64_t bytes = drayi_layout_wire_write(wire, NULL, 0);
    uint8_t *binary = drayi_arena_alloc(arena, bytes, error);
    if (!binary)
        return false;
    drayi_layout_wire_write(wire, binary, bytes);
    *out = drayi_load_u64(binary + bytes - tail_bytes, false);
    return true;
}

// --- reading -------------------------------------------------------------------------------------------------------

dray_status drayi_layout_wire_version_check(uint64_t version, uint64_t offset, dray_error *error)
{
    if (version == DRAYI_LAYOUT_WIRE_VERSION)
        return DRAY_OK;
    if (version == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.version", offset,
                              "there is no version 0");
    return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "layout.version", offset,
                          "unsupported serialization version %" PRIu64
                          ", the latest that this library reads is %u",
                          version, DRAYI_LAYOUT_WIRE_VERSION);
}

/// Magic, version, size, checksum.
static dray_status frame_check(const uint8_t *bytes, uint64_t count, dray_error *error)
{
    if (count < head_bytes + tail_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.size", count,
                              "%" PRIu64 " bytes, the least are %d", count, head_bytes + tail_bytes);
    DRAY_TRY(drayi_layout_wire_version_check(drayi_load_u32(bytes + 8, false), 8, error));
    uint64_t total = drayi_load_u64(bytes + 16, false);
    uint64_t sum = XXH3_64bits(bytes, count - tail_bytes);
    uint64_t wanted = drayi_load_u64(bytes + count - tail_bytes, false);
    if (total != count)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "layout.size", 16,
                              "it says that it has %" PRIu64 " bytes, and has %" PRIu64, total,
                              count);
    if (sum != wanted)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "layout.checksum", count - tail_bytes,
                              "checksum %016" PRIx64 ", wanted %016" PRIx64, sum, wanted);
    if (drayi_load_u32(bytes + 12, false) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.reserved", 12, "%u instead of 0",
                              drayi_load_u32(bytes + 12, false));
    return DRAY_OK;
}

static dray_status read_text(drayi_reader *reader, dray_text *out, const char *what,
                             dray_error *error)
{
    uint16_t length;
    const uint8_t *bytes;
    DRAY_TRY(drayi_read_u16(reader, &length, "layout.text", what, error));
    DRAY_TRY(drayi_read_bytes(reader, length, &bytes, "layout.text", what, error));
    *out = (dray_text){.bytes = (const char *)bytes, .length = length};
    return DRAY_OK;
}

static dray_status read_config(drayi_reader *reader, dray_layout_config *out, dray_error *error)
{
    const char *rule = "layout.config", *what = "the configuration";
    uint32_t kind, format, dim;
    out->struct_bytes = sizeof(*out);
    DRAY_TRY(drayi_read_u32(reader, &kind, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &format, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->num_blocks, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->page_size, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->inner_dim, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->alignment, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->num_layers, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->outer_dim, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->num_heads, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->dtype_width_bytes, rule, what, error));
    for (int i = 0; i < 4; i++) {
        DRAY_TRY(drayi_read_u32(reader, &dim, rule, what, error));
        out->order[i] = (dray_block_dim)dim;
    }
    out->kind = (dray_layout_kind)kind;
    out->format = (dray_block_format)format;
    return DRAY_OK;
}

static dray_status read_region(drayi_reader *reader, dray_descriptor *out, dray_error *error)
{
    const char *rule = "layout.region", *what = "a region";
    uint64_t offset = reader->position;
    uint32_t memory, flags;
    DRAY_TRY(drayi_read_u64(reader, &out->handle, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->address, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->bytes, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &out->device_id, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &memory, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &flags, rule, what, error));
    if (flags > flag_writable)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset, "region flags %u are not known",
                              flags);
    out->memory = (dray_memory_type)memory;
    out->writable = flags & flag_writable;
    return DRAY_OK;
}

static dray_status read_all(drayi_reader *reader, drayi_arena *arena, drayi_layout_wire *out,
                            dray_error *error)
{
    const char *rule = "layout.head", *what = "the head";
    uint32_t storage;
    DRAY_TRY(drayi_read_u64(reader, &out->epoch, rule, what, error));
    DRAY_TRY(read_text(reader, &out->agent, "the agent's name", error));
    DRAY_TRY(drayi_read_u32(reader, &storage, rule, what, error));
    DRAY_TRY(read_text(reader, &out->device, "the device's name", error));
    DRAY_TRY(read_config(reader, &out->config, error));
    DRAY_TRY(drayi_read_u32(reader, &out->region_count, rule, what, error));
    out->storage = (dray_storage)storage;
    uint64_t left = reader->limit - reader->position;
    if ((uint64_t)out->region_count * region_bytes != left)
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.region_count", reader->position - 4,
                              "%u regions of %d bytes, but %" PRIu64 " bytes are left",
                              out->region_count, region_bytes, left);
    out->regions =
        drayi_arena_alloc(arena, (uint64_t)out->region_count * sizeof(*out->regions), error);
    if (!out->regions)
        return DRAY_E_NOMEM;
    for (uint32_t i = 0; i < out->region_count; i++)
        DRAY_TRY(read_region(reader, &out->regions[i], error));
    return DRAY_OK;
}

dray_status drayi_layout_wire_read(const void *bytes, uint64_t count, drayi_arena *arena,
                                   drayi_layout_wire *out, dray_error *error)
{
    *out = (drayi_layout_wire){0};
    const uint8_t *at = bytes;
    if (count < sizeof(magic) || memcmp(at, magic, sizeof(magic)) != 0) {
        uint64_t blank = 0;
        while (blank < count && at[blank] && strchr(" \t\r\n", at[blank]))
            blank++;
        if (blank < count && at[blank] == '{')
            return drayi_layout_wire_read_json(at, count, arena, out, error);
        return dray_fail_rule(error, DRAY_E_FORMAT, "layout.magic", 0,
                              "these bytes are no exported layout");
    }
    DRAY_TRY(frame_check(at, count, error));
    drayi_reader reader = {.bytes = at,
                           .available = count - tail_bytes,
                           .limit = count - tail_bytes,
                           .position = head_bytes};
    return read_all(&reader, arena, out, error);
}
