/// Where the pieces of blocks are, and what it costs to have them elsewhere.
#include "base/checked.h"
#include "memory/migration_model.h"

#include <assert.h>

static uint64_t bytes_of(uint32_t pieces)
{
    return drayi_piece_count(pieces) * DRAYI_MIGRATION_PIECE_BYTES;
}

uint32_t drayi_pieces_of(const drayi_migration *model, uint32_t block)
{
    uint64_t left = model->bytes - block * DRAYI_MIGRATION_BLOCK_BYTES;
    if (left >= DRAYI_MIGRATION_BLOCK_BYTES)
        return UINT32_MAX;
    uint64_t pieces = (left + DRAYI_MIGRATION_PIECE_BYTES - 1) / DRAYI_MIGRATION_PIECE_BYTES;
    return pieces == DRAYI_MIGRATION_PIECES ? UINT32_MAX : (UINT32_C(1) << pieces) - 1;
}

uint32_t drayi_pieces_populated(const drayi_migration *model, uint32_t block)
{
    uint32_t populated = 0;
    for (unsigned p = 0; p < model->processors; p++)
        populated |= drayi_rights(model, block, p)->resident;
    return populated;
}

// --- a device's blocks, by the time they were serviced ---------------------------------------------

static drayi_service_link *link_of(const drayi_migration *model, uint32_t block, unsigned processor)
{
    return &model->links[(uint64_t)block * (model->processors - 1) + processor - 1];
}

static void list_remove(drayi_migration *model, uint32_t block, unsigned processor)
{
    drayi_service_list *list = &model->lists[processor - 1];
    const drayi_service_link *link = link_of(model, block, processor);
    if (link->older == DRAYI_NO_BLOCK)
        list->oldest = link->newer;
    else
        link_of(model, link->older, processor)->newer = link->newer;
    if (link->newer == DRAYI_NO_BLOCK)
        list->newest = link->older;
    else
        link_of(model, link->newer, processor)->older = link->older;
    list->count--;
}

static void list_append(drayi_migration *model, uint32_t block, unsigned processor)
{
    drayi_service_list *list = &model->lists[processor - 1];
    *link_of(model, block, processor) =
        (drayi_service_link){.older = list->newest, .newer = DRAYI_NO_BLOCK};
    if (list->newest == DRAYI_NO_BLOCK)
        list->oldest = block;
    else
        link_of(model, list->newest, processor)->newer = block;
    list->newest = block;
    list->count++;
    model->counts.peak_device_bytes =
        drayi_max(model->counts.peak_device_bytes, list->count * DRAYI_MIGRATION_BLOCK_BYTES);
}

void drayi_serviced(drayi_migration *model, uint32_t block, unsigned processor)
{
    if (processor == DRAYI_MIGRATION_HOST || model->lists[processor - 1].newest == block ||
        !drayi_rights(model, block, processor)->resident)
        return;
    list_remove(model, block, processor);
    list_append(model, block, processor);
}

// --- residency -------------------------------------------------------------------------------------

/// Takes pieces away from a processor; a device that has nothing of a block left gives its memory back.
static void resident_remove(drayi_migration *model, uint32_t block, unsigned processor,
                            uint32_t pieces)
{
    drayi_piece_rights *rights = drayi_rights(model, block, processor);
    bool had = rights->resident != 0;
    rights->resident &= ~pieces;
    rights->readable &= ~pieces;
    rights->writable &= ~pieces;
    if (had && !rights->resident && processor != DRAYI_MIGRATION_HOST)
        list_remove(model, block, processor);
}

/// Processors of accessed_by are mapped to pieces that are at `at`: not to be written where there are
/// several copies.
static void map_followers(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned at)
{
    const uint16_t accessed_by = model->blocks[block].policy.accessed_by;
    const drayi_piece_rights *there = drayi_rights(model, block, at);
    pieces &= there->resident;
    if (!accessed_by || !pieces)
        return;
    for (unsigned p = 0; p < model->processors; p++) {
        if (p == at || !(accessed_by >> p & 1) || !drayi_reaches(model, p, at))
            continue;
        drayi_piece_rights *rights = drayi_rights(model, block, p);
        rights->readable |= pieces;
        rights->writable |= pieces & there->writable;
    }
}

static void map_all_followers(drayi_migration *model, uint32_t block, uint32_t pieces)
{
    for (unsigned at = 0; at < model->processors; at++)
        map_followers(model, block, pieces, at);
}

/// The oldest block of a full device goes to the host, but for what others hold, too.
static void evict(drayi_migration *model, unsigned processor)
{
    const uint32_t block = model->lists[processor - 1].oldest;
    assert(block != DRAYI_NO_BLOCK);
    if (model->blocks[block].pinned_until_ns != UINT64_MAX)
        drayi_thrash_unpin(model, block);
    const uint32_t here = drayi_rights(model, block, processor)->resident;
    uint32_t elsewhere = 0;
    for (unsigned p = 0; p < model->processors; p++) {
        if (p != processor)
            elsewhere |= drayi_rights(model, block, p)->resident;
    }
    const uint32_t only_here = here & ~elsewhere;
    resident_remove(model, block, processor, here);
    for (unsigned p = 0; p < model->processors; p++) { // their mappings led to memory that is gone
        drayi_piece_rights *rights = drayi_rights(model, block, p);
        rights->readable &= ~only_here;
        rights->writable &= ~only_here;
    }
    drayi_piece_rights *host = drayi_rights(model, block, DRAYI_MIGRATION_HOST);
    host->resident |= only_here;
    host->readable |= only_here;
    host->writable |= only_here;
    map_all_followers(model, block, here);
    model->counts.evictions++;
    model->counts.evicted_bytes += bytes_of(only_here);
    model->counts.to_host_bytes += bytes_of(only_here);
}

static void resident_add(drayi_migration *model, uint32_t block, unsigned processor, uint32_t pieces)
{
    drayi_piece_rights *rights = drayi_rights(model, block, processor);
    if (processor != DRAYI_MIGRATION_HOST && !rights->resident) {
        if (model->lists[processor - 1].count == model->capacity_blocks)
            evict(model, processor);
        list_append(model, block, processor);
    }
    rights->resident |= pieces;
    rights->readable |= pieces;
}

/// Counts the bytes that travel when `to` gets pieces it does not have. Returns those that travel.
static uint32_t count_travel(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned to)
{
    uint32_t missing = pieces & ~drayi_rights(model, block, to)->resident, travelled = 0;
    for (unsigned from = 0; from < model->processors && missing; from++) {
        uint32_t part = missing & drayi_rights(model, block, from)->resident;
        uint64_t *way = to == DRAYI_MIGRATION_HOST     ? &model->counts.to_host_bytes
                        : from == DRAYI_MIGRATION_HOST ? &model->counts.to_devices_bytes
                                                       : &model->counts.between_devices_bytes;
        *way += bytes_of(part);
        travelled |= part;
        missing &= ~part;
    }
    model->counts.populated_bytes += bytes_of(missing);
    return travelled;
}

uint32_t drayi_pieces_move(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned to)
{
    if (!pieces)
        return 0;
    const uint32_t travelled = count_travel(model, block, pieces, to);
    uint64_t removed = 0;
    for (unsigned p = 0; p < model->processors; p++) {
        if (p == to)
            continue;
        removed += bytes_of(drayi_rights(model, block, p)->resident & pieces);
        resident_remove(model, block, p, pieces);
    }
    model->counts.dropped_bytes += removed - bytes_of(travelled); // one copy of each is what came
    resident_add(model, block, to, pieces);
    drayi_rights(model, block, to)->writable |= pieces;
    map_followers(model, block, pieces, to);
    return travelled;
}

uint32_t drayi_pieces_copy(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned to)
{
    if (!pieces)
        return 0;
    const uint32_t fresh = pieces & ~drayi_pieces_populated(model, block);
    const uint32_t travelled = count_travel(model, block, pieces, to);
    model->counts.duplicated_bytes += bytes_of(travelled);
    resident_add(model, block, to, pieces);
    for (unsigned p = 0; p < model->processors; p++) // of several copies, none may change
        drayi_rights(model, block, p)->writable &= ~travelled;
    drayi_rights(model, block, to)->writable |= fresh;
    map_followers(model, block, pieces, to);
    return travelled;
}

void drayi_pieces_drop(drayi_migration *model, uint32_t block, uint32_t pieces)
{
    for (unsigned p = 0; p < model->processors; p++)
        resident_remove(model, block, p, pieces);
}

void drayi_rights_renew(drayi_migration *model, uint32_t block)
{
    for (unsigned p = 0; p < model->processors; p++) {
        drayi_piece_rights *rights = drayi_rights(model, block, p);
        rights->readable = rights->resident;
        rights->writable &= rights->resident;
    }
    map_all_followers(model, block, UINT32_MAX);
}
