/// Memory that migrates between the host and devices on faults, as arithmetic: no byte is moved, but what a
/// driver of managed memory would do is counted.
///
/// The model is the one that NVIDIA publishes in the source of its kernel module: blocks of 2 MiB made of
/// 32 pieces of 64 KiB; a policy of three independent axes; a fault moves the pieces that were touched
/// and what the 51 % density rule adds; a device that is full gives up the block that was serviced
/// longest ago; blocks that go back and forth are throttled and pinned by the published constants.
/// docs/design/hints.md says where the model is simpler than the driver.
///
/// Processor 0 is the host, processor n + 1 is device n. Offsets are those of one run of managed bytes.
/// Threads: one at a time.
#ifndef DRAY_MEMORY_MIGRATION_H
#define DRAY_MEMORY_MIGRATION_H

#include "base/env.h"

#include <stdbool.h>

enum {
    DRAYI_MIGRATION_PROCESSORS_MAX = 9, // the host and 8 devices
    DRAYI_MIGRATION_HOST = 0,
    DRAYI_MIGRATION_NOWHERE = 0xff,
    DRAYI_MIGRATION_PIECES = 32, // of a block
    DRAYI_MIGRATION_DENSITY = 51 // percent of a part of a block that make a fault bring the rest
};
#define DRAYI_MIGRATION_PIECE_BYTES (UINT64_C(64) << 10)
#define DRAYI_MIGRATION_BLOCK_BYTES (UINT64_C(2) << 20)
#define DRAYI_MIGRATION_BYTES_MAX (UINT64_C(4) << 40)

// the published constants of thrashing, in nanoseconds
#define DRAYI_THRASH_LAPSE_NS UINT64_C(500000)          // events closer than that follow each other
#define DRAYI_THRASH_NAP_NS (1 * DRAYI_THRASH_LAPSE_NS) // of a throttled processor
#define DRAYI_THRASH_PIN_NS (300 * DRAYI_THRASH_LAPSE_NS)    // 150 ms
#define DRAYI_THRASH_EPOCH_NS (2000 * DRAYI_THRASH_LAPSE_NS) // 1 s without an event: it is over
enum {
    DRAYI_THRASH_EVENTS = 3,     // that follow each other are thrashing
    DRAYI_THRASH_THROTTLES = 10, // then the block is pinned
    DRAYI_THRASH_RESETS = 4      // of one block; after them it counts as thrashing for good
};

typedef struct drayi_migration_policy {
    uint8_t read_mostly;  // 0 or 1
    uint8_t preferred;    // processor, or DRAYI_MIGRATION_NOWHERE
    uint16_t accessed_by; // one bit per processor
} drayi_migration_policy;

#define DRAYI_MIGRATION_NO_POLICY ((drayi_migration_policy){.preferred = DRAYI_MIGRATION_NOWHERE})

typedef struct drayi_migration_counts {
    uint64_t faults[DRAYI_MIGRATION_PROCESSORS_MAX];                 // by who touched
    uint64_t write_faults;                                           // of all of them
    uint64_t to_devices_bytes, to_host_bytes, between_devices_bytes; // all that moved, by way
    uint64_t evictions, evicted_bytes;        // blocks, and what of to_host_bytes they were
    uint64_t prefetched_bytes;                // of all that moved: asked for by prefetches
    uint64_t populated_bytes;                 // touched for the first time: made there, not moved
    uint64_t duplicated_bytes;                // of all that moved: copies that left the original
    uint64_t dropped_bytes;                   // copies that a write made worthless
    uint64_t remote_accesses, remote_bytes;   // through a mapping, over the link
    uint64_t thrash_events, thrashing_blocks; // moves in thrashing blocks; blocks that ever thrashed
    uint64_t throttles, pins, resets;
    uint64_t throttled_ns;      // naps that processors would have been sent to
    uint64_t peak_device_bytes; // most that any device held, in whole blocks
} drayi_migration_counts;

typedef struct drayi_migration_options {
    uint64_t bytes;          // of managed memory; at most DRAYI_MIGRATION_BYTES_MAX
    uint64_t capacity_bytes; // of each device; at least one block
    uint32_t devices;
    bool host_reaches_devices;     // direct access (NVLink-C2C and the like)
    bool devices_reach_each_other; // peer access
} drayi_migration_options;

typedef struct drayi_migration drayi_migration;

/// DRAY_E_INVALID: sizes out of range. DRAY_E_NOMEM.
dray_status drayi_migration_create(drayi_env *env, const drayi_migration_options *options,
                                   drayi_migration **out, dray_error *error);
/// NULL is accepted.
void drayi_migration_destroy(drayi_migration *model);

// In all of these [offset, offset + bytes) lies inside the managed bytes, and bytes > 0 (asserted).

/// Sets all three axes of every block that the range touches. Nothing moves, but mappings follow, and
/// copies end when read_mostly does.
void drayi_migration_set_policy(drayi_migration *model, uint64_t offset, uint64_t bytes,
                                drayi_migration_policy policy);
drayi_migration_policy drayi_migration_policy_at(const drayi_migration *model, uint64_t offset);

/// One access. Times never go back.
void drayi_migration_access(drayi_migration *model, uint64_t time_ns, unsigned processor,
                            uint64_t offset, uint64_t bytes, bool write);

/// Brings the pieces of the range to `processor`, as copies where they are read-mostly.
void drayi_migration_prefetch(drayi_migration *model, unsigned processor, uint64_t offset,
                              uint64_t bytes);

/// Forgets the contents of the pieces that lie in the range as a whole: they are nowhere afterwards.
void drayi_migration_discard(drayi_migration *model, uint64_t offset, uint64_t bytes);

/// How much of the range is at `processor`, in whole pieces.
uint64_t drayi_migration_resident(const drayi_migration *model, unsigned processor, uint64_t offset,
                                  uint64_t bytes);
/// Blocks of memory that a device has given away, in bytes.
uint64_t drayi_migration_used(const drayi_migration *model, unsigned device);
const drayi_migration_counts *drayi_migration_counts_of(const drayi_migration *model);

#endif
