/// The inside of the migration model (migration.h).
///
///     migration.c         life, policies, accesses, faults
///     migration_move.c    where pieces are: moving, copying, evicting
///     migration_thrash.c  blocks that go back and forth
#ifndef DRAY_MEMORY_MIGRATION_MODEL_H
#define DRAY_MEMORY_MIGRATION_MODEL_H

#include "base/checked.h"
#include "memory/migration.h"

#define DRAYI_NO_BLOCK UINT32_MAX

/// What one processor has of one block: a bit per piece. resident is a part of readable, and writable too.
typedef struct drayi_piece_rights {
    uint32_t readable, writable, resident;
} drayi_piece_rights;

typedef struct drayi_migration_block {
    uint64_t event_at_ns;     // the last move by a fault
    uint64_t pinned_until_ns; // UINT64_MAX: not pinned
    drayi_migration_policy policy;
    uint16_t thrashers; // processors that took part
    uint8_t events;     // that followed each other
    uint8_t throttles, resets, pinned_at;
    uint8_t mover; // whose fault moved it last; DRAYI_MIGRATION_NOWHERE: nobody's yet
    bool thrashing, has_thrashed;
} drayi_migration_block;

/// Neighbours in the order in which a device's blocks were serviced.
typedef struct drayi_service_link {
    uint32_t older, newer;
} drayi_service_link;

typedef struct drayi_service_list {
    uint32_t oldest, newest, count;
} drayi_service_list;

struct drayi_migration {
    drayi_env *env;
    uint64_t bytes;
    uint32_t block_count, capacity_blocks;
    unsigned processors;
    bool host_reaches_devices, devices_reach_each_other;
    drayi_migration_block *blocks;
    drayi_piece_rights *rights; // [block * processors + processor]
    drayi_service_link *links;  // [block * (processors - 1) + device]
    drayi_service_list lists[DRAYI_MIGRATION_PROCESSORS_MAX - 1];
    drayi_migration_counts counts;
};

/// Bits of a mask. Spelled out: without a flag for newer processors the compiler calls a function for it.
static inline unsigned drayi_piece_count(uint32_t pieces)
{
    pieces -= pieces >> 1 & UINT32_C(0x55555555);
    pieces = (pieces & UINT32_C(0x33333333)) + (pieces >> 2 & UINT32_C(0x33333333));
    pieces = (pieces + (pieces >> 4)) & UINT32_C(0x0f0f0f0f);
    return pieces * UINT32_C(0x01010101) >> 24;
}

static inline drayi_piece_rights *drayi_rights(const drayi_migration *model, uint32_t block,
                                               unsigned processor)
{
    return &model->rights[(uint64_t)block * model->processors + processor];
}

static inline bool drayi_is_managed(const drayi_migration *model, uint64_t offset, uint64_t bytes)
{
    return bytes > 0 && drayi_inside(offset, bytes, model->bytes);
}

/// Can it touch bytes that are at `at` without moving them?
static inline bool drayi_reaches(const drayi_migration *model, unsigned processor, unsigned at)
{
    if (processor == at)
        return true;
    if (at == DRAYI_MIGRATION_HOST)
        return true; // every device reads the host's memory over the link
    return processor == DRAYI_MIGRATION_HOST ? model->host_reaches_devices
                                             : model->devices_reach_each_other;
}

// --- migration_move.c ------------------------------------------------------------------------------

/// All pieces of a block that are managed memory: the last block may be a part.
uint32_t drayi_pieces_of(const drayi_migration *model, uint32_t block);
/// Pieces that are somewhere.
uint32_t drayi_pieces_populated(const drayi_migration *model, uint32_t block);
/// The pieces are at `to` afterwards and nowhere else. Returns those that came from elsewhere.
uint32_t drayi_pieces_move(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned to);
/// The pieces are at `to`, too. Returns those that came from elsewhere.
uint32_t drayi_pieces_copy(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned to);
/// The pieces are nowhere afterwards.
void drayi_pieces_drop(drayi_migration *model, uint32_t block, uint32_t pieces);
/// Rights of all processors as residency and policy give them: other mappings end.
void drayi_rights_renew(drayi_migration *model, uint32_t block);
/// The device's block was serviced just now.
void drayi_serviced(drayi_migration *model, uint32_t block, unsigned processor);

// --- migration_thrash.c ----------------------------------------------------------------------------

/// Where a fault of `processor` brings what it touched: to itself, or to where a thrashing block is
/// pinned. Counts throttles and pins.
unsigned drayi_thrash_target(drayi_migration *model, uint32_t block, uint64_t time_ns,
                             unsigned processor);
/// A fault has moved pieces of the block to `processor`.
void drayi_thrash_event(drayi_migration *model, uint32_t block, uint64_t time_ns,
                        unsigned processor);
/// The block is free again, and what was mapped because of the pin is not mapped any more.
void drayi_thrash_unpin(drayi_migration *model, uint32_t block);

#endif
