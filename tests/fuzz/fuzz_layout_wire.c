/// Exported layouts from strangers: whatever is accepted writes back as it was, and reaches nothing outside of what
/// the peer has registered.
#include "core/context.h"
#include "layout/wire.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const dray_descriptor registered[] = {
    {.handle = 1, .address = 4096, .bytes = 1 << 20, .memory = DRAY_MEMORY_DRAM},
    {.handle = 4, .address = 65536, .bytes = 512, .memory = DRAY_MEMORY_DRAM, .writable = 1},
    {.handle = 9, .address = 0, .bytes = UINT64_MAX, .memory = DRAY_MEMORY_VRAM},
};
enum { registered_count = sizeof(registered) / sizeof(registered[0]) };

static void reach_holds(const drayi_layout_wire *wire, const dray_layout_geometry *geometry,
                        drayi_arena *arena)
{
    drayi_layout_reach *reach = drayi_arena_alloc(arena, wire->region_count * sizeof(*reach), NULL);
    if (!reach || drayi_layout_wire_check(wire, geometry, registered, registered_count, reach, NULL))
        return;
    for (uint32_t i = 0; i < wire->region_count; i++) {
        const dray_descriptor *whole = NULL;
        for (uint64_t k = 0; k < registered_count; k++) {
            if (registered[k].handle == reach[i].handle)
                whole = &registered[k];
        }
        if (!whole || reach[i].offset > whole->bytes ||
            geometry->region_bytes > whole->bytes - reach[i].offset)
            abort();
    }
}

static void written_again_holds(const drayi_layout_wire *wire, drayi_arena *arena)
{
    uint64_t sum, bytes = drayi_layout_wire_write(wire, NULL, 0);
    uint64_t json_bytes = drayi_layout_wire_write_json(wire, 0, NULL, 0);
    uint8_t *binary = drayi_arena_alloc(arena, bytes, NULL);
    char *json = drayi_arena_alloc(arena, json_bytes, NULL);
    drayi_layout_wire again;
    if (!binary || !json || !drayi_layout_wire_sum(wire, arena, &sum, NULL))
        return;
    if (drayi_layout_wire_write(wire, binary, bytes) != bytes ||
        drayi_layout_wire_write_json(wire, sum, json, json_bytes) != json_bytes)
        abort();
    if (drayi_layout_wire_read(binary, bytes, arena, &again, NULL) != DRAY_OK ||
        drayi_layout_wire_read(json, json_bytes, arena, &again, NULL) != DRAY_OK)
        abort();
}

static void try_bytes(const uint8_t *bytes, size_t count, drayi_arena *arena)
{
    drayi_layout_wire wire;
    dray_layout_geometry geometry;
    dray_error error = {0};
    dray_status status = drayi_layout_wire_read(bytes, count, arena, &wire, &error);
    bool read = status == DRAY_OK || // in JSON the checksum is looked at when all has been read
                (status == DRAY_E_CORRUPT && memcmp(bytes, "DRAYKVLT", 8) != 0);
    if (read)
        status = drayi_layout_wire_settle(&wire, &geometry, &error);
    if (status != DRAY_OK) {
        if (!error.message[0] || error.status != status)
            abort();
        return;
    }
    reach_holds(&wire, &geometry, arena);
    written_again_holds(&wire, arena);
}

/// The checksum would keep a fuzzer out: a binary form gets the right one first, in a copy.
static uint8_t *sealed(const uint8_t *bytes, size_t count, drayi_arena *arena)
{
    uint8_t *copy = drayi_arena_alloc(arena, count, NULL);
    if (!copy)
        return NULL;
    memcpy(copy, bytes, count);
    for (unsigned i = 0; i < 8; i++)
        copy[16 + i] = (uint8_t)((uint64_t)count >> 8 * i);
    uint64_t sum = XXH3_64bits(copy, count - 8);
    for (unsigned i = 0; i < 8; i++)
        copy[count - 8 + i] = (uint8_t)(sum >> 8 * i);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static dray_context *context;
    if (!context && dray_context_create(NULL, &context, NULL) != DRAY_OK)
        abort();
    drayi_arena arena = {.env = drayi_env_of(context)};
    try_bytes(bytes, count, &arena);
    if (count >= 32 && bytes[0] != '{') {
        uint8_t *copy = sealed(bytes, count, &arena);
        if (copy)
            try_bytes(copy, count, &arena);
    }
    drayi_arena_free(&arena);
    return 0;
}
