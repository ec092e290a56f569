/// The bytes that one agent gives to another: written and read here, understood in peers.c.
///
///     head      "DRAYMETA" | version u32 | zero u32 | total bytes u64 | epoch u64
///               | backends u32 | regions u32 | name u16 + bytes
///     backend   name u16 + bytes | address u32 + bytes
///     region    handle u64 | address u64 | bytes u64 | device id u64 | memory type u32 | flags u32
///               | backend's index u32 | name u16 + bytes | key u32 + bytes
///     tail      XXH3-64 of all that stands before
///
/// Little-endian, nothing is aligned, nothing may follow. The checksum finds accidents; it does not stop
/// a forger.
#ifndef DRAY_TRANSFER_AGENT_METADATA_H
#define DRAY_TRANSFER_AGENT_METADATA_H

#include "base/arena.h"
#include "dray/agent.h"

#define DRAYI_METADATA_VERSION 1u

enum {
    DRAYI_METADATA_BLOB_MAX = 65536, // bytes of an address or a key
    DRAYI_METADATA_NAME_MAX = 255,   // of a region's name
};

typedef struct drayi_metadata_backend {
    dray_text name;
    const void *address;
    uint32_t address_bytes;
} drayi_metadata_backend;

typedef struct drayi_metadata_region {
    dray_descriptor descriptor;
    dray_text name; // length 0: none
    const void *key;
    uint32_t key_bytes;
    uint32_t backend; // index in backends
} drayi_metadata_region;

/// Texts, addresses and keys point into the bytes that were read, or to what is to be written.
typedef struct drayi_metadata {
    dray_text agent;
    uint64_t epoch;
    drayi_metadata_backend *backends;
    drayi_metadata_region *regions;
    uint32_t backend_count, region_count;
} drayi_metadata;

/// Writes at most `capacity` bytes; returns how many there are.
uint64_t drayi_metadata_write(const drayi_metadata *metadata, void *out, uint64_t capacity);
/// DRAY_E_FORMAT, DRAY_E_CORRUPT (the checksum), DRAY_E_UNSUPPORTED (a later version). The arrays come
/// from the arena; the rest is borrowed from `bytes`.
dray_status drayi_metadata_read(const void *bytes, uint64_t count, drayi_arena *arena,
                                drayi_metadata *out_metadata, dray_error *error);
/// 1 to `most` bytes of UTF-8 without control characters.
bool drayi_metadata_name_fits(const char *name, uint64_t length, uint64_t most);

#endif
