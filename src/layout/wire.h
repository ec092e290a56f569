/// What one agent tells another of a layout, as bytes: docs/layout-exchange.md says both forms.
///
/// Reading takes the bytes apart and checks all that can be checked without knowing the peer;
/// drayi_layout_wire_check() holds the rest against what the peer has registered. Nothing here is trusted
/// because its checksum was right.
#ifndef DRAY_LAYOUT_WIRE_H
#define DRAY_LAYOUT_WIRE_H

#include "base/arena.h"
#include "dray/layout.h"

#define DRAYI_LAYOUT_WIRE_VERSION 1u

typedef struct drayi_layout_wire {
    dray_text agent; // the exporter; in the bytes that were read, or in the arena
    uint64_t epoch;  // of its life
    dray_storage storage;
    dray_text device; // length 0: none
    dray_layout_config config;
    dray_descriptor *regions; // region_count
    uint32_t region_count;
} drayi_layout_wire;

/// Both write at most `capacity` bytes and return how many there are.
uint64_t drayi_layout_wire_write(const drayi_layout_wire *wire, void *out, uint64_t capacity);
/// `sum` is that of drayi_layout_wire_sum().
uint64_t drayi_layout_wire_write_json(const drayi_layout_wire *wire, uint64_t sum, void *out,
                                      uint64_t capacity);
/// XXH3-64 over the binary form in front of its tail; both forms carry it. false: no memory.
bool drayi_layout_wire_sum(const drayi_layout_wire *wire, drayi_arena *arena, uint64_t *out,
                           dray_error *error);

/// Either form. Texts and arrays are the arena's or point into `bytes`. DRAY_E_FORMAT with error.rule,
/// DRAY_E_CORRUPT: the checksum, DRAY_E_UNSUPPORTED: a later version.
dray_status drayi_layout_wire_read(const void *bytes, uint64_t count, drayi_arena *arena,
                                   drayi_layout_wire *out, dray_error *error);

// Parts of it: wire.c reads the binary form, wire_json.c the other.
dray_status drayi_layout_wire_read_json(const uint8_t *bytes, uint64_t count, drayi_arena *arena,
                                        drayi_layout_wire *out, dray_error *error);
dray_status drayi_layout_wire_version_check(uint64_t version, uint64_t offset, dray_error *error);
/// The rules of a configuration, of the number of regions, and of each region by itself.
dray_status drayi_layout_wire_settle(drayi_layout_wire *wire, dray_layout_geometry *out_geometry,
                                     dray_error *error);

/// Where region i of the layout lies in what the peer has registered under its handle.
typedef struct drayi_layout_reach {
    uint64_t handle, offset;
} drayi_layout_reach;

/// Every region must lie inside a registration of the same memory type. `peers` by rising handle.
dray_status drayi_layout_wire_check(const drayi_layout_wire *wire,
                                    const dray_layout_geometry *geometry,
                                    const dray_descriptor *peers, uint64_t peer_count,
                                    drayi_layout_reach *out, dray_error *error);

#endif
