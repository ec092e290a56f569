/// The migration model: its life, policies, accesses and what a fault does. See migration.h.
#include "base/checked.h"
#include "memory/migration_model.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

// --- life ------------------------------------------------------------------------------------------

void drayi_migration_destroy(drayi_migration *model)
{
    if (!model)
        return;
    const uint64_t blocks = model->block_count;
    drayi_free(model->env, model->blocks, blocks * sizeof(*model->blocks));
    drayi_free(model->env, model->rights, blocks * model->processors * sizeof(*model->rights));
    drayi_free(model->env, model->links, blocks * (model->processors - 1) * sizeof(*model->links));
    drayi_free(model->env, model, sizeof(*model));
}

static dray_status options_check(const drayi_migration_options *options, dray_error *error)
{
    if (options->bytes == 0 || options->bytes > DRAYI_MIGRATION_BYTES_MAX)
        return dray_fail(error, DRAY_E_INVALID,
                         "%" PRIu64 " bytes of managed memory, from 1 to %" PRIu64
                         " can be simulated",
                         options->bytes, DRAYI_MIGRATION_BYTES_MAX);
    if (options->devices == 0 || options->devices >= DRAYI_MIGRATION_PROCESSORS_MAX)
        return dray_fail(error, DRAY_E_INVALID, "%u devices, from 1 to %d can be simulated",
                         options->devices, DRAYI_MIGRATION_PROCESSORS_MAX - 1);
    if (options->capacity_bytes < DRAYI_MIGRATION_BLOCK_BYTES)
        return dray_fail(error, DRAY_E_INVALID,
                         "a device of %" PRIu64 " bytes holds no block of %" PRIu64 " bytes",
                         options->capacity_bytes, DRAYI_MIGRATION_BLOCK_BYTES);
    return DRAY_OK;
}

static dray_status model_build(drayi_migration *model, const drayi_migration_options *options,
                               dray_error *error)
{
    model->bytes = options->bytes;
    model->host_reaches_devices = options->host_reaches_devices;
    model->devices_reach_each_other = options->devices_reach_each_other;
    model->capacity_blocks =
        (uint32_t)drayi_min(options->capacity_bytes / DRAYI_MIGRATION_BLOCK_BYTES, DRAYI_NO_BLOCK);
    const uint64_t blocks = model->block_count;
    model->blocks = drayi_alloc_array(model->env, blocks, sizeof(*model->blocks), error);
    model->rights =
        drayi_alloc_array(model->env, blocks * model->processors, sizeof(*model->rights), error);
    model->links =
        drayi_alloc_array(model->env, blocks * options->devices, sizeof(*model->links), error);
    if (!model->blocks || !model->rights || !model->links)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < blocks; i++) {
        model->blocks[i].policy = DRAYI_MIGRATION_NO_POLICY;
        model->blocks[i].pinned_until_ns = UINT64_MAX;
        model->blocks[i].mover = DRAYI_MIGRATION_NOWHERE;
    }
    for (uint32_t i = 0; i < options->devices; i++)
        model->lists[i].oldest = model->lists[i].newest = DRAYI_NO_BLOCK;
    return DRAY_OK;
}

dray_status drayi_migration_create(drayi_env *env, const drayi_migration_options *options,
                                   drayi_migration **out, dray_error *error)
{
    DRAY_TRY(options_check(options, error));
    drayi_migration *model = drayi_new(env, drayi_migration, error);
    if (!model)
        return DRAY_E_NOMEM;
    model->env = env;
    model->processors = options->devices + 1;
    model->block_count =
        (uint32_t)((options->bytes + DRAYI_MIGRATION_BLOCK_BYTES - 1) / DRAYI_MIGRATION_BLOCK_BYTES);
    dray_status status = model_build(model, options, error);
    if (status != DRAY_OK)
        drayi_migration_destroy(model);
    else
        *out = model;
    return status;
}

// --- ranges as blocks and pieces -------------------------------------------------------------------

/// The part of a range that lies in one block.
typedef struct block_part {
    uint32_t block;
    uint32_t from, bytes; // inside the block
} block_part;

/// Takes the first part off the range; false: nothing was left.
static bool part_next(uint64_t *offset, uint64_t *bytes, block_part *out)
{
    if (*bytes == 0)
        return false;
    uint64_t from = *offset % DRAYI_MIGRATION_BLOCK_BYTES;
    uint64_t length = drayi_min(*bytes, DRAYI_MIGRATION_BLOCK_BYTES - from);
    *out = (block_part){.block = (uint32_t)(*offset / DRAYI_MIGRATION_BLOCK_BYTES),
                        .from = (uint32_t)from,
                        .bytes = (uint32_t)length};
    *offset += length;
    *bytes -= length;
    return true;
}

/// The pieces that the part touches.
static uint32_t pieces_touched(block_part part)
{
    uint32_t first = part.from / (uint32_t)DRAYI_MIGRATION_PIECE_BYTES;
    uint32_t last = (part.from + part.bytes - 1) / (uint32_t)DRAYI_MIGRATION_PIECE_BYTES;
    return UINT32_MAX << first & UINT32_MAX >> (DRAYI_MIGRATION_PIECES - 1 - last);
}

/// The pieces that lie in the part as a whole; the end of the managed bytes is no border.
static uint32_t pieces_inside(const drayi_migration *model, block_part part)
{
    const uint32_t piece = (uint32_t)DRAYI_MIGRATION_PIECE_BYTES;
    uint64_t end = part.block * DRAYI_MIGRATION_BLOCK_BYTES + part.from + part.bytes;
    uint32_t pieces = pieces_touched(part);
    if (part.from % piece)
        pieces &= ~(UINT32_C(1) << part.from / piece);
    if (end % piece && end != model->bytes)
        pieces &= ~(UINT32_C(1) << (part.from + part.bytes) / piece);
    return pieces;
}

// --- policies --------------------------------------------------------------------------------------

/// Of several copies one stays: at the preferred location if there is one, else the host's, else the first.
static void copies_end(drayi_migration *model, uint32_t block, unsigned preferred)
{
    uint32_t seen = 0, several = 0;
    for (unsigned p = 0; p < model->processors; p++) {
        several |= seen & drayi_rights(model, block, p)->resident;
        seen |= drayi_rights(model, block, p)->resident;
    }
    if (several && preferred != DRAYI_MIGRATION_NOWHERE) {
        uint32_t there = several & drayi_rights(model, block, preferred)->resident;
        drayi_pieces_move(model, block, there, preferred);
        several &= ~there;
    }
    for (unsigned p = 0; p < model->processors && several; p++) {
        uint32_t there = several & drayi_rights(model, block, p)->resident;
        drayi_pieces_move(model, block, there, p);
        several &= ~there;
    }
}

void drayi_migration_set_policy(drayi_migration *model, uint64_t offset, uint64_t bytes,
                                drayi_migration_policy policy)
{
    assert(drayi_is_managed(model, offset, bytes));
    block_part part;
    while (part_next(&offset, &bytes, &part)) {
        drayi_migration_block *block = &model->blocks[part.block];
        bool copies = block->policy.read_mostly && !policy.read_mostly;
        block->policy = policy;
        if (copies)
            copies_end(model, part.block, policy.preferred);
        drayi_rights_renew(model, part.block);
    }
}

drayi_migration_policy drayi_migration_policy_at(const drayi_migration *model, uint64_t offset)
{
    assert(drayi_is_managed(model, offset, 1));
    return model->blocks[offset / DRAYI_MIGRATION_BLOCK_BYTES].policy;
}

// --- faults ----------------------------------------------------------------------------------------

/// One level of the tree over a block's pieces: its aligned parts of `size` pieces, each a field of so many
/// bits in one word, so that all of them are looked at together.
typedef struct density_level {
    uint32_t low_halves; // the lower half of every field
    uint32_t enough; // added to a count, it sets the field's top bit when that is over 51 percent
    uint32_t top_bits;
    unsigned size;
} density_level;

static const density_level density_levels[] = {
    {UINT32_C(0x55555555), 0, UINT32_C(0xaaaaaaaa), 2}, // 2 of 2: the count's own top bit
    {UINT32_C(0x33333333), UINT32_C(0x55555555), UINT32_C(0x88888888), 4},   // 3: 8 - 3
    {UINT32_C(0x0f0f0f0f), UINT32_C(0x7b7b7b7b), UINT32_C(0x80808080), 8},   // 5: 128 - 5
    {UINT32_C(0x00ff00ff), UINT32_C(0x7ff77ff7), UINT32_C(0x80008000), 16},  // 9: 2^15 - 9
    {UINT32_C(0x0000ffff), UINT32_C(0x7fffffef), UINT32_C(0x80000000), 32}}; // 17: 2^31 - 17
_Static_assert(DRAYI_MIGRATION_DENSITY == 51, "the counts that are enough are worked out for it");

/// What a fault brings besides what was touched: of every aligned part of the block that would be there
/// to more than 51 percent, the rest. For a whole block.
static uint32_t density_grow_whole(uint32_t there, uint32_t faulted)
{
    uint32_t counts = there | faulted; // per field, of all sizes from 1 up
    uint32_t hit = faulted;            // fields with a faulted piece, as full fields
    uint32_t extra = 0;
    for (size_t i = 0; i < sizeof(density_levels) / sizeof(density_levels[0]); i++) {
        const density_level *level = &density_levels[i];
        const unsigned half = level->size / 2;
        counts = (counts & level->low_halves) + (counts >> half & level->low_halves);
        hit |= (hit & level->low_halves) << half | (hit >> half & level->low_halves);
        const uint32_t over = (counts + level->enough) & level->top_bits;
        extra |= ((over - (over >> (level->size - 1))) | over) & hit; // full fields of those over
    }
    return extra & ~faulted;
}

/// The same for a last block that is not whole: 51 percent of the pieces that exist.
static uint32_t density_grow_part(uint32_t there, uint32_t faulted, uint32_t valid)
{
    uint32_t extra = 0;
    for (unsigned size = 2; size <= DRAYI_MIGRATION_PIECES; size *= 2) {
        const uint32_t low = UINT32_MAX >> (DRAYI_MIGRATION_PIECES - size);
        for (unsigned at = 0; at < DRAYI_MIGRATION_PIECES; at += size) {
            const uint32_t part = low << at & valid;
            const unsigned filled = drayi_piece_count((there | faulted) & part);
            if ((part & faulted) && filled * 100 > drayi_piece_count(part) * DRAYI_MIGRATION_DENSITY)
                extra |= part;
        }
    }
    return extra & ~faulted;
}

static uint32_t density_grow(uint32_t there, uint32_t faulted, uint32_t valid)
{
    return valid == UINT32_MAX ? density_grow_whole(there, faulted)
                               : density_grow_part(there, faulted, valid);
}

/// Pieces that are, or begin, at `at`, made usable by `processor` from afar.
static void map_from_afar(drayi_migration *model, uint32_t block, uint32_t pieces, unsigned at,
                          unsigned processor, bool write)
{
    const drayi_piece_rights *there = drayi_rights(model, block, at);
    uint32_t come = pieces & ~(write ? there->writable & there->resident : there->resident);
    drayi_pieces_move(model, block, come, at);
    drayi_piece_rights *rights = drayi_rights(model, block, processor);
    rights->readable |= pieces;
    rights->writable |= pieces & there->writable;
}

/// Reads leave copies behind; a write ends the copies of what it touches.
static void fault_read_mostly(drayi_migration *model, uint64_t time_ns, uint32_t block,
                              uint32_t missing, unsigned processor, bool write)
{
    const drayi_piece_rights *rights = drayi_rights(model, block, processor);
    if (write) {
        if (drayi_pieces_move(model, block, missing, processor))
            drayi_thrash_event(model, block, time_ns, processor);
        return;
    }
    uint32_t extra = density_grow(rights->resident, missing, drayi_pieces_of(model, block));
    drayi_pieces_copy(model, block, missing | (extra & ~rights->readable), processor);
}

/// What of `missing` is at the preferred location or nowhere yet stays there, when it can be reached.
static uint32_t stays_preferred(const drayi_migration *model, uint32_t block, uint32_t missing,
                                unsigned preferred, unsigned processor)
{
    if (preferred == DRAYI_MIGRATION_NOWHERE || preferred == processor ||
        !drayi_reaches(model, processor, preferred))
        return 0;
    uint32_t there = drayi_rights(model, block, preferred)->resident;
    return missing & (there | ~drayi_pieces_populated(model, block));
}

static void fault_move(drayi_migration *model, uint64_t time_ns, uint32_t block, uint32_t missing,
                       unsigned processor)
{
    const drayi_piece_rights *rights = drayi_rights(model, block, processor);
    uint32_t extra = density_grow(rights->resident, missing, drayi_pieces_of(model, block));
    extra &= ~rights->readable;
    extra &= ~stays_preferred(model, block, extra, model->blocks[block].policy.preferred, processor);
    if (drayi_pieces_move(model, block, missing | extra, processor) & missing)
        drayi_thrash_event(model, block, time_ns, processor);
}

static void fault(drayi_migration *model, uint64_t time_ns, uint32_t block, uint32_t touched,
                  unsigned processor, bool write)
{
    const drayi_migration_policy policy = model->blocks[block].policy;
    const drayi_piece_rights *rights = drayi_rights(model, block, processor);
    uint32_t missing = touched & ~(write ? rights->writable : rights->readable);
    model->counts.faults[processor]++;
    model->counts.write_faults += write;
    if (policy.read_mostly) {
        fault_read_mostly(model, time_ns, block, missing, processor, write);
    } else if (policy.preferred != DRAYI_MIGRATION_NOWHERE) {
        uint32_t stays = stays_preferred(model, block, missing, policy.preferred, processor);
        map_from_afar(model, block, stays, policy.preferred, processor, write);
        if (missing & ~stays)
            fault_move(model, time_ns, block, missing & ~stays, processor);
        drayi_serviced(model, block, policy.preferred);
    } else {
        unsigned target = drayi_thrash_target(model, block, time_ns, processor);
        if (target == processor)
            fault_move(model, time_ns, block, missing, processor);
        else
            map_from_afar(model, block, missing, target, processor, write);
        drayi_serviced(model, block, target);
    }
    drayi_serviced(model, block, processor);
}

// --- accesses --------------------------------------------------------------------------------------

/// Bytes of the part that lie in the given pieces.
static uint64_t bytes_in(block_part part, uint32_t pieces)
{
    const uint32_t piece = (uint32_t)DRAYI_MIGRATION_PIECE_BYTES;
    uint64_t bytes = 0;
    while (pieces) {
        uint32_t from = (uint32_t)__builtin_ctz(pieces) * piece;
        uint64_t begin = drayi_max(from, part.from);
        bytes += drayi_min(from + piece, part.from + part.bytes) - begin;
        pieces &= pieces - 1;
    }
    return bytes;
}

void drayi_migration_access(drayi_migration *model, uint64_t time_ns, unsigned processor,
                            uint64_t offset, uint64_t bytes, bool write)
{
    assert(drayi_is_managed(model, offset, bytes) && processor < model->processors);
    block_part part;
    while (part_next(&offset, &bytes, &part)) {
        if (time_ns >= model->blocks[part.block].pinned_until_ns)
            drayi_thrash_unpin(model, part.block);
        const drayi_piece_rights *rights = drayi_rights(model, part.block, processor);
        const uint32_t touched = pieces_touched(part);
        if (touched & ~(write ? rights->writable : rights->readable))
            fault(model, time_ns, part.block, touched, processor, write);
        const uint32_t remote = touched & ~rights->resident;
        if (remote) {
            model->counts.remote_accesses++;
            model->counts.remote_bytes += bytes_in(part, remote);
        }
    }
}

// --- prefetch and discard --------------------------------------------------------------------------

void drayi_migration_prefetch(drayi_migration *model, unsigned processor, uint64_t offset,
                              uint64_t bytes)
{
    assert(drayi_is_managed(model, offset, bytes) && processor < model->processors);
    block_part part;
    while (part_next(&offset, &bytes, &part)) {
        uint32_t pieces = pieces_touched(part);
        uint32_t came = model->blocks[part.block].policy.read_mostly
                            ? drayi_pieces_copy(model, part.block, pieces, processor)
                            : drayi_pieces_move(model, part.block, pieces, processor);
        model->counts.prefetched_bytes += drayi_piece_count(came) * DRAYI_MIGRATION_PIECE_BYTES;
        drayi_serviced(model, part.block, processor);
    }
}

void drayi_migration_discard(drayi_migration *model, uint64_t offset, uint64_t bytes)
{
    assert(drayi_is_managed(model, offset, bytes));
    block_part part;
    while (part_next(&offset, &bytes, &part))
        drayi_pieces_drop(model, part.block, pieces_inside(model, part));
}

uint64_t drayi_migration_resident(const drayi_migration *model, unsigned processor, uint64_t offset,
                                  uint64_t bytes)
{
    assert(drayi_is_managed(model, offset, bytes) && processor < model->processors);
    uint64_t resident = 0;
    block_part part;
    while (part_next(&offset, &bytes, &part)) {
        uint32_t there = drayi_rights(model, part.block, processor)->resident;
        resident += drayi_piece_count(there & pieces_touched(part)) * DRAYI_MIGRATION_PIECE_BYTES;
    }
    return resident;
}

uint64_t drayi_migration_used(const drayi_migration *model, unsigned device)
{
    assert(device + 1 < model->processors);
    return model->lists[device].count * DRAYI_MIGRATION_BLOCK_BYTES;
}

const drayi_migration_counts *drayi_migration_counts_of(const drayi_migration *model)
{
    return &model->counts;
}
