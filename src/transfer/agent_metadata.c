/// Metadata as bytes. Reading trusts nothing: sizes are checked against what is there before anything is
/// allocated for them, and every rule that is broken has a name.
#include "transfer/agent_metadata.h"

#include "base/quote.h"
#include "base/reader.h"
#include "base/writer.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

enum {
    head_bytes = 42,   // up to the agent's name
    backend_least = 7, // bytes of one with a name of one byte and no address
    region_least = 50, // of one without name and key
    tail_bytes = 8,
    flag_writable = 1,
};

static const char magic[8] = {'D', 'R', 'A', 'Y', 'M', 'E', 'T', 'A'};

bool drayi_metadata_name_fits(const char *name, uint64_t length, uint64_t most)
{
    if (length == 0 || length > most || !drayi_is_utf8((const uint8_t *)name, length))
        return false;
    for (uint64_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    }
    return true;
}

// --- writing -------------------------------------------------------------------------------------------------------

static void put_blob(drayi_writer *writer, const void *bytes, uint32_t count)
{
    drayi_write_number(writer, count, 4);
    drayi_write_bytes(writer, bytes, count);
}

static void put_region(drayi_writer *writer, const drayi_metadata_region *region)
{
    const dray_descriptor *descriptor = &region->descriptor;
    drayi_write_number(writer, descriptor->handle, 8);
    drayi_write_number(writer, descriptor->address, 8);
    drayi_write_number(writer, descriptor->bytes, 8);
    drayi_write_number(writer, descriptor->device_id, 8);
    drayi_write_number(writer, (uint64_t)descriptor->memory, 4);
    drayi_write_number(writer, descriptor->writable ? flag_writable : 0, 4);
    drayi_write_number(writer, region->backend, 4);
    drayi_write_text(writer, region->name);
    put_blob(writer, region->key, region->key_bytes);
}

static void put_all(drayi_writer *writer, const drayi_metadata *metadata, uint64_t total)
{
    drayi_write_bytes(writer, magic, sizeof(magic));
    drayi_write_number(writer, DRAYI_METADATA_VERSION, 4);
    drayi_write_number(writer, 0, 4);
    drayi_write_number(writer, total, 8);
    drayi_write_number(writer, metadata->epoch, 8);
    drayi_write_number(writer, metadata->backend_count, 4);
    drayi_write_number(writer, metadata->region_count, 4);
    drayi_write_text(writer, metadata->agent);
    for (uint32_t i = 0; i < metadata->backend_count; i++) {
        const drayi_metadata_backend *backend = &metadata->backends[i];
        drayi_write_text(writer, backend->name);
        put_blob(writer, backend->address, backend->address_bytes);
    }
    for (uint32_t i = 0; i < metadata->region_count; i++)
        put_region(writer, &metadata->regions[i]);
}

uint64_t drayi_metadata_write(const drayi_metadata *metadata, void *out, uint64_t capacity)
{
    drayi_writer measure = {0};
    put_all(&measure, metadata, 0);
    uint64_t total = measure.used + tail_bytes;
    if (total > capacity)
        return total;
    drayi_writer writer = {.out = out, .capacity = capacity};
    put_all(&writer, metadata, total);
    drayi_write_number(&writer, XXH3_64bits(out, writer.used), tail_bytes);
    return total;
}

// --- reading -------------------------------------------------------------------------------------------------------

static dray_status read_name(drayi_reader *reader, uint64_t most, bool may_be_empty, dray_text *out,
                             const char *what, dray_error *error)
{
    uint16_t length;
    const uint8_t *bytes;
    DRAY_TRY(drayi_read_u16(reader, &length, "metadata.name", what, error));
    DRAY_TRY(drayi_read_bytes(reader, length, &bytes, "metadata.name", what, error));
    *out = (dray_text){.bytes = (const char *)bytes, .length = length};
    if ((length == 0 && may_be_empty) || drayi_metadata_name_fits(out->bytes, length, most))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.name", reader->position - length,
                          "%s: %u bytes, wanted are 1 to %" PRIu64
                          " of UTF-8 without control characters",
                          what, length, most);
}

static dray_status read_blob(drayi_reader *reader, const void **out, uint32_t *out_bytes,
                             const char *what, dray_error *error)
{
    const uint8_t *bytes;
    DRAY_TRY(drayi_read_u32(reader, out_bytes, "metadata.blob", what, error));
    if (*out_bytes > DRAYI_METADATA_BLOB_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.blob", reader->position - 4,
                              "%s: %u bytes, at most %d are allowed", what, *out_bytes,
                              DRAYI_METADATA_BLOB_MAX);
    DRAY_TRY(drayi_read_bytes(reader, *out_bytes, &bytes, "metadata.blob", what, error));
    *out = bytes;
    return DRAY_OK;
}

static dray_status read_backend(drayi_reader *reader, drayi_metadata_backend *out, dray_error *error)
{
    DRAY_TRY(
        read_name(reader, DRAYI_METADATA_NAME_MAX, false, &out->name, "a backend's name", error));
    return read_blob(reader, &out->address, &out->address_bytes, "a backend's address", error);
}

static dray_status region_check(const drayi_metadata *metadata, const drayi_metadata_region *region,
                                uint32_t flags, uint64_t offset, dray_error *error)
{
    const dray_descriptor *descriptor = &region->descriptor;
    uint64_t end;
    if (descriptor->handle == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.region", offset, "handle 0");
    if (!drayi_add(descriptor->address, descriptor->bytes, &end))
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.region", offset,
                              "region %" PRIu64 ": %" PRIu64 " bytes at %" PRIu64
                              " overflow 64 bits",
                              descriptor->handle, descriptor->bytes, descriptor->address);
    if ((uint32_t)descriptor->memory > DRAY_MEMORY_FILE || flags > flag_writable)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.region", offset,
                              "region %" PRIu64 ": memory type %u with flags %u are not known",
                              descriptor->handle, (uint32_t)descriptor->memory, flags);
    if (region->backend >= metadata->backend_count)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.region", offset,
                              "region %" PRIu64 ": backend %u of %u", descriptor->handle,
                              region->backend, metadata->backend_count);
    return DRAY_OK;
}

static dray_status read_region(drayi_reader *reader, const drayi_metadata *metadata,
                               drayi_metadata_region *out, dray_error *error)
{
    const char *rule = "metadata.region", *what = "a region";
    dray_descriptor *descriptor = &out->descriptor;
    uint64_t offset = reader->position;
    uint32_t memory, flags;
    DRAY_TRY(drayi_read_u64(reader, &descriptor->handle, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &descriptor->address, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &descriptor->bytes, rule, what, error));
    DRAY_TRY(drayi_read_u64(reader, &descriptor->device_id, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &memory, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &flags, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->backend, rule, what, error));
    descriptor->memory = (dray_memory_type)memory;
    descriptor->writable = flags & flag_writable;
    DRAY_TRY(region_check(metadata, out, flags, offset, error));
    DRAY_TRY(read_name(reader, DRAYI_METADATA_NAME_MAX, true, &out->name, "a region's name", error));
    return read_blob(reader, &out->key, &out->key_bytes, "a region's key", error);
}

/// Handles rise, so that none is there twice.
static dray_status read_regions(drayi_reader *reader, drayi_metadata *metadata, dray_error *error)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < metadata->region_count; i++) {
        uint64_t offset = reader->position;
        DRAY_TRY(read_region(reader, metadata, &metadata->regions[i], error));
        uint64_t handle = metadata->regions[i].descriptor.handle;
        if (handle <= last)
            return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.handle", offset,
                                  "handle %" PRIu64 " behind %" PRIu64 ": they must rise", handle,
                                  last);
        last = handle;
    }
    return DRAY_OK;
}

/// Magic, version, size, checksum: what must hold before a single field means anything.
static dray_status frame_check(const uint8_t *bytes, uint64_t count, dray_error *error)
{
    if (count < head_bytes + tail_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.size", count,
                              "%" PRIu64 " bytes, the least are %d", count, head_bytes + tail_bytes);
    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.magic", 0,
                              "these bytes are no metadata of an agent");
    uint32_t version = drayi_load_u32(bytes + 8, false), zero = drayi_load_u32(bytes + 12, false);
    uint64_t total = drayi_load_u64(bytes + 16, false);
    uint64_t sum = XXH3_64bits(bytes, count - tail_bytes),
             wanted = drayi_load_u64(bytes + count - tail_bytes, false);
    if (version != DRAYI_METADATA_VERSION)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "metadata.version", 8,
                              "version %u, this library reads version %u", version,
                              DRAYI_METADATA_VERSION);
    if (total != count)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "metadata.size", 16,
                              "it says that it has %" PRIu64 " bytes, and has %" PRIu64, total,
                              count);
    if (sum != wanted)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "metadata.checksum", count - tail_bytes,
                              "checksum %016" PRIx64 ", wanted %016" PRIx64, sum, wanted);
    if (zero != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.reserved", 12, "%u instead of 0",
                              zero);
    return DRAY_OK;
}

/// As many as the bytes that are left can hold.
static dray_status counts_check(const drayi_reader *reader, const drayi_metadata *metadata,
                                dray_error *error)
{
    uint64_t left = reader->limit - reader->position;
    uint64_t least = (uint64_t)metadata->backend_count * backend_least +
                     (uint64_t)metadata->region_count * region_least;
    if (least <= left)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.counts", 32,
                          "%u backends and %u regions do not fit into %" PRIu64 " bytes",
                          metadata->backend_count, metadata->region_count, left);
}

static dray_status read_all(drayi_reader *reader, drayi_arena *arena, drayi_metadata *out,
                            dray_error *error)
{
    const char *rule = "metadata.head", *what = "the head";
    DRAY_TRY(drayi_read_u64(reader, &out->epoch, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->backend_count, rule, what, error));
    DRAY_TRY(drayi_read_u32(reader, &out->region_count, rule, what, error));
    DRAY_TRY(read_name(reader, DRAY_AGENT_NAME_MAX, false, &out->agent, "the agent's name", error));
    DRAY_TRY(counts_check(reader, out, error));
    out->backends =
        drayi_arena_alloc(arena, (uint64_t)out->backend_count * sizeof(*out->backends), error);
    out->regions =
        drayi_arena_alloc(arena, (uint64_t)out->region_count * sizeof(*out->regions), error);
    if (!out->backends || !out->regions)
        return DRAY_E_NOMEM;
    for (uint32_t i = 0; i < out->backend_count; i++)
        DRAY_TRY(read_backend(reader, &out->backends[i], error));
    DRAY_TRY(read_regions(reader, out, error));
    if (reader->position != reader->limit)
        return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.size", reader->position,
                              "%" PRIu64 " bytes too many", reader->limit - reader->position);
    return DRAY_OK;
}

dray_status drayi_metadata_read(const void *bytes, uint64_t count, drayi_arena *arena,
                                drayi_metadata *out_metadata, dray_error *error)
{
    memset(out_metadata, 0, sizeof(*out_metadata));
    DRAY_TRY(frame_check(bytes, count, error));
    drayi_reader reader = {.bytes = bytes,
                           .available = count - tail_bytes,
                           .limit = count - tail_bytes,
                           .position = 24};
    return read_all(&reader, arena, out_metadata, error);
}
